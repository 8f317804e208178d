/** A table of rows: sorted by any column, filtered, with a choice of columns, and saved as CSV or LaTeX. */

import type { ComponentChildren } from "preact";
import { useMemo, useState } from "preact/hooks";

import { gridState, setGrid, useApp } from "./app-state";
import { CopyButton } from "./parts";
import { csv, download, tsv } from "./save";
import { tex, texTable } from "./tex";
import { count, fixed, short, slug } from "./words";

export type Value = string | number | boolean | null | undefined;

export interface Column<R> {
  key: string;
  label: string;
  value: (row: R) => Value; // raw: files and sorting go by it
  text?: (row: R) => string; // as the page and LaTeX show it
  view?: (row: R) => ComponentChildren; // on the page only
  number?: boolean;
  wrap?: boolean;
  extra?: boolean; // shown once it is chosen
}

interface GridProps<R> {
  name: string; // in the address and in file names
  caption: string;
  columns: Column<R>[];
  rows: R[];
  size?: (row: R) => number | null; // parameters, for the filter of size
  marked?: (row: R) => boolean;
  legend?: string; // signs that the rows hold, in words
  plain?: boolean; // a small table without filters
}

const MOST = 200; // rows that are shown before all are asked for
const LONG = 40; // letters above which a text is broken into lines

/** A score with its interval, which never stands apart. */
export function scoreText(mean: number | null | undefined, low?: number | null, high?: number | null, digits = 2): string {
  if (mean === null || mean === undefined) return "–";
  return fixed(mean, digits) + (low != null && high != null ? ` [${fixed(low, digits)}, ${fixed(high, digits)}]` : "");
}

function textOf<R>(column: Column<R>, row: R): string {
  if (column.text) return column.text(row);
  const value = column.value(row);
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "number" ? short(value, 4) : value;
}

function compare(a: Value, b: Value): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function empty(value: Value): boolean {
  return value === null || value === undefined || value === "" || Number.isNaN(value);
}

