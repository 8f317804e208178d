/** The score against its cost, with the interval of each point. */

import type { Front } from "../format";
import { fixed, middle, short } from "../words";
import { AxisX, AxisY, apart, scale } from "./axes";
import { type Sheet, Svg } from "./frame";

const UNITS: Record<string, (v: number) => number> = { memory: (v) => v / 2 ** 20 };

export function costValue(axis: string, cost: number): number {
  return (UNITS[axis] ?? ((v: number) => v))(cost);
}

export function CostFigure({ sheet, front, name, label }: { sheet: Sheet; front: Front; name: (o: string) => string; label: string }) {
  const { theme, width } = sheet;
  const points = front.points.map((p) => ({ ...p, at: costValue(front.axis, p.cost) }));
  const height = Math.max(360, points.length * 14 + 80);
  const [left, right, top, bottom] = [52, Math.min(width * 0.32, 150), 24, height - 44];
  const costs = points.map((p) => p.at);
  const kind = Math.min(...costs) > 0 && Math.max(...costs) / Math.min(...costs) > 8 ? "log" : "linear";
  const x = scale(kind, costs, [left + 10, width - right]);
  const y = scale("linear", points.flatMap((p) => [p.mean, p.low ?? p.mean, p.high ?? p.mean]), [bottom, top]);
  const edge = points.filter((p) => p.on_front).sort((a, b) => a.at - b.at);
  const places = apart(points.map((p) => y(p.mean)), 13, top + 4, bottom);
  return (
    <Svg sheet={sheet} height={height} label={label}>
      <AxisX sheet={sheet} scale={x} at={bottom} from={top} to={bottom} label={front.label} />
      <AxisY sheet={sheet} scale={y} at={left} from={left} to={width - right + 8} label="test score, points" />
      <path
        fill="none"
        stroke={theme.above}
        stroke-width="1.5"
        d={edge.map((p, i) => (i ? `H${x(p.at)}V${y(p.mean)}` : `M${x(p.at)},${y(p.mean)}`)).join("")}
      />
      {points.map((p, i) => (
        <g key={p.optimizer}>
          {p.low !== null && p.high !== null && (
            <path
              stroke={p.on_front ? theme.above : theme.soft}
              fill="none"
              d={`M${x(p.at) - 3},${y(p.low)}h6m-3,0V${y(p.high)}m-3,0h6`}
            />
          )}
          <path fill="none" stroke={theme.line} d={`M${x(p.at)},${y(p.mean)}L${width - right + 10},${places[i]}h6`} />
          <circle
            cx={x(p.at)}
            cy={y(p.mean)}
            r="4.5"
            fill={p.on_front ? theme.above : theme.paper}
            stroke={p.on_front ? theme.above : theme.soft}
            stroke-width="1.5"
          >
            <title>{`${name(p.optimizer)}: ${fixed(p.mean, 2)} points, ${short(p.at)}; n = ${p.n}`}</title>
          </circle>
          <text x={width - right + 19} y={places[i]} dy="0.32em" font-size="11" font-weight={p.on_front ? 600 : 400}>
            {middle(name(p.optimizer), 19)}
          </text>
        </g>
      ))}
    </Svg>
  );
}
