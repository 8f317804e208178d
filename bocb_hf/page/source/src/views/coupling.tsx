/** Coupling: does the best optimizer depend on the backbone? */

import { useApp, useTableMore } from "../app-state";
import { Figure } from "../figures/frame";
import { ResidualFigure } from "../figures/residuals";
import type { TableMore } from "../format";
import { type Column, Grid, scoreText } from "../grid";
import { List, Sentences, Waiting } from "../parts";
import { fixed, millions } from "../words";

function percent(of: { value: number; low: number | null; high: number | null }): string {
  return scoreText(of.value, of.low, of.high, 0);
}

type Share = TableMore["shares"][number];
const SHARES: Column<Share>[] = [
  { key: "scale", label: "scale", value: (s) => s.scale },
  { key: "version", label: "cells that count", value: (s) => s.version },
  { key: "backbone", label: "backbone, %", value: (s) => s.backbone.value, text: (s) => percent(s.backbone), number: true },
  { key: "optimizer", label: "optimizer, %", value: (s) => s.optimizer.value, text: (s) => percent(s.optimizer), number: true },
  { key: "interaction", label: "interaction, % [95 %]", value: (s) => s.interaction.value, text: (s) => percent(s.interaction), number: true },
  { key: "cells", label: "cells", value: (s) => s.cells, number: true },
];

interface Index {
  side: string;
  name: string;
  kind: string;
  parameters: number | null;
  value: number;
  low: number | null;
  high: number | null;
}

const indexColumns = (known: boolean): Column<Index>[] => [
  { key: "name", label: "name", value: (r) => r.name },
  { key: "side", label: "side", value: (r) => r.side },
  { key: "kind", label: "family or category", value: (r) => r.kind },
  { key: "parameters", label: "parameters", value: (r) => r.parameters, text: (r) => millions(r.parameters), number: true, extra: true },
  { key: "kappa", label: `index κ in points${known ? " [95 %]" : ""}`, value: (r) => r.value, text: (r) => scoreText(r.value, r.low, r.high), number: true },
  { key: "low", label: "low", value: (r) => r.low, text: (r) => fixed(r.low, 2), number: true, extra: true },
  { key: "high", label: "high", value: (r) => r.high, text: (r) => fixed(r.high, 2), number: true, extra: true },
];

export function CouplingView() {
  const { table } = useApp();
  const more = useTableMore();
  const indices: Index[] = [
    ...table.backbones.map((b) => ({ side: "backbone", name: b.label, kind: b.family_label, parameters: b.parameters, kappa: b.kappa })),
    ...table.optimizers.map((o) => ({ side: "optimizer", name: o.label, kind: o.category_label, parameters: null, kappa: o.kappa })),
  ].flatMap(({ kappa, ...row }) => (kappa ? [{ ...row, ...kappa }] : []));
  return (
    <section>
      <h2>Coupling: does the best optimizer depend on the backbone?</h2>
      <Sentences lines={table.headlines.coupling} lead />
      {more === undefined || more instanceof Error ? (
        <Waiting found={more} what="the analysis" />
      ) : (
        <>
          {more.shares.length > 0 && (
            <Grid name="shares" caption="Shares of the variance between cells, in percent." columns={SHARES} rows={more.shares} plain />
          )}
          {table.cells.residual && (
            <Figure
              name="interaction"
              title="Interaction"
              about={
                "Points above or below what backbone and optimizer lead to expect; alike rows and columns stand together. " +
                (table.cells.residual_low ? "A frame: told apart from zero, 95 % for all cells at once." : "")
              }
              most={1100}
              draw={(sheet) => (
                <ResidualFigure sheet={sheet} table={table} more={more} label={`Interaction of ${table.title}`} />
              )}
            />
          )}
        </>
      )}
      {indices.length > 0 && (
        <Grid
          name="indices"
          caption="How far each backbone or optimizer departs from the sum of both: index κ."
          columns={indexColumns(indices.some((row) => row.low !== null))}
          rows={indices}
          size={(row) => row.parameters}
        />
      )}
      {more !== undefined && !(more instanceof Error) && more.sentences.length > 0 && (
        <details open>
          <summary>All results in words</summary>
          <List lines={more.sentences} />
        </details>
      )}
    </section>
  );
}
