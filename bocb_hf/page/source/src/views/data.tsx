/** Where the numbers come from, how to cite them, and how to take them elsewhere. */

import { useApp, useTableMore } from "../app-state";
import { type Column, Grid } from "../grid";
import { Command, List, Pairs, Waiting } from "../parts";

const QUARANTINED: Column<{ repository: string; path: string; reason: string }>[] = [
  { key: "repository", label: "repository", value: (r) => r.repository },
  { key: "path", label: "file", value: (r) => r.path },
  { key: "reason", label: "reason", value: (r) => r.reason, wrap: true },
];

/** The address where this page can be read by others; null where it only stands on this machine. */
function publicAddress(space: string | null): string | null {
  if (space !== null) return `https://${space.toLowerCase().replace(/[^a-z0-9]+/g, "-")}.static.hf.space/${location.hash}`;
  const { protocol, hostname, href } = location;
  return protocol === "https:" && hostname !== "localhost" ? href : null;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
}

export function DataView() {
  const { summary, table, config } = useApp();
  const more = useTableMore();
  const address = publicAddress(config.space);
  const parquet = config.parquet === null ? null : new URL(config.parquet, location.href).href;
  const embed = address === null ? null : `<iframe src="${escaped(address)}" title="${escaped(table.title)}" width="100%" height="800"></iframe>`;
  return (
    <section>
      <h2>Data and citation</h2>
      <Pairs
        of={{
          "data of": summary.date ?? "no run of ours",
          "written by": `bocb-hf ${summary.release}`,
          source: summary.source,
          "this table": table.origin,
          "data revision": table.revision,
          basis: table.basis,
        }}
      />
      <h3>For programs</h3>
      {parquet ? (
        <>
          <p>
            Every number with all of its digits, as Parquet: <a href={parquet}>{parquet}</a>
          </p>
          <Command text={`import pandas as pd\n\nboard = pd.read_parquet("${parquet}")`} label="Python that reads the data" />
        </>
      ) : (
        <p>This page is one file that holds its data; every table of it can be saved as CSV.</p>
      )}
      <h3>Cite</h3>
      <Command text={summary.citation} label="Citation as BibTeX" />
      <h3>Embed</h3>
      {embed ? (
        <>
          <p>This shows the view whose address you see, in another page:</p>
          <Command text={embed} label="HTML that embeds this page" />
        </>
      ) : (
        <p class="soft">This page stands on this machine only; a deployed one shows here how it is embedded.</p>
      )}
      <h3>Make this table again</h3>
      {more === undefined || more instanceof Error ? (
        <Waiting found={more} what="the commands" />
      ) : (
        <>
          {more.reproduce.length > 0 && (
            <Command text={[summary.install, ...more.reproduce].join("\n")} label="Commands that make this table again" />
          )}
          {more.environments.length > 0 && (
            <>
              <h3>Environments</h3>
              <List lines={more.environments.map((e) => `${e.runs} final run(s): ${e.text}`)} />
            </>
          )}
        </>
      )}
      <h3>Left out</h3>
      {summary.quarantined.length ? (
        <Grid name="quarantined" caption="Left out of every table, with the reason." columns={QUARANTINED} rows={summary.quarantined} />
      ) : (
        <p>Nothing: every record and card was valid.</p>
      )}
    </section>
  );
}
