"""Writes the leaderboard that the package holds: the laptop study, as far as it is done, and the published tables.

    python benchmarks/study_leaderboard.py benchmarks/laptop_study/records.parquet --store benchmarks/laptop_study

Of the study, only the largest block of whole rows and columns is in it, as its report has it
(``benchmarks/study_report.py``); without one, only the published tables are. ``--store`` names a folder that holds the
floors. The published tables stay as they are; ``--anew`` computes them again, which takes a minute.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from study_report import PLAN, only, whole_block

from bocb_hf.errors import InputError
from bocb_hf.files import write_atomically
from bocb_hf.page import EMBEDDED
from bocb_hf.page.write import leaderboard_parquet
from bocb_hf.resources import find_config
from bocb_hf.results.records_file import read_records_file
from bocb_hf.store import open_store
from bocb_hf.store.contents import StoreContents, read_store
from bocb_hf.sweep.plan import load_plan

RECORDS = "benchmarks/laptop_study/records.parquet"  # where the commands of the page look for them


def study_contents(records: Path, store: str | None, name: str = PLAN) -> StoreContents:
    """The whole block of a study: its records and its floors.

    Args:
        records: The Parquet file of the records.
        store: A store that holds the floors; None leaves them out.
        name: Name or file of the plan.
    """
    plan = load_plan(find_config(name, "recipes/sweeps"))
    contents = read_records_file(records, "records")
    floors = [] if store is None else read_store(open_store(store)).floors
    block = whole_block(contents.records, plan.backbones, plan.optimizers, len(plan.final_seeds))
    return replace(
        only(contents, *block), uri="benchmarks/laptop_study/records.parquet", floors=floors or contents.floors
    )


def main() -> int:
    """Reads the records, writes the file, and says what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, help="the Parquet file of the study's records")
    parser.add_argument("--store", help="a store that holds the floors")
    parser.add_argument("--anew", action="store_true", help="compute the published tables as well")
    arguments = parser.parse_args()
    try:
        contents = study_contents(arguments.records, arguments.store)
        write_atomically(EMBEDDED, leaderboard_parquet(contents, anew=arguments.anew))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {EMBEDDED} ({EMBEDDED.stat().st_size:,} bytes): {len(contents.records)} runs of the study")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
