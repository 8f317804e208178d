/** What stands above the tables of a comparison (`bocb_hf/page/lead.py`). */

export interface Lead {
  title: string;
  sentence: string;
  table: string | null;
  backbone: string | null;
  rows: LeadRow[];
  notes: string[];
  next: { text: string; commands: string[] }[];
  decided: string[];
  cuts: string[];
}

export interface LeadRow {
  optimizer: string;
  label: string;
  mark: string;
  lr: number | null;
  top1: number | null;
  n: number;
  diverged: number;
  loses: number | null;
  low: number | null;
  high: number | null;
  tried: number[];
  edge: boolean;
  seconds: number | null;
  why: string | null;
}
