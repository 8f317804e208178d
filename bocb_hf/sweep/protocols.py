"""What tuning tries in a cell, as pure functions of the trials that have ended. Importing this needs no torch.

``grid`` tries the product of all axes with every seed. While the best configuration lies at the edge of an axis, it
adds one beyond it, at most ``max_extensions`` values on each axis.

``random`` draws ``draws`` configurations around the centre, uniformly in steps (in the logarithm of the value) within
the range of the grid. The steps are the same in every cell, so that no optimizer has the luckier draw.

``halving`` is successive halving (Jamieson and Talwalkar, AISTATS 2016, Algorithm 1) with seeds as its resource: all
configurations with the first seed, extended as a grid is, then the better half of them with the next seed, and so on.
A shorter run would be a cheaper trial, but with a schedule over the whole run it is another configuration, whose best
learning rate is another one.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bocb_hf.coupling.selection import Candidate, Values, choose_candidate, distance_of, order
from bocb_hf.errors import InputError
from bocb_hf.optim.row import DECAY_FACTOR, GRID_POINTS, SMALLEST_DECAY, Centre, OptimizerRow
from bocb_hf.runs.record import RunRecord
from bocb_hf.runs.tuned import LR, WEIGHT_DECAY, SelectionRule, Tuned, TunedAxis
from bocb_hf.schema import Scalar
from bocb_hf.sweep.tuning import Tuning


@dataclass(frozen=True)
class Trial:
    """The scores of one trial; None unless it completed.

    Attributes:
        top1: Last-epoch validation score in percent, by the metric of the task.
        loss: Last-epoch validation loss in nats.
        images: Number of validation images; 0 without scores.
    """

    top1: float | None = None
    loss: float | None = None
    images: int = 0

    @classmethod
    def from_record(cls, record: RunRecord) -> Trial:
        """Reads the scores of a trial."""
        top1, loss = record.metrics.val, record.metrics.val_loss
        if record.status != "completed" or top1 is None:
            return cls()
        return cls(top1.last, loss.last if loss is not None else None, top1.n)


Place = tuple[Values, int]  # a configuration, by its values on the axes, and a seed
Trials = Mapping[Place, Trial]


@dataclass(frozen=True)
class Axis:
    """One axis of a cell: what its record says of it, and the values of the grid in rising order."""

    tuned: TunedAxis
    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class Space:
    """The axes of a cell, learning rate first."""

    axes: tuple[Axis, ...]

    @property
    def tuned(self) -> tuple[TunedAxis, ...]:
        """What a record says of the axes."""
        return tuple(axis.tuned for axis in self.axes)

    def points(self) -> list[Values]:
        """Every configuration of the grid, in rising order."""
        return sorted(itertools.product(*(axis.values for axis in self.axes)), key=order)

    def overrides(self, values: Values) -> list[str]:
        """The values of a configuration as pairs ``section.key=value``."""
        sections = {LR: "optimizer", WEIGHT_DECAY: "optimizer"}
        names = [f"{sections.get(a.name, 'optimizer.hyperparameters')}.{a.name}" for a in self.tuned]
        return [f"{name}={_yaml(value)}" for name, value in zip(names, values, strict=True)]


def make_space(row: OptimizerRow, centre: Centre, tuning: Tuning) -> Space:
    """Makes the axes of a cell.

    Raises:
        InputError: A named hyper-parameter is unknown, or its default is not among its values.
    """
    axes = [_axis(LR, centre.lr, tuning.factor, grid(centre.lr, tuning))]
    if tuning.decay_points > 1:
        decays = decay_grid(centre.weight_decay, tuning.decay_points, tuning.decay_factor)
        axes.append(_axis(WEIGHT_DECAY, centre.weight_decay, tuning.decay_factor, decays))
    defaults = row.hyperparameters().model_dump()
    for name, values in tuning.grid_of.get(row.id, {}).items():
        where = f"tuning.grid_of.{row.id}.{name}"
        if name not in defaults:
            raise InputError(f"{where}: {row.id} has no such hyper-parameter; it has {', '.join(defaults) or 'none'}")
        if defaults[name] not in values:
            raise InputError(f"{where}: its default {defaults[name]} must be among the values, since it is the centre")
        axes.append(Axis(TunedAxis(name=name, centre=defaults[name]), tuple(sorted(values, key=lambda v: order((v,))))))
    return Space(tuple(axes))


def grid(centre: float, tuning: Tuning) -> list[float]:
    """Learning rates of the grid in rising order, to 4 significant digits so that they read well."""
    return _around(centre, tuning.points, tuning.factor)


def decay_grid(centre: float, points: int = GRID_POINTS, factor: float = DECAY_FACTOR) -> list[float]:
    """Weight decays of the grid in rising order: around the centre, or from 0 up where that is 0."""
    if centre == 0:
        return [0.0, *(_round(SMALLEST_DECAY * factor**k) for k in range(points - 1))]
    return _around(centre, points, factor)


def next_trials(space: Space, tuning: Tuning, trials: Trials) -> list[Place]:
    """Trials that are still to be run, given those of the cell that have ended; none when the cell is tuned.

    Args:
        space: The axes of the cell.
        tuning: The section of the plan.
        trials: Ended trials of the cell.
    """
    if tuning.protocol == "random":
        return _missing(draw(space, tuning), tuning.seeds, trials)
    first = tuning.seeds if tuning.protocol == "grid" else tuning.seeds[:1]
    points, extended = space.points(), dict.fromkeys(range(len(space.axes)), 0)
    while True:
        if missing := _missing(points, first, trials):
            return missing
        added = _beyond(space, tuning, points, _pick(space, first, points, trials, "best").values, extended)
        if not added:
            break
        points = sorted({*points, *added}, key=order)
    alive = points
    for done in range(1, len(tuning.seeds)) if tuning.protocol == "halving" else ():
        alive = _better_half(space, tuning.seeds[:done], alive, trials)
        if missing := _missing(alive, tuning.seeds[done : done + 1], trials):
            return missing
    return []


def choose(space: Space, tuning: Tuning, trials: Trials) -> Values:
    """Returns the configuration that the rule of the plan chooses from the ended trials of a tuned cell."""
    points = sorted({values for values, _ in trials}, key=order)
    return _pick(space, tuning.seeds, points, trials, tuning.selection).values


def describe_choice(space: Space, tuning: Tuning) -> Tuned:
    """Returns what the record of a final run keeps of its tuning."""
    return Tuned(protocol=tuning.protocol, selection=tuning.selection, seeds=tuple(tuning.seeds), axes=space.tuned)


def draw(space: Space, tuning: Tuning) -> list[Values]:
    """The configurations of ``random``; equal steps from the centre in every cell of equal axes."""
    rng = np.random.default_rng(tuning.seeds[0])
    found: list[Values] = []
    for shares in rng.random((tuning.draws, 2 + max((len(n) for n in tuning.grid_of.values()), default=0))).tolist():
        # learning rate and weight decay have a column each, so that an optimizer's further axes change neither
        columns = [shares[0], *([shares[1]] if tuning.decay_points > 1 else []), *shares[2:]]
        found.append(tuple(_at(axis, share) for axis, share in zip(space.axes, columns, strict=False)))
    return found


def _at(axis: Axis, share: float) -> Scalar:
    """The value at a share of an axis: between the ends of the grid in steps, or one of listed values."""
    low, high = axis.values[0], axis.values[-1]
    if axis.tuned.factor is None or float(low) == 0:
        return axis.values[int(share * len(axis.values))]
    return _round(float(low) * (float(high) / float(low)) ** share)


def _missing(points: Sequence[Values], seeds: Sequence[int], trials: Trials) -> list[Place]:
    return [(values, seed) for seed in seeds for values in dict.fromkeys(points) if (values, seed) not in trials]


def _candidates(space: Space, seeds: Sequence[int], points: Sequence[Values], trials: Trials) -> list[Candidate]:
    found: list[Candidate] = []
    for values in points:
        own = [trials.get((values, seed), Trial()) for seed in seeds]
        top1, loss = tuple(t.top1 for t in own), tuple(t.loss for t in own)
        found.append(Candidate(values, distance_of(values, space.tuned), top1, loss, max(t.images for t in own)))
    return found


def _pick(
    space: Space, seeds: Sequence[int], points: Sequence[Values], trials: Trials, rule: SelectionRule
) -> Candidate:
    return choose_candidate(_candidates(space, seeds, points, trials), rule)


def _better_half(space: Space, seeds: Sequence[int], points: Sequence[Values], trials: Trials) -> list[Values]:
    """The better half of configurations, rounded up, in rising order."""
    left, kept = _candidates(space, seeds, points, trials), list[Values]()
    while len(kept) < (len(points) + 1) // 2:
        found = choose_candidate(left, "best")
        kept.append(found.values)
        left.remove(found)
    return sorted(kept, key=order)


def _beyond(
    space: Space, tuning: Tuning, points: Sequence[Values], winner: Values, extended: dict[int, int]
) -> list[Values]:
    """The configurations one step beyond the winner, on each axis at whose edge it lies.

    Args:
        extended: Number of values that each axis has got beyond its grid; what is added is counted here.
    """
    added: list[Values] = []
    for i, axis in enumerate(space.axes):
        if axis.tuned.factor is None:
            continue
        line = [float(p[i]) for p in points if (*p[:i], *p[i + 1 :]) == (*winner[:i], *winner[i + 1 :])]
        at = float(winner[i])
        if len(line) == 1 < len(axis.values):  # nothing beside it on this axis was tried, so it is no edge
            continue
        if at == min(line) and at > 0:
            value = _round(at / axis.tuned.factor)
        elif at == max(line):
            value = _round(at * axis.tuned.factor) if at > 0 else SMALLEST_DECAY
        else:
            continue
        if value not in {p[i] for p in points}:
            if extended[i] >= tuning.max_extensions:
                continue
            extended[i] += 1
        added.append((*winner[:i], value, *winner[i + 1 :]))
    return added


def _axis(name: str, centre: float, factor: float, values: Sequence[float]) -> Axis:
    return Axis(TunedAxis(name=name, centre=centre, factor=factor), tuple(values))


def _around(centre: float, points: int, factor: float) -> list[float]:
    half = points // 2
    return [_round(centre * factor**k) for k in range(-half, half + 1)]


def _yaml(value: Scalar) -> str:
    """A value as YAML that is read back as the same value."""
    return json.dumps(value) if isinstance(value, bool | str) else repr(value)


def _round(value: float) -> float:
    return float(f"{value:.4g}")
