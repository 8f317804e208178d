"""Hyper-parameter robustness: how far the best learning rate and weight decay of a pair lie from what is usual.

The study's Figures 4 and 5. A pair's best trial is given as steps from the centre of its optimizer's own grid, since
the learning rates of two optimizers cannot be compared, but "one step above its centre" can. The distance of a pair is
|Δ lr| + |Δ wd|, each from the mode of its group: over the optimizers of a backbone (Figure 4), or over the backbones of
an optimizer (Figure 5). The one-hot code that the study prints cannot give the distances that it plots.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bocb_hf.coupling.row import Row
from bocb_hf.coupling.table import Table, validation_score
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.row import DECAY_FACTOR, LR_FACTOR, SMALLEST_DECAY
from bocb_hf.runs.record import RunRecord


@dataclass(frozen=True)
class Offset:
    """The best trial of one pair, in steps of its optimizer's grid.

    Attributes:
        lr: Steps from the centre; −2 to 2 on the full grid, further out where a grid was extended.
        weight_decay: Offset of the best weight decay; 0 where only one was tried, which tells nothing of the best.
        edge: Whether the best trial has the smallest or largest learning rate or weight decay of several that were
            tried, so that a better one may lie beyond. No decay at all is no edge: nothing lies below it.
        trials: Number of completed trials that the best one was chosen from.
    """

    backbone: str
    optimizer: str
    lr: int
    weight_decay: int
    edge: bool
    trials: int


@dataclass(frozen=True)
class Distances:
    """The distances of one group, which one box of the figure shows.

    Attributes:
        mode: The offset (lr, weight decay) that is most frequent in the group; in a tie the one nearest to the centre.
        values: |Δ lr| + |Δ wd| by the other side's name: optimizers for a backbone, backbones for an optimizer.
        edges: Names whose best trial lies at the edge of its grid, so that their distance is a lower bound.
    """

    name: str
    mode: tuple[int, int]
    values: Mapping[str, int]
    edges: tuple[str, ...]


@dataclass(frozen=True)
class Robustness:
    """Both figures of one table.

    Attributes:
        offsets: One offset for each pair with a completed trial.
        by_backbone: The distances of Figure 4; a backbone without an offset is absent.
        by_optimizer: The distances of Figure 5; an optimizer without an offset is absent.
        left_out: Pairs without an offset, ``(backbone, optimizer)``, with the reason.
        decay_tuned: Whether any pair tried more than one weight decay; if not, the distance is that of learning rates.
    """

    offsets: tuple[Offset, ...]
    by_backbone: tuple[Distances, ...]
    by_optimizer: tuple[Distances, ...]
    left_out: Mapping[tuple[str, str], str]
    decay_tuned: bool


def robustness(table: Table) -> Robustness:
    """Reads the best trial of every pair and its distance from the usual one."""
    offsets: list[Offset] = []
    left_out: dict[tuple[str, str], str] = {}
    for row in (row for row in table.rows if row.shown):
        found = best_offset(row)
        if isinstance(found, str):
            left_out[row.cell.backbone, row.cell.optimizer] = found
        else:
            offsets.append(found)
    return Robustness(
        offsets=tuple(offsets),
        by_backbone=_group(table.backbones, [(o.backbone, o.optimizer, o) for o in offsets]),
        by_optimizer=_group(table.optimizers, [(o.optimizer, o.backbone, o) for o in offsets]),
        left_out=left_out,
        decay_tuned=any(len({t.identity.optimizer.weight_decay for t in row.trials}) > 1 for row in table.rows),
    )


def best_offset(row: Row) -> Offset | str:
    """Returns the best trial of a cell in steps from its optimizer's centre, or the reason why there is none."""
    optimizer = row.cell.optimizer
    if optimizer not in OPTIMIZERS:
        return "its optimizer has no row, so no centre"
    if not row.trials:
        return "no trial"
    best = best_configuration(row.trials)
    if best is None:
        return "no trial completed"
    first = row.trials[0]
    centre = OPTIMIZERS.get(optimizer).centre(
        row.cell.setting,
        first.identity.data.name,
        first.identity.training.batch_size,
        first.grid or "released",  # older records name no grid, and theirs was the study's
    )
    rates = [t.identity.optimizer.lr for t in row.trials]
    decays = [t.identity.optimizer.weight_decay for t in row.trials]
    if len(set(rates)) == 1 == len(set(decays)):
        return "only one configuration was tried"
    lr, weight_decay = best
    steps = _decay_steps(weight_decay, centre.weight_decay, _factor(decays, DECAY_FACTOR))
    return Offset(
        backbone=row.cell.backbone,
        optimizer=optimizer,
        lr=_steps(lr, centre.lr, _factor(rates, LR_FACTOR)),
        weight_decay=steps if len(set(decays)) > 1 else 0,
        edge=at_edge(lr, rates) or (weight_decay > 0 and at_edge(weight_decay, decays)),
        trials=sum(t.status == "completed" for t in row.trials),
    )


