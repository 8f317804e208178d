/**
 * What a visitor has chosen, all of it in the fragment of the address, so that a view can be shared and Back works.
 *
 * Addresses of the page before this one had the same names in the query; `main.tsx` moves them here.
 */

export const VIEWS = {
  table: "Heat map",
  backbone: "One backbone",
  optimizer: "One optimizer",
  coupling: "Coupling",
  contrast: "Contrast",
  ranking: "Ranks",
  cost: "Cost",
  study: "Beside the study",
  transfer: "Transfer",
  tuning: "Tuning",
  missing: "Missing cells",
  data: "Data and citation",
} as const;
export type ViewName = keyof typeof VIEWS;

export const LEVELS = ["self-reported", "verified", "reproduced"] as const;
export type Level = (typeof LEVELS)[number];

/** How one table of rows is shown. */
export interface GridState {
  sort: string; // column key, with "-" before it for descending; "" for the order of the data
  find: string;
  smallest: number | null; // millions of parameters
  largest: number | null;
  columns: string[] | null; // keys that are shown; null for the default
}

export interface State {
  table: string; // "" for the one that the page opens on
  view: ViewName;
  families: string[]; // empty for all
  categories: string[];
  level: Level;
  n: number; // fewest runs of a cell that is shown
  namespaces: string[];
  backbone: string;
  optimizer: string;
  cell: boolean; // whether the cell of backbone and optimizer is open
  axis: string;
  ask: string;
  intervals: boolean | null; // in the heat map; null for the default
  smallest: number | null; // millions of parameters of a backbone
  largest: number | null;
  find: string; // in the names of backbones and optimizers
  grids: Record<string, GridState>;
}

export const DEFAULT: State = {
  table: "",
  view: "table",
  families: [],
  categories: [],
  level: "self-reported",
  n: 1,
  namespaces: [],
  backbone: "",
  optimizer: "",
  cell: false,
  axis: "",
  ask: "",
  intervals: null,
  smallest: null,
  largest: null,
  find: "",
  grids: {},
};

export const PLAIN_GRID: GridState = { sort: "", find: "", smallest: null, largest: null, columns: null };

const MOST = 300; // characters of a value in an address

function numberOf(text: string | null): number | null {
  if (text === null || !/^\d{1,6}(\.\d{1,4})?$/.test(text)) return null;
  return Number(text);
}

/** Reads a query or fragment; what it cannot mean stays at its default. */
export function parse(text: string): State {
  const given = new URLSearchParams(text.replace(/^[#?]/, ""));
  const value = (name: string): string => {
    const found = given.get(name) ?? "";
    return found.length <= MOST ? found : "";
  };
  const several = (name: string): string[] => given.getAll(name).filter((v) => v !== "" && v.length <= MOST);
  const view = value("view");
  const n = numberOf(given.get("n"));
  const level = LEVELS.find((l) => l === value("level"));
  const grids: Record<string, GridState> = {};
  for (const [key, content] of given) {
    const found = /^([a-z]+)\.([a-z0-9-]{1,60})$/.exec(key);
    if (!found || content.length > MOST) continue;
    const grid = (grids[found[2]!] ??= { ...PLAIN_GRID });
    if (found[1] === "sort") grid.sort = content;
    else if (found[1] === "find") grid.find = content;
    else if (found[1] === "from") grid.smallest = numberOf(content);
    else if (found[1] === "to") grid.largest = numberOf(content);
    else if (found[1] === "columns") grid.columns = content.split(",").filter(Boolean);
  }
  const intervals = value("intervals");
  return {
    table: value("table"),
    view: view in VIEWS ? (view as ViewName) : "table",
    families: several("families"),
    categories: several("categories"),
    level: level ?? DEFAULT.level,
    n: n === null ? 1 : Math.min(99, Math.max(1, Math.round(n))),
    namespaces: several("namespaces"),
    backbone: value("backbone"),
    optimizer: value("optimizer"),
    cell: value("cell") === "1" && value("backbone") !== "" && value("optimizer") !== "",
    axis: value("axis"),
    ask: value("ask").trim(),
    intervals: intervals === "1" ? true : intervals === "0" ? false : null,
    smallest: numberOf(given.get("from")),
    largest: numberOf(given.get("to")),
    find: value("find"),
    grids,
  };
}

/** The fragment of a state, without what is as it is by default. */
export function format(state: State): string {
  const pairs: [string, string][] = [];
  const add = (name: string, value: string | null): void => {
    if (value !== null && value !== "") pairs.push([name, value]);
  };
  add("table", state.table);
  if (state.view !== DEFAULT.view) add("view", state.view);
  for (const name of ["families", "categories", "namespaces"] as const) {
    for (const value of state[name]) add(name, value);
  }
  if (state.level !== DEFAULT.level) add("level", state.level);
  if (state.n !== 1) add("n", String(state.n));
  add("from", state.smallest === null ? null : String(state.smallest));
  add("to", state.largest === null ? null : String(state.largest));
  add("find", state.find);
  add("intervals", state.intervals === null ? null : state.intervals ? "1" : "0");
  add("backbone", state.backbone);
  add("optimizer", state.optimizer);
  add("cell", state.cell ? "1" : null);
  add("axis", state.axis);
  add("ask", state.ask);
  for (const [name, grid] of Object.entries(state.grids)) {
    add(`sort.${name}`, grid.sort);
    add(`find.${name}`, grid.find);
    add(`from.${name}`, grid.smallest === null ? null : String(grid.smallest));
    add(`to.${name}`, grid.largest === null ? null : String(grid.largest));
    add(`columns.${name}`, grid.columns === null ? null : grid.columns.join(","));
  }
  return new URLSearchParams(pairs).toString();
}

/** The state of the address as it stands. */
export function current(): State {
  return parse(location.hash);
}

/** An address of a state, for links. */
export function href(state: State): string {
  return `#${format(state)}`;
}

/**
 * Goes to a state.
 *
 * @param replace Whether it takes the place of the present entry of the history, as while typing.
 */
export function go(state: State, replace = false): void {
  const target = href(state);
  if (target === (location.hash || "#")) return;
  if (replace) history.replaceState(null, "", target);
  else history.pushState(null, "", target);
  window.dispatchEvent(new Event("bocb-address"));
}

/** Tells the Hub, which shows a Space in a frame, what the address is now, so that the visitor can share it. */
export function announce(hub: string): void {
  if (window.parent === window) return;
  window.parent.postMessage({ queryString: "", hash: location.hash.replace(/^#/, "") }, new URL(hub).origin);
}
