/** One backbone under all optimizers, and one optimizer on all backbones. */

import { useMemo } from "preact/hooks";

import { go, href } from "../address";
import { useApp, useTableMore } from "../app-state";
import { cellColumns, cellRows } from "../cells";
import { Rows } from "../figures/axes";
import { Figure } from "../figures/frame";
import type { TableMore } from "../format";
import { Grid } from "../grid";
import { List, Sentences } from "../parts";
import { type Selection, cellOf } from "../selection";
import { count, millions } from "../words";
import { Compared } from "./compared";

interface PickProps {
  label: string;
  rows: { id: string; label: string }[];
  chosen: string;
  set: (id: string) => void;
}

function Pick({ label, rows, chosen, set }: PickProps) {
  return (
    <p>
      <label>
        {label}{" "}
        <select aria-label={label} value={chosen} onChange={(e) => set(e.currentTarget.value)}>
          {rows.map((row) => (
            <option key={row.id} value={row.id}>
              {row.label}
            </option>
          ))}
        </select>
      </label>
    </p>
  );
}

export function BackboneView({ selection }: { selection: Selection }) {
  const { table, state } = useApp();
  const known = table.backbones.findIndex((b) => b.id === state.backbone);
  const b = known >= 0 ? known : (selection.backbones[0] ?? 0);
  const backbone = table.backbones[b]!;
  const shown = selection.optimizers.filter((o) => !selection.hides(cellOf(table, b, o)));
  const columns = useMemo(() => cellColumns(table, state, "backbone"), [table, state]);
  const rows = cellRows(table, shown.map((o) => [b, o]));
  const order = [...rows].sort((x, y) => (table.cells.rank?.[x.i] ?? Infinity) - (table.cells.rank?.[y.i] ?? Infinity));
  const tags = [backbone.family_label, backbone.stage_wise, backbone.block_wise, backbone.operator].filter(
    (t) => t && t !== "-",
  );
  const floors = table.floors.filter((f) => f.backbone === null || f.backbone === backbone.id);
  return (
    <section>
      <Pick
        label="Backbone"
        rows={table.backbones}
        chosen={backbone.id}
        set={(id) => go({ ...state, backbone: id, cell: false })}
      />
      <h2>{backbone.label}</h2>
      <p class="soft">
        {tags.join(", ")}
        {backbone.parameters !== null && `; ${millions(backbone.parameters)} parameters`}.{" "}
        <a href={href({ ...state, ask: backbone.label })}>Which optimizer for it?</a>
      </p>
      <Sentences lines={backbone.headline} lead />
      <Grid
        name="backbone"
        caption={`${backbone.label} under ${count(rows.length, "optimizer")}, best first.`}
        columns={columns}
        rows={order}
        marked={(row) => table.cells.rank?.[row.i] === 1}
        legend={table.rules.marks}
      />
      <List lines={floors.map((f) => f.text)} />
      <Compared b={b} shown={shown} />
    </section>
  );
}

export function OptimizerView({ selection }: { selection: Selection }) {
  const { table, state } = useApp();
  const known = table.optimizers.findIndex((o) => o.id === state.optimizer);
  const o = known >= 0 ? known : (selection.optimizers[0] ?? 0);
  const optimizer = table.optimizers[o]!;
  const shown = selection.backbones.filter((b) => !selection.hides(cellOf(table, b, o)));
  const columns = useMemo(() => cellColumns(table, state, "optimizer"), [table, state]);
  const rows = cellRows(table, shown.map((b) => [b, o]));
  const more = useTableMore();
  const gaps = rows.filter((row) => table.cells.gap?.[row.i] != null);
  return (
    <section>
      <Pick
        label="Optimizer"
        rows={table.optimizers}
        chosen={optimizer.id}
        set={(id) => go({ ...state, optimizer: id, cell: false })}
      />
      <h2>{optimizer.label}</h2>
      <p class="soft">{optimizer.category_label}.</p>
      <Sentences lines={optimizer.headline} lead />
      <Grid
        name="optimizer"
        caption={`${optimizer.label} on ${count(rows.length, "backbone")}.`}
        columns={columns}
        rows={rows}
        size={(row) => table.backbones[row.b]!.parameters}
        marked={(row) => table.cells.rank?.[row.i] === 1}
        legend={table.rules.marks}
      />
      {gaps.length > 1 && (
        <Figure
          name={`gaps-${optimizer.id}`}
          title="Points below the best of each backbone"
          draw={(sheet) => (
            <Rows
              sheet={sheet}
              axis="points below the best"
              label={`Points below the best of each backbone under ${optimizer.label}`}
              rows={gaps.map((row) => ({
                key: table.backbones[row.b]!.id,
                label: table.backbones[row.b]!.label,
                group: table.backbones[row.b]!.family_label,
                marks: [{ value: table.cells.gap![row.i]! }],
              }))}
              zero
            />
          )}
        />
      )}
      {more !== undefined && !(more instanceof Error) && <Distances more={more} />}
    </section>
  );
}

/** How far the best trial of each pair lies from what is usual; shared by two views. */
export function Distances({ more }: { more: TableMore }) {
  const { table } = useApp();
  const name = (id: string): string =>
    table.optimizers.find((o) => o.id === id)?.label ?? table.backbones.find((b) => b.id === id)?.label ?? id;
  if (!more.robustness?.by_optimizer.length) return null;
  return (
    <Figure
      name="distance-by-optimizer"
      title="How far tuning had to go"
      about="Sum of the steps of learning rate and weight decay between the best trial of a pair and what is usual for its backbone; a dot for each backbone."
      draw={(sheet) => (
        <Rows
          sheet={sheet}
          axis="steps of the grid"
          label="Tuning distance of each optimizer over its backbones"
          rows={more.robustness!.by_optimizer.map((row) => ({
            key: row.name,
            label: name(row.name),
            marks: Object.entries(row.values).map(([b, value]) => ({ value, title: `${name(b)}: ${value}` })),
          }))}
          zero
        />
      )}
    />
  );
}
