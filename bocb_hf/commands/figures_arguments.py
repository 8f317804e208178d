"""The arguments of ``bocb figures``, apart from what runs it, so that ``bocb --help`` loads nothing."""

from __future__ import annotations

import argparse
from pathlib import Path

_DESCRIPTION = """\
Draws every figure of a coupling table as PNG and SVG (heat-map table, violins, interaction, critical difference; from
records also tuning distances, expected best of k trials, Pareto fronts of time, memory and tuning, training curves) and
writes the numbers beside them: scores.csv, .parquet, .json, .md and .tex (booktabs); from records also ledger.csv,
distances.csv, trials.csv and pareto.csv. Figures are 3.3 or 6.9 inches wide, with text of at least 6 points.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``bocb figures``."""
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--store", default="outputs/store", help="folder of the repositories (default: %(default)s)")
    parser.add_argument(
        "--source",
        default="store",
        metavar="store|paper[:TABLE]",
        help="records of the store, or a published table: cifar100 (default), imagenet1k, coco_pose, coco_detection",
    )
    parser.add_argument("--out", default=Path("outputs/figures"), type=Path, help="folder (default: %(default)s)")
    only = "only figures whose names begin so, without tables (repeatable): heatmap, violin, pareto-seconds, ..."
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help=only)
