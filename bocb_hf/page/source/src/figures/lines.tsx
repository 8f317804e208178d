/** Lines over a shared axis, each with its name at its end, intervals as bands. */

import { middle, short } from "../words";
import { AxisX, AxisY, type Kind, type Scale, apart, scale } from "./axes";
import { type Sheet, Svg } from "./frame";

export interface Point {
  x: number;
  y: number | null;
  low?: number | null;
  high?: number | null;
}

export interface Series {
  key: string;
  label: string;
  colour: number; // place in the palette; from its second round on the line is dashed
  points: Point[];
  thin?: boolean; // one of several lines with this label
  dots?: boolean; // whether each point is marked, as a single one always is
  chosen?: number | null; // the x of a point that stands out
  lost?: number[]; // each x at which there is nothing, since its runs diverged
}

interface LinesProps {
  sheet: Sheet;
  series: Series[];
  x: { kind: Kind; label: string; zero?: boolean };
  y: { kind: Kind; label: string; zero?: boolean };
  label: string;
}

/** Lines over a shared axis, each with its name at its end, intervals as bands. */
export function Lines({ sheet, series, x: along, y: up, label }: LinesProps) {
  const { theme, width } = sheet;
  const named = series.filter((s, i) => series.findIndex((o) => o.label === s.label) === i);
  const longest = Math.max(...named.map((s) => Math.min(22, s.label.length)), 4);
  const right = Math.min(width * 0.34, 30 + longest * 7.2);
  const top = 24;
  const height = Math.max(width < 500 ? 280 : 340, named.length * 13 + top + 56);
  const left = 52;
  const bottom = height - 44;
  const values = series.flatMap((s) => s.points);
  const ends = values.flatMap((p) => [p.y, p.low ?? null, p.high ?? null]).filter((v): v is number => v !== null);
  const x = scale(along.kind, values.map((p) => p.x), [left, width - right], { zero: along.zero, round: false });
  const y = scale(up.kind, ends, [bottom, top], { zero: up.zero });
  const colour = (s: Series): string => theme.palette[s.colour % theme.palette.length]!;
  const dash = (s: Series): string | undefined =>
    [undefined, "6 3", "2 3", "8 3 2 3"][Math.floor(s.colour / theme.palette.length) % 4];
  const last = (s: Series): Point | undefined => s.points.filter((p) => p.y !== null).at(-1);
  const labels = named.filter((s) => last(s));
  const places = apart(labels.map((s) => y(last(s)!.y!)), 12.5, top + 4, bottom);
  const fits = (point: Point): boolean => along.kind !== "log" || point.x > 0;
  const marked = (s: Series): Point[] => {
    const known = s.points.filter((p) => fits(p) && p.y !== null && Number.isFinite(y(p.y)));
    return s.dots || known.length === 1 ? known : [];
  };
  return (
    <Svg sheet={sheet} height={height} label={label}>
      <AxisX sheet={sheet} scale={x} at={bottom} from={top} to={bottom} label={along.label} />
      <AxisY sheet={sheet} scale={y} at={left} from={left} to={width - right} label={up.label} />
      {series.map((s) => {
        const band = s.points.filter((p) => fits(p) && p.low != null && p.high != null);
        return (
          band.length > 1 && (
            <polygon
              key={`band ${s.key}`}
              fill={colour(s)}
              opacity="0.12"
              points={[
                ...band.map((p) => `${x(p.x)},${y(p.low!)}`),
                ...band.reverse().map((p) => `${x(p.x)},${y(p.high!)}`),
              ].join(" ")}
            />
          )
        );
      })}
      {series.map((s) => (
        <path
          key={s.key}
          fill="none"
          stroke={colour(s)}
          stroke-width={s.thin ? 1 : 1.8}
          stroke-dasharray={dash(s)}
          d={path(s.points.filter(fits), x, y)}
        >
          <title>{s.label}</title>
        </path>
      ))}
      {series.flatMap((s) =>
        marked(s).map((p) => (
          <circle
            key={`dot ${s.key} ${p.x}`}
            cx={x(p.x)}
            cy={y(p.y!)}
            r={p.x === s.chosen ? 6 : 3}
            fill={p.x === s.chosen ? theme.paper : colour(s)}
            stroke={colour(s)}
            stroke-width={p.x === s.chosen ? 2.5 : 0}
          >
            <title>{`${s.label}: ${short(p.y, 4)} at ${short(p.x)}`}</title>
          </circle>
        )),
      )}
      {series.flatMap((s) =>
        (s.lost ?? []).map((at) => (
          <path key={`lost ${s.key} ${at}`} stroke={colour(s)} stroke-width="1.5" d={`M${x(at) - 4},${bottom - 8}l8,8m0,-8l-8,8`}>
            <title>{`${s.label}: diverged at ${short(at)}`}</title>
          </path>
        )),
      )}
      {labels.map((s, i) => {
        const end = last(s)!;
        return (
          <g key={`label ${s.key}`}>
            <path
              fill="none"
              stroke={colour(s)}
              stroke-dasharray={x(end.x) < width - right - 2 ? "1 4" : dash(s)}
              stroke-width="1"
              d={`M${x(end.x)},${y(end.y!)}L${width - right + 8},${places[i]}H${width - right + 18}`}
            />
            <text x={width - right + 21} y={places[i]} dy="0.32em" font-size="11">
              {middle(s.label, 22)}
              <title>{s.label}</title>
            </text>
          </g>
        );
      })}
    </Svg>
  );
}

function path(points: readonly Point[], x: Scale, y: Scale): string {
  let text = "";
  let pen = false;
  for (const point of points) {
    const at = point.y === null ? Number.NaN : y(point.y);
    if (!Number.isFinite(at)) {
      pen = false;
      continue;
    }
    text += `${pen ? "L" : "M"}${x(point.x).toFixed(1)},${at.toFixed(1)}`;
    pen = true;
  }
  return text;
}
