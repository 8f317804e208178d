import { render } from "preact";

import { format, parse } from "./address";
import { Page } from "./app";
import { DataError, Details, readConfig, readSummary } from "./load";

/** An address of the page before this one had its state in the query: puts it where it is now. */
function moveQuery(): void {
  const old = location.hash.length > 1 || location.protocol === "file:" ? "" : format(parse(location.search));
  if (old) history.replaceState(null, "", `${location.pathname}#${old}`);
}

/** Renders the page into the document, or says why it cannot. */
async function start(): Promise<void> {
  const root = document.getElementById("bocb");
  if (root === null) return;
  // said only where the data take long: on most machines it would flash
  const waiting = setTimeout(() => (root.textContent = "Reading the data …"), 300);
  try {
    const config = readConfig();
    const summary = await readSummary(config).finally(() => clearTimeout(waiting));
    root.replaceChildren();
    moveQuery();
    render(<Page config={config} summary={summary} details={new Details(config, summary)} />, root);
  } catch (error) {
    const said = document.createElement("p");
    said.className = "notice";
    said.setAttribute("role", "alert");
    said.textContent = `The page could not be shown. ${error instanceof Error ? error.message : String(error)}`;
    root.replaceChildren(said);
    if (!(error instanceof DataError)) throw error;
  }
}

void start();
