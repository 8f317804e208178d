/**
 * The heat map: optimizers × backbones, as one table that keyboards and screen readers can walk through.
 *
 * Its 6,000 cells are made once and then changed in place, since a filter must be felt at once.
 */

import { useEffect, useLayoutEffect, useRef } from "preact/hooks";

import { type State, go, href } from "./address";
import { useApp } from "./app-state";
import type { Table } from "./format";
import { STATUS, type Selection, cellOf } from "./selection";
import { fixed, middle, reach } from "./words";

export const CLIP = 10; // points below the best at which the colour ends, whatever is filtered
export const SHADES = 12; // classes g0 (the best) to g11 of the style sheet
const NAME = 20; // letters of a name in a head

export function shade(gap: number): number {
  return Math.min(SHADES - 1, Math.floor(SHADES * Math.sqrt(Math.min(1, Math.max(0, gap) / CLIP))));
}

/** Mark and mean of a cell, or why there is no mean. */
export function mainText(table: Table, i: number): string {
  const { status, mark, mean, n, diverged } = table.cells;
  const value = mean?.[i];
  if (value != null) return `${mark?.[i] ?? ""}${fixed(value)}`;
  if (status[i] === "partial") return `${n[i]}/${n[i]! + diverged[i]!}`;
  if (status[i] === "diverged") return "div.";
  return status[i] === "interrupted" ? "…" : "–";
}

/** A cell as one sentence. */
export function sentence(table: Table, b: number, o: number): string {
  const i = cellOf(table, b, o);
  const c = table.cells;
  const name = `${table.backbones[b]!.label} × ${table.optimizers[o]!.label}: `;
  const value = c.mean?.[i];
  const lost = c.diverged[i] ? `, ${c.diverged[i]} diverged` : "";
  if (value == null) return `${name}${STATUS[c.status[i]!] ?? c.status[i]}${c.n[i] ? `, n = ${c.n[i]}` : ""}${lost}`;
  const ends = c.low?.[i] != null && c.high?.[i] != null ? ` [${fixed(c.low[i])}, ${fixed(c.high[i])}]` : "";
  const gap = c.gap?.[i];
  const behind = gap == null ? "" : `; ${fixed(gap)} points below the best of its backbone`;
  return `${name}${c.mark?.[i] ?? ""}${fixed(value)}${ends}, n = ${c.n[i]}${lost}${behind}${c.failed?.[i] ? "; failed" : ""}`;
}

interface Look {
  selection: Selection;
  intervals: boolean;
  open: number | null;
}

/** The table in the document; knows nothing of the rest of the page. */
class HeatTable {
  readonly root = document.createElement("table");
  private readonly cells: HTMLTableCellElement[] = []; // by b · O + o
  private readonly columns: HTMLTableCellElement[] = [];
  private readonly rows: HTMLTableRowElement[] = [];
  private readonly families: { head: HTMLTableCellElement; members: number[] }[] = [];
  private readonly groups: { row: HTMLTableRowElement; head: HTMLTableCellElement; members: number[] }[] = [];
  private readonly corner = document.createElement("th");
  private readonly places = new Map<Element, number>();
  private readonly painted: Uint8Array; // how each cell was painted last; 0 for not at all
  private focused = -1;
  private shownColumns: number[] = [];
  private shownRows: number[] = [];
  private previous: Look | null = null;

  constructor(
    private readonly table: Table,
    private readonly act: { open: (b: number, o: number) => void; link: (part: Partial<State>) => string; go: (part: Partial<State>) => void },
  ) {
    this.painted = new Uint8Array(table.backbones.length * table.optimizers.length);
    this.root.className = "heat";
    this.root.setAttribute("role", "grid");
    this.root.setAttribute(
      "aria-label",
      `${table.metric} in points, optimizers by backbones; arrow keys move, Enter opens a cell`,
    );
    this.build();
    this.root.addEventListener("click", (event) => this.clicked(event));
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.root.addEventListener("focusin", (event) => {
      const place = this.places.get(event.target as Element);
      if (place !== undefined) this.rove(place);
    });
    this.root.addEventListener("pointerover", (event) => {
      const cell = (event.target as Element).closest("td");
      const place = cell && this.places.get(cell);
      if (cell && place != null && !cell.title) cell.title = sentence(this.table, ...this.pair(place));
    });
  }

  private pair(place: number): [number, number] {
    const wide = this.table.optimizers.length;
    return [Math.floor(place / wide), place % wide];
  }

