/**
 * What the page gets, format 1: written by `bocb_hf/page` in Python, where everything is computed and put into words.
 *
 * `null` is what is not there. Every text is text and is shown as text, whatever it holds.
 */

import type { Lead } from "./format-lead";
import type { Inspection, Patterns, Ridge } from "./format-weights";

export interface Config {
  format: number;
  summary: string | null; // address of the summary; null: inlined
  details: string | null; // address of the details; null: inlined
  parquet: string | null; // address for programs
  hub: string;
  space: string | null; // "org/name" when it was deployed as a Space
}

export interface Summary {
  format: number;
  id: string;
  release: string;
  date: string | null;
  open: string; // id of the table to open with
  source: string;
  lead: Lead | null;
  tables: Table[];
  ask: Ask;
  study: string | null;
  citation: string;
  install: string;
  submit: string[];
  quarantined: { repository: string; path: string; reason: string }[];
  chunks: number[]; // byte offsets in the details
}

export interface Estimate {
  value: number;
  low: number | null;
  high: number | null;
}

export interface Table {
  id: string;
  title: string;
  kind: "records" | "published";
  origin: string;
  dataset: string;
  setting: string;
  revision: string;
  metric: string;
  split: string;
  n_test: number | null;
  num_classes: number | null;
  trials_per_value: number;
  seeds: number[];
  toy: string | null;
  basis: string;
  single: boolean; // no cell has two scores, so there are no intervals
  n: [number, number];
  date: string | null;
  rules: { marks: string; failed: string; interval: string };
  headlines: { answer: string[]; reading: string[]; primary: string | null; table: string[]; coupling: string[] };
  contrast: string[];
  notes: string[];
  floors: { text: string; backbone: string | null }[];
  ledger: LedgerRow[] | null;
  fairness: string[];
  transfers?: Transfer[]; // absent from data of an earlier release
  namespaces: string[];
  levels: string[];
  backbones: Backbone[];
  optimizers: Optimizer[];
  cells: Cells;
  chunk: number;
}

/** A table of pre-training × fine-tuning optimizer for each backbone, in words. */
export interface Transfer {
  title: string;
  answer: string[];
  sentences: string[];
  backbones: { backbone: string; optimizers: string[]; rows: { pretraining: string; cells: string[] }[] }[];
}

export interface Backbone {
  id: string;
  label: string;
  family: string;
  family_label: string;
  kind: "CNN" | "modern" | "unknown";
  stage_wise: string | null;
  block_wise: string | null;
  operator: string | null;
  parameters: number | null;
  train: string;
  headline: string[];
  kappa: Estimate | null;
}

export interface Optimizer {
  id: string;
  label: string;
  category: string;
  category_label: string;
  train: string;
  headline: string[];
  mean_rank: number | null;
  best_on: number;
  may_be_best_on: number | null;
  gap: number | null;
  worst_gap: number | null;
  failed_on: number;
  cells: number;
  kappa: Estimate | null;
}

export interface LedgerRow {
  optimizer: string;
  label: string;
  cells: number;
  trials: string;
  rates: string;
  epochs: string;
  diverged: number;
  edges: number;
  tuning_hours: number;
  final_hours: number;
}

export type Status = "completed" | "partial" | "diverged" | "interrupted" | "missing";
export type Numbers = (number | null)[];
export type Texts = (string | null)[];

/** Columns of backbones × optimizers values, that of (b, o) at b · O + o; a column without any value is left out. */
export interface Cells {
  status: Status[];
  n: number[];
  diverged: number[];
  mark?: string[];
  mean?: Numbers;
  low?: Numbers;
  high?: Numbers;
  gap?: Numbers; // points below the best of the backbone
  rank?: Numbers;
  failed?: (0 | 1)[];
  collapsed?: (0 | 1)[];
  candidate?: Numbers;
  residual?: Numbers;
  residual_low?: Numbers;
  residual_high?: Numbers;
  standard_error?: Numbers;
  lr?: Numbers;
  weight_decay?: Numbers;
  trials?: Numbers;
  seconds?: Numbers;
  memory?: Numbers;
  test_loss?: Numbers;
  train_loss?: Numbers;
  hash?: Texts;
  level?: Texts;
  owner?: Texts;
  repository?: Texts;
  chunk?: Numbers;
}

export interface Ask {
  bound: number;
  names: Record<string, number>;
  labels: Record<string, string>;
  measured: Record<string, Answer[]>;
  designs: Design[];
  unanswered: { table: string; why: string }[];
}

