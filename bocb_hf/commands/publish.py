"""``bocb publish``: records, tables, the leaderboard's file, the data of its page and the card of a results data set.

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

    from bocb_hf.page.data import page_data
    from bocb_hf.page.read import LeaderboardFile
    from bocb_hf.page.write import tabulated_parquet
    from bocb_hf.report.outputs import coupling_frame
    from bocb_hf.report.tabulate import Wanted, tabulate
    from bocb_hf.results.card import results_card
    from bocb_hf.results.counted import read_counted
    from bocb_hf.results.dataset import (
        COUPLING,
        LEADERBOARD,
        PAGE_DETAILS,
        PAGE_SUMMARY,
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
    results = tabulate(contents, Wanted(draws)).results
    coupling = coupling_frame([(result.table, result.marks) for result in results])
    files = {
        RECORDS: records_parquet(contents.records, contents.places, contents.levels),
        COUPLING: coupling.to_parquet(index=False),
        LEADERBOARD: tabulated_parquet(results, contents),
    }
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    sizes = {path: pq.ParquetFile(io.BytesIO(content)).metadata.num_rows for path, content in files.items()}
    card = {_CARD: results_card(to, contents, sizes, date).encode()}
    boards = LeaderboardFile(LEADERBOARD, files[LEADERBOARD]).boards
    page = page_data(boards, to, contents.quarantined)
    shown = {PAGE_SUMMARY: page.summary, PAGE_DETAILS: page.details}
    revision = publish_results(to, files | shown | card, f"{len(contents.records)} records")
    for item in contents.quarantined:
        print(f"quarantined: {item}")
    print(f"{to}: {len(contents.records)} records, {len(contents.quarantined)} quarantined, at {revision}")
    return 0
