"""What each cell of a plan still needs, from the records in the store and in a file that others have published."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from bocb_hf.coupling.selection import values_of
from bocb_hf.engine.prepare import prepare_run
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.identity import Identity
from bocb_hf.runs.record import RunRecord
from bocb_hf.store import open_training_store
from bocb_hf.store.read import read_repository
from bocb_hf.sweep.cells import Cell
from bocb_hf.sweep.protocols import Place, Trial


@dataclass
class Left:
    """What one cell has and still needs.

    Attributes:
        trials: Number of trials left, as the plan counts them.
        finals: Number of final runs left.
        records: Its records that are of this plan, those of others included.
        extensions: Number of trials by which its grid may still be extended, at most.
        done_trials: Number of trials that the file of ``--done`` holds and the store does not.
        done_finals: The same of final runs.
    """

    cell: Cell
    trials: int
    finals: int
    records: list[RunRecord]
    extensions: int
    done_trials: int = 0
    done_finals: int = 0

    @property
    def runs(self) -> int:
        """Number of runs left, without extensions."""
        return self.trials + self.finals


def find_left(cell: Cell, done: Sequence[RunRecord] = ()) -> Left:
    """What a cell still needs, from the records of its repository; its ended trials are noted in the cell.

    Args:
        cell: The cell.
        done: Records of runs of its names that others have done, see ``sweep.done``.

    Raises:
        InputError: The repository cannot be read, or, where others have done runs, a run could not be prepared.
    """
    config, tuning, tuned = cell.config(), cell.plan.tuning, cell.space.tuned
    store, _ = open_training_store(config.runtime.store, config.runtime.local_store)
    contents = read_repository(store, f"{config.runtime.namespace}/{cell.repository(config)}")
    own = [r for r in contents.records if r.status != "interrupted" and _is_of(config, r)]
    others = _others(cell, config, done, {(r.role, r.run_id) for r in own})
    for record in own:
        if (place := _place(cell, record)) is not None:
            cell.trials[place] = Trial.from_record(record)
    stored = len(cell.trials)
    for record in others:
        if (place := _place(cell, record)) is not None:
            cell.trials.setdefault(place, Trial.from_record(record))
    places = cell.next_trials()
    planned = cell.plan.trials(cell.place.optimizer)
    seeds, done_finals = set(cell.plan.final_seeds), 0
    if places:
        trials, finals = max(len(places), planned - len(cell.trials)), len(seeds)
    else:
        chosen, trials = cell.chosen(), 0
        found = [
            {r.seed for r in some if r.role == "final" and values_of(r, tuned) == chosen} for some in (own, others)
        ]
        finals = len(seeds - found[0] - found[1])
        done_finals = len(seeds & found[1] - found[0])
    # what extended a grid is beyond what the plan counts
    done_trials = max(0, min(len(cell.trials) - stored, planned - trials - stored))
    extends = sum(axis.factor is not None for axis in tuned) * cell.plan.extensions
    copies = len(tuning.seeds) if tuning.protocol == "grid" else 1
    extensions = extends * copies if places and tuning.protocol != "random" else 0
    return Left(cell, trials, finals, [*own, *others], extensions, done_trials, done_finals)


def _place(cell: Cell, record: RunRecord) -> Place | None:
    """The configuration and seed of a trial of this plan; None for any other record."""
    values = values_of(record, cell.space.tuned)
    if record.role != "trial" or values is None or record.seed not in cell.plan.tuning.seeds:
        return None
    return values, record.seed


def _others(
    cell: Cell, config: RunConfig, done: Sequence[RunRecord], stored: Collection[tuple[str, str]]
) -> list[RunRecord]:
    """The records of others that a sweep takes: those of its very configurations that the store does not hold."""
    if not done:
        return []
    tuned = [axis.name for axis in cell.space.tuned]
    asked = _untuned(prepare_run(config).identity, tuned)
    return [
        record
        for record in done
        if record.status != "interrupted"
        and (record.role, record.run_id) not in stored
        and _untuned(record.identity, tuned) == asked
    ]


def _untuned(identity: Identity, tuned: Sequence[str]) -> dict[str, Any]:
    """A configuration without the values that are tuned."""
    data = identity.configuration()
    for name in tuned:
        data["optimizer"].pop(name, None)
        data["optimizer"]["hyperparameters"].pop(name, None)
    return data


def _is_of(config: RunConfig, record: RunRecord) -> bool:
    """Whether a record of the cell's repository was trained as this plan trains."""
    asked, got = config.training, record.identity.training
    given = {name: value for name in type(asked).model_fields if (value := getattr(asked, name)) is not None}
    return (
        all(getattr(got, name) == value for name, value in given.items())
        and record.identity.data.image_size == config.data.image_size
    )
