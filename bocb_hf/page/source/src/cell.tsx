/** What opens beside the heat map: one cell with its runs, curves, trials, hyper-parameters, commands and links. */

import { useEffect, useRef } from "preact/hooks";

import { go } from "./address";
import { useApp, useRead } from "./app-state";
import { lossSeries, validationSeries } from "./curves";
import { Figure } from "./figures/frame";
import { Lines } from "./figures/lines";
import type { CellMore, Run } from "./format";
import { type Column, Grid, scoreText } from "./grid";
import { sentence } from "./heat";
import { Command, List, Pairs, Toy, Waiting } from "./parts";
import { cellOf } from "./selection";
import { Weights } from "./weights";
import { fixed, lossLabel, short } from "./words";

export function CellPanel({ b, o }: { b: number; o: number }) {
  const { table, state, details, summary } = useApp();
  const [backbone, optimizer] = [table.backbones[b]!, table.optimizers[o]!];
  const place = cellOf(table, b, o);
  const chunk = table.cells.chunk?.[place] ?? null;
  const found = useRead<CellMore | null>(
    () => (chunk === null ? Promise.resolve(null) : details.cell(chunk, place)),
    `cell ${table.id} ${place}`,
  );
  const panel = useRef<HTMLElement>(null);
  useEffect(() => panel.current?.focus(), [table.id, place]);
  const close = (): void => go({ ...state, cell: false, backbone: "", optimizer: "" });
  const title = `${backbone.label} × ${optimizer.label}`;
  const command = `${summary.install}\n${backbone.train} ${optimizer.train}`;
  return (
    <aside
      class="cell"
      id="cell"
      tabIndex={-1}
      ref={panel}
      aria-label={title}
      onKeyDown={(event) => event.key === "Escape" && close()}
    >
      <button type="button" class="close" onClick={close}>
        Close
      </button>
      <h2>
        {title} <Toy table={table} />
      </h2>
      {found === undefined || found instanceof Error ? (
        <>
          <p class="big">{sentence(table, b, o).slice(title.length + 2)}</p>
          <Waiting found={found} what="this cell" />
        </>
      ) : found === null ? (
        <>
          <p class="big">{sentence(table, b, o).slice(title.length + 2)}</p>
          <p>
            {table.kind === "published"
              ? "The study published a mean, no runs. This trains the cell under the study's setting:"
              : "Nobody has finished a run here. This trains it:"}
          </p>
          <Command text={command} label={`Command that trains ${title}`} />
        </>
      ) : (
        <Found cell={found} title={title} command={command} />
      )}
    </aside>
  );
}

const RUNS: Column<Run>[] = [
  { key: "seed", label: "seed", value: (r) => r.seed, number: true },
  {
    key: "status",
    label: "status",
    value: (r) => r.status,
    text: (r) => r.status + (r.reason ? `: ${r.reason}` : ""),
    wrap: true,
  },
  { key: "score", label: "test score", value: (r) => r.score, text: (r) => fixed(r.score, 2), number: true },
  { key: "level", label: "trust", value: (r) => r.level },
  {
    key: "config_hash",
    label: "configuration",
    value: (r) => r.config_hash,
    text: (r) => r.config_hash + (r.shown ? "" : " (not shown)"),
  },
  { key: "test_loss", label: "test loss", value: (r) => r.metrics.test_loss, text: (r) => short(r.metrics.test_loss, 4), number: true, extra: true },
  { key: "train_loss", label: "train loss", value: (r) => r.metrics.train_loss, text: (r) => short(r.metrics.train_loss, 4), number: true, extra: true },
  { key: "time", label: "time", value: (r) => r.cost["wall time"], extra: true },
  { key: "finished", label: "finished", value: (r) => r.finished, extra: true },
  { key: "run_id", label: "run", value: (r) => r.run_id, extra: true },
  { key: "record_sha256", label: "record SHA-256", value: (r) => r.record_sha256, extra: true },
  { key: "repository", label: "repository", value: (r) => r.repository, extra: true },
];