  private build(): void {
    const { backbones, optimizers } = this.table;
    const head = this.root.createTHead();
    const top = head.insertRow();
    const names = head.insertRow();
    this.corner.textContent = "optimizer";
    this.corner.scope = "col";
    this.corner.rowSpan = 2;
    this.corner.className = "corner";
    top.append(this.corner);
    backbones.forEach((backbone, b) => {
      const last = this.families.at(-1);
      if (last && backbones[last.members[0]!]!.family_label === backbone.family_label) {
        last.members.push(b);
      } else {
        const th = document.createElement("th");
        th.scope = "colgroup";
        th.className = "family";
        const text = document.createElement("span");
        text.textContent = backbone.family_label;
        th.title = backbone.family_label;
        th.append(text);
        top.append(th);
        this.families.push({ head: th, members: [b] });
      }
      const th = document.createElement("th");
      th.scope = "col";
      th.append(this.link({ view: "backbone", backbone: backbone.id }, backbone.label));
      names.append(th);
      this.columns.push(th);
    });
    let body = document.createElement("tbody");
    optimizers.forEach((optimizer, o) => {
      const last = this.groups.at(-1);
      if (last && optimizers[last.members[0]!]!.category_label === optimizer.category_label) {
        last.members.push(o);
      } else {
        body = this.root.createTBody();
        const row = body.insertRow();
        row.className = "group";
        const th = document.createElement("th");
        th.scope = "rowgroup";
        const text = document.createElement("span");
        text.textContent = optimizer.category_label;
        th.append(text);
        row.append(th);
        this.groups.push({ row, head: th, members: [o] });
      }
      const row = body.insertRow();
      const th = document.createElement("th");
      th.scope = "row";
      th.append(this.link({ view: "optimizer", optimizer: optimizer.id }, optimizer.label));
      row.append(th);
      this.rows.push(row);
      backbones.forEach((_, b) => {
        const td = document.createElement("td");
        const place = cellOf(this.table, b, o);
        td.tabIndex = -1;
        this.cells[place] = td;
        this.places.set(td, place);
        row.append(td);
      });
    });
  }

  private link(part: Partial<State>, label: string): HTMLAnchorElement {
    const a = document.createElement("a");
    a.textContent = middle(label, NAME);
    if (label.length > NAME) {
      a.title = label;
      a.setAttribute("aria-label", label);
    }
    a.dataset.part = JSON.stringify(part);
    return a;
  }

  /** Shows what the filters leave; touches only what changed. */
  update(look: Look): void {
    const before = this.previous;
    this.previous = look;
    const { selection } = look;
    if (!before || before.selection !== selection || before.intervals !== look.intervals) {
      const columns = new Set(selection.backbones);
      const rows = new Set(selection.optimizers);
      this.shownColumns = this.columns.map((_, b) => b).filter((b) => columns.has(b));
      this.shownRows = this.rows.map((_, o) => o).filter((o) => rows.has(o));
      this.columns.forEach((th, b) => hide(th, !columns.has(b)));
      for (const family of this.families) {
        const visible = family.members.filter((b) => columns.has(b)).length;
        hide(family.head, visible === 0);
        if (visible) family.head.colSpan = visible;
      }
      for (const group of this.groups) {
        hide(group.row, !group.members.some((o) => rows.has(o)));
        group.head.colSpan = this.shownColumns.length + 1;
      }
      this.rows.forEach((row, o) => hide(row, !rows.has(o)));
      this.root.classList.toggle("turned", this.shownColumns.length > 8);
      this.root.classList.toggle("two", look.intervals);
      for (let b = 0; b < this.columns.length; b++) {
        const column = columns.has(b);
        for (let o = 0; o < this.rows.length; o++) {
          const place = cellOf(this.table, b, o);
          const td = this.cells[place]!;
          hide(td, !column);
          if (!column || !rows.has(o)) continue;
          const hidden = selection.hides(place);
          const state = 1 + Number(hidden) + 2 * Number(look.intervals);
          if (this.painted[place] === state) continue;
          this.paint(td, place, hidden, look.intervals);
          this.painted[place] = state;
        }
      }
      for (const a of this.root.querySelectorAll<HTMLAnchorElement>("a[data-part]")) {
        a.href = this.act.link(JSON.parse(a.dataset.part!) as Partial<State>);
      }
      if (!this.visible(this.focused)) this.rove(this.first());
    }
    if (before?.open !== look.open) {
      if (before?.open != null) this.cells[before.open]?.removeAttribute("aria-selected");
      if (look.open !== null) this.cells[look.open]?.setAttribute("aria-selected", "true");
    }
  }

  private paint(td: HTMLTableCellElement, place: number, hidden: boolean, intervals: boolean): void {
    const { status, mean, low, high, gap, failed, n, diverged } = this.table.cells;
    const value = mean?.[place];
    let look: string;
    let text: string;
    let said = "";
    if (hidden) {
      look = "hid";
      text = "·";
      said = "filtered out";
    } else if (value != null) {
      look = `g${shade(gap?.[place] ?? 0)}`;
      text = mainText(this.table, place);
      if (failed?.[place]) {
        look += " x";
        said = "failed";
      }
      if (intervals) {
        const half = reach(value, low?.[place], high?.[place]);
        const counted = this.table.n[0] !== this.table.n[1] ? ` (${n[place]})` : "";
        text += `\n${half}${counted}`;
      }
    } else {
      const lost = status[place] === "diverged" || status[place] === "partial";
      look = lost ? "div" : "mis";
      text = mainText(this.table, place);
      said = STATUS[status[place]!] ?? status[place]!;
      if (status[place] === "partial") said += `: ${n[place]} of ${n[place]! + diverged[place]!} runs completed`;
      if (intervals && lost) text += "\ndiverged";
    }
    if (td.className !== look) td.className = look;
    if (td.firstChild) {
      if (td.firstChild.nodeValue !== text) td.firstChild.nodeValue = text;
    } else {
      td.append(text);
    }
    // what is read out begins with what is seen
    if (said) td.setAttribute("aria-label", `${text.replace("\n", " ")}, ${said}`);
    else if (td.hasAttribute("aria-label")) td.removeAttribute("aria-label");
  }

