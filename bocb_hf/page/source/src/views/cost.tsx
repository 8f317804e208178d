/** Cost: what does a score cost? */

import { go } from "../address";
import { useApp, useTableMore } from "../app-state";
import { CostFigure, costValue } from "../figures/cost";
import { Figure } from "../figures/frame";
import type { FrontPoint } from "../format";
import { type Column, Grid, scoreText } from "../grid";
import { List, Waiting } from "../parts";
import { type Selection, cellOf } from "../selection";
import { short } from "../words";
import { useNames } from "./names";

export function CostView({ selection }: { selection: Selection }) {
  const { table, state } = useApp();
  const more = useTableMore();
  const names = useNames();
  const head = <h2>Cost: what does {table.metric} cost?</h2>;
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
          title={`${backbone.label}: ${table.metric} against cost`}
          about="The line joins the front: nothing is both cheaper and better by its mean. Bars: intervals of 95 %."
          draw={(sheet) => (
            <CostFigure sheet={sheet} front={kept} name={names.optimizer} label={`${table.metric} of ${backbone.label} against ${front.label}`} />
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
