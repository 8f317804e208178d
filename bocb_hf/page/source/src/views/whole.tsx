/** What is said of a table as a whole: coupling, contrast, ranks, cost, the study beside it, tuning, missing cells. */

import { go, href } from "../address";
import { useApp, useTableMore } from "../app-state";
import { Lines, Rows } from "../figures/axes";
import { CostFigure, costValue } from "../figures/cost";
import { Figure } from "../figures/frame";
import { RanksFigure } from "../figures/ranks";
import { ResidualFigure } from "../figures/residuals";
import type { Backbone, CellLedger, FrontPoint, LedgerRow, Optimizer, StudyRow, TableMore } from "../format";
import { type Column, Grid, scoreText } from "../grid";
import { Command, List, Sentences, Waiting } from "../parts";
import { STATUS, type Selection, cellOf } from "../selection";
import { count, fixed, millions, short } from "../words";
import { Distances } from "./one";

function useNames() {
  const { table } = useApp();
  const optimizers = new Map(table.optimizers.map((o, i) => [o.id, { label: o.label, i }]));
  const backbones = new Map(table.backbones.map((b, i) => [b.id, { label: b.label, i }]));
  return {
    optimizer: (id: string): string => optimizers.get(id)?.label ?? id,
    place: (id: string): number => optimizers.get(id)?.i ?? 0,
    backbone: (id: string): string => backbones.get(id)?.label ?? id,
  };
}

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

