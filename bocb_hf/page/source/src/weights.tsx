/** What the weights of a cell's runs are like, at the end and at the steps of training that were inspected. */

import { useApp } from "./app-state";
import { Figure } from "./figures/frame";
import type { Series } from "./figures/lines";
import { type Panel, PatternsFigure } from "./figures/patterns";
import type { Run } from "./format";
import { type Inspection, type Layer, MEASURES, type Measure } from "./format-weights";
import { type Column, Grid } from "./grid";
import { fixed, short, slug } from "./words";

interface Row extends Layer {
  at: string;
  place: number; // of the layer
}

const LAYERS: Column<Row>[] = [
  { key: "at", label: "weights", value: (r) => r.at },
  { key: "layer", label: "layer", value: (r) => r.name },
  { key: "entropy", label: "entropy, nats", value: (r) => r.entropy, text: (r) => fixed(r.entropy, 3), number: true },
  { key: "norm", label: "‖w‖₂", value: (r) => r.norm, text: (r) => short(r.norm, 4), number: true },
  { key: "energy", label: "energy", value: (r) => r.energy, text: (r) => fixed(r.energy, 3), number: true },
  { key: "stable_rank", label: "stable rank", value: (r) => r.stable_rank, text: (r) => fixed(r.stable_rank), number: true },
  { key: "alpha", label: "α", value: (r) => r.alpha, text: (r) => fixed(r.alpha, 2), number: true },
  { key: "fit", label: "fit of α", value: (r) => r.fit ?? "not recorded" },
];

type Seen = Inspection & { seed: number };

const SHARPNESS: Column<Seen>[] = [
  { key: "seed", label: "seed", value: (r) => r.seed, number: true },
  { key: "step", label: "step", value: (r) => r.step, text: (r) => String(r.step), number: true },
  { key: "epoch", label: "epoch", value: (r) => r.epoch, number: true },
  {
    key: "sharpness",
    label: "sharpness",
    value: (r) => r.sharpness,
    text: (r) => (r.sharpness === null ? (r.reason ?? "–") : short(r.sharpness, 4) + (r.converged ? "" : " (did not converge)")),
    number: true,
  },
  { key: "images", label: "images", value: (r) => r.images, number: true },
];

/** Patterns of one run in a figure and a table, and the sharpness of all; nothing where no record holds any. */
export function Weights({ runs, title }: { runs: readonly Run[]; title: string }) {
  const { table } = useApp();
  const run = runs.find((r) => r.patterns || r.inspections.length);
  const seen = runs.flatMap((r) => r.inspections.map((each): Seen => ({ ...each, seed: r.seed })));
  if (!run) return null;
  const stages = [
    ...run.inspections.map((each) => ({ at: `step ${each.step}`, layers: each.layers })),
    ...(run.patterns ? [{ at: "last", layers: run.patterns.layers }] : []),
  ];
  const rows = stages.flatMap(({ at, layers }) => layers.map((layer, place): Row => ({ ...layer, at, place })));
  const panels = panelsOf(stages);
  return (
    <details>
      <summary>Weights, layer by layer, of seed {run.seed}</summary>
      {panels.length > 0 && (
        <Figure
          name={`weights-${slug(title)}`}
          title="Weight patterns by layer"
          about={stages.length > 1 ? "After the steps of training that were inspected, and of the last weights." : "Of the last weights."}
          draw={(sheet) => <PatternsFigure sheet={sheet} panels={panels} label={`Weight patterns of ${title} by layer in ${table.title}`} />}
        />
      )}
      {seen.length > 0 && (
        <Grid
          name="sharpness"
          caption="Sharpness: the largest eigenvalue of the Hessian of the training loss on a fixed batch."
          columns={SHARPNESS}
          rows={seen}
          plain
        />
      )}
      <Grid name="layers" caption={run.patterns?.rules ?? "Weights at the steps that were inspected."} columns={LAYERS} rows={rows} plain />
    </details>
  );
}

function panelsOf(stages: readonly { at: string; layers: Layer[] }[]): Panel[] {
  return (Object.keys(MEASURES) as Measure[]).flatMap((measure): Panel[] => {
    const series = stages.flatMap(({ at, layers }, i): Series[] => {
      const points = layers.map((layer, k) => ({ x: k + 1, y: layer[measure] }));
      return points.some((p) => p.y !== null) ? [{ key: at, label: at, colour: i, points }] : [];
    });
    return series.length ? [{ title: MEASURES[measure], series }] : [];
  });
}
