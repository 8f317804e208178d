/** One weight pattern over the depth of a network, a ridge for each row, all on one scale. */

import { middle, short } from "../words";
import { AxisX, scale } from "./axes";
import { type Sheet, Svg } from "./frame";

export interface RidgeRow {
  key: string;
  label: string;
  note: string; // beside the label: the score
  colour: number; // place in the palette
  grey: boolean; // failed
  values: (number | null)[]; // by layer
}

interface RidgesProps {
  sheet: Sheet;
  rows: RidgeRow[];
  layers: string[];
  measure: string;
  log?: boolean;
  label: string;
}

const STEP = 34; // px from one row to the next
const MANY = 60; // layers above which single values have no mark

export function RidgesFigure({ sheet, rows, layers, measure, log, label }: RidgesProps) {
  const { theme, width } = sheet;
  const place = (v: number | null): number | null => (v === null || (log && v <= 0) ? null : log ? Math.log10(v) : v);
  const known = rows.flatMap((row) => row.values.map(place)).filter((v): v is number => v !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const most = width < 500 ? 12 : 20;
  const left = 24 + Math.max(6, ...rows.map((r) => Math.min(most, r.label.length) + r.note.length + 2)) * 6.7;
  const [top, right] = [44, 14];
  const bottom = top + rows.length * STEP;
  const x = scale("linear", layers.map((_, i) => i + 1), [left, width - right], { round: false });
  const back = (v: number): string => short(log ? 10 ** v : v);
  const colour = (row: RidgeRow): string => (row.grey ? theme.soft : theme.palette[row.colour % theme.palette.length]!);
  return (
    <Svg sheet={sheet} height={bottom + 42} label={label}>
      <text x="8" y="14" font-weight="600">
        {measure}
      </text>
      <text x="8" y="31" fill={theme.soft} font-size="11">
        {`foot of a row ${back(low)}, its height ${back(high)}${log ? ", logarithmic" : ""}`}
      </text>
      <AxisX sheet={sheet} scale={x} at={bottom} from={top} to={bottom} label="layer, from the input" />
      {rows.map((row, k) => {
        const base = top + (k + 1) * STEP;
        const y = (v: number): number => base - 2 - ((v - low) / (high - low || 1)) * (STEP - 7);
        const ink = colour(row);
        const values = row.values.map(place);
        return (
          <g key={row.key}>
            <line x1={left} x2={width - right} y1={base} y2={base} stroke={theme.line} />
            <text x={left - 10} y={base - 9} text-anchor="end" fill={row.grey ? theme.soft : theme.ink}>
              {middle(row.label, most)}
              <tspan fill={theme.soft} font-size="11">{`  ${row.note}`}</tspan>
              <title>{row.label}</title>
            </text>
            {stretches(values).map((piece) => {
              const line = piece.map((i) => `${x(i + 1).toFixed(1)},${y(values[i]!).toFixed(1)}`).join("L");
              const [first, last] = [x(piece[0]! + 1).toFixed(1), x(piece.at(-1)! + 1).toFixed(1)];
              return (
                <g key={piece[0]}>
                  <path fill={ink} fill-opacity="0.25" d={`M${first},${base}L${line}L${last},${base}Z`} />
                  <path fill="none" stroke={ink} stroke-width="1.4" d={`M${line}`} />
                </g>
              );
            })}
            {layers.length <= MANY &&
              values.map(
                (v, i) =>
                  v !== null && (
                    <circle key={i} cx={x(i + 1)} cy={y(v)} r="2" fill={ink}>
                      <title>{`${row.label}, ${layers[i]}: ${short(row.values[i])}`}</title>
                    </circle>
                  ),
              )}
          </g>
        );
      })}
    </Svg>
  );
}

/** Runs of neighbouring places that have a value. */
function stretches(values: readonly (number | null)[]): number[][] {
  const found: number[][] = [];
  values.forEach((value, i) => {
    if (value === null) return;
    const last = found.at(-1);
    if (last && last.at(-1) === i - 1) last.push(i);
    else found.push([i]);
  });
  return found;
}
