"""``kept``: the final runs of a plan take the rates that another study tuned, and nothing is tuned.

So a second data set says which findings carry over without paying for tuning again. Importing this needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from bocb_hf.errors import InputError
from bocb_hf.results.counted import read_counted
from bocb_hf.results.records_file import read_records_file
from bocb_hf.runs.record import RunRecord
from bocb_hf.schema import Frozen, Name, Slug


class KeptRates(Frozen):
    """Where the rates come from: the final runs of another setting.

    Attributes:
        source: The records.parquet of a results data set, or a store: a folder, or `hf://<namespace>`.
        setting: Setting of these final runs.
        dataset: Their data as their records name it, where the source holds several.
    """

    source: Annotated[str, Field(min_length=1, max_length=500)]
    setting: Slug
    dataset: Name | None = None


class Kept(Frozen):
    """What a cell keeps: learning rate, and the pairs ``section.key=value`` of weight decay and hyper-parameters."""

    lr: float
    overrides: tuple[str, ...]


def find_rates(kept: KeptRates, cells: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], Kept]:
    """Reads the rates of each backbone and optimizer.

    Args:
        kept: The section of the plan.
        cells: Names of backbone and optimizer of each cell.

    Raises:
        InputError: The source cannot be read, or a cell has no ended final run there, or some of several rates.
    """
    found: dict[tuple[str, str], dict[str, Kept]] = {}
    datasets: dict[tuple[str, str], set[str]] = {}
    for record in _final_runs(kept):
        identity = record.identity
        names = (identity.backbone.name, identity.optimizer.name)
        rates_of = json.dumps(identity.optimizer.model_dump(mode="json"), sort_keys=True)
        found.setdefault(names, {})[rates_of] = _kept(record)
        datasets.setdefault(names, set()).add(identity.data.name)
    rates: dict[tuple[str, str], Kept] = {}
    for cell in cells:
        several = list(found.get(cell, {}).values())
        if len(several) != 1:
            has = f"final runs of {len(several)} configurations" if several else "no final run"
            fix = f"; keep those of one, as now they have the learning rates {', '.join(f'{k.lr:g}' for k in several)}"
            if len(datasets.get(cell, ())) > 1:
                fix = f"; name kept.dataset, one of {', '.join(sorted(datasets[cell]))}"
            text = f"kept: {kept.source} has {has} of {' × '.join(cell)} with setting {kept.setting}"
            raise InputError(text + fix * bool(several))
        rates[cell] = several[0]
    return rates


def _final_runs(kept: KeptRates) -> Sequence[RunRecord]:
    if kept.source.endswith(".parquet"):
        records = read_records_file(Path(kept.source), "kept.source").records
    else:
        records = read_counted(kept.source).records
    ended = [r for r in records if r.role == "final" and r.status != "interrupted"]
    asked = [r for r in ended if r.identity.setting == kept.setting]
    return [r for r in asked if kept.dataset in (None, r.identity.data.name)]


def _kept(record: RunRecord) -> Kept:
    optimizer = record.identity.optimizer
    pairs = [f"optimizer.weight_decay={optimizer.weight_decay!r}"]
    pairs += [f"optimizer.hyperparameters.{k}={json.dumps(v)}" for k, v in sorted(optimizer.hyperparameters.items())]
    return Kept(lr=optimizer.lr, overrides=tuple(pairs))
