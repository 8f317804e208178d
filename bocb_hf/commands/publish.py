"""``bocb publish``: records, tables, the leaderboard's file and the data card of a results data set.

What counts is what a maintainer allows: the namespaces that ``--store`` names, and the submissions that were merged.
"""

from __future__ import annotations

import datetime
import io

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.errors import InputError

_CARD = "README.md"


@declare("publish")
@options.store()
@options.to_results()
@options.draws()
def command(store: str, to: str, draws: int) -> int:
    """Reads what counts and replaces the files of the data set in one commit.

    Raises:
        InputError: The token may not write there, nothing counts, or the Hub refused.
    """
    import pyarrow.parquet as pq

    from bocb_hf.coupling.marks import Marks
    from bocb_hf.coupling.scores import scores_of
    from bocb_hf.coupling.table import build_tables
    from bocb_hf.page.write import leaderboard_parquet
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

    check_writable(dataset_name(to).split("/")[0])
    contents = read_counted(store, to, submissions=True)
    if not contents.records:
        raise InputError(f"--store: {store} holds no valid record of a run, nor does a merged submission")
    tables = build_tables(contents.records)
    coupling = coupling_frame([(table, Marks.of(scores_of(table), table)) for table in tables])
    files = {
        RECORDS: records_parquet(contents.records, contents.places, contents.levels),
        COUPLING: coupling.to_parquet(index=False),
        LEADERBOARD: leaderboard_parquet(contents, draws),
    }
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    sizes = {path: pq.ParquetFile(io.BytesIO(content)).metadata.num_rows for path, content in files.items()}
    card = {_CARD: results_card(to, contents, sizes, date).encode()}
    revision = publish_results(to, files | card, f"{len(contents.records)} records")
    for item in contents.quarantined:
        print(f"quarantined: {item}")
    print(f"{to}: {len(contents.records)} records, {len(contents.quarantined)} quarantined, at {revision}")
    return 0
