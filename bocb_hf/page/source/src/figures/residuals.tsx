/** Interaction: how much better or worse a pair does than its backbone and its optimizer lead to expect. */

import type { Table, TableMore } from "../format";
import { readable } from "../theme";
import { fixed, middle } from "../words";
import { type Sheet, Svg } from "./frame";

const CLIP = 10; // points at which the colour ends, as in the heat map

export function ResidualFigure({ sheet, table, more, label }: { sheet: Sheet; table: Table; more: TableMore; label: string }) {
  const { theme, width } = sheet;
  const rows = more.order?.optimizers ?? table.optimizers.map((_, i) => i);
  const columns = more.order?.backbones ?? table.backbones.map((_, i) => i);
  const left = 18 + Math.min(14, Math.max(...table.optimizers.map((o) => o.label.length))) * 7.6;
  const longest = Math.min(18, Math.max(...table.backbones.map((b) => b.label.length)));
  const steep = (width - left - 8) / columns.length < 20; // names stand upright
  const right = steep ? 8 : 8 + longest * 2.6; // the last name leans over the edge
  const cell = Math.max(3, Math.min(40, (width - left - right) / columns.length));
  const high = Math.max(9, Math.min(22, cell));
  const top = 16 + longest * (steep ? 6.2 : 5.6);
  const bottom = top + rows.length * high;
  const { residual = [], residual_low: low = [], residual_high: up = [] } = table.cells;
  const wide = table.optimizers.length;
  const words = cell >= 30;
  const sizes = [-10, -5, -2, 0, 2, 5, 10];
  const fill = (v: number): { fill: string; opacity: number } => ({
    fill: v < 0 ? theme.below : theme.above,
    opacity: 0.85 * Math.sqrt(Math.min(1, Math.abs(v) / CLIP)),
  });
  return (
    <Svg sheet={sheet} height={bottom + 52} label={label}>
      {columns.map((b, i) => (
        <text key={b} font-size={Math.min(11, cell)} transform={`translate(${left + (i + 0.5) * cell},${top - 5}) rotate(${steep ? -90 : -60})`} dy="0.32em">
          {middle(table.backbones[b]!.label, 18)}
          <title>{table.backbones[b]!.label}</title>
        </text>
      ))}
      {rows.map((o, i) => (
        <text key={o} font-size={Math.min(12, high)} x={left - 6} y={top + (i + 0.5) * high} dy="0.32em" text-anchor="end">
          {middle(table.optimizers[o]!.label, 14)}
        </text>
      ))}
      {rows.flatMap((o, i) =>
        columns.map((b, j) => {
          const at = b * wide + o;
          const value = residual[at] ?? null;
          const [x, y] = [left + j * cell, top + i * high];
          if (value === null) {
            return <rect key={at} x={x + 1} y={y + 1} width={cell - 2} height={high - 2} fill="none" stroke={theme.line} stroke-dasharray="2 2" />;
          }
          const told = (low[at] ?? -1) > 0 || (up[at] ?? 1) < 0;
          const { fill: colour, opacity } = fill(value);
          return (
            <g key={at}>
              <title>
                {`${table.backbones[b]!.label} × ${table.optimizers[o]!.label}: ${fixed(value, 2)} points` +
                  (low[at] != null && up[at] != null ? ` [${fixed(low[at], 2)}, ${fixed(up[at], 2)}]` : "")}
              </title>
              <rect x={x + 0.5} y={y + 0.5} width={cell - 1} height={high - 1} fill={colour} fill-opacity={opacity} />
              {words && (
                <text x={x + cell / 2} y={y + high / 2} dy="0.34em" text-anchor="middle" font-size="10" fill={readable(theme, colour, opacity)}>
                  {fixed(value)}
                </text>
              )}
              {told && <rect x={x + 1} y={y + 1} width={cell - 2} height={high - 2} fill="none" stroke={theme.ink} stroke-width="1.5" />}
            </g>
          );
        }),
      )}
      <g transform={`translate(${left},${bottom + 12})`}>
        {sizes.map((v, i) => {
          const { fill: colour, opacity } = fill(v);
          return (
            <g key={v} transform={`translate(${i * 34},0)`}>
              <rect width="34" height="10" fill={colour} fill-opacity={opacity} stroke={theme.line} />
              <text x="17" y="24" text-anchor="middle" font-size="11" fill={theme.soft}>
                {i === 0 ? "≤ −10" : i === sizes.length - 1 ? "≥ 10" : fixed(v, 0)}
              </text>
            </g>
          );
        })}
        <text x="246" y="10" font-size="11" fill={theme.soft}>
          points
        </text>
      </g>
    </Svg>
  );
}
