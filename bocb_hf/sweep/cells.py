"""The cells of a plan with their configurations: which trials and final runs each needs, given what has ended."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from bocb_hf.data.load import public_name
from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.resources import find_config
from bocb_hf.runs import strict_yaml
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.load_config import build_run_config, load_run_config
from bocb_hf.runs.naming import repository_name
from bocb_hf.runs.tuned import LR, TunedAxis
from bocb_hf.sweep.executors.work import Floor
from bocb_hf.sweep.kept_rates import Kept, find_rates
from bocb_hf.sweep.plan import CellPlan, SweepPlan
from bocb_hf.sweep.pretrained import find_starts
from bocb_hf.sweep.protocols import Axis, Place, Space, Trial, Values, choose, describe_choice, make_space, next_trials


@dataclass
class Cell:
    """One cell of a plan and its ended trials.

    Attributes:
        plan: The plan that the cell is of.
        place: Its setting, variant, backbone and optimizer.
        base: Pairs ``section.key=value`` of all its runs.
        space: What is tuned.
        label: The name that messages have for it.
        trials: Ended trials, by configuration and seed.
        starts: The checkpoints that its seeds take in turn; empty without an axis ``pretrained``.
    """

    plan: SweepPlan
    place: CellPlan
    base: tuple[str, ...]
    space: Space
    label: str
    trials: dict[Place, Trial] = field(default_factory=dict[Place, Trial])
    starts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.label

    def config(self, more: Sequence[str] = ()) -> RunConfig:
        """The configuration of the cell, with further pairs ``section.key=value``."""
        return _load(find_config(self.place.config, "recipes/configs"), (*self.base, *more))

    def names(self) -> tuple[str, str, str, str]:
        """Data set, setting, backbone and optimizer, by which records know the cell."""
        config = self.config()
        return public_name(config.data.name), config.setting, self.place.backbone, self.place.optimizer

    def repository(self, config: RunConfig) -> str:
        """Name of the repository of the cell."""
        return repository_name(public_name(config.data.name), config.setting, self.place.backbone, self.place.optimizer)

    def next_trials(self) -> list[Place]:
        """Trials that are still to be run; none when the cell is tuned."""
        return [] if self.plan.kept is not None else next_trials(self.space, self.plan.tuning, self.trials)

    def chosen(self) -> Values:
        """The configuration of the final runs of a tuned cell, or the one that is kept."""
        kept = self.plan.kept is not None
        return self.space.points()[0] if kept else choose(self.space, self.plan.tuning, self.trials)

    def trial(self, place: Place) -> RunConfig:
        """The configuration of one trial."""
        values, seed = place
        start = self._start(self.plan.tuning.seeds.index(seed))
        return self.config(["role=trial", f"seed={seed}", *start, *self.space.overrides(values)])

    def finals(self) -> Iterator[RunConfig]:
        """The configurations of the final runs of a tuned cell."""
        chosen = self.space.overrides(self.chosen())
        tuned = None if self.plan.kept is not None else describe_choice(self.space, self.plan.tuning)
        for place, seed in enumerate(self.plan.final_seeds):
            config = self.config(["role=final", f"seed={seed}", *self._start(place), *chosen])
            yield config.model_copy(update={"tuned": tuned})

    def floor_config(self) -> RunConfig:
        """The configuration that floors are computed from: their network has random weights."""
        return self.config(["backbone.pretrained=null"] if self.starts else [])

    def _start(self, place: int) -> list[str]:
        """The checkpoint of the seed at a place of its list."""
        return [start_override(self.starts[place % len(self.starts)])] if self.starts else []


_RATES = ("optimizer.lr=", "optimizer.weight_decay=", "optimizer.hyperparameters")


def start_override(checkpoint: str) -> str:
    """The pair that names a checkpoint."""
    return f"backbone.pretrained={json.dumps(checkpoint, ensure_ascii=False)}"


def run_overrides(plan: SweepPlan, threads: int, overrides: Sequence[str]) -> list[str]:
    """The pairs ``section.key=value`` of every run of a plan; those of the user win."""
    # no tracker, since it would take as long as the training of a short trial
    grid = f"optimizer.grid={plan.tuning.grid}"
    return ["runtime.tracker=none", grid, *plan.overrides, f"runtime.threads={threads}", *overrides]


def plan_cells(plan: SweepPlan, overrides: Sequence[str]) -> list[Cell]:
    """Makes the cells of a plan.

    Args:
        plan: The plan.
        overrides: Pairs ``section.key=value`` of all runs, the plan's own included.

    Raises:
        InputError: A setting or an override is wrong, the values of a hyper-parameter do not fit an optimizer, or a
            checkpoint of the axis ``pretrained`` is missing.
    """
    starts = {} if plan.pretrained is None else find_starts(plan.pretrained, plan.backbones)
    places = list(plan.cells())
    kept = {} if plan.kept is None else find_rates(plan.kept, ((p.backbone, p.optimizer) for p in places))
    return [
        _make_cell(
            plan,
            place,
            overrides,
            starts.get((place.backbone, place.pretrained), ()),
            kept.get((place.backbone, place.optimizer)),
        )
        for place in places
    ]


def floor_cells(cells: Sequence[Cell]) -> dict[Floor, list[Cell]]:
    """The cells whose configurations the floors of a plan are computed from: one a setting and one a backbone.

    Variants of a setting share its data, and so its floors.
    """
    settings: dict[str, Cell] = {}
    backbones: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        settings.setdefault(cell.place.config, cell)
        backbones.setdefault((cell.place.config, cell.place.backbone), cell)
    return {"logistic_regression": list(settings.values()), "frozen_backbone": list(backbones.values())}


def _load(path: Path, overrides: tuple[str, ...]) -> RunConfig:
    """Does as ``load_run_config``; a file that has not changed is read once, for all the cells and trials of a plan."""
    try:
        status = path.stat()
    except OSError:
        return load_run_config(path, overrides)  # which says why the file cannot be read
    return _load_once(path, status.st_mtime_ns, status.st_size, overrides)


@functools.lru_cache(maxsize=256)
def _load_once(path: Path, changed: int, size: int, overrides: tuple[str, ...]) -> RunConfig:
    sections = _read_once(path, changed, size)
    if not isinstance(sections, dict):
        return load_run_config(path, overrides)  # which says what is wrong with the file
    return build_run_config(cast(dict[str, Any], sections), overrides, source=str(path))


@functools.lru_cache(maxsize=64)
def _read_once(path: Path, changed: int, size: int) -> Any:
    del changed, size
    return strict_yaml.parse_file(path)


def _make_cell(
    plan: SweepPlan, place: CellPlan, overrides: Sequence[str], starts: tuple[str, ...], kept: Kept | None
) -> Cell:
    path, row = find_config(place.config, "recipes/configs"), OPTIMIZERS.get(place.optimizer)
    base = [f"backbone.name={place.backbone}", f"optimizer.name={place.optimizer}", *overrides]
    plain = _load(path, tuple(base))
    base += [*place.changes, *map(start_override, starts[:1])]
    config = _load(path, tuple(base))
    # a variant is a setting of another name, but its centres are those of the setting that it varies
    centre = row.centre(plain.setting, config.data.name, config.training.batch_size, config.optimizer.grid)
    # and so is a level of the axis `pretrained`
    if place.variant or place.pretrained:
        decay = [] if config.optimizer.weight_decay is not None else [f"optimizer.weight_decay={centre.weight_decay!r}"]
        base += [f"setting={'_'.join(filter(None, (plain.setting, place.variant, place.pretrained)))}", *decay]
    label = f"{place.backbone} × {place.optimizer}"
    if place.pretrained:
        label = f"{place.backbone} from {place.pretrained} × {place.optimizer}"
    if len(plan.configs) > 1 or plan.variants:
        label += f" ({' '.join(filter(None, (place.config, place.variant)))})"
    if kept is None:
        return Cell(plan, place, tuple(base), make_space(row, centre, plan.tuning), label, starts=starts)
    for pair in (*overrides, *place.changes):
        if pair.startswith(_RATES):
            raise InputError(f"kept: it decides about {pair.partition('=')[0]}, which is also given; leave one out")
    alone = Axis(TunedAxis(name=LR, centre=kept.lr, factor=plan.tuning.factor), (kept.lr,))
    return Cell(plan, place, (*base, *kept.overrides), Space((alone,)), label, starts=starts)
