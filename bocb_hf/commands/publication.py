"""``bocb publish``: records, tables, the leaderboard's file and the data card of a results data set.

What counts is what a maintainer allows: the namespaces that ``--store`` names, and the submissions that were merged.
"""

from __future__ import annotations

import argparse
import datetime
import io

import pyarrow.parquet as pq

from bocb_hf.coupling.table import build_tables
from bocb_hf.errors import InputError
from bocb_hf.report.outputs import coupling_frame
from bocb_hf.results.card import results_card
from bocb_hf.results.counted import read_counted
from bocb_hf.results.dataset import (
    COUPLING,
    LEADERBOARD,
    RECORDS,
    dataset_name,
    publish_results,
    records_parquet,
)
from bocb_hf.store.hub_calls import check_writable

CARD = "README.md"


def publish(arguments: argparse.Namespace) -> int:
    """Reads what counts and replaces the files of the data set in one commit; returns the exit status.

    Raises:
        InputError: The token may not write there, nothing counts, or the Hub refused.
    """
    from bocb_hf.leaderboard.write import leaderboard_parquet

    if arguments.draws < 100:
        raise InputError(f"--draws: {arguments.draws} is too few for a 95 % interval; use at least 100")
    check_writable(dataset_name(arguments.to).split("/")[0])
    contents = read_counted(arguments.store, arguments.to, submissions=True)
    if not contents.records:
        raise InputError(f"--store: {arguments.store} holds no valid record of a run, nor does a merged submission")
    files = {
        RECORDS: records_parquet(contents.records, contents.places, contents.levels),
        COUPLING: coupling_frame(build_tables(contents.records)).to_parquet(index=False),
        LEADERBOARD: leaderboard_parquet(contents, arguments.draws),
    }
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    rows = {path: pq.ParquetFile(io.BytesIO(content)).metadata.num_rows for path, content in files.items()}
    card = {CARD: results_card(arguments.to, contents, rows, date).encode()}
    revision = publish_results(arguments.to, files | card, f"{len(contents.records)} records")
    for item in contents.quarantined:
        print(f"quarantined: {item}")
    print(f"{arguments.to}: {len(contents.records)} records, {len(contents.quarantined)} quarantined, at {revision}")
    return 0
