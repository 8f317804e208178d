/** One backbone under all optimizers, and one optimizer on all backbones. */

import { useMemo } from "preact/hooks";

import { go, href } from "../address";
import { useApp, useRead, useTableMore } from "../app-state";
import { cellColumns, cellRows } from "../cells";
import { lossSeries } from "../curves";
import { Lines, Rows } from "../figures/axes";
import { Figure } from "../figures/frame";
import { type Panel, PatternsFigure } from "../figures/patterns";
import type { CellMore, TableMore } from "../format";
import { Grid } from "../grid";
import { List, Sentences, Waiting } from "../parts";
import { type Selection, cellOf } from "../selection";
import { count, millions } from "../words";

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
  const { table, state, details } = useApp();
  const known = table.backbones.findIndex((b) => b.id === state.backbone);
  const b = known >= 0 ? known : (selection.backbones[0] ?? 0);
  const backbone = table.backbones[b]!;
  const shown = selection.optimizers.filter((o) => !selection.hides(cellOf(table, b, o)));
  const columns = useMemo(() => cellColumns(table, state, "backbone"), [table, state]);
  const rows = cellRows(table, shown.map((o) => [b, o]));
  const order = [...rows].sort((x, y) => (table.cells.rank?.[x.i] ?? Infinity) - (table.cells.rank?.[y.i] ?? Infinity));
  const wanted = table.optimizers.map((_, o): [number, number | null] => {
    const i = cellOf(table, b, o);
    return [i, table.cells.chunk?.[i] ?? null];
  });
  const found = useRead(() => details.cells(wanted), `backbone ${table.id} ${b}`);
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
      {found instanceof Map ? (
        <Curves cells={found} b={b} shown={shown} />
      ) : (
        table.cells.chunk && <Waiting found={found} what="the runs of this backbone" />
      )}
    </section>
  );
}

function Curves({ cells, b, shown }: { cells: Map<number, CellMore>; b: number; shown: number[] }) {
  const { table } = useApp();
  const backbone = table.backbones[b]!;
  const runs = (o: number) => cells.get(cellOf(table, b, o))?.runs.filter((run) => run.shown) ?? [];
  const series = shown.flatMap((o) => lossSeries(runs(o), table.optimizers[o]!.label, table.optimizers[o]!.id, o));
  const panels = patternPanels(shown.map((o) => ({ o, label: table.optimizers[o]!.label, runs: runs(o) })));
  return (
    <>
      {series.length > 0 && (
        <Figure
          name={`curves-${backbone.id}`}
          title="Training loss"
          about="A line for each seed; it ends where a run diverged."
          draw={(sheet) => (
            <Lines
              sheet={sheet}
              series={series}
              x={{ kind: "linear", label: "epoch" }}
              y={{ kind: "log", label: "training loss, nats" }}
              label={`Training loss of ${backbone.label} over epochs under each optimizer`}
            />
          )}
        />
      )}
      {panels.length > 0 && (
        <Figure
          name={`patterns-${backbone.id}`}
          title="Weight patterns, layer by layer"
          about="Of the last weights of the first seed of each optimizer."
          draw={(sheet) => (
            <PatternsFigure
              sheet={sheet}
              panels={panels}
              label={`Weight patterns of ${backbone.label} by layer and optimizer`}
            />
          )}
        />
      )}
    </>
  );
}

const MEASURES: Record<string, string> = {
  entropy: "entropy, nats",
  norm: "‖w‖₂",
  energy: "share of variance in the first components",
  alpha: "spectral exponent α",
};

function patternPanels(of: { o: number; label: string; runs: CellMore["runs"] }[]): Panel[] {
  const withPatterns = of.flatMap(({ o, label, runs }) => {
    const layers = runs.find((run) => run.patterns)?.patterns?.layers;
    return layers ? [{ o, label, layers }] : [];
  });
  return Object.entries(MEASURES).flatMap(([measure, title]) => {
    const series = withPatterns.flatMap(({ o, label, layers }) => {
      const points = layers.flatMap((layer, i) => {
        const value = layer[measure];
        return typeof value === "number" ? [{ x: i + 1, y: value }] : [];
      });
      return points.length ? [{ key: `${o}`, label, colour: o, points }] : [];
    });
    return series.length ? [{ title, series }] : [];
  });
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