function Found({ cell, title, command }: { cell: CellMore; title: string; command: string }) {
  const { table, summary } = useApp();
  const shown = cell.runs.filter((run) => run.shown);
  const runs = shown.length ? shown : cell.runs;
  const losses = lossSeries(runs, "training loss", "loss", 0);
  const scores = validationSeries(runs, `validation ${table.metric}`, "validation", 1);
  const named = (of: typeof losses): typeof losses =>
    of.map((s, i) => ({ ...s, label: `seed ${runs[i]?.seed ?? i}`, colour: i, thin: false }));
  const diagnosis = runs.flatMap((run) => run.diagnosis.map((text) => `Seed ${run.seed}: ${text}`));
  const links = runs.flatMap((run) =>
    run.links.filter((l) => l.href.startsWith("https://")).map((l) => ({ ...l, key: `${run.run_id} ${l.href}` })),
  );
  return (
    <>
      <p class="big">{cell.summary}</p>
      <List lines={cell.notes} />
      {cell.runs.length > 0 ? (
        <Grid
          name="runs"
          caption="Final runs, each with its seed and configuration."
          columns={RUNS}
          rows={cell.runs}
          plain={cell.runs.length < 6}
        />
      ) : (
        <p>Nobody has finished a run here.</p>
      )}
      {losses.length > 0 && (
        <Figure
          name={`loss-${title.replace(/[^A-Za-z0-9]+/g, "-").toLowerCase()}`}
          title="Training loss"
          draw={(sheet) => (
            <Lines
              sheet={sheet}
              series={named(losses)}
              x={{ kind: "linear", label: "epoch" }}
              y={{ kind: "log", label: lossLabel(table.metric) }}
              label={`Training loss of ${title} over epochs, a line for each seed`}
            />
          )}
        />
      )}
      {scores.length > 0 && (
        <Figure
          name={`validation-${title.replace(/[^A-Za-z0-9]+/g, "-").toLowerCase()}`}
          title="Validation"
          draw={(sheet) => (
            <Lines
              sheet={sheet}
              series={named(scores)}
              x={{ kind: "linear", label: "epoch" }}
              y={{ kind: "linear", label: `validation ${table.metric}, %` }}
              label={`Validation ${table.metric} of ${title} over epochs, a line for each seed`}
            />
          )}
        />
      )}
      {diagnosis.length > 0 && (
        <>
          <h3>What its curves show</h3>
          <List lines={diagnosis} />
        </>
      )}
      {links.length > 0 && (
        <>
          <h3>Checkpoints and records</h3>
          <ul class="list">
            {links.map((link) => (
              <li key={link.key}>
                <a href={link.href} target="_blank" rel="noopener noreferrer">
                  {link.label}
                </a>
              </li>
            ))}
          </ul>
        </>
      )}
      {cell.load && (
        <>
          <h3>Load the checkpoint</h3>
          <Command text={cell.load} label="Python that loads the checkpoint" />
        </>
      )}
      <h3>{runs.length ? "Train it again" : "Train it"}</h3>
      <Command
        text={runs[0]?.reproduce ? `${summary.install}\n${runs[0].reproduce}` : command}
        label={`Command that trains ${title}`}
      />
      {cell.trials.length > 0 && (
        <details>
          <summary>Tuning trials ({cell.trials.length}), on validation</summary>
          <Grid
            name="trials"
            caption={
              `Validation ${table.metric} of each trial; chosen by ${cell.chosen_by ?? "nobody yet"}.` +
              (cell.edge ? " The winner lies at the edge of the grid: a better one may lie beyond." : "")
            }
            columns={TRIALS}
            rows={cell.trials}
            plain
          />
        </details>
      )}
      {cell.others.length > 0 && (
        <details>
          <summary>Other configurations ({cell.others.length}), never pooled with this one</summary>
          <Grid name="others" caption="Other configurations of this cell." columns={OTHERS} rows={cell.others} plain />
        </details>
      )}
      <Weights runs={runs} title={title} />
      {Object.keys(cell.hyperparameters).length > 0 && (
        <details>
          <summary>Hyper-parameters, all of them</summary>
          <Pairs of={cell.hyperparameters} />
        </details>
      )}
      {runs.map((run) => (
        <details key={run.run_id}>
          <summary>
            Metrics, cost and environment of seed {run.seed}
          </summary>
          <Pairs
            of={{
              ...Object.fromEntries(Object.entries(run.metrics).map(([k, v]) => [k, short(v, 5)])),
              ...run.cost,
              environment: run.environment,
              finished: run.finished,
              run: run.run_id,
              record: `${run.repository}/${run.path}`,
              "SHA-256 of the record": run.record_sha256,
            }}
          />
        </details>
      ))}
      <p class="soft">Data revision {table.revision}.</p>
    </>
  );
}

const TRIALS: Column<CellMore["trials"][number]>[] = [
  { key: "lr", label: "LR", value: (t) => t.lr, text: (t) => short(t.lr), number: true },
  { key: "weight_decay", label: "WD", value: (t) => t.weight_decay, text: (t) => short(t.weight_decay), number: true },
  { key: "val_top1", label: "validation score", value: (t) => t.val_top1, text: (t) => (t.val_top1 === null ? "diverged" : fixed(t.val_top1, 2)), number: true },
];

const OTHERS: Column<CellMore["others"][number]>[] = [
  { key: "config_hash", label: "configuration", value: (c) => c.config_hash },
  { key: "mean", label: "test score [95 %]", value: (c) => c.mean, text: (c) => scoreText(c.mean, c.low, c.high), number: true },
  { key: "n", label: "n", value: (c) => c.n, number: true },
];
