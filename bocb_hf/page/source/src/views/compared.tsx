/** How the optimizers compare on one backbone: rates, validation, loss, and what they leave in the weights. */

import { go } from "../address";
import { useApp, useRead } from "../app-state";
import { lossSeries, rateSeries, trialSeries, validationSeries } from "../curves";
import { Figure } from "../figures/frame";
import { Lines } from "../figures/lines";
import { type RidgeRow, RidgesFigure } from "../figures/ridges";
import type { CellMore } from "../format";
import { MEASURES, type Measure } from "../format-weights";
import { Waiting } from "../parts";
import { cellOf } from "../selection";
import { fixed, lossLabel } from "../words";

interface ComparedProps {
  b: number;
  shown: number[]; // optimizers, by place
}

/** Fetches the cells of a backbone and draws them. */
export function Compared({ b, shown }: ComparedProps) {
  const { table, details } = useApp();
  const wanted = table.optimizers.map((_, o): [number, number | null] => {
    const i = cellOf(table, b, o);
    return [i, table.cells.chunk?.[i] ?? null];
  });
  const found = useRead(() => details.cells(wanted), `backbone ${table.id} ${b}`);
  if (!table.cells.chunk) return null;
  return found instanceof Map ? <Curves cells={found} b={b} shown={shown} /> : <Waiting found={found} what="the runs of this backbone" />;
}

function Curves({ cells, b, shown }: ComparedProps & { cells: Map<number, CellMore> }) {
  const { table } = useApp();
  const backbone = table.backbones[b]!;
  const each = shown.flatMap((o) => {
    const cell = cells.get(cellOf(table, b, o));
    return cell ? [{ o, cell, id: table.optimizers[o]!.id, label: table.optimizers[o]!.label, runs: cell.runs.filter((run) => run.shown) }] : [];
  });
  const rates = each.flatMap(({ o, cell, id, label }) =>
    rateSeries(cell, table.cells.lr?.[cellOf(table, b, o)] ?? null, label, id, o),
  );
  const several = rates.some((s) => s.points.length > 1);
  const finals = each.flatMap(({ o, id, label, runs }) => validationSeries(runs, label, id, o));
  const trials = each.flatMap(({ o, cell, id, label }) => trialSeries(cell, label, id, o));
  const validation = trials.length ? trials : finals;
  const losses = each.flatMap(({ o, id, label, runs }) => lossSeries(runs, label, id, o));
  return (
    <>
      <div class="figures">
        {several && (
          <Figure
            name={`rates-${backbone.id}`}
            title="Validation by learning rate"
            about="The mean over tuning seeds, of the best weight decay where several were tried. A ring: the rate of the final runs. A cross: a trial diverged."
            draw={(sheet) => (
              <Lines
                sheet={sheet}
                series={rates}
                x={{ kind: "log", label: "learning rate" }}
                y={{ kind: "linear", label: `validation ${table.metric}, %` }}
                label={`Validation ${table.metric} of ${backbone.label} by learning rate under each optimizer`}
              />
            )}
          />
        )}
        {validation.length > 0 && (
          <Figure
            name={`validation-${backbone.id}`}
            title="Validation by epoch"
            about={trials.length ? "Of the trials at the chosen rate, a line for each tuning seed." : "Of the final runs, a line for each seed."}
            draw={(sheet) => (
              <Lines
                sheet={sheet}
                series={validation}
                x={{ kind: "linear", label: "epoch" }}
                y={{ kind: "linear", label: `validation ${table.metric}, %` }}
                label={`Validation ${table.metric} of ${backbone.label} over epochs under each optimizer`}
              />
            )}
          />
        )}
        {losses.length > 0 && (
          <Figure
            name={`curves-${backbone.id}`}
            title="Training loss by epoch"
            about="Of the final runs, a line for each seed; it ends where a run diverged."
            draw={(sheet) => (
              <Lines
                sheet={sheet}
                series={losses}
                x={{ kind: "linear", label: "epoch" }}
                y={{ kind: "log", label: lossLabel(table.metric) }}
                label={`Training loss of ${backbone.label} over epochs under each optimizer`}
              />
            )}
          />
        )}
      </div>
      <Weights cells={cells} b={b} shown={shown} />
    </>
  );
}

/** One pattern of the last weights by layer, a ridge for each optimizer, the best first. */
function Weights({ cells, b, shown }: ComparedProps & { cells: Map<number, CellMore> }) {
  const { table, state } = useApp();
  const backbone = table.backbones[b]!;
  const { mean, rank, failed, collapsed, status } = table.cells;
  const each = shown.flatMap((o) => {
    const i = cellOf(table, b, o);
    const ridge = cells.get(i)?.ridge;
    return ridge ? [{ o, i, ridge }] : [];
  });
  const first = each[0]?.ridge;
  if (!first) return null;
  const able = (Object.keys(MEASURES) as Measure[]).filter((m) => each.some(({ ridge }) => ridge[m].some((v) => v !== null)));
  const measure = able.find((m) => m === state.axis) ?? able[0];
  if (measure === undefined) return null;
  const names = new Map(first.layers.map((name, i) => [name, i]));
  const rows = [...each]
    .sort((one, other) => (rank?.[one.i] ?? Infinity) - (rank?.[other.i] ?? Infinity))
    .map(({ o, i, ridge }): RidgeRow => {
      const values: (number | null)[] = first.layers.map(() => null);
      ridge.layers.forEach((name, k) => {
        const place = names.get(name);
        if (place !== undefined) values[place] = ridge[measure][k] ?? null;
      });
      const grey = Boolean(failed?.[i] || collapsed?.[i]) || status[i] !== "completed";
      const score = mean?.[i] == null ? "" : fixed(mean[i]);
      return {
        key: table.optimizers[o]!.id,
        label: table.optimizers[o]!.label,
        note: grey ? `${score} failed`.trim() : score,
        colour: o,
        grey,
        values,
      };
    });
  return (
    <>
      <h3>What each optimizer leaves in the weights</h3>
      <p>
        <label>
          Pattern{" "}
          <select aria-label="Pattern" value={measure} onChange={(e) => go({ ...state, axis: e.currentTarget.value }, true)}>
            {able.map((m) => (
              <option key={m} value={m}>
                {MEASURES[m]}
              </option>
            ))}
          </select>
        </label>
      </p>
      <Figure
        name={`patterns-${measure}-${backbone.id}`}
        title={`Weight pattern by layer: ${MEASURES[measure]}`}
        about={
          "Of the last weights, the mean over completed runs; optimizers by mean score, the best first, failed ones in grey." +
          (measure === "alpha" ? " A gap: no good fit of a power law, so there is no number." : "")
        }
        draw={(sheet) => (
          <RidgesFigure
            sheet={sheet}
            rows={rows}
            layers={first.layers}
            measure={MEASURES[measure]}
            log={measure === "norm"}
            label={`${MEASURES[measure]} of ${backbone.label} by layer under each optimizer`}
          />
        )}
      />
    </>
  );
}