const INDICES: Column<Index>[] = [
  { key: "name", label: "name", value: (r) => r.name },
  { key: "side", label: "side", value: (r) => r.side },
  { key: "kind", label: "family or category", value: (r) => r.kind },
  { key: "parameters", label: "parameters", value: (r) => r.parameters, text: (r) => millions(r.parameters), number: true, extra: true },
  { key: "kappa", label: "index κ in points [95 %]", value: (r) => r.value, text: (r) => scoreText(r.value, r.low, r.high), number: true },
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
          columns={INDICES}
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

export function ContrastView() {
  const { table } = useApp();
  const more = useTableMore();
  const rows = more !== undefined && !(more instanceof Error) ? more.differences : [];
  return (
    <section>
      <h2>Contrast: do CNNs live better with SGD than modern backbones do?</h2>
      {table.contrast.length ? <Sentences lines={table.contrast} lead /> : <p>This table has no contrast of families.</p>}
      {more instanceof Error && <Waiting found={more} what="the analysis" />}
      {rows.length > 0 && (
        <Figure
          name="contrast"
          title="SGD minus adaptive"
          about="Difference of the means of both groups of optimizers on each backbone, in points; right of zero SGD is ahead."
          draw={(sheet) => (
            <Rows
              sheet={sheet}
              axis="SGD minus adaptive, points"
              label={`SGD minus adaptive on each backbone of ${table.title}`}
              rows={rows.map((row) => ({
                key: table.backbones[row.backbone]!.id,
                label: table.backbones[row.backbone]!.label,
                group: table.backbones[row.backbone]!.kind,
                marks: [row],
              }))}
              zero
            />
          )}
        />
      )}
    </section>
  );
}

export function RankingView({ selection }: { selection: Selection }) {
  const { table, state } = useApp();
  const more = useTableMore();
  const names = useNames();
  const rows = selection.optimizers.map((o) => table.optimizers[o]!);
  const found = more !== undefined && !(more instanceof Error) ? more : null;
  const by = (key: "mean_rank" | "gap") => (a: Optimizer, b: Optimizer) => (a[key] ?? Infinity) - (b[key] ?? Infinity);
  const ordered = [...rows].sort(rows.some((r) => r.mean_rank !== null) ? by("mean_rank") : by("gap"));
  const columns: Column<Optimizer>[] = [
    {
      key: "optimizer",
      label: "optimizer",
      value: (o) => o.label,
      view: (o) => <a href={href({ ...state, view: "optimizer", optimizer: o.id, cell: false })}>{o.label}</a>,
    },
    { key: "category", label: "category", value: (o) => o.category_label, extra: true },
    { key: "mean_rank", label: "mean rank", value: (o) => o.mean_rank, text: (o) => fixed(o.mean_rank, 2), number: true },
    { key: "best_on", label: "best on", value: (o) => o.best_on, number: true },
    { key: "may_be_best_on", label: "may be best on (Hsu)", value: (o) => o.may_be_best_on, number: true },
    { key: "gap", label: "points below the best, mean", value: (o) => o.gap, text: (o) => fixed(o.gap, 2), number: true },
    { key: "worst_gap", label: "at worst", value: (o) => o.worst_gap, text: (o) => fixed(o.worst_gap, 2), number: true },
    { key: "failed_on", label: "failed on", value: (o) => o.failed_on, number: true },
    { key: "cells", label: "of backbones", value: (o) => o.cells, number: true },
    { key: "kappa", label: "index κ [95 %]", value: (o) => o.kappa?.value, text: (o) => scoreText(o.kappa?.value, o.kappa?.low, o.kappa?.high), number: true },
  ];
  return (
    <section>
      <h2>Ranks: which optimizer is good on most backbones?</h2>
      {found?.ranking?.test && <Sentences lines={[found.ranking.test]} lead />}
      <Grid name="ranking" caption="Optimizers, over all backbones of the table." columns={columns} rows={ordered} />
      {more === undefined || more instanceof Error ? (
        <Waiting found={more} what="the comparison" />
      ) : (
        <>
          {more.ranking && Object.keys(more.ranking.mean_ranks).length > 1 && (
            <Figure
              name="critical-difference"
              title="Mean ranks"
              about={more.ranking.groups.length ? "1 is the best. A bar joins optimizers that are not told apart." : "1 is the best."}
              most={1000}
              draw={(sheet) => (
                <RanksFigure
                  sheet={sheet}
                  ranks={Object.entries(more.ranking!.mean_ranks).map(([key, rank]) => ({ key, rank, label: names.optimizer(key) }))}
                  groups={more.ranking!.groups}
                  difference={more.ranking!.critical_difference}
                  label={`Mean ranks of the optimizers of ${table.title}`}
                />
              )}
            />
          )}
          {more.ranking?.apart && (
            <p>
              {more.ranking.apart.length
                ? `Told apart: ${more.ranking.apart.map(([a, b]) => `${names.optimizer(a)} from ${names.optimizer(b)}`).join("; ")}.`
                : "No pair of optimizers is told apart."}
            </p>
          )}
          <Spread />
          {more.profiles && (
            <Figure
              name="profiles"
              title="Performance profiles"
              about="Share of backbones on which an optimizer lies within that many points of the best."
              draw={(sheet) => (
                <Lines
                  sheet={sheet}
                  x={{ kind: "root", label: "points below the best (square roots)" }}
                  y={{ kind: "linear", label: "share of backbones", zero: true }}
                  label={`Performance profiles of ${table.title}`}
                  series={byShare(more.profiles!.optimizers).map(([key, p]) => ({
                    key,
                    label: names.optimizer(key),
                    colour: names.place(key),
                    points: more.profiles!.distances.map((x, i) => ({ x, y: p.share[i] ?? null })),
                  }))}
                />
              )}
            />
          )}
          {more.times && (
            <Figure
              name="time-to-score"
              title="Time to a validation score"
              about={`Share of runs that reached the target within that many times the fastest time. Targets: ${Object.entries(more.times.targets)
                .map(([b, v]) => `${names.backbone(b)} ${fixed(v)}`)
                .join(", ")}.`}
              draw={(sheet) => (
                <Lines
                  sheet={sheet}
                  x={{ kind: "log", label: "times the fastest" }}
                  y={{ kind: "linear", label: "share of runs", zero: true }}
                  label={`Time to a validation score in ${table.title}`}
                  series={more.times!.optimizers.map((t) => ({
                    key: t.optimizer,
                    label: names.optimizer(t.optimizer),
                    colour: names.place(t.optimizer),
                    points: more.times!.factors.map((x, i) => ({ x, y: t.share[i] ?? null })),
                  }))}
                />
              )}
            />
          )}
          {more.comparisons.length > 0 && (
            <details>
              <summary>Pairs of optimizers in words ({more.comparisons.length})</summary>
              <List lines={more.comparisons} />
            </details>
          )}
        </>
      )}
    </section>
  );
}

/** Highest lines first, so that names stand in the order of their lines. */
function byShare<T extends { share: (number | null)[] }>(of: Record<string, T>): [string, T][] {
  const height = ({ share }: T): number => share.reduce((sum: number, v) => sum + (v ?? 0), 0);
  return Object.entries(of).sort(([, a], [, b]) => height(b) - height(a));
}

/** How the scores of each backbone spread over optimizers. */
function Spread() {
  const { table } = useApp();
  const { mean } = table.cells;
  const rows = table.backbones.flatMap((backbone, b) => {
    const marks = table.optimizers.flatMap((o, i) => {
      const value = mean?.[cellOf(table, b, i)];
      return value == null ? [] : [{ value, title: `${o.label}: ${fixed(value)}` }];
    });
    return marks.length ? [{ key: backbone.id, label: backbone.label, group: backbone.family_label, marks }] : [];
  });
  if (!rows.length) return null;
  return (
    <Figure
      name="spread"
      title="Spread over optimizers"
      about="A dot for each optimizer; a long row is a backbone on which the choice matters."
      draw={(sheet) => <Rows sheet={sheet} rows={rows} axis={`${table.metric}, points`} label={`Scores of each backbone of ${table.title}`} />}
    />
  );
}

export function CostView({ selection }: { selection: Selection }) {
  const { table, state } = useApp();
  const more = useTableMore();
  const names = useNames();
  const head = <h2>Cost: what does accuracy cost?</h2>;
  if (table.kind === "published") {
    return (
      <section>
        {head}
        <p class="soft">The study published no cost of a cell.</p>
      </section>
    );
  }
  if (more === undefined || more instanceof Error) {
    return (
      <section>
        {head}
        <Waiting found={more} what="the costs" />
      </section>
    );
  }
  const able = table.backbones.filter((b) => more.fronts[b.id]?.length);
  const backbone = able.find((b) => b.id === state.backbone) ?? able.find((b) => selection.backbones.includes(table.backbones.indexOf(b))) ?? able[0];
  const fronts = backbone ? more.fronts[backbone.id]! : [];
  const front = fronts.find((f) => f.axis === state.axis) ?? fronts[0];
  if (!backbone || !front) {
    return (
      <section>
        {head}
        <p class="soft">No cell of this table has a cost.</p>
      </section>
    );
  }
  const b = table.backbones.indexOf(backbone);
  const visible = new Set(selection.optimizers.filter((o) => !selection.hides(cellOf(table, b, o))).map((o) => table.optimizers[o]!.id));
  const kept = { ...front, points: front.points.filter((p) => visible.has(p.optimizer)) };
  const columns: Column<FrontPoint>[] = [
    { key: "optimizer", label: "optimizer", value: (p) => names.optimizer(p.optimizer) },
    { key: "cost", label: front.label, value: (p) => costValue(front.axis, p.cost), text: (p) => short(costValue(front.axis, p.cost), 4), number: true },
    { key: "mean", label: "test score [95 %]", value: (p) => p.mean, text: (p) => scoreText(p.mean, p.low, p.high), number: true },
    { key: "low", label: "low", value: (p) => p.low, number: true, extra: true },
    { key: "high", label: "high", value: (p) => p.high, number: true, extra: true },
    { key: "n", label: "n", value: (p) => p.n, number: true },
    { key: "on_front", label: "on the front", value: (p) => p.on_front },
    { key: "dominated_by", label: "dominated by", value: (p) => p.dominated_by.map(names.optimizer).join(", "), wrap: true },
  ];
  return (
    <section>
      {head}
      <p class="choices">
        <label>
          Backbone{" "}
          <select aria-label="Backbone" value={backbone.id} onChange={(e) => go({ ...state, backbone: e.currentTarget.value, cell: false })}>
            {able.map((each) => (
              <option key={each.id} value={each.id}>
                {each.label}
              </option>
            ))}
          </select>
        </label>{" "}
        <label>
          Cost{" "}
          <select aria-label="Cost" value={front.axis} onChange={(e) => go({ ...state, axis: e.currentTarget.value })}>
            {fronts.map((f) => (
              <option key={f.axis} value={f.axis}>
                {f.label}
              </option>
            ))}
          </select>
        </label>
      </p>
      {kept.points.length > 0 && (
        <Figure
          name={`cost-${backbone.id}-${front.axis}`}
          title={`${backbone.label}: accuracy against cost`}
          about="The line joins the front: nothing is both cheaper and better by its mean. Bars: intervals of 95 %."
          draw={(sheet) => (
            <CostFigure sheet={sheet} front={kept} name={names.optimizer} label={`Accuracy of ${backbone.label} against ${front.label}`} />
          )}
        />
      )}
      <List
        lines={[
          ...front.caveats.map((c) => `Caution: ${c}.`),
          ...Object.entries(front.left_out).map(([o, why]) => `Without a place: ${names.optimizer(o)} (${why}).`),
        ]}
      />
      <Grid name="cost" caption={`${backbone.label}, cheapest first.`} columns={columns} rows={kept.points} marked={(p) => p.on_front} />
    </section>
  );
}

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

const LEDGER: Column<LedgerRow>[] = [
  { key: "optimizer", label: "optimizer", value: (r) => r.label },
  { key: "cells", label: "cells", value: (r) => r.cells, number: true },
  { key: "trials", label: "trials a cell", value: (r) => r.trials, number: true },
  { key: "rates", label: "learning rates", value: (r) => r.rates, number: true },
  { key: "epochs", label: "epochs", value: (r) => r.epochs, number: true },
  { key: "diverged", label: "diverged trials", value: (r) => r.diverged, number: true },
  { key: "edges", label: "winners at the grid's edge", value: (r) => r.edges, number: true },
  { key: "tuning_hours", label: "tuning, h", value: (r) => r.tuning_hours, text: (r) => fixed(r.tuning_hours, 2), number: true },
  { key: "final_hours", label: "final runs, h", value: (r) => r.final_hours, text: (r) => fixed(r.final_hours, 2), number: true },
];

export function TuningView() {
  const { table } = useApp();
  const more = useTableMore();
  const names = useNames();
  const head = <h2>Tuning: was it fair, and was it enough?</h2>;
  if (table.ledger === null) {
    return (
      <section>
        {head}
        <p class="soft">The study published no trials.</p>
      </section>
    );
  }
  const cells: Column<CellLedger>[] = [
    { key: "backbone", label: "backbone", value: (r) => names.backbone(r.backbone) },
    { key: "optimizer", label: "optimizer", value: (r) => names.optimizer(r.optimizer) },
    { key: "trials", label: "trials", value: (r) => r.trials, number: true },
    { key: "diverged", label: "diverged", value: (r) => r.diverged, number: true },
    { key: "rates", label: "learning rates tried", value: (r) => r.rates, wrap: true },
    { key: "decays", label: "weight decays tried", value: (r) => r.decays, wrap: true },
    { key: "lr", label: "LR", value: (r) => r.lr, text: (r) => short(r.lr), number: true },
    { key: "weight_decay", label: "WD", value: (r) => r.weight_decay, text: (r) => short(r.weight_decay), number: true },
    { key: "edge", label: "at the edge", value: (r) => r.edge, text: (r) => (r.edge === null ? "–" : r.edge ? "yes" : "no") },
    { key: "extensions", label: "rates beyond the grid", value: (r) => r.extensions, number: true },
    { key: "chosen_by", label: "chosen by", value: (r) => r.chosen_by },
    { key: "epochs", label: "epochs", value: (r) => r.epochs, extra: true },
    { key: "steps", label: "steps", value: (r) => r.steps, extra: true },
    { key: "tuning_seconds", label: "tuning, s", value: (r) => r.tuning_seconds, text: (r) => fixed(r.tuning_seconds, 0), number: true },
    { key: "final_seconds", label: "final runs, s", value: (r) => r.final_seconds, text: (r) => fixed(r.final_seconds, 0), number: true },
  ];
  const parameters = new Map(table.backbones.map((b: Backbone) => [b.id, b.parameters]));
  return (
    <section>
      {head}
      <Sentences
        lead
        lines={table.fairness.length ? [`Not equal between cells: ${table.fairness.join("; ")}.`] : ["Equal trials, grids and epochs in every cell."]}
      />
      <Grid name="ledger" caption="What tuning and training each optimizer got." columns={LEDGER} rows={table.ledger} />
      {more === undefined || more instanceof Error ? (
        <Waiting found={more} what="the trials" />
      ) : (
        <>
          {more.trial_curves.length > 0 && (
            <Figure
              name="trials"
              title="What few trials cost"
              about="Expected points below the best trial after that many trials, over backbones."
              draw={(sheet) => (
                <Lines
                  sheet={sheet}
                  x={{ kind: "linear", label: "trials" }}
                  y={{ kind: "linear", label: "points lost", zero: true }}
                  label={`Expected shortfall against the number of trials in ${table.title}`}
                  series={more.trial_curves.map((curve) => ({
                    key: curve.optimizer,
                    label: names.optimizer(curve.optimizer),
                    colour: names.place(curve.optimizer),
                    points: curve.points.map((p) => ({ x: p.k, y: p.shortfall, low: p.low, high: p.high })),
                  }))}
                />
              )}
            />
          )}
          <Distances more={more} />
          {more.cells_ledger && (
            <Grid
              name="cells-ledger"
              caption="What tuning and training each cell got. Trials hold no test metric; the last epoch on validation decides."
              columns={cells}
              rows={more.cells_ledger}
              size={(r) => parameters.get(r.backbone) ?? null}
            />
          )}
        </>
      )}
    </section>
  );
}

interface Missing {
  backbone: string;
  optimizer: string;
  parameters: number | null;
  status: string;
  command: string;
}

export function MissingView({ selection }: { selection: Selection }) {
  const { table, summary } = useApp();
  const rows: Missing[] = [];
  for (const b of selection.backbones) {
    for (const o of selection.optimizers) {
      const status = table.cells.status[cellOf(table, b, o)]!;
      if (status !== "missing" && status !== "interrupted") continue;
      const [backbone, optimizer] = [table.backbones[b]!, table.optimizers[o]!];
      rows.push({
        backbone: backbone.label,
        optimizer: optimizer.label,
        parameters: backbone.parameters,
        status: STATUS[status]!,
        command: `${backbone.train} ${optimizer.train}`,
      });
    }
  }
  const columns: Column<Missing>[] = [
    { key: "backbone", label: "backbone", value: (r) => r.backbone },
    { key: "optimizer", label: "optimizer", value: (r) => r.optimizer },
    { key: "parameters", label: "parameters", value: (r) => r.parameters, text: (r) => millions(r.parameters), number: true },
    { key: "status", label: "status", value: (r) => r.status },
    { key: "command", label: "command", value: (r) => r.command, view: (r) => <code>{r.command}</code> },
  ];
  return (
    <section>
      <h2>Missing cells</h2>
      <p class="big">
        {rows.length ? `${count(rows.length, "cell")} ${rows.length === 1 ? "has" : "have"} no finished run.` : "Every cell that is shown has a finished run."}
      </p>
      {rows.length > 0 && (
        <Grid name="missing" caption="What would fill them." columns={columns} rows={rows} size={(r) => r.parameters} />
      )}
      <h3>How to submit</h3>
      <ol class="list">
        <li>
          Tune with one seed and train with three fresh ones; <code>bocb sweep</code> does both. Another backbone or
          optimizer makes a new column or row; further seeds of a cell make its interval narrower.
        </li>
        <li>Publish what you trained, and propose it to the results data set:</li>
      </ol>
      <Command text={[summary.install, ...summary.submit].join("\n")} label="Commands that submit runs" />
      <p class="soft">A maintainer merges what <code>bocb validate</code> accepts; the next <code>bocb publish</code> counts your runs.</p>
    </section>
  );
}
