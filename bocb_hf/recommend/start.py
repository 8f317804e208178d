"""Where tuning an optimizer on a backbone should start: learning rate, weight decay and their grids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bocb_hf.coupling.robustness import Offset, best_configuration, best_offset, mode
from bocb_hf.coupling.table import Table
from bocb_hf.optim import OPTIMIZERS, OptimizerRow
from bocb_hf.optim.row import DECAY_FACTOR, GRID_POINTS, LR_FACTOR, SMALLEST_DECAY
from bocb_hf.sweep.plan import Tuning, grid


@dataclass(frozen=True)
class Start:
    """Values to begin with.

    Attributes:
        rates: Learning rates to try, ascending, around ``lr``.
        decays: Weight decays likewise.
        source: Where ``lr`` and ``weight_decay`` come from, with n.
    """

    optimizer: str
    lr: float
    weight_decay: float
    rates: tuple[float, ...]
    decays: tuple[float, ...]
    source: str


def find_start(
    optimizer: str, setting: str | None, table: Table | None, backbone: str, reference: Mapping[str, float]
) -> Start | None:
    """The best trial of the backbone itself; else the usual best offset on comparable ones; else the row's centre.

    Args:
        optimizer: Its id.
        setting: Whose centre is meant; None takes the default one.
        table: Own records; None where a source has no trials.
        backbone: As the table calls it.
        reference: Comparable backbones.

    Returns:
        None for an optimizer without a row.
    """
    if optimizer not in OPTIMIZERS:
        return None
    row = OPTIMIZERS.get(optimizer)
    where = setting or "default"
    rows = {r.cell.backbone: r for r in table.rows if r.shown and r.cell.optimizer == optimizer} if table else {}
    if backbone in rows and (best := best_configuration(rows[backbone].trials)) is not None:
        count = len(rows[backbone].trials)
        return _start(row, *best, where, f"its best of {count} own trial(s)")
    offsets = [o for b in reference if b in rows and isinstance(o := best_offset(rows[b]), Offset)]
    centre = row.centre(where)
    if not offsets:
        kind = f"the centre of `{where}`" if where in row.centres else "the default centre"
        return _start(row, centre.lr, centre.weight_decay, where, f"{kind} ({centre.source})")
    steps = mode([o.lr for o in offsets]), mode([o.weight_decay for o in offsets])
    lr = centre.lr * LR_FACTOR ** steps[0]
    if centre.weight_decay:
        decay = centre.weight_decay * DECAY_FACTOR ** steps[1]
    else:  # such a grid goes from no decay up to the smallest one, and on from there
        decay = SMALLEST_DECAY * DECAY_FACTOR ** (steps[1] - 1) if steps[1] > 0 else 0.0
    text = f"{steps[0]:+d} and {steps[1]:+d} steps from the centre, the mode of the best trials on {len(offsets)} "
    return _start(row, lr, decay, where, text + "comparable backbone(s)")


def _start(row: OptimizerRow, lr: float, decay: float, setting: str, source: str) -> Start:
    lr, decay = float(f"{lr:.4g}"), float(f"{decay:.4g}")
    decays = grid(decay, Tuning(points=GRID_POINTS, factor=DECAY_FACTOR)) if decay else row.decay_grid(setting)
    rates = grid(lr, Tuning(points=GRID_POINTS, factor=LR_FACTOR))
    return Start(row.id, lr, decay, tuple(rates), tuple(decays), source)
