"""The arguments of ``bocb leaderboard``."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds them to a parser."""
    parser.add_argument(
        "--data",
        metavar="FILE|hf://datasets/ORG/NAME",
        help="what to show (default: the results of `make demo` and the published tables, which come with the package)",
    )
    parser.add_argument("--store", help="show this store instead: a local folder, or hf://<namespace>[,...]")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the Parquet file of --store and end")
    parser.add_argument("--draws", type=int, default=2000, help="bootstrap draws with --store (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=7860, help="port to listen on (default: %(default)s)")
    parser.add_argument("--deploy", metavar="ORG/SPACE", help="create or update a Space of the Hub instead of serving")
    parser.add_argument("--wheel", type=Path, help="with --deploy: our wheel, when this is no checkout")
