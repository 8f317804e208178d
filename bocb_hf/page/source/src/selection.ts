/** What the filters leave of a table. They hide; nothing is ever computed anew. */

import { LEVELS, type State } from "./address";
import type { Table } from "./format";

export interface Selection {
  backbones: number[]; // places in the table
  optimizers: number[];
  hides: (cell: number) => boolean; // cell = b · O + o
  words: string[]; // the filters that are set
  hidden: number; // cells among those rows and columns that are hidden, though they were run
}

export function cellOf(table: Table, b: number, o: number): number {
  return b * table.optimizers.length + o;
}

function matches(find: string, ...names: string[]): boolean {
  const wanted = find.trim().toLowerCase();
  return names.some((name) => name.toLowerCase().includes(wanted));
}

export function select(table: Table, state: State): Selection {
  const find = state.find.trim();
  const named = (places: number[], of: readonly { id: string; label: string }[]): number[] => {
    const found = find ? places.filter((i) => matches(find, of[i]!.id, of[i]!.label)) : places;
    return found.length ? found : places; // words that name a backbone leave all optimizers, and the other way round
  };
  const families = state.families.filter((f) => table.backbones.some((b) => b.family === f));
  const categories = state.categories.filter((c) => table.optimizers.some((o) => o.category === c));
  let backbones = table.backbones
    .map((_, i) => i)
    .filter((i) => {
      const { family, parameters } = table.backbones[i]!;
      if (families.length && !families.includes(family)) return false;
      if (state.smallest !== null && (parameters === null || parameters < state.smallest * 1e6)) return false;
      return state.largest === null || (parameters !== null && parameters <= state.largest * 1e6);
    });
  let optimizers = table.optimizers
    .map((_, i) => i)
    .filter((i) => !categories.length || categories.includes(table.optimizers[i]!.category));
  if (find && ![...table.backbones, ...table.optimizers].some((r) => matches(find, r.id, r.label))) {
    backbones = [];
  } else {
    backbones = named(backbones, table.backbones);
    optimizers = named(optimizers, table.optimizers);
  }

  const { status, n, diverged, level, owner } = table.cells;
  const least = LEVELS.indexOf(state.level);
  const filtersCells = state.n > 1 || least > 0 || state.namespaces.length > 0;
  const hides = (i: number): boolean => {
    if (!filtersCells || status[i] === "missing" || status[i] === "interrupted") return false;
    if ((n[i] ?? 0) + (diverged[i] ?? 0) < state.n) return true;
    const owners = (owner?.[i] ?? "").split(" ");
    if (state.namespaces.length && !state.namespaces.some((name) => owners.includes(name))) return true;
    if (least === 0) return false;
    const at = LEVELS.findIndex((l) => l === level?.[i]);
    return at < least;
  };
  let hidden = 0;
  if (filtersCells) {
    for (const b of backbones) for (const o of optimizers) if (hides(cellOf(table, b, o))) hidden++;
  }

  const words: string[] = [];
  const label = (f: string): string => table.backbones.find((b) => b.family === f)?.family_label ?? f;
  if (families.length) words.push(families.map(label).join(", "));
  if (categories.length) words.push(`optimizers of ${categories.join(", ")}`);
  if (state.smallest !== null) words.push(`at least ${state.smallest} M parameters`);
  if (state.largest !== null) words.push(`at most ${state.largest} M parameters`);
  if (find) words.push(`names with “${find}”`);
  if (state.n > 1) words.push(`n ≥ ${state.n}`);
  if (least > 0) words.push(`${state.level} at least`);
  if (state.namespaces.length) words.push(`runs of ${state.namespaces.join(", ")}`);
  return { backbones, optimizers, hides, words, hidden };
}

/** The state without any filter. */
export const NO_FILTERS: Partial<State> = {
  families: [],
  categories: [],
  smallest: null,
  largest: null,
  find: "",
  n: 1,
  level: "self-reported",
  namespaces: [],
};

export const STATUS: Record<string, string> = {
  missing: "not run",
  interrupted: "not finished",
  diverged: "diverged",
  partial: "partly diverged",
  completed: "completed",
};