  private visible(place: number): boolean {
    if (place < 0) return false;
    const [b, o] = this.pair(place);
    return this.shownColumns.includes(b) && this.shownRows.includes(o);
  }

  private first(): number {
    const [b, o] = [this.shownColumns[0], this.shownRows[0]];
    return b === undefined || o === undefined ? -1 : cellOf(this.table, b, o);
  }

  /** One cell at a time can be reached with Tab. */
  private rove(place: number): void {
    if (this.focused >= 0) this.cells[this.focused]!.tabIndex = -1;
    this.focused = place;
    if (place >= 0) this.cells[place]!.tabIndex = 0;
  }

  focus(place: number): void {
    if (!this.visible(place)) return;
    this.rove(place);
    this.cells[place]!.focus();
  }

  private clicked(event: MouseEvent): void {
    const link = (event.target as Element).closest<HTMLAnchorElement>("a[data-part]");
    if (link) {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a tab or window of its own
      event.preventDefault();
      this.act.go(JSON.parse(link.dataset.part!) as Partial<State>);
      return;
    }
    const cell = (event.target as Element).closest("td");
    const place = cell ? this.places.get(cell) : undefined;
    if (place === undefined) return;
    this.rove(place);
    this.act.open(...this.pair(place));
  }

  private key(event: KeyboardEvent): void {
    const place = this.places.get(event.target as Element);
    if (place === undefined || event.altKey || event.metaKey) return;
    const [b, o] = this.pair(place);
    const [x, y] = [this.shownColumns.indexOf(b), this.shownRows.indexOf(o)];
    const [wide, high] = [this.shownColumns.length - 1, this.shownRows.length - 1];
    const steps: Record<string, [number, number]> = {
      ArrowRight: [Math.min(wide, x + 1), y],
      ArrowLeft: [Math.max(0, x - 1), y],
      ArrowDown: [x, Math.min(high, y + 1)],
      ArrowUp: [x, Math.max(0, y - 1)],
      Home: event.ctrlKey ? [0, 0] : [0, y],
      End: event.ctrlKey ? [wide, high] : [wide, y],
      PageDown: [x, Math.min(high, y + 10)],
      PageUp: [x, Math.max(0, y - 10)],
    };
    if (event.key === "Enter" || event.key === " ") {
      this.act.open(b, o);
    } else if (steps[event.key]) {
      const [column, row] = steps[event.key]!;
      this.focus(cellOf(this.table, this.shownColumns[column]!, this.shownRows[row]!));
    } else {
      return;
    }
    event.preventDefault();
  }
}

function hide(element: HTMLElement, hidden: boolean): void {
  if (element.hidden !== hidden) element.hidden = hidden;
}

export function Heat({ selection, intervals }: { selection: Selection; intervals: boolean }) {
  const { table, state } = useApp();
  const place = useRef<HTMLDivElement>(null);
  const made = useRef<{ of: Table; heat: HeatTable } | null>(null);
  const latest = useRef(state);
  latest.current = state;
  const open = state.cell ? openCell(table, state) : null;
  const before = useRef(open);

  useLayoutEffect(() => {
    if (made.current?.of !== table) {
      const heat = new HeatTable(table, {
        open: (b, o) =>
          go({ ...latest.current, backbone: table.backbones[b]!.id, optimizer: table.optimizers[o]!.id, cell: true }),
        link: (part) => href({ ...latest.current, cell: false, ...part }),
        go: (part) => go({ ...latest.current, cell: false, ...part }),
      });
      heat.update({ selection, intervals, open });
      place.current!.replaceChildren(heat.root);
      made.current = { of: table, heat };
    } else {
      made.current.heat.update({ selection, intervals, open });
    }
  }, [table, selection, intervals, open]);

  useEffect(() => {
    if (open === null && before.current !== null) made.current?.heat.focus(before.current);
    before.current = open;
  }, [open]);

  return <div class="scroll heatmap" ref={place} />;
}

/** The place of the state's cell, null where the table has none. */
export function openCell(table: Table, state: State): number | null {
  const b = table.backbones.findIndex((each) => each.id === state.backbone);
  const o = table.optimizers.findIndex((each) => each.id === state.optimizer);
  return b < 0 || o < 0 ? null : cellOf(table, b, o);
}
