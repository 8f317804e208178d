/** Tuning: was it fair, and was it enough? */

import { useApp, useTableMore } from "../app-state";
import { Figure } from "../figures/frame";
import { Lines } from "../figures/lines";
import type { Backbone, CellLedger, LedgerRow } from "../format";
import { type Column, Grid } from "../grid";
import { Sentences, Waiting } from "../parts";
import { fixed, short } from "../words";
import { useNames } from "./names";
import { Distances } from "./one";

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
          {more.trial_curves.some((curve) => curve.points.length > 1) && (
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
