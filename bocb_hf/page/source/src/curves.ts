/** Curves of runs as lines of a figure. */

import type { Series } from "./figures/axes";
import type { Run } from "./format";

/** Training loss over epochs, a line for each run; a line ends where its run diverged. */
export function lossSeries(runs: readonly Run[], label: string, key: string, colour: number): Series[] {
  return runs
    .filter((run) => run.losses.length > 1)
    .map((run, i) => ({
      key: `${key} ${run.run_id || i}`,
      label: run.status === "diverged" ? `${label}, diverged` : label,
      colour,
      thin: runs.length > 1,
      points: run.steps.map((step, k) => ({ x: step * run.epochs_per_step, y: run.losses[k] ?? null })),
    }));
}

/** Validation top-1 over epochs. */
export function validationSeries(runs: readonly Run[], label: string, key: string, colour: number): Series[] {
  return runs
    .filter((run) => run.val_top1.length > 1)
    .map((run, i) => ({
      key: `${key} ${run.run_id || i}`,
      label,
      colour,
      thin: runs.length > 1,
      points: run.val_steps.map((step, k) => ({ x: step * run.epochs_per_step, y: run.val_top1[k] ?? null })),
    }));
}
