"""The arguments of ``bocb recommend``, apart from what runs it, so that ``bocb --help`` loads nothing."""

from __future__ import annotations

import argparse
from pathlib import Path

DEFAULT_STORE = "outputs/store"
MAX_REGRET = 1.0
_DESCRIPTION = """\
The smallest set of optimizers with bounded expected regret (points lost by trying nothing else), where to start tuning
them, the cells behind the answer, and what to run next. Each source answers for itself; sources are never pooled.
A backbone without results is judged by its design tags (family, stage-wise and block-wise design, token mixer).
How good that is: benchmarks/recommender.txt.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``bocb recommend``."""
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("backbone", help="a row, a timm name, a folder with config.json, or an id on the Hub")
    parser.add_argument(
        "--max-regret", type=float, default=MAX_REGRET, help="largest expected regret in points (default: %(default)s)"
    )
    parser.add_argument(
        "--source",
        choices=("paper", "store", "both"),
        default="both",
        help="the published CIFAR-100 table, a store's records, or each in turn (default: both, if there is a store)",
    )
    parser.add_argument("--store", help=f"folder of the repositories (default: {DEFAULT_STORE}, where it exists)")
    parser.add_argument("--setting", help="whose grid centres to start from (default: the source's, or the backbone's)")
    parser.add_argument("--plan", type=Path, help="write the next runs of the first answer as a plan for `bocb sweep`")
    parser.add_argument("--config", help="setting of that plan, as in `bocb list settings`")
