"""``bocb publish``: records, tables, the leaderboard's file and the data card of a results data set.

What counts is what a maintainer allows: the namespaces that ``--store`` names, and the submissions that were merged.
"""

from __future__ import annotations

import argparse
import datetime
import io
from collections.abc import Mapping

import jinja2
import pyarrow.parquet as pq

from bocb_hf import strict_yaml
from bocb_hf.aggregate import StoreContents
from bocb_hf.counted import read_counted
from bocb_hf.coupling.table import build_tables
from bocb_hf.errors import InputError
from bocb_hf.outputs import coupling_frame
from bocb_hf.resources import resource
from bocb_hf.results import (
    COUPLING,
    LEADERBOARD,
    RECORDS,
    dataset_name,
    publish_results,
    records_parquet,
)
from bocb_hf.store.hub_calls import check_writable

CARD = "README.md"
_CONFIGS = (("leaderboard", LEADERBOARD), ("coupling", COUPLING), ("records", RECORDS))
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


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


def results_card(uri: str, contents: StoreContents, rows: Mapping[str, int], date: str) -> str:
    """The data card: what the Hub's viewer shows, how to submit, and what the levels of trust say.

    Args:
        uri: Of the data set.
        contents: That are published.
        rows: Of each file.
        date: Of today.
    """
    largest = max(rows.values())
    metadata = {
        "pretty_name": "Backbone-optimizer coupling: results",
        "license": "apache-2.0",
        "tags": ["bocb", "benchmark", "optimizers", "image-classification", "vision-backbones"],
        "size_categories": [next((name for limit, name in _SIZES if largest < limit), "n>1M")],
        "configs": [
            {"config_name": name, "data_files": [{"split": "train", "path": path}]}
            | ({"default": True} if path == LEADERBOARD else {})
            for name, path in _CONFIGS
        ],
    }
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    template = environment.from_string(resource("model_cards/results_card.md.jinja").read_text(encoding="utf-8"))
    body = template.render(
        uri=uri,
        name=dataset_name(uri),
        date=date,
        rows={name: rows[path] for name, path in _CONFIGS},
        records=len(contents.records),
        finals=sum(record.role == "final" for record in contents.records),
        cells=len({record.identity.cell() for record in contents.records}),
        owners=len({place.split("/")[0] for place in contents.places.values()}),
        levels={
            level: sum(contents.levels.get(r.sha256(), "self-reported") == level for r in contents.records)
            for level in ("self-reported", "verified", "reproduced")
        },
    )
    return f"---\n{strict_yaml.dump(metadata)}---\n{body}"
