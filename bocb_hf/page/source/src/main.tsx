import { render } from "preact";

import { Page } from "./app";
import { DataError, Details, readConfig, readSummary } from "./load";

/** Renders the page into the document, or says why it cannot. */
async function start(): Promise<void> {
  const root = document.getElementById("bocb");
  if (root === null) return;
  root.textContent = "Reading the data …";
  try {
    const config = readConfig();
    const summary = await readSummary(config);
    root.replaceChildren();
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
