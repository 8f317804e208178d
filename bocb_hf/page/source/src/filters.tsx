/** Which table, and what is shown of it: one row above everything else. */

import { useEffect, useMemo } from "preact/hooks";

import { LEVELS, type Level, type State, go, href } from "./address";
import { onTable, useApp } from "./app-state";
import type { Table } from "./format";
import { SizeFields } from "./grid";
import { NO_FILTERS, type Selection } from "./selection";
import { badge, count } from "./words";

/** A menu closes when one clicks or moves elsewhere, or presses Escape. */
export function useMenus(): void {
  useEffect(() => {
    const menus = (): NodeListOf<HTMLDetailsElement> => document.querySelectorAll("details.menu[open]");
    const away = (event: Event): void => {
      for (const menu of menus()) if (!menu.contains(event.target as Node)) menu.open = false;
    };
    const escape = (event: KeyboardEvent): void => {
      if (event.key !== "Escape") return;
      for (const menu of menus()) {
        menu.open = false;
        menu.querySelector("summary")?.focus();
        event.stopImmediatePropagation();
      }
    };
    document.addEventListener("pointerdown", away);
    document.addEventListener("focusin", away);
    document.addEventListener("keydown", escape, true);
    return () => {
      document.removeEventListener("pointerdown", away);
      document.removeEventListener("focusin", away);
      document.removeEventListener("keydown", escape, true);
    };
  }, []);
}

interface ChoiceProps {
  label: string;
  options: { value: string; label: string }[];
  chosen: string[];
  set: (chosen: string[]) => void;
}

function Choice({ label, options, chosen, set }: ChoiceProps) {
  if (options.length < 2) return null;
  return (
    <details class="menu">
      <summary>
        {label}
        {chosen.length > 0 && <b> {chosen.length}</b>}
      </summary>
      <fieldset>
        <legend class="offscreen">{label}</legend>
        {options.map((option) => (
          <label key={option.value}>
            <input
              type="checkbox"
              checked={chosen.includes(option.value)}
              onChange={(e) => {
                const on = e.currentTarget.checked;
                set(options.map((o) => o.value).filter((v) => (v === option.value ? on : chosen.includes(v))));
              }}
            />{" "}
            {option.label}
          </label>
        ))}
      </fieldset>
    </details>
  );
}

function distinct(pairs: [string, string][]): { value: string; label: string }[] {
  return [...new Map(pairs)].map(([value, label]) => ({ value, label }));
}

/** What there is to choose from, and the fewest and most runs of a cell that has any. */
function choices(table: Table) {
  let [least, most] = [Infinity, 1];
  table.cells.n.forEach((n, i) => {
    const runs = n + table.cells.diverged[i]!;
    most = Math.max(most, runs);
    if (runs > 0) least = Math.min(least, runs);
  });
  return {
    families: distinct(table.backbones.map((b) => [b.family, b.family_label])),
    categories: distinct(table.optimizers.map((o) => [o.category, o.category_label])),
    least: Math.min(least, most),
    most,
  };
}

export function Filters() {
  const { state, table, summary } = useApp();
  const set = (part: Partial<State>, replace = false): void => go({ ...state, ...part }, replace);
  const { families, categories, least, most } = useMemo(() => choices(table), [table]);
  return (
    <section class="filters" aria-label="Table and filters">
      <span class="table">
        <select aria-label="Table" value={table.id} onChange={(e) => go(onTable(state, e.currentTarget.value))}>
          {summary.tables.map((t) => (
            <option key={t.id} value={t.id}>
              {t.title}
              {t.toy ? ` (${badge(t.toy).split(",", 1)[0]})` : ""}
            </option>
          ))}
        </select>
      </span>
      <Choice label="Families" options={families} chosen={state.families} set={(v) => set({ families: v })} />
      <Choice label="Optimizers" options={categories} chosen={state.categories} set={(v) => set({ categories: v })} />
      {table.backbones.some((b) => b.parameters !== null) && (
        <SizeFields
          from={state.smallest}
          to={state.largest}
          set={(smallest, largest) => set({ smallest, largest }, true)}
        />
      )}
      <label>
        Find{" "}
        <input
          type="search"
          value={state.find}
          placeholder="backbone, optimizer"
          onInput={(e) => set({ find: e.currentTarget.value }, true)}
        />
      </label>
      {table.levels.length > 1 && (
        <label>
          Trust{" "}
          <select aria-label="Trust" value={state.level} onChange={(e) => set({ level: e.currentTarget.value as Level })}>
            {LEVELS.map((level) => (
              <option key={level} value={level}>
                {level === LEVELS[0] ? "any" : `${level} at least`}
              </option>
            ))}
          </select>
        </label>
      )}
      {least < most && (
        <label>
          n ≥{" "}
          <input
            type="number"
            class="narrow"
            min="1"
            max={Math.min(99, most)}
            value={state.n}
            onInput={(e) => set({ n: Math.max(1, Math.min(99, Number(e.currentTarget.value) || 1)) }, true)}
          />
        </label>
      )}
      <Choice
        label="Owners"
        options={table.namespaces.map((name) => ({ value: name, label: name }))}
        chosen={state.namespaces}
        set={(v) => set({ namespaces: v })}
      />
    </section>
  );
}

/** Says what is hidden, and what still refers to the whole table. */
export function Filtered({ selection }: { selection: Selection }) {
  const { state, table } = useApp();
  if (!selection.words.length) return null;
  const [b, o] = [selection.backbones.length, selection.optimizers.length];
  const empty = b === 0 || o === 0;
  const size = `${b} of ${count(table.backbones.length, "backbone")}, ${o} of ${count(table.optimizers.length, "optimizer")}`;
  const hidden = selection.hidden ? `, ${selection.hidden} of ${count(b * o, "cell")} hidden` : "";
  return (
    <p class="filtered" role="status">
      Shown: {selection.words.join("; ")} ({size}
      {hidden}).{" "}
      {empty
        ? "Nothing passes these filters. "
        : `Marks, ranks, sentences and figures refer to the whole table of ${table.backbones.length} × ${table.optimizers.length}. `}
      <a href={href({ ...state, ...NO_FILTERS })}>Clear filters</a>
    </p>
  );
}
