/** The heat map with what it says beside it, or the cell that is open. */

import { useMemo } from "preact/hooks";

import { go } from "../address";
import { useApp } from "../app-state";
import { CellPanel } from "../cell";
import { alone } from "../figures/frame";
import { Files } from "../grid";
import { HeatFigure } from "../figures/heat";
import { CLIP, Heat, SHADES, mainText, openCell } from "../heat";
import { List, Sentences } from "../parts";
import { csv, download, png, tsv } from "../save";
import { type Selection, cellOf } from "../selection";
import { tex, texTable } from "../tex";
import { reach, slug } from "../words";

const FEW = 12; // rows up to which intervals are shown unless one says otherwise

export function TableView({ selection }: { selection: Selection }) {
  const { table, state } = useApp();
  const place = state.cell ? openCell(table, state) : null;
  const can = table.cells.low !== undefined;
  const intervals = can && (state.intervals ?? table.optimizers.length <= FEW);
  return (
    <div class="beside">
      <div class="map">
        <Heat selection={selection} intervals={intervals} />
        <Legend />
        <p class="files">
          {can && (
            <label>
              <input
                type="checkbox"
                checked={intervals}
                onChange={(e) => go({ ...state, intervals: e.currentTarget.checked })}
              />{" "}
              intervals
            </label>
          )}
          <HeatFiles selection={selection} intervals={intervals} />
        </p>
      </div>
      {place === null ? <Said /> : <CellPanel b={Math.floor(place / table.optimizers.length)} o={place % table.optimizers.length} />}
    </div>
  );
}

/** What the table says, in the words of the analysis. */
function Said() {
  const { table } = useApp();
  const { answer, primary, table: about, reading } = table.headlines;
  const lead = answer.length ? answer : about;
  return (
    <aside class="said" aria-label="What the table says">
      <h2>What it says</h2>
      {table.toy && <p class="soft">{table.toy}</p>}
      <Sentences lines={lead} lead />
      {answer.length > 0 && <Sentences lines={about} />}
      {primary && <p>{primary}</p>}
      <Sentences lines={reading} />
      {table.floors.length > 0 && (
        <>
          <h3>Floors: scores that need no trained network</h3>
          <List lines={table.floors.map((f) => f.text)} />
        </>
      )}
      {table.notes.length > 0 && (
        <details open={table.notes.length < 4}>
          <summary>Notes ({table.notes.length})</summary>
          <List lines={table.notes} />
        </details>
      )}
    </aside>
  );
}

function Legend() {
  const { table } = useApp();
  const { marks, failed, interval } = table.rules;
  const { statuses, failures } = useMemo(
    () => ({ statuses: new Set<string>(table.cells.status), failures: table.cells.failed?.some(Boolean) ?? false }),
    [table],
  );
  return (
    <div class="legend">
      <p>
        <span class="scale" aria-hidden="true">
          0{" "}
          {Array.from({ length: SHADES }, (_, i) => (
            <i key={i} class={`g${i}`} />
          ))}{" "}
          ≥ {CLIP}
        </span>{" "}
        points below the best optimizer of the same backbone (square-root scale): compare within a column. {marks}.{" "}
        {failures && (
          <>
            <span aria-hidden="true">◥</span> {failed}.{" "}
          </>
        )}
        {table.cells.low !== undefined && `${interval}. `}
        {(statuses.has("diverged") || statuses.has("partial")) && "Hatched: runs diverged. "}
        {statuses.has("missing") && "–: not run. "}
        {statuses.has("interrupted") && "…: not finished. "}
      </p>
    </div>
  );
}

function HeatFiles({ selection, intervals }: { selection: Selection; intervals: boolean }) {
  const { table, summary } = useApp();
  const file = `${table.id}-heatmap`;
  const { backbones, optimizers, hides } = selection;
  const head = useMemo(() => ["optimizer", ...backbones.map((b) => table.backbones[b]!.label)], [table, backbones]);
  const text = (b: number, o: number): string => {
    const i = cellOf(table, b, o);
    if (hides(i)) return "filtered out";
    const { mean, low, high } = table.cells;
    const value = mean?.[i];
    const half = intervals && value != null ? reach(value, low?.[i], high?.[i]) : "";
    return half ? `${mainText(table, i)} ${half}` : mainText(table, i);
  };
  const rows = (): string[][] =>
    optimizers.map((o) => [table.optimizers[o]!.label, ...backbones.map((b) => text(b, o))]);
  const saveCsv = (): void => {
    const keys = Object.keys(table.cells).filter((k) => k !== "chunk") as (keyof typeof table.cells)[];
    const lines = optimizers.flatMap((o) =>
      backbones
        .map((b) => [b, cellOf(table, b, o)] as const)
        .filter(([, i]) => !hides(i))
        .map(([b, i]) => {
          const { id, label, family, parameters } = table.backbones[b]!;
          const { id: optimizer, label: short, category } = table.optimizers[o]!;
          const known = [id, label, family, parameters, optimizer, short, category];
          return [...known, ...keys.map((k) => table.cells[k]?.[i] ?? null)];
        }),
    );
    const names = ["backbone", "backbone_label", "family", "parameters", "optimizer", "optimizer_label", "category"];
    download(`${file}.csv`, csv([...names, ...keys], lines), "text/csv;charset=utf-8");
  };
  const saveTex = (): void => {
    const { mark, failed } = table.cells;
    let lost = false;
    const body = optimizers.map((o) => [
      tex(table.optimizers[o]!.label),
      ...backbones.map((b) => {
        const i = cellOf(table, b, o);
        const content = tex(text(b, o).replace(/^[★☆]/, ""));
        if (hides(i)) return content;
        const fell = Boolean(failed?.[i]);
        lost ||= fell;
        const sign = mark?.[i] ?? "";
        const marked = sign === "★" ? `\\textbf{${content}}` : sign === "☆" ? `$\\star$\\,${content}` : content;
        return fell ? `${marked}\\textsuperscript{${tex("†")}}` : marked;
      }),
    ]);
    const rules = new Set(
      optimizers.flatMap((o, i) => {
        const before = optimizers[i - 1];
        return before !== undefined && table.optimizers[before]!.category !== table.optimizers[o]!.category ? [i] : [];
      }),
    );
    const said = [
      `${table.title}: ${table.basis}`,
      `${table.rules.marks.replace(/^★/, "Bold (★):")}.`,
      lost ? `†: ${table.rules.failed}.` : "",
      intervals ? `Shown: ${table.rules.interval}.` : "",
      table.date ? `Data of ${table.date}.` : "",
    ];
    const caption = tex(said.filter(Boolean).join(" "));
    const sides = `l${"r".repeat(backbones.length)}`;
    download(`${file}.tex`, texTable(caption, slug(file), head.map(tex), body, sides, rules), "text/x-tex;charset=utf-8");
  };
  const draw = (): ReturnType<typeof alone> =>
    alone((sheet) => <HeatFigure sheet={sheet} table={table} selection={selection} note={`${table.title}. ${table.basis} ${summary.source}`} />);
  return (
    <>
      <Files copy={() => tsv(head, rows())} csv={saveCsv} tex={saveTex} />
      <span class="files">
        <button type="button" class="small" onClick={() => download(`${file}.svg`, draw().text, "image/svg+xml")}>
          SVG
        </button>
        <button
          type="button"
          class="small"
          onClick={() => {
            const drawn = draw();
            void png(drawn.text, drawn.width, drawn.height).then((blob) => download(`${file}.png`, blob, "image/png"));
          }}
        >
          PNG
        </button>
      </span>
    </>
  );
}
