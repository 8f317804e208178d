"""The data card of a results data set: what the Hub's viewer shows, how to submit, what the levels of trust say."""

from __future__ import annotations

from collections.abc import Mapping

import jinja2

from bocb_hf.resources import resource
from bocb_hf.results.dataset import COUPLING, LEADERBOARD, RECORDS, dataset_name
from bocb_hf.runs import strict_yaml
from bocb_hf.runs.tasks import TASKS
from bocb_hf.store.contents import StoreContents

_CONFIGS = (("leaderboard", LEADERBOARD), ("coupling", COUPLING), ("records", RECORDS))
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def results_card(uri: str, contents: StoreContents, rows: Mapping[str, int], date: str) -> str:
    """Renders the data card: what the Hub's viewer shows, how to submit, and what the levels of trust say.

    Args:
        uri: Address of the data set.
        contents: The contents that are published.
        rows: Number of rows of each file.
        date: The date of today.
    """
    largest = max(rows.values())
    metadata = {
        "pretty_name": "Backbone-optimizer coupling: results",
        "license": "apache-2.0",
        "tags": ["bocb", "benchmark", "optimizers", *_pipelines(contents), "vision-backbones"],
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


def _pipelines(contents: StoreContents) -> list[str]:
    """The Hub's names of the tasks of all runs; a task whose plug-in is not loaded has none."""
    tasks = {record.identity.task.name for record in contents.records}
    return sorted({row.pipeline for row in TASKS if row.id in tasks})
