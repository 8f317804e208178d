"""The start of tuning an optimizer on a backbone: learning rate, weight decay and their grids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bocb_hf.coupling.robustness import mode
from bocb_hf.optim import OPTIMIZERS, OptimizerRow
from bocb_hf.optim.row import DECAY_FACTOR, GRID_POINTS, LR_FACTOR, SMALLEST_DECAY
from bocb_hf.recommend.evidence import Tried
from bocb_hf.sweep.protocols import grid
from bocb_hf.sweep.tuning import Tuning


@dataclass(frozen=True)
class Start:
    """Values of hyper-parameters to begin tuning with.

    Attributes:
        rates: Learning rates to try, ascending, around ``lr``.
        decays: Weight decays to try, ascending, around ``weight_decay``.
        source: Where ``lr`` and ``weight_decay`` come from, in words with n.
    """

    optimizer: str
    lr: float
    weight_decay: float
    rates: tuple[float, ...]
    decays: tuple[float, ...]
    source: str


def find_start(
    optimizer: str, setting: str | None, tried: Mapping[str, Tried], backbone: str, reference: Mapping[str, float]
) -> Start | None:
    """Takes the best trial of the backbone, else the usual best offset on comparable ones, else the row's centre.

    Args:
        optimizer: Id of the optimizer.
        setting: The setting whose centre is taken; None takes the default centre.
        tried: Best trials of this optimizer by backbone; empty where a source has none.
        backbone: The backbone, as the source calls it.
        reference: Comparable backbones.

    Returns:
        The start of tuning, or None for an optimizer without a row.
    """
    if optimizer not in OPTIMIZERS:
        return None
    row = OPTIMIZERS.get(optimizer)
    where = setting or "default"
    if backbone in tried:
        best = tried[backbone]
        text = f"the best of its own {best.trials} trial(s) here, by validation"
        return _start(row, best.lr, best.weight_decay, where, text)
    offsets = [steps for b in reference if b in tried and (steps := tried[b].steps) is not None]
    centre = row.centre(where)
    if not offsets:
        kind = f"the centre of `{where}`" if where in row.centres else "the default centre"
        return _start(row, centre.lr, centre.weight_decay, where, f"{kind} ({centre.source})")
    steps = mode([lr for lr, _ in offsets]), mode([decay for _, decay in offsets])
    lr = centre.lr * LR_FACTOR ** steps[0]
    if centre.weight_decay:
        decay = centre.weight_decay * DECAY_FACTOR ** steps[1]
    else:  # a grid whose centre is no decay goes from 0 to the smallest positive decay, and up from there
        decay = SMALLEST_DECAY * DECAY_FACTOR ** (steps[1] - 1) if steps[1] > 0 else 0.0
    text = f"{steps[0]:+d} and {steps[1]:+d} steps from the centre, the mode of the best trials on {len(offsets)} "
    return _start(row, lr, decay, where, text + "comparable backbone(s)")


def _start(row: OptimizerRow, lr: float, decay: float, setting: str, source: str) -> Start:
    lr, decay = float(f"{lr:.4g}"), float(f"{decay:.4g}")
    decays = grid(decay, Tuning(points=GRID_POINTS, factor=DECAY_FACTOR)) if decay else row.decay_grid(setting)
    rates = grid(lr, Tuning(points=GRID_POINTS, factor=LR_FACTOR))
    return Start(row.id, lr, decay, tuple(rates), tuple(decays), source)
