/** Curves of runs and trials as lines of a figure. */

import type { Series } from "./figures/lines";
import type { CellMore, Run } from "./format";

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

/** The validation score over epochs. */
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

/** The validation score over epochs of the trials at the chosen rate, a line for each tuning seed. */
export function trialSeries(cell: CellMore, label: string, key: string, colour: number): Series[] {
  return cell.curves.map((curve) => ({
    key: `${key} trial ${curve.seed}`,
    label,
    colour,
    thin: cell.curves.length > 1,
    points: curve.epochs.map((x, k) => ({ x, y: curve.val_top1[k] ?? null })),
  }));
}

/** The validation score of each learning rate that was tried; the chosen one stands out. */
export function rateSeries(cell: CellMore, chosen: number | null, label: string, key: string, colour: number): Series[] {
  if (!cell.rates.some((rate) => rate.val_top1 !== null)) return [];
  const points = cell.rates.map((rate) => ({ x: rate.lr, y: rate.val_top1 }));
  const lost = cell.rates.filter((rate) => rate.val_top1 === null).map((rate) => rate.lr);
  return [{ key, label, colour, points, dots: true, chosen, lost }];
}