def best_configuration(trials: Sequence[RunRecord]) -> tuple[float, float] | None:
    """Returns (lr, weight decay) of the best trial by ``validation_score``; None when no trial completed.

    Only configurations that completed with as many seeds as any other count, for halving gives up the others after
    fewer. In a tie the smaller learning rate wins, then the smaller weight decay.
    """
    groups: dict[str, list[RunRecord]] = {}
    for trial in trials:
        if trial.status == "completed":
            groups.setdefault(trial.config_hash, []).append(trial)
    most = max(map(len, groups.values()), default=0)
    groups = {config_hash: group for config_hash, group in groups.items() if len(group) == most}
    ranked = [
        (*score, group[0].identity.optimizer.lr, group[0].identity.optimizer.weight_decay)
        for group in groups.values()
        if (score := validation_score(group)) is not None
    ]
    return min(ranked)[2:] if ranked else None


def at_edge(value: float, tried: Iterable[float]) -> bool:
    """Returns whether a value is the smallest or largest of several that were tried."""
    tried = set(tried)
    return len(tried) > 1 and (value <= min(tried) or value >= max(tried))


def mode(values: Sequence[int]) -> int:
    """Returns the most frequent offset; in a tie the one nearest to the centre, then the lower one."""
    return min(set(values), key=lambda v: (-values.count(v), abs(v), v))


def _group(names: Sequence[str], members: Sequence[tuple[str, str, Offset]]) -> tuple[Distances, ...]:
    """Distances from the mode within each group of (group, member, offset)."""
    found: list[Distances] = []
    for name in names:
        inside = {member: offset for group, member, offset in members if group == name}
        if not inside:
            continue
        centre = (mode([o.lr for o in inside.values()]), mode([o.weight_decay for o in inside.values()]))
        values = {m: abs(o.lr - centre[0]) + abs(o.weight_decay - centre[1]) for m, o in inside.items()}
        found.append(Distances(name, centre, values, tuple(m for m, o in inside.items() if o.edge)))
    return tuple(found)


def _factor(tried: Iterable[float], usual: float) -> float:
    """Returns the ratio of two neighbours of a grid: the smallest that was tried, or the usual one for one value."""
    positive = sorted({value for value in tried if value > 0})
    ratios = [b / a for a, b in pairwise(positive)]
    return min(ratios) if ratios else usual


def _steps(value: float, centre: float, factor: float) -> int:
    return round(math.log(value / centre) / math.log(factor))


def _decay_steps(value: float, centre: float, factor: float) -> int:
    """Steps between two weight decays; a grid around no decay goes 0, ``SMALLEST_DECAY`` and up from there."""
    if centre > 0 and value > 0:
        return _steps(value, centre, factor)
    if centre > 0:  # no decay at all counts as one step below the smallest of the usual five
        return -3
    return 0 if value == 0 else 1 + max(0, _steps(value, SMALLEST_DECAY, factor))