export interface Design {
  like: string | null;
  family: string;
  stage_wise: string;
  block_wise: string;
  operator: string;
  answers: Answer[];
}

export interface Answer {
  table: string;
  toy: string | null;
  why: string;
  sentences: string[];
  use: string[];
  regret: number;
  interval: [number, number] | null;
  evidence: string[];
  caveats: string[];
  next: string[];
  start: Start[];
  commands: string[];
}

export interface Start {
  optimizer: string;
  label: string;
  lr: number | null;
  weight_decay: number | null;
  rates: number[];
  decays: number[];
  source: string;
}

export type Chunk = { id: string; table?: TableMore; cells?: Record<string, CellMore> };

export interface CellMore {
  scores: number[];
  seeds: number[];
  summary: string;
  notes: string[];
  trials: { lr: number; weight_decay: number; val_top1: number | null }[];
  rates: { lr: number; val_top1: number | null; trials: number }[]; // of each learning rate, over its trials
  curves: { seed: number; epochs: number[]; val_top1: number[] }[]; // of the trials at the chosen rate
  ridge: Ridge | null;
  chosen_by: string | null;
  edge: boolean | null;
  others: { config_hash: string; n: number; mean: number | null; low: number | null; high: number | null }[];
  runs: Run[];
  hyperparameters: Record<string, string>;
  load: string | null;
}

export interface Run {
  seed: number;
  status: string;
  reason: string | null;
  score: number | null;
  level: string;
  shown: boolean;
  config_hash: string;
  run_id: string;
  record_sha256: string;
  repository: string;
  path: string;
  finished: string;
  links: { label: string; href: string }[];
  reproduce: string;
  metrics: Record<string, number>;
  cost: Record<string, string>;
  environment: string;
  diagnosis: string[];
  epochs_per_step: number;
  steps: number[];
  losses: number[];
  val_steps: number[]; // of `val_top1`, which holds scores by the metric of the table
  val_top1: number[];
  patterns: Patterns | null;
  inspections: Inspection[];
}

export interface FrontPoint {
  optimizer: string;
  mean: number;
  low: number | null;
  high: number | null;
  n: number;
  cost: number;
  on_front: boolean;
  dominated_by: string[];
}

export interface Front {
  axis: string;
  label: string;
  points: FrontPoint[];
  left_out: Record<string, string>;
  caveats: string[];
}

export interface Band {
  share: Numbers;
  low: Numbers;
  high: Numbers;
}

export interface Spread {
  name: string;
  values: Record<string, number>;
}

export interface TableMore {
  sentences: string[];
  comparisons: string[];
  ranking: {
    mean_ranks: Record<string, number>;
    critical_difference: number | null;
    test: string | null;
    groups: string[][]; // not told apart
    apart?: [string, string][] | null; // pairs told apart, where holes leave no critical difference
  } | null;
  shares: {
    scale: string;
    version: string;
    cells: number;
    backbone: Estimate;
    optimizer: Estimate;
    interaction: Estimate;
  }[];
  order: { backbones: number[]; optimizers: number[] } | null;
  fronts: Record<string, Front[]>;
  robustness: { by_optimizer: Spread[]; by_backbone: Spread[] } | null;
  trial_curves: {
    optimizer: string;
    points: {
      k: number;
      shortfall: number;
      low: number | null;
      high: number | null;
      no_result: number;
      backbones: number;
    }[];
  }[];
  profiles: { distances: number[]; optimizers: Record<string, { n: number } & Band> } | null;
  times: {
    targets: Record<string, number>;
    factors: number[];
    optimizers: ({ optimizer: string; runs: number; reached: number } & Band)[];
  } | null;
  study: StudyRow[] | null;
  study_claim: string[] | null;
  environments: { runs: number; text: string }[];
  cells_ledger: CellLedger[] | null;
  reproduce: string[];
  differences: { backbone: number; value: number; low: number | null; high: number | null }[]; // SGD minus adaptive
}

export interface StudyRow {
  optimizer: string;
  here_cnn: number | null;
  here_cnn_n: number;
  here_modern: number | null;
  here_modern_n: number;
  study_cnn: number | null;
  study_cnn_n: number;
  study_modern: number | null;
  study_modern_n: number;
}

export interface CellLedger {
  backbone: string;
  optimizer: string;
  trials: number;
  diverged: number;
  rates: string;
  decays: string;
  lr: number | null;
  weight_decay: number | null;
  edge: boolean | null;
  extensions: number;
  chosen_by: string;
  epochs: string;
  steps: string;
  tuning_seconds: number;
  final_seconds: number;
}
