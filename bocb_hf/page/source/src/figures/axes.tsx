/** Axes, labels that keep their distance, and rows of dots. */

import { scaleLinear, scaleLog, scalePow } from "d3-scale";

import { fixed, middle, short } from "../words";
import { type Sheet, Svg } from "./frame";

export type Kind = "linear" | "log" | "root"; // root: square roots, for what is dense near zero

export interface Scale {
  (value: number): number;
  ticks: { value: number; label: string }[];
}

function span(values: readonly number[], zero: boolean): [number, number] {
  let low = Math.min(...values);
  let high = Math.max(...values);
  if (zero) low = Math.min(0, low);
  if (!(high > low)) {
    const more = Math.abs(high) * 0.05 || 1;
    low -= more;
    high += more;
  }
  return [low, high];
}

/**
 * A scale with ticks; at least two of them, however narrow the span.
 *
 * @param zero Whether it begins at zero.
 * @param round Whether its ends are round numbers.
 */
export function scale(
  kind: Kind,
  values: readonly number[],
  range: [number, number],
  { zero = false, round: rounded = true }: { zero?: boolean; round?: boolean } = {},
): Scale {
  const finite = values.filter((v) => Number.isFinite(v) && (kind !== "log" || v > 0));
  const used = finite.length ? finite : kind === "log" ? [1, 10] : [0, 1];
  const room = Math.abs(range[1] - range[0]);
  if (kind === "log") {
    const low = Math.min(...used);
    const high = Math.max(...used);
    const made = scaleLog().domain([low * 0.95, high * 1.05]).range(range);
    const first = (v: number): number => v / 10 ** Math.floor(Math.log10(v) + 1e-9);
    const round = made.ticks().filter((v) => [1, 2, 5].some((digit) => Math.abs(first(v) - digit) < 1e-9));
    const tens = round.filter((v) => Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-9);
    const even = scaleLinear().domain(made.domain()).ticks(4);
    const chosen = tens.length >= 4 ? tens : round.length >= 3 ? round : even;
    return Object.assign((v: number) => made(v), { ticks: chosen.map((value) => ({ value, label: short(value) })) });
  }
  if (kind === "root") {
    const made = scalePow().exponent(0.5).domain([0, Math.max(...used, 1e-9)]).range(range);
    const [, high] = made.domain() as [number, number];
    const ticks = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500].filter((v) => v <= high);
    return Object.assign((v: number) => made(v), {
      ticks: (ticks.length > 2 ? ticks : made.ticks(4)).map((value) => ({ value, label: short(value) })),
    });
  }
  const made = scaleLinear().domain(span(used, zero)).range(range);
  if (rounded) made.nice(4);
  const every = made.ticks(Math.max(3, Math.min(8, Math.floor(room / 60))));
  const whole = used.every(Number.isInteger) ? every.filter(Number.isInteger) : every; // half of a trial is none
  const ticks = whole.length > 1 ? whole : every;
  const form = whole.length > 1 && whole !== every ? String : made.tickFormat(ticks.length);
  return Object.assign((v: number) => made(v), {
    ticks: ticks.map((value) => ({ value, label: form(value).replace("-", "−") })),
  });
}

interface AxisProps {
  sheet: Sheet;
  scale: Scale;
  at: number; // where the axis stands, px
  from: number; // ends of its grid lines, px
  to: number;
  label: string;
}

export function AxisX({ sheet, scale: x, at, from, to, label }: AxisProps) {
  const { theme, width } = sheet;
  return (
    <g>
      {x.ticks.map(({ value, label: text }) => (
        <g key={value} transform={`translate(${x(value)},0)`}>
          <line y1={from} y2={to} stroke={theme.line} />
          <text y={at + 16} text-anchor="middle" fill={theme.soft} font-size="11">
            {text}
          </text>
        </g>
      ))}
      <text x={width - 8} y={at + 34} text-anchor="end" fill={theme.soft}>
        {label}
      </text>
    </g>
  );
}

