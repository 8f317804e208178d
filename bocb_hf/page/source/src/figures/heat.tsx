/** The heat map as a picture, for papers. */

import type { Table } from "../format";
import { CLIP, SHADES, mainText, shade } from "../heat";
import { type Selection, cellOf } from "../selection";
import { middle } from "../words";
import { type Sheet, Svg } from "./frame";

const HOT = "#ea7a4c"; // as in the style sheet

interface HeatProps {
  sheet: Sheet;
  table: Table;
  selection: Selection;
  note: string;
}

export function HeatFigure({ sheet, table, selection, note }: HeatProps) {
  const { theme } = sheet;
  const { backbones, optimizers, hides } = selection;
  const [wide, high] = [44, 21];
  const left = 20 + Math.min(20, Math.max(...optimizers.map((o) => table.optimizers[o]!.label.length), 6)) * 7.4;
  const top = 20 + Math.min(20, Math.max(...backbones.map((b) => table.backbones[b]!.label.length), 6)) * 5.4;
  const bottom = top + optimizers.length * high;
  const width = Math.max(560, left + backbones.length * wide + 60);
  const lines = wrap(note, Math.floor((width - 20) / 6));
  return (
    <Svg sheet={{ theme, width }} height={bottom + 60 + lines.length * 14} label={`Heat map: ${table.title}`}>
      {backbones.map((b, i) => (
        <text key={b} transform={`translate(${left + (i + 0.5) * wide},${top - 6}) rotate(-55)`} font-size="11">
          {middle(table.backbones[b]!.label, 20)}
        </text>
      ))}
      {optimizers.map((o, r) => (
        <g key={o} transform={`translate(0,${top + r * high})`}>
          <text x={left - 8} y={high / 2} dy="0.34em" text-anchor="end">
            {middle(table.optimizers[o]!.label, 20)}
          </text>
          {backbones.map((b, c) => {
            const i = cellOf(table, b, o);
            const gap = table.cells.gap?.[i] ?? null;
            const hidden = hides(i);
            const known = !hidden && gap !== null;
            return (
              <g key={b} transform={`translate(${left + c * wide},0)`}>
                <rect
                  width={wide - 1}
                  height={high - 1}
                  fill={known ? HOT : theme.line}
                  fill-opacity={known ? shade(gap) / (SHADES - 1) : 0.35}
                  stroke={theme.line}
                  stroke-width="0.5"
                />
                <text x={wide / 2} y={high / 2} dy="0.34em" text-anchor="middle" font-size="11">
                  {hidden ? "·" : mainText(table, i)}
                </text>
                {known && table.cells.failed?.[i] ? <path d={`M${wide - 8},0h7v7z`} fill={theme.ink} /> : null}
              </g>
            );
          })}
        </g>
      ))}
      <g transform={`translate(${left},${bottom + 10})`}>
        {Array.from({ length: SHADES }, (_, i) => (
          <rect key={i} x={i * 14} width="14" height="10" fill={HOT} fill-opacity={i / (SHADES - 1)} stroke={theme.line} stroke-width="0.5" />
        ))}
        <text y="24" font-size="11" fill={theme.soft}>
          0
        </text>
        <text x={SHADES * 14} y="24" font-size="11" text-anchor="end" fill={theme.soft}>
          ≥ {CLIP}
        </text>
        <text x={SHADES * 14 + 8} y="9" font-size="11" fill={theme.soft}>
          points below the best of the backbone; ◥ failed
        </text>
      </g>
      {lines.map((line, i) => (
        <text key={i} x="10" y={bottom + 56 + i * 14} font-size="11" fill={theme.soft}>
          {line}
        </text>
      ))}
    </Svg>
  );
}

function wrap(text: string, most: number): string[] {
  const lines: string[] = [""];
  for (const word of text.split(/\s+/)) {
    const last = lines.length - 1;
    if (lines[last] && lines[last].length + word.length + 1 > most) lines.push(word);
    else lines[last] = lines[last] ? `${lines[last]} ${word}` : word;
  }
  return lines;
}