export function Grid<R>({ name, caption, columns, rows, size, marked, legend, plain }: GridProps<R>) {
  const { state, table } = useApp();
  const [all, setAll] = useState(false);
  const chosen = gridState(state, name);
  const shown = useMemo(
    () =>
      columns.filter((c) =>
        chosen.columns === null ? !c.extra && rows.some((row) => !empty(c.value(row))) : chosen.columns.includes(c.key),
      ),
    [columns, rows, chosen.columns],
  );
  const visible = shown.length ? shown : columns.slice(0, 1);
  const sized = size !== undefined && rows.some((row) => size(row) !== null);
  const found = useMemo(() => {
    const wanted = chosen.find.trim().toLowerCase();
    const left = rows.filter((row) => {
      if (wanted && !columns.some((c) => textOf(c, row).toLowerCase().includes(wanted))) return false;
      if (!size || (chosen.smallest === null && chosen.largest === null)) return true;
      const parameters = size(row);
      if (parameters === null) return false;
      return parameters >= (chosen.smallest ?? 0) * 1e6 && parameters <= (chosen.largest ?? Infinity) * 1e6;
    });
    const down = chosen.sort.startsWith("-");
    const by = columns.find((c) => c.key === chosen.sort.replace(/^-/, ""));
    if (!by) return left;
    const keyed = left.map((row) => ({ row, value: by.value(row) }));
    keyed.sort((a, b) => {
      if (empty(a.value) || empty(b.value)) return Number(empty(a.value)) - Number(empty(b.value)); // these stay last
      return (down ? -1 : 1) * compare(a.value, b.value);
    });
    return keyed.map((k) => k.row);
  }, [rows, columns, chosen.find, chosen.sort, chosen.smallest, chosen.largest, size]);
  const cut = all ? found : found.slice(0, MOST);

  const file = `${table.id}-${name}`;
  const about = `${caption} Scores: ${table.basis}${table.date ? ` Data of ${table.date}.` : ""}`;
  const texts = (): string[][] => found.map((row) => visible.map((c) => textOf(c, row)));
  const saveCsv = (): void => {
    const values = found.map((row) => columns.map((c) => c.value(row)));
    download(`${file}.csv`, csv(columns.map((c) => c.key), values), "text/csv;charset=utf-8");
  };
  const saveTex = (): void => {
    const words = tex(legend ? `${about} ${legend}.` : about);
    const body = found.map((row) =>
      visible.map((c) => (marked?.(row) ? `\\textbf{${tex(textOf(c, row))}}` : tex(textOf(c, row)))),
    );
    const sides = visible.map((c) => (c.number ? "r" : "l")).join("");
    const content = texTable(words, slug(file), visible.map((c) => tex(c.label)), body, sides);
    download(`${file}.tex`, content, "text/x-tex;charset=utf-8");
  };
  const sortBy = (column: Column<R>): void => {
    const first = column.number ? `-${column.key}` : column.key;
    const second = column.number ? column.key : `-${column.key}`;
    setGrid(state, name, { sort: chosen.sort === first ? second : chosen.sort === second ? "" : first });
  };
  const direction = (column: Column<R>): "ascending" | "descending" | "none" =>
    chosen.sort === column.key ? "ascending" : chosen.sort === `-${column.key}` ? "descending" : "none";

  return (
    <div class="grid">
      {!plain && (
        <div class="tools">
          <label>
            Find{" "}
            <input
              type="search"
              value={chosen.find}
              onInput={(e) => setGrid(state, name, { find: e.currentTarget.value }, true)}
            />
          </label>
          {sized && (
            <SizeFields
              from={chosen.smallest}
              to={chosen.largest}
              set={(smallest, largest) => setGrid(state, name, { smallest, largest }, true)}
            />
          )}
          <details class="menu">
            <summary>Columns</summary>
            <div>
              {columns.map((c) => (
                <label key={c.key}>
                  <input
                    type="checkbox"
                    checked={visible.includes(c)}
                    onChange={(e) => {
                      const on = e.currentTarget.checked;
                      const keys = columns.filter((o) => (o === c ? on : visible.includes(o))).map((o) => o.key);
                      setGrid(state, name, { columns: keys }, true);
                    }}
                  />{" "}
                  {c.label}
                </label>
              ))}
            </div>
          </details>
          <Files copy={() => tsv(visible.map((c) => c.label), texts())} csv={saveCsv} tex={saveTex} />
        </div>
      )}
      <div class="scroll" tabIndex={0} role="group" aria-label={caption}>
        <table class="rows">
          <caption>
            <span class="held">
              {caption}
              {legend && <span class="soft"> {legend}.</span>}
            </span>
          </caption>
          <thead>
            <tr>
              {visible.map((c) => (
                <th key={c.key} scope="col" class={c.number ? "right" : undefined} aria-sort={direction(c)}>
                  <button type="button" onClick={() => sortBy(c)}>
                    {c.label}
                    <span aria-hidden="true" class="way">
                      {{ ascending: "▲", descending: "▼", none: "" }[direction(c)]}
                    </span>
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {cut.map((row, i) => (
              <tr key={i} class={marked?.(row) ? "marked" : undefined}>
                {visible.map((c, k) => {
                  const content = c.view ? c.view(row) : textOf(c, row);
                  const long = c.wrap || textOf(c, row).length > LONG;
                  const look = [c.number ? "right" : "", long ? "wrap" : ""].join(" ").trim() || undefined;
                  return k === 0 ? (
                    <th key={c.key} scope="row" class={look}>
                      {content}
                    </th>
                  ) : (
                    <td key={c.key} class={look}>
                      {content}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {!found.length && (
        <p class="soft" role="status">
          {rows.length ? "No row passes these filters. " : "There is no row. "}
          {rows.length > 0 && (
            <button
              type="button"
              class="small"
              onClick={() => setGrid(state, name, { find: "", smallest: null, largest: null })}
            >
              Show all {rows.length}
            </button>
          )}
        </p>
      )}
      {plain && <Files copy={() => tsv(visible.map((c) => c.label), texts())} csv={saveCsv} tex={saveTex} />}
      {found.length > cut.length && (
        <p>
          <button type="button" onClick={() => setAll(true)}>
            Show all {count(found.length, "row")}
          </button>
        </p>
      )}
    </div>
  );
}

export function Files({ copy, csv: saveCsv, tex: saveTex }: { copy: () => string; csv: () => void; tex: () => void }) {
  return (
    <span class="files">
      <CopyButton text={copy} title="These rows and columns, for a spreadsheet" />
      <button type="button" class="small" onClick={saveCsv} title="These rows, all columns, raw values">
        CSV
      </button>
      <button type="button" class="small" onClick={saveTex} title="These rows and columns, with caption and units">
        LaTeX
      </button>
    </span>
  );
}

interface SizeProps {
  from: number | null;
  to: number | null;
  set: (from: number | null, to: number | null) => void;
}

/** Smallest and largest number of parameters, in millions. */
export function SizeFields({ from, to, set }: SizeProps) {
  const read = (text: string): number | null => (text.trim() === "" || !(Number(text) >= 0) ? null : Number(text));
  return (
    <span class="sizes">
      <label>
        Parameters (M){" "}
        <input
          type="number"
          min="0"
          step="any"
          placeholder="from"
          aria-label="Smallest number of parameters in millions"
          value={from ?? ""}
          onInput={(e) => set(read(e.currentTarget.value), to)}
        />
      </label>
      <input
        type="number"
        min="0"
        step="any"
        placeholder="to"
        aria-label="Largest number of parameters in millions"
        value={to ?? ""}
        onInput={(e) => set(from, read(e.currentTarget.value))}
      />
    </span>
  );
}
