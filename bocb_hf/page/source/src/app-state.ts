/** What every part of the page can reach: the data, the state of the address, and how to change it. */

import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";

import { DEFAULT, type GridState, PLAIN_GRID, type State, current, go } from "./address";
import type { Config, Summary, Table, TableMore } from "./format";
import type { Details } from "./load";
import { type Theme, darkTheme, lightTheme } from "./theme";

export interface App {
  config: Config;
  summary: Summary;
  details: Details;
  state: State;
  table: Table;
  theme: Theme;
}

export const AppContext = createContext<App | null>(null);

export function useApp(): App {
  const app = useContext(AppContext);
  if (app === null) throw new Error("a part of the page stands outside of it");
  return app;
}

/** The state of the address, kept up to date with Back, Forward and links. */
export function useAddress(): State {
  const [state, set] = useState(current);
  useEffect(() => {
    const read = (): void => set(current());
    const events = ["popstate", "hashchange", "bocb-address"];
    for (const name of events) window.addEventListener(name, read);
    return () => {
      for (const name of events) window.removeEventListener(name, read);
    };
  }, []);
  return state;
}

export function useTheme(): Theme {
  const [dark, set] = useState(() => matchMedia("(prefers-color-scheme: dark)").matches);
  useEffect(() => {
    const media = matchMedia("(prefers-color-scheme: dark)");
    const read = (): void => set(media.matches);
    media.addEventListener("change", read);
    return () => media.removeEventListener("change", read);
  }, []);
  return dark ? darkTheme : lightTheme;
}

/** A state with some of it changed; a change of table closes what belonged to the other one. */
export function changed(state: State, part: Partial<State>): State {
  return { ...state, ...part };
}

/** The state that shows another table, with nothing left of what was chosen in this one. */
export function onTable(state: State, table: string): State {
  return { ...DEFAULT, table, view: state.view, ask: state.ask };
}

export function gridState(state: State, name: string): GridState {
  return state.grids[name] ?? PLAIN_GRID;
}

export function setGrid(state: State, name: string, part: Partial<GridState>, replace = false): void {
  go({ ...state, grids: { ...state.grids, [name]: { ...gridState(state, name), ...part } } }, replace);
}

/** Something that is read when it is needed: undefined while it is on its way, an Error where it could not be read. */
export function useRead<T>(read: () => Promise<T>, key: string): T | Error | undefined {
  const [found, set] = useState<{ key: string; value: T | Error } | null>(null);
  useEffect(() => {
    let wanted = true;
    read().then(
      (value) => wanted && set({ key, value }),
      (error: unknown) => wanted && set({ key, value: error instanceof Error ? error : new Error(String(error)) }),
    );
    return () => {
      wanted = false;
    };
  }, [key]);
  return found !== null && found.key === key ? found.value : undefined;
}

export function useTableMore(): TableMore | Error | undefined {
  const { details, table } = useApp();
  return useRead(() => details.table(table.chunk), `table ${table.id}`);
}
