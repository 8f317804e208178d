/** Weight patterns of a run (`bocb_hf/page/weights.py`). */

export type Measure = "entropy" | "norm" | "energy" | "stable_rank" | "alpha";

export const MEASURES: Record<Measure, string> = {
  entropy: "entropy, nats",
  norm: "norm ‖w‖₂",
  energy: "energy: share of variance in the first components",
  stable_rank: "stable rank",
  alpha: "exponent α of the spectrum",
};

export type Layer = { name: string; fit: string | null } & Record<Measure, number | null>;

export interface Patterns {
  layers: Layer[];
  rules: string;
}

export interface Inspection {
  step: number;
  epoch: number;
  share: number;
  sharpness: number | null;
  converged: boolean | null;
  images: number | null;
  reason: string | null;
  layers: Layer[];
}

/** Means over the runs of a cell, by layer. */
export type Ridge = { runs: number; layers: string[] } & Record<Measure, (number | null)[]>;
