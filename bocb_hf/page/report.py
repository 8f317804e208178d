"""``report.html``: the page of the store that was just read, in one file that opens by a double click."""

from __future__ import annotations

from bocb_hf.page.data import page_data
from bocb_hf.page.document import one_file
from bocb_hf.page.locate import published_boards
from bocb_hf.page.read import LeaderboardFile
from bocb_hf.page.write import own_rows, to_parquet
from bocb_hf.report.tabulate import Tabulated


def report_html(tabulated: Tabulated) -> bytes:
    """Returns the report of the tables of a store, beside those that the study published.

    It opens with the table that has most runs. Equal records give equal bytes.

    Args:
        tabulated: The tables of the store, as ``tabulate`` returns them.
    """
    contents = tabulated.contents
    own = LeaderboardFile("the report", to_parquet(own_rows(tabulated.results, contents))).boards
    data = page_data(own | published_boards(), contents.uri, contents.quarantined, next(iter(own)))
    return one_file(data, "coupling.parquet")
