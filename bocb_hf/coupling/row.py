"""One cell of the coupling table: which runs it holds, and what may be said about them."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from bocb_hf.coupling.statistics import Estimate, Interval
from bocb_hf.runs.record import RunRecord, wilson_interval

GRID = 3  # learning rates of a grid before any extension

# `partial`: some seeds completed and some diverged
RowStatus = Literal["completed", "partial", "diverged", "interrupted", "missing"]
# `untuned`: no trial of the shown configuration; `not_best`: trials of another, unfinished configuration scored higher
Selection = Literal["validation", "not_best", "untuned"]


@dataclass(frozen=True, order=True)
class Cell:
    """Data set × setting × backbone × optimizer."""

    dataset: str
    setting: str
    backbone: str
    optimizer: str


@dataclass(frozen=True)
class Score:
    """The score of one run: ``k`` of ``n`` test images are classified correctly.

    ``top1_step`` is what one more correct image adds: no two scores of a cell differ by less, unless they are equal.
    """

    k: int
    n: int

    @property
    def top1(self) -> float:
        """Test top-1 in points."""
        return 100 * self.k / self.n

    @property
    def top1_step(self) -> float:
        return 100 / self.n


@dataclass(frozen=True)
class Averaged:
    """The score of one run of a task that counts no right images, such as the average precision of detection.

    Attributes:
        top1: The score in points.
        n: Number of test images.
    """

    top1: float
    n: int

    @property
    def top1_step(self) -> float:
        """No two scores of a cell differ by less: such a score has no smallest step but that of its rounding."""
        return 1e-3


def score_of(record: RunRecord) -> Score | Averaged | None:
    """Returns the score of a completed final run; None for any other."""
    bits, test = record.correctness, record.metrics.test
    if bits is not None:
        return Score(bits.k, bits.n)
    return None if test is None or test.last is None else Averaged(test.last, test.n)


@dataclass(frozen=True)
class Row:
    """One configuration of one cell, or a cell without a final run.

    Attributes:
        cell: The cell of the row.
        revision: Revision of the data.
        config_hash: Configuration of ``finals``; None when there are none.
        shown: Whether the table shows this row; it shows at most one row of a cell.
        selection: How the shown configuration was chosen; None when there is no final run.
        family: Family of the backbone.
        category: Category of the optimizer.
        finals: Final runs of this configuration, by seed.
        trials: All trials of the cell, of any configuration.
        estimate: Mean test score in points over completed runs, with its moderated variance; None when there are none.
    """

    cell: Cell
    revision: str
    config_hash: str | None
    shown: bool
    selection: Selection | None
    family: str
    category: str
    finals: tuple[RunRecord, ...]
    trials: tuple[RunRecord, ...]
    estimate: Estimate | None = None

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        """Final runs of this configuration and trials of its cell."""
        return (*self.finals, *self.trials)

    @property
    def scores(self) -> tuple[Score | Averaged, ...]:
        """The score of each completed final run, in the order of ``seeds``."""
        return tuple(score for r in self.completed if (score := score_of(r)) is not None)

    @property
    def completed(self) -> tuple[RunRecord, ...]:
        return tuple(r for r in self.finals if r.status == "completed")

    @property
    def halved(self) -> bool:
        """Whether batch norm of a completed run saw fewer images at once than in others, because memory ran out."""
        return any(r.environment.batch_norm_halved for r in self.completed)

    @property
    def diverged(self) -> int:
        return sum(r.status == "diverged" for r in self.finals)

    @property
    def interrupted(self) -> int:
        return sum(r.status == "interrupted" for r in self.finals)

    @property
    def status(self) -> RowStatus:
        """The status; an interrupted run beside completed ones changes nothing, a diverged one makes it partial."""
        if self.completed:
            return "partial" if self.diverged else "completed"
        if self.diverged:
            return "diverged"
        return "interrupted" if self.interrupted else "missing"

    @property
    def n(self) -> int:
        """Completed final runs, which the mean rests on."""
        return len(self.completed)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the completed final runs."""
        return tuple(r.seed for r in self.completed)

    @property
    def ranked(self) -> bool:
        """Whether the mean may be compared: survivors of a partial failure may not."""
        return self.status == "completed"

    @property
    def mean(self) -> float | None:
        """Mean test score in points; None unless ``ranked``."""
        return self.estimate.mean if self.estimate is not None and self.ranked else None

    @property
    def interval(self) -> Interval | None:
        """95 % interval of ``mean``: of tuning and training where the part of tuning is known."""
        return self.estimate.interval() if self.estimate is not None and self.ranked else None

    @property
    def reach(self) -> tuple[float, float] | None:
        """How far ``interval`` reaches down and up from ``mean``, in points: alike, unless rare losses lengthen it."""
        if self.interval is None or self.mean is None:
            return None
        return self.mean - self.interval.low, self.interval.high - self.mean

    @property
    def given_interval(self) -> Interval | None:
        """95 % interval of ``mean`` given the tuned rates."""
        return self.estimate.given.interval() if self.estimate is not None and self.ranked else None

    @property
    def standard_error(self) -> float | None:
        """Standard error of the mean in points, over what ``interval`` is; None where noise cannot be separated."""
        error = self.estimate.error if self.estimate is not None else None
        return error[0] if error is not None else None

    @property
    def survivor_mean(self) -> float | None:
        """Mean over the seeds that did not diverge; given only for a partial failure, and never ranked."""
        return self.estimate.mean if self.estimate is not None and self.status == "partial" else None

    @property
    def failure(self) -> tuple[float, float] | None:
        """95 % Wilson interval of the probability to diverge, in percent; None when nothing ran to an end."""
        ended = self.n + self.diverged
        return wilson_interval(self.diverged, ended) if ended else None

    @property
    def lr(self) -> float | None:
        return self.finals[0].identity.optimizer.lr if self.finals else None

    @property
    def weight_decay(self) -> float | None:
        return self.finals[0].identity.optimizer.weight_decay if self.finals else None

    @property
    def trial_lrs(self) -> tuple[float, ...]:
        """Distinct learning rates that were tried, ascending."""
        return tuple(sorted({r.identity.optimizer.lr for r in self.trials}))

    @property
    def edge(self) -> bool | None:
        """Whether the learning rate is the smallest or largest that was tried; None when none was."""
        if not self.trials or self.lr is None:
            return None
        return self.lr <= self.trial_lrs[0] or self.lr >= self.trial_lrs[-1]

    @property
    def extensions(self) -> int:
        """Learning rates that were tried beyond the first three."""
        return max(0, len(self.trial_lrs) - GRID)

    @property
    def images_per_second(self) -> float | None:
        """Median of the training images per second over completed runs."""
        return median(r.cost.images_per_second for r in self.completed) if self.completed else None

    @property
    def wall_seconds(self) -> float | None:
        """Mean wall time in seconds over completed runs."""
        return fmean(r.cost.wall_seconds for r in self.completed) if self.completed else None

    @property
    def train_loss(self) -> float | None:
        """Mean of the last training loss, of a classifier in nats; None unless ``ranked``."""
        last = [m.last for r in self.completed if (m := r.metrics.train_loss) is not None and m.last is not None]
        return fmean(last) if last and self.ranked else None

    @property
    def test_loss(self) -> float | None:
        """Mean test loss, of a classifier in nats; None unless ``ranked``."""
        last = [m.last for r in self.completed if (m := r.metrics.test_loss) is not None and m.last is not None]
        return fmean(last) if last and self.ranked else None
