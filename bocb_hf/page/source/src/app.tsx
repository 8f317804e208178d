/** The page: one question on top, then a table and what is said of it. */

import { useEffect, useMemo, useRef } from "preact/hooks";

import { VIEWS, type ViewName, announce, go, href } from "./address";
import { AnswerPart, Search } from "./answer";
import { type App, AppContext, useAddress, useApp, useTheme } from "./app-state";
import { Filtered, Filters, useMenus } from "./filters";
import type { Config, Summary, Table } from "./format";
import { LeadPart } from "./lead";
import type { Details } from "./load";
import { Toy } from "./parts";
import { type Selection, select } from "./selection";
import { count } from "./words";
import { ContrastView } from "./views/contrast";
import { CostView } from "./views/cost";
import { CouplingView } from "./views/coupling";
import { DataView } from "./views/data";
import { MissingView } from "./views/missing";
import { BackboneView, OptimizerView } from "./views/one";
import { RankingView } from "./views/ranking";
import { StudyView } from "./views/study";
import { TableView } from "./views/table";
import { TransferView } from "./views/transfer";
import { TuningView } from "./views/tuning";

interface PageProps {
  config: Config;
  summary: Summary;
  details: Details;
}

export function Page({ config, summary, details }: PageProps) {
  const state = useAddress();
  const theme = useTheme();
  useMenus();
  const table =
    summary.tables.find((t) => t.id === state.table) ?? summary.tables.find((t) => t.id === summary.open) ?? summary.tables[0]!;
  const unknown = state.table !== "" && table.id !== state.table;
  const app: App = useMemo(
    () => ({ config, summary, details, state, table, theme }),
    [config, summary, details, state, table, theme],
  );
  const selection = useSelection(app);
  useEffect(() => {
    if (config.space !== null) announce(config.hub);
  }, [config, state]);
  useEffect(() => {
    document.title = `${table.title}: ${VIEWS[state.view]} – Which optimizer for this backbone?`;
  }, [table, state.view]);
  const shown = useRef(state.view);
  useEffect(() => {
    const main = document.getElementById("view");
    if (shown.current !== state.view && main && main.getBoundingClientRect().top < 0) main.scrollIntoView();
    shown.current = state.view;
  }, [state.view]);
  useEffect(() => {
    const close = (event: KeyboardEvent): void => {
      if (event.key === "Escape" && !event.defaultPrevented && state.cell) {
        go({ ...state, cell: false, backbone: "", optimizer: "" });
      }
    };
    document.addEventListener("keydown", close);
    return () => document.removeEventListener("keydown", close);
  }, [state]);

  return (
    <AppContext.Provider value={app}>
      <a class="skip" href="#view" onClick={skip}>
        To the table
      </a>
      <header>
        <h1>Which optimizer for this backbone?</h1>
        <Search />
      </header>
      <LeadPart />
      <AnswerPart />
      {unknown && (
        <p class="notice" role="status">
          There is no table {state.table} here; this is {table.title}.
        </p>
      )}
      <Filters />
      <nav aria-label="Views">
        {views(table).map((view) => (
          <a
            key={view}
            href={href({ ...state, view, cell: false })}
            aria-current={view === state.view ? "page" : undefined}
          >
            {VIEWS[view]}
          </a>
        ))}
      </nav>
      <main id="view" tabIndex={-1} data-table={table.id} data-view={state.view}>
        <p class="basis soft">
          <Toy table={table} /> {count(table.backbones.length, "backbone")} × {count(table.optimizers.length, "optimizer")}:{" "}
          {table.basis}
        </p>
        <Filtered selection={selection} />
        {selection.backbones.length > 0 && selection.optimizers.length > 0 && <View selection={selection} />}
      </main>
      <footer class="soft">
        <p>
          {summary.date && <>Data of {summary.date}. </>}From {summary.source}; written by bocb-hf {summary.release}.{" "}
          <a href={href({ ...state, view: "data", cell: false })}>Data, citation, embedding</a>
        </p>
      </footer>
    </AppContext.Provider>
  );
}

/** The views of a table: that of transfer where its runs were fine-tuned, or made the weights for it. */
function views(table: Table): ViewName[] {
  return (Object.keys(VIEWS) as ViewName[]).filter((view) => view !== "transfer" || (table.transfers?.length ?? 0) > 0);
}

function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("view")?.focus();
}

/** The selection, the same object as long as no filter changes. */
function useSelection({ table, state }: App): Selection {
  const { families, categories, smallest, largest, find, n, level, namespaces } = state;
  const key = JSON.stringify([table.id, families, categories, smallest, largest, find, n, level, namespaces]);
  const kept = useRef<{ key: string; table: unknown; selection: Selection } | null>(null);
  if (kept.current?.key !== key || kept.current.table !== table) {
    kept.current = { key, table, selection: select(table, state) };
  }
  return kept.current.selection;
}

function View({ selection }: { selection: Selection }) {
  const { view } = useApp().state;
  switch (view) {
    case "table":
      return <TableView selection={selection} />;
    case "backbone":
      return <BackboneView selection={selection} />;
    case "optimizer":
      return <OptimizerView selection={selection} />;
    case "coupling":
      return <CouplingView />;
    case "contrast":
      return <ContrastView />;
    case "ranking":
      return <RankingView selection={selection} />;
    case "cost":
      return <CostView selection={selection} />;
    case "study":
      return <StudyView selection={selection} />;
    case "transfer":
      return <TransferView />;
    case "tuning":
      return <TuningView />;
    case "missing":
      return <MissingView selection={selection} />;
    case "data":
      return <DataView />;
  }
}
