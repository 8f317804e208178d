"""Adds the runs of a store to the file of the laptop study's records, at the end of a sitting.

    python benchmarks/study_records.py outputs/study/store benchmarks/laptop_study/records.parquet
    bocb sweep laptop-study --store outputs/study/store --done benchmarks/laptop_study/records.parquet

Runs that were interrupted are left out; what the file holds already stays as it is. Records are in the order of role,
setting, backbone, optimizer and run, so that the same runs make the same file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bocb_hf.errors import InputError
from bocb_hf.files import write_atomically
from bocb_hf.results.dataset import records_parquet
from bocb_hf.results.records_file import read_records_file
from bocb_hf.runs.record import RunRecord
from bocb_hf.store import open_store
from bocb_hf.store.contents import StoreContents, read_store


def merge(known: StoreContents, more: StoreContents) -> tuple[list[RunRecord], dict[tuple[str, str], str]]:
    """All finished runs of both, and their places; of a run that both have, the first one's record counts."""
    found: dict[tuple[str, str], RunRecord] = {}
    places: dict[tuple[str, str], str] = {}
    for contents in (known, more):
        for record in contents.records:
            key = (record.role, record.run_id)
            if record.status != "interrupted" and key not in found:
                found[key], places[key] = record, contents.places[key]
    ordered = sorted(found.values(), key=lambda r: (r.role, *r.identity.cell().names, r.run_id))
    return ordered, places


def main() -> int:
    """Reads, merges, writes, and says how many runs there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", help="the store")
    parser.add_argument("file", type=Path, help="the Parquet file; it may be missing")
    options = parser.parse_args()
    try:
        known = read_records_file(options.file, "file") if options.file.exists() else StoreContents("nothing")
        more = read_store(open_store(options.store))
        if bad := [*known.quarantined, *more.quarantined]:
            raise InputError(f"{len(bad)} records were left out, the first: {bad[0]}")
        records, places = merge(known, more)
        write_atomically(options.file, records_parquet(records, places, {}))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finals = sum(record.role == "final" for record in records)
    print(f"{options.file}: {len(records)} runs, {finals} of them final; {len(records) - len(known.records)} are new")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
