/** The study's own table beside another one. */

import { useApp, useTableMore } from "../app-state";
import type { StudyRow } from "../format";
import { type Column, Grid, scoreText } from "../grid";
import { Sentences, Waiting } from "../parts";
import { type Selection, cellOf } from "../selection";
import { fixed, millions } from "../words";
import { useNames } from "./names";

const STUDY: Column<StudyRow & { label: string }>[] = [
  { key: "optimizer", label: "optimizer", value: (r) => r.label },
  ...(
    [
      ["here_cnn", "CNNs, here"],
      ["study_cnn", "CNNs, the study"],
      ["here_modern", "modern, here"],
      ["study_modern", "modern, the study"],
    ] as const
  ).flatMap(([key, label]): Column<StudyRow & { label: string }>[] => [
    {
      key,
      label,
      value: (r) => r[key],
      text: (r) => (r[key] === null ? "–" : `${fixed(r[key], 2)} (${r[`${key}_n`]})`),
      number: true,
    },
    { key: `${key}_n`, label: `backbones: ${label}`, value: (r) => r[`${key}_n`], number: true, extra: true },
  ]),
];

interface Shared {
  backbone: string;
  optimizer: string;
  parameters: number | null;
  mean: number | null;
  low: number | null;
  high: number | null;
  n: number;
  study: number | null;
}

const SHARED: Column<Shared>[] = [
  { key: "backbone", label: "backbone", value: (r) => r.backbone },
  { key: "optimizer", label: "optimizer", value: (r) => r.optimizer },
  { key: "parameters", label: "parameters", value: (r) => r.parameters, text: (r) => millions(r.parameters), number: true, extra: true },
  { key: "mean", label: "here [95 %]", value: (r) => r.mean, text: (r) => scoreText(r.mean, r.low, r.high), number: true },
  { key: "n", label: "n", value: (r) => r.n, number: true },
  { key: "study", label: "the study", value: (r) => r.study, text: (r) => fixed(r.study, 2), number: true },
];

export function StudyView({ selection }: { selection: Selection }) {
  const { table, summary } = useApp();
  const more = useTableMore();
  const names = useNames();
  const study = summary.tables.find((t) => t.id === summary.study);
  const found = more !== undefined && !(more instanceof Error) ? more : null;
  const shared: Shared[] = [];
  if (study && study !== table) {
    for (const b of selection.backbones) {
      const there = study.backbones.findIndex((each) => each.id === table.backbones[b]!.id);
      if (there < 0) continue;
      for (const o of selection.optimizers) {
        const other = study.optimizers.findIndex((each) => each.id === table.optimizers[o]!.id);
        const i = cellOf(table, b, o);
        if (other < 0 || selection.hides(i)) continue;
        shared.push({
          backbone: table.backbones[b]!.label,
          optimizer: table.optimizers[o]!.label,
          parameters: table.backbones[b]!.parameters,
          mean: table.cells.mean?.[i] ?? null,
          low: table.cells.low?.[i] ?? null,
          high: table.cells.high?.[i] ?? null,
          n: table.cells.n[i]!,
          study: study.cells.mean?.[cellOf(study, there, other)] ?? null,
        });
      }
    }
  }
  return (
    <section>
      <h2>Beside the study</h2>
      {!study && <p class="soft">The study's table is not among these data.</p>}
      {study === table && <p class="soft">This is the study's own table: choose another one to see it beside this.</p>}
      <h3>Here</h3>
      {table.contrast.length ? <Sentences lines={table.contrast} /> : <p>No contrast of families in this table.</p>}
      {found?.study_claim && study !== table && (
        <>
          <h3>The study</h3>
          <Sentences lines={found.study_claim} />
        </>
      )}
      {more === undefined || more instanceof Error ? (
        <Waiting found={more} what="the comparison" />
      ) : (
        more.study && (
          <Grid
            name="study"
            caption="Mean points below the best optimizer of the same backbone (number of backbones). Other backbones, data and budgets: compare the order, not the size."
            columns={STUDY}
            rows={more.study.map((row) => ({ ...row, label: names.optimizer(row.optimizer) }))}
          />
        )
      )}
      {shared.length > 0 && (
        <Grid name="shared" caption="Cells that both tables have." columns={SHARED} rows={shared} size={(r) => r.parameters} />
      )}
      {study && study !== table && !shared.length && <p class="soft">The two tables have no cell in common.</p>}
    </section>
  );
}
