/** What a comparison found, above the tables: the answer, what it rests on, and what to do next. */

import { href } from "./address";
import { AppContext, useApp } from "./app-state";
import type { LeadRow } from "./format-lead";
import { type Column, Grid } from "./grid";
import { Command, List } from "./parts";
import { fixed, short } from "./words";
import { Compared } from "./views/compared";

const ROWS: Column<LeadRow>[] = [
  { key: "optimizer", label: "optimizer", value: (r) => r.optimizer, text: (r) => `${r.mark} ${r.label}`.trim() },
  { key: "lr", label: "rate", value: (r) => r.lr, text: (r) => short(r.lr), number: true },
  { key: "top1", label: "top-1", value: (r) => r.top1, text: (r) => (r.top1 === null ? (r.why ?? "–") : fixed(r.top1, 2)), number: true },
  { key: "n", label: "n", value: (r) => r.n, text: (r) => (r.diverged ? `${r.n}/${r.n + r.diverged}` : String(r.n)), number: true },
  { key: "diverged", label: "diverged", value: (r) => r.diverged, number: true, extra: true },
  { key: "loses", label: "loses", value: (r) => r.loses, text: (r) => (r.loses === null ? "" : fixed(r.loses, 2)), number: true },
  { key: "low", label: "low", value: (r) => r.low, number: true, extra: true },
  { key: "high", label: "high", value: (r) => r.high, number: true, extra: true },
  {
    key: "interval",
    label: "95 % of the loss",
    value: (r) => interval(r),
    text: (r) => interval(r),
    number: true,
  },
  {
    key: "tried",
    label: "rates tried",
    value: (r) => r.tried.join(" "),
    text: (r) => (r.tried.map((rate) => short(rate)).join(", ") || "none") + (r.edge ? " (at the edge)" : ""),
  },
  { key: "seconds", label: "seconds a run", value: (r) => r.seconds, text: (r) => fixed(r.seconds, 0), number: true },
];

function interval(r: LeadRow): string {
  if (r.loses === null) return "";
  return r.low === null || r.high === null ? "unknown" : `[${fixed(r.low)}, ${fixed(r.high)}]`;
}

export function LeadPart() {
  const app = useApp();
  const { lead } = app.summary;
  if (!lead) return null;
  const own = app.summary.tables.find((t) => t.id === lead.table);
  const table = own ?? app.table;
  const b = own ? own.backbones.findIndex((each) => each.id === lead.backbone) : -1;
  return (
    <AppContext.Provider value={{ ...app, table }}>
      <section class="lead" aria-label="Answer of the comparison">
        <h2>{lead.title}</h2>
        <p class="big">{lead.sentence}</p>
        <Grid name="compared" caption="Optimizers, the best first." columns={ROWS} rows={lead.rows} marked={(r) => r.mark === "★"} plain />
        <List lines={lead.notes} />
        {own && b >= 0 && <Compared b={b} shown={own.optimizers.map((_, o) => o)} />}
        <h3>What to do next</h3>
        {lead.next.map((step) => (
          <div key={step.text}>
            <p>{step.text}</p>
            {step.commands.length > 0 && <Command text={step.commands.join("\n")} label={step.text} />}
          </div>
        ))}
        {lead.cuts.length > 0 && (
          <>
            <h3>What was cut to fit into the time</h3>
            <List lines={lead.cuts} />
          </>
        )}
        <h3>What was decided</h3>
        <List lines={lead.decided} />
        {own && (
          <p class="soft">
            Below: all runs of the comparison, and the tables of the study.{" "}
            <a href={href({ ...app.state, table: own.id, view: "table", cell: false })}>Its own table</a>
          </p>
        )}
      </section>
    </AppContext.Provider>
  );
}
