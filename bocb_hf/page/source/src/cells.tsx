/** Cells of a table as rows of a `Grid`, with the same columns wherever they stand. */

import { href } from "./address";
import type { State } from "./address";
import type { Table } from "./format";
import { type Column, scoreText } from "./grid";
import { STATUS, cellOf } from "./selection";
import { fixed, millions, short } from "./words";

export interface CellRow {
  b: number;
  o: number;
  i: number;
}

function at<T>(column: readonly T[] | undefined, row: CellRow): T | null {
  return column?.[row.i] ?? null;
}

/** Columns of cells; those in which the table has nothing are left out. */
export function cellColumns(table: Table, state: State, of: "backbone" | "optimizer"): Column<CellRow>[] {
  const c = table.cells;
  const open = (row: CellRow): string =>
    href({ ...state, view: "table", backbone: table.backbones[row.b]!.id, optimizer: table.optimizers[row.o]!.id, cell: true });
  const named = (of === "backbone" ? table.optimizers : table.backbones) as { label: string }[];
  const place = (row: CellRow): number => (of === "backbone" ? row.o : row.b);
  const name: Column<CellRow> = {
    key: of === "backbone" ? "optimizer" : "backbone",
    label: of === "backbone" ? "optimizer" : "backbone",
    value: (row) => named[place(row)]!.label,
    view: (row) => <a href={open(row)}>{named[place(row)]!.label}</a>,
  };
  const kind: Column<CellRow> =
    of === "backbone"
      ? { key: "category", label: "category", value: (row) => table.optimizers[row.o]!.category_label, extra: true }
      : { key: "family", label: "family", value: (row) => table.backbones[row.b]!.family_label };
  const constant = table.n[0] === table.n[1];
  const scored: Column<CellRow>[] = [
    { key: "mark", label: "★ ☆", value: (row) => at(c.mark, row), text: (row) => at(c.mark, row) ?? "" },
    {
      key: "mean",
      label: c.low === undefined ? "test score" : "test score [95 %]",
      value: (row) => at(c.mean, row),
      text: (row) =>
        at(c.mean, row) === null
          ? (STATUS[c.status[row.i]!] ?? c.status[row.i]!)
          : scoreText(at(c.mean, row), at(c.low, row), at(c.high, row)),
      number: true,
    },
    { key: "low", label: "low", value: (row) => at(c.low, row), text: (row) => fixed(at(c.low, row), 2), number: true, extra: true },
    { key: "high", label: "high", value: (row) => at(c.high, row), text: (row) => fixed(at(c.high, row), 2), number: true, extra: true },
    {
      key: "n",
      label: "n",
      value: (row) => c.n[row.i],
      text: (row) => `${c.n[row.i]}${c.diverged[row.i] ? ` (+${c.diverged[row.i]} diverged)` : ""}`,
      number: true,
      extra: constant && !c.diverged.some((d) => d > 0),
    },
    { key: "diverged", label: "diverged", value: (row) => c.diverged[row.i], number: true, extra: true },
    { key: "status", label: "status", value: (row) => c.status[row.i], text: (row) => STATUS[c.status[row.i]!] ?? "", extra: true },
    { key: "gap", label: "points below the best", value: (row) => at(c.gap, row), text: (row) => fixed(at(c.gap, row), 2), number: true },
    { key: "rank", label: "rank", value: (row) => at(c.rank, row), number: true, extra: true },
    { key: "failed", label: "failed", value: (row) => Boolean(at(c.failed, row)), text: (row) => (at(c.failed, row) ? "failed" : "") },
    {
      key: "residual",
      label: c.residual_low ? "interaction [95 % for all]" : "interaction",
      value: (row) => at(c.residual, row),
      text: (row) => scoreText(at(c.residual, row), at(c.residual_low, row), at(c.residual_high, row)),
      number: true,
    },
    { key: "lr", label: "LR", value: (row) => at(c.lr, row), text: (row) => short(at(c.lr, row)), number: true },
    { key: "weight_decay", label: "WD", value: (row) => at(c.weight_decay, row), text: (row) => short(at(c.weight_decay, row)), number: true },
    { key: "trials", label: "trials", value: (row) => at(c.trials, row), number: true },
    { key: "seconds", label: "seconds a run", value: (row) => at(c.seconds, row), text: (row) => short(at(c.seconds, row)), number: true, extra: true },
    {
      key: "memory",
      label: "memory, MiB",
      value: (row) => (at(c.memory, row) === null ? null : at(c.memory, row)! / 2 ** 20),
      number: true,
      extra: true,
    },
    { key: "test_loss", label: "test loss", value: (row) => at(c.test_loss, row), number: true, extra: true },
    { key: "train_loss", label: "train loss", value: (row) => at(c.train_loss, row), number: true, extra: true },
    { key: "level", label: "trust", value: (row) => at(c.level, row) },
    { key: "hash", label: "configuration", value: (row) => at(c.hash, row) },
    { key: "repository", label: "repository", value: (row) => at(c.repository, row), extra: true },
  ];
  const has: Record<string, unknown> = { ...c, mean: true, memory: c.memory };
  const kept = scored.filter((column) => has[column.key] !== undefined);
  const parameters: Column<CellRow>[] =
    of === "optimizer" && table.backbones.some((b) => b.parameters !== null)
      ? [
          {
            key: "parameters",
            label: "parameters",
            value: (row) => table.backbones[row.b]!.parameters,
            text: (row) => millions(table.backbones[row.b]!.parameters),
            number: true,
          },
        ]
      : [];
  return [name, kind, ...parameters, ...kept];
}

export function cellRows(table: Table, pairs: readonly [number, number][]): CellRow[] {
  return pairs.map(([b, o]) => ({ b, o, i: cellOf(table, b, o) }));
}
