/** Mean ranks on one axis; bars join those that are not told apart (Demšar 2006). */

import { middle } from "../words";
import { type Sheet, Svg } from "./frame";
import { scale } from "./axes";

interface RanksProps {
  sheet: Sheet;
  ranks: { label: string; key: string; rank: number }[];
  groups: string[][];
  difference: number | null;
  label: string;
}

export function RanksFigure({ sheet, ranks, groups, difference, label }: RanksProps) {
  const { theme, width } = sheet;
  const sorted = [...ranks].sort((a, b) => a.rank - b.rank || a.label.localeCompare(b.label));
  const place = new Map(sorted.map((r) => [r.key, r.rank]));
  const half = Math.ceil(sorted.length / 2);
  const side = Math.min(150, width * 0.27);
  const x = scale("linear", [1, Math.max(2, ...sorted.map((r) => r.rank))], [side, width - side], {
    round: false,
  });
  const bars = groups
    .map((g) => g.map((key) => place.get(key)).filter((v): v is number => v !== undefined))
    .filter((g) => g.length > 1);
  const head = difference === null ? 20 : 44;
  const axis = head + 26;
  const first = axis + 16 + bars.length * 9;
  const step = 18;
  const height = first + half * step + 14;
  const most = Math.floor((side - 16) / 6.4);
  return (
    <Svg sheet={sheet} height={height} label={label}>
      {difference !== null && (
        <g stroke={theme.ink} stroke-width="1.5">
          <path fill="none" d={`M${x(1)},24v-8m0,4H${x(1) + x(1 + difference) - x(1)}m0,-4v8`} />
          <text x={x(1)} y={11} stroke="none" font-size="11">
            critical difference {difference.toFixed(2)}
          </text>
        </g>
      )}
      <line x1={side} x2={width - side} y1={axis} y2={axis} stroke={theme.ink} />
      {x.ticks.map(({ value, label: text }) => (
        <g key={value} transform={`translate(${x(value)},${axis})`}>
          <line y1={-5} stroke={theme.ink} />
          <text y={-8} text-anchor="middle" fill={theme.soft} font-size="11">
            {text}
          </text>
        </g>
      ))}
      {bars.map((bar, i) => (
        <line
          key={i}
          x1={x(Math.min(...bar)) - 3}
          x2={x(Math.max(...bar)) + 3}
          y1={axis + 9 + i * 9}
          y2={axis + 9 + i * 9}
          stroke={theme.accent}
          stroke-width="4"
          stroke-linecap="round"
        />
      ))}
      {sorted.map((r, i) => {
        const toLeft = i < half;
        const at = first + (toLeft ? i : sorted.length - 1 - i) * step + 6;
        const end = toLeft ? side - 8 : width - side + 8;
        return (
          <g key={r.key}>
            <path fill="none" stroke={theme.soft} d={`M${x(r.rank)},${axis}V${at}H${end}`} />
            <text x={toLeft ? end - 4 : end + 4} y={at} dy="0.32em" text-anchor={toLeft ? "end" : "start"}>
              {middle(r.label, most)}
              <title>{`${r.label}: mean rank ${r.rank.toFixed(2)}`}</title>
            </text>
          </g>
        );
      })}
    </Svg>
  );
}
