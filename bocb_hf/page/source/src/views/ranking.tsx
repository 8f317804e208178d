/** Ranks: which optimizer is good on most backbones? */

import { href } from "../address";
import { useApp, useTableMore } from "../app-state";
import { Rows } from "../figures/axes";
import { Figure } from "../figures/frame";
import { Lines } from "../figures/lines";
import { RanksFigure } from "../figures/ranks";
import type { Optimizer } from "../format";
import { type Column, Grid, scoreText } from "../grid";
import { List, Sentences, Waiting } from "../parts";
import { type Selection, cellOf } from "../selection";
import { fixed } from "../words";
import { useNames } from "./names";

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
    { key: "kappa", label: `index κ${rows.some((o) => o.kappa?.low != null) ? " [95 %]" : ""}`, value: (o) => o.kappa?.value, text: (o) => scoreText(o.kappa?.value, o.kappa?.low, o.kappa?.high), number: true },
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
