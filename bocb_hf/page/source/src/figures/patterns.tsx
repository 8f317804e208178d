/** Weight patterns of a checkpoint, layer by layer: one small panel a measure. */

import { middle } from "../words";
import { AxisX, AxisY, scale } from "./axes";
import { type Sheet, Svg } from "./frame";
import type { Series } from "./lines";

export interface Panel {
  title: string;
  series: Series[];
}

export function PatternsFigure({ sheet, panels, label }: { sheet: Sheet; panels: Panel[]; label: string }) {
  const { theme, width } = sheet;
  const across = width < 560 ? 1 : 2;
  const names = panels[0]?.series ?? [];
  const legend = Math.ceil(names.length / Math.max(1, Math.floor(width / 130))) * 17 + 8;
  const [wide, high] = [width / across, 220];
  const inRow = Math.max(1, Math.floor(width / 130));
  return (
    <Svg sheet={sheet} height={Math.ceil(panels.length / across) * high + legend} label={label}>
      {panels.map((panel, i) => {
        const inner: Sheet = { theme, width: wide };
        const points = panel.series.flatMap((s) => s.points);
        const x = scale("linear", points.map((p) => p.x), [48, wide - 12], { round: false });
        const y = scale("linear", points.map((p) => p.y).filter((v): v is number => v !== null), [high - 44, 24]);
        return (
          <g key={panel.title} transform={`translate(${(i % across) * wide},${Math.floor(i / across) * high})`}>
            <AxisX sheet={inner} scale={x} at={high - 44} from={24} to={high - 44} label="layer" />
            <AxisY sheet={inner} scale={y} at={48} from={48} to={wide - 12} label={panel.title} />
            {panel.series.map((s) => (
              <path
                key={s.key}
                fill="none"
                stroke={theme.palette[s.colour % theme.palette.length]}
                stroke-dasharray={s.colour >= theme.palette.length ? "5 3" : undefined}
                d={s.points
                  .filter((p) => p.y !== null)
                  .map((p, k) => `${k ? "L" : "M"}${x(p.x).toFixed(1)},${y(p.y!).toFixed(1)}`)
                  .join("")}
              >
                <title>{s.label}</title>
              </path>
            ))}
          </g>
        );
      })}
      {names.map((s, i) => (
        <g
          key={s.key}
          transform={`translate(${(i % inRow) * 130 + 8},${Math.ceil(panels.length / across) * high + Math.floor(i / inRow) * 17 + 8})`}
        >
          <line x2="18" stroke={theme.palette[s.colour % theme.palette.length]} stroke-width="2" stroke-dasharray={s.colour >= theme.palette.length ? "5 3" : undefined} />
          <text x="23" dy="0.32em" font-size="11">
            {middle(s.label, 15)}
          </text>
        </g>
      ))}
    </Svg>
  );
}