export function AxisY({ sheet, scale: y, at, from, to, label }: AxisProps) {
  const { theme } = sheet;
  return (
    <g>
      {y.ticks.map(({ value, label: text }) => (
        <g key={value} transform={`translate(0,${y(value)})`}>
          <line x1={from} x2={to} stroke={theme.line} />
          <text x={at - 6} dy="0.32em" text-anchor="end" fill={theme.soft} font-size="11">
            {text}
          </text>
        </g>
      ))}
      <text x={4} y={13} fill={theme.soft}>
        {label}
      </text>
    </g>
  );
}

/** Moves labels apart, so that each has its own line; equal input gives equal places. */
export function apart(places: readonly number[], gap: number, low: number, high: number): number[] {
  const order = places.map((_, i) => i).sort((a, b) => places[a]! - places[b]! || a - b);
  const found = [...places];
  let last = low - gap;
  for (const i of order) {
    found[i] = Math.max(places[i]!, last + gap);
    last = found[i]!;
  }
  let next = high + gap;
  for (const i of [...order].reverse()) {
    found[i] = Math.min(found[i]!, next - gap);
    next = found[i]!;
  }
  return found;
}

export interface Mark {
  value: number;
  low?: number | null;
  high?: number | null;
  title?: string;
}

interface RowsProps {
  sheet: Sheet;
  rows: { key: string; label: string; group?: string; marks: Mark[] }[];
  axis: string;
  label: string;
  zero?: boolean; // draw a line at zero
  clip?: number; // larger values stand there
}

/** A row for each name with its values as dots, and their intervals. */
export function Rows({ sheet, rows, axis, label, zero, clip }: RowsProps) {
  const { theme, width } = sheet;
  const most = width < 500 ? 16 : 28;
  const left = 18 + Math.max(...rows.map((r) => Math.min(most, r.label.length)), 4) * 7.2;
  const step = 21;
  const heads = rows.map((r, i) => r.group !== undefined && r.group !== rows[i - 1]?.group);
  let at = 8;
  const places = rows.map((_, i) => {
    if (heads[i]) at += 20;
    at += step;
    return at - step / 2;
  });
  const bottom = at + 6;
  const held = (v: number): number => (clip === undefined ? v : Math.min(clip, v));
  const values = rows.flatMap((r) => r.marks.flatMap((m) => [m.value, m.low ?? m.value, m.high ?? m.value].map(held)));
  const x = scale("linear", zero ? [...values, 0] : values, [left, width - 20]);
  return (
    <Svg sheet={sheet} height={bottom + 42} label={label}>
      <AxisX sheet={sheet} scale={x} at={bottom} from={8} to={bottom} label={axis} />
      {zero && <line x1={x(0)} x2={x(0)} y1={8} y2={bottom} stroke={theme.soft} stroke-width="1.5" />}
      {rows.map((row, i) => (
        <g key={row.key}>
          {heads[i] && (
            <text x={8} y={places[i]! - step / 2 - 5} fill={theme.soft} font-weight="600">
              {row.group}
            </text>
          )}
          <text x={left - 10} y={places[i]} dy="0.32em" text-anchor="end">
            {middle(row.label, most)}
            <title>{row.label}</title>
          </text>
          {row.marks.map((m, k) => (
            <g key={k} transform={`translate(0,${places[i]})`}>
              {m.low != null && m.high != null && (
                <line x1={x(held(m.low))} x2={x(held(m.high))} stroke={theme.accent} stroke-width="2" />
              )}
              <circle cx={x(held(m.value))} r="3.6" fill={theme.accent} fill-opacity="0.72" stroke={theme.paper}>
                <title>{m.title ?? fixed(m.value, 2)}</title>
              </circle>
            </g>
          ))}
        </g>
      ))}
    </Svg>
  );
}
