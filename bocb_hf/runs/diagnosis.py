"""Why a run ended where it did, as far as its own record shows, such as divergence or a wrong learning rate.

These are rules of thumb with stated thresholds, for a reader who asks where to look; no table counts them. Whether a
learning rate was tuned at all, only the trials of its cell can tell (the ledger of ``bocb aggregate``).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Literal

from bocb_hf.runs.record import RunRecord

Finding = Literal["diverged", "not_trained", "small_steps", "large_steps", "over_fitted", "slow"]

# Relative size of a step. Healthy runs of this project lie between 1e-4 and 1e-2 at the peak of the schedule; a rule of
# thumb of practitioners is 1e-3 (Karpathy, "micrograd" lectures).
SMALL_STEP, LARGE_STEP = 1e-5, 0.1
OVER_FITTED = 1.1  # ratio of the last validation loss to the best one, while the training loss still fell
SLOW = 0.95  # ratio of the training loss of the last fifth of the curve to that of the fifth before
FEWEST_POINTS = 10  # the fewest points of a curve that is judged


@dataclass(frozen=True)
class Diagnosis:
    """One finding and the figures behind it."""

    finding: Finding
    text: str


def diagnose(record: RunRecord) -> list[Diagnosis]:
    """Returns what the curve of a run shows; empty when nothing stands out or the curve is too short.

    Args:
        record: Record of a run of any status.
    """
    found: list[Diagnosis] = []
    if record.status == "diverged":
        found.append(Diagnosis("diverged", f"{record.reason}{_before_divergence(record)}"))
    elif has_not_trained(record):
        loss, reference = record.metrics.train_loss, record.reference_loss
        assert loss is not None and loss.last is not None and reference is not None
        text = (
            f"the mean training loss of the last epoch was {loss.last:.4g} nats, above {reference:.4g} of a predictor "
            "that knows only the class frequencies"
        )
        found.append(Diagnosis("not_trained", text))
    curve = record.curve
    ratios = [r for r in curve.update_ratio or [] if r is not None]
    if len(ratios) >= FEWEST_POINTS:
        typical = median(ratios)
        if typical < SMALL_STEP:
            text = (
                f"a step changed the weights by {typical:.1e} of their norm (median): the learning rate may be too low"
            )
            found.append(Diagnosis("small_steps", text))
        elif typical > LARGE_STEP:
            text = (
                f"a step changed the weights by {typical:.1e} of their norm (median): the learning rate may be too high"
            )
            found.append(Diagnosis("large_steps", text))
    if record.status == "completed" and len(curve.train_loss) >= FEWEST_POINTS:
        fifth = len(curve.train_loss) // 5
        before, last = (
            sum(part) / fifth for part in (curve.train_loss[-2 * fifth : -fifth], curve.train_loss[-fifth:])
        )
        if _over_fitted(record):
            best, end = min(curve.val_loss), curve.val_loss[-1]
            text = f"the validation loss rose from {best:.3f} to {end:.3f} nats while the training loss still fell"
            found.append(Diagnosis("over_fitted", text))
        elif last < SLOW * before:
            text = f"the training loss still fell at the end, from {before:.3f} to {last:.3f} in the last two fifths"
            found.append(Diagnosis("slow", text))
    return found


def has_not_trained(record: RunRecord) -> bool:
    """Whether a completed run ended no better than a predictor that knows only how frequent each class is.

    Older records do not hold the loss of that predictor, so nothing is said of them.
    """
    loss, reference = record.metrics.train_loss, record.reference_loss
    if record.status != "completed" or reference is None or loss is None or loss.last is None:
        return False
    return loss.last > reference


def _before_divergence(record: RunRecord) -> str:
    """Says how the gradient norm changed before a divergence, if the curve has gradient norms."""
    norms = [n for n in record.curve.grad_norm or [] if n is not None]
    if len(norms) < 2:
        return ""
    return f"; the gradient norm went from {norms[0]:.3g} to {norms[-1]:.3g}, at most {max(norms):.3g}"


def _over_fitted(record: RunRecord) -> bool:
    curve = record.curve
    if len(curve.val_loss) < 3 or curve.val_loss[-1] <= OVER_FITTED * min(curve.val_loss):
        return False
    best_step = curve.val_step[curve.val_loss.index(min(curve.val_loss))]
    after = [loss for step, loss in zip(curve.step, curve.train_loss, strict=True) if step > best_step]
    return len(after) > 1 and after[-1] < after[0]
