"""What a comparison found: the best optimizer, what the others lose, and what more time would tell. Pure functions.

Noise has two parts. Seeds: the variance of a run is moderated over the optimizers (Smyth 2004; ``coupling/cells.py``),
and the two tuning seeds of each chosen rate tell of it as well as the final seeds do. Images: the test images are a
sample, and what two optimizers get right of them says how much their difference would vary over other samples.

Differences are simultaneous over all pairs of optimizers (Bonferroni), so that it is no matter that the best one was
picked by the same scores. Optimizers that are not told apart from it are as good as this comparison can say (Hsu's
question). The best mean itself is too high on average because it was picked; where four optimizers or more are there,
``coupling/winners.py`` corrects it. Everything is given the tuned rates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special as _scipy_special  # pyright: ignore[reportMissingTypeStubs] - scipy has none
from numpy.typing import NDArray

from bocb_hf.coupling.cells import moderate
from bocb_hf.coupling.statistics import LEVEL, Interval, t_quantile
from bocb_hf.coupling.winners import correct_winner
from bocb_hf.runs.record import RunRecord

POWER = 0.8  # chance to tell a difference apart that is there
DIFFERENCES = (0.5, 1.0, 2.0, 5.0)  # points that a longer comparison may tell
MOST_SEEDS = 20  # final seeds that more time is asked for
_ERRORS = 64  # equally likely standard errors that stand for what is not known of the winner's
_special: Any = _scipy_special


@dataclass(frozen=True, eq=False)
class Entry:
    """The final runs of one optimizer at its rate.

    Attributes:
        optimizer: Its id.
        lr: Its learning rate.
        tried: The learning rates that were tried, in rising order.
        top1: Test top-1 of each completed run in points, by seed.
        seeds: Their seeds.
        correct: Share of the completed runs that get each test image right, shape (N,); empty without runs.
        diverged: Runs that diverged.
        pair: Validation top-1 in points of the trials of this rate, one for each tuning seed.
        seconds: Mean wall time of a run; 0 without runs.
    """

    optimizer: str
    lr: float
    tried: tuple[float, ...]
    top1: tuple[float, ...]
    seeds: tuple[int, ...]
    correct: NDArray[np.float64]
    diverged: int = 0
    pair: tuple[float, ...] = ()
    seconds: float = 0.0

    @property
    def mean(self) -> float:
        """Mean test top-1 in points."""
        return sum(self.top1) / len(self.top1)

    @property
    def ranked(self) -> bool:
        """Whether its mean may be compared: survivors of a partial failure may not."""
        return bool(self.top1) and not self.diverged

    @property
    def edge(self) -> bool:
        """Whether the rate is the lowest or highest that was tried, so that a better one may lie beyond."""
        return len(self.tried) > 1 and self.lr in (self.tried[0], self.tried[-1])


@dataclass(frozen=True)
class Loss:
    """What an optimizer loses against the best one.

    Attributes:
        optimizer: Its id.
        points: Mean of the best one minus its own, in points.
        interval: 95 % interval, simultaneous over all pairs; None where noise cannot be told.
    """

    optimizer: str
    points: float
    interval: Interval | None

    @property
    def told(self) -> bool:
        """Whether it is told apart from the best one."""
        return self.interval is not None and self.interval.low > 0


@dataclass(frozen=True)
class More:
    """What a longer comparison would tell.

    Attributes:
        points: The difference that it would tell apart, with a chance of 80 %.
        seconds: The additional wall time; None where no time would do.
        seeds: The final seeds of each optimizer that this takes.
        images: Test images that would do where no time does; None where time does.
    """

    points: float
    seconds: float | None
    seeds: int | None
    images: int | None = None


@dataclass(frozen=True)
class Answer:
    """What a comparison found.

    Attributes:
        best: The optimizer with the highest mean; None where fewer than one has final runs.
        score: Its top-1 in points, corrected for being the highest where that can be done.
        interval: 95 % interval of the score over seeds and test images; None where noise cannot be told.
        corrected: Whether the score is corrected for being the highest.
        losses: The others, the smallest loss first.
        entries: All optimizers with their runs, the best first.
        unranked: Optimizers that cannot be compared, with the reason in words.
        images: Number of test images.
        more: What more time would tell; None where everything is told apart, or noise is not known.
    """

    best: str | None
    score: float
    interval: Interval | None
    corrected: bool
    losses: tuple[Loss, ...]
    entries: tuple[Entry, ...]
    unranked: Mapping[str, str]
    images: int
    more: More | None

    @property
    def apart(self) -> bool:
        """Whether every other optimizer is told apart from the best one."""
        return all(loss.told for loss in self.losses)

    @property
    def none_told(self) -> bool:
        """Whether no other optimizer is told apart from the best one."""
        return not any(loss.told for loss in self.losses)

    @property
    def better_by(self) -> float | None:
        """Points by which anything tried may be better than the best one, at most; None where noise is not known."""
        if any(loss.interval is None for loss in self.losses):
            return None
        return max((max(0.0, -loss.interval.low) for loss in self.losses if loss.interval), default=0.0)

    def entry(self, optimizer: str) -> Entry:
        """The runs of an optimizer."""
        return next(entry for entry in self.entries if entry.optimizer == optimizer)


def entries_of(records: Iterable[RunRecord], optimizers: Sequence[str]) -> list[Entry]:
    """Gathers the runs of each optimizer of a comparison, from records of one backbone, data set and setting.

    Where final runs of several rates are there, the rate with most of them counts; ties go to the lower one.

    Args:
        records: Valid records of both roles, each run once.
        optimizers: Ids of the optimizers, in the order of the plan.
    """
    every = [record for record in records if record.status != "interrupted"]
    return [_entry(name, [r for r in every if r.identity.optimizer.name == name]) for name in optimizers]


def _entry(name: str, records: list[RunRecord]) -> Entry:
    trials = [r for r in records if r.role == "trial"]
    finals: dict[float, list[RunRecord]] = {}
    for record in records:
        if record.role == "final":
            finals.setdefault(record.identity.optimizer.lr, []).append(record)
    tried = tuple(sorted({r.identity.optimizer.lr for r in trials}))
    if not finals:
        return Entry(name, math.nan, tried, (), (), np.empty(0))
    lr = max(finals, key=lambda rate: (len(finals[rate]), -rate))
    completed = sorted((r for r in finals[lr] if r.status == "completed"), key=lambda r: r.seed)
    bits = [np.asarray(r.correctness.bits(), np.float64) for r in completed if r.correctness is not None]
    pair = [
        r.metrics.val_top1.last
        for r in trials
        if r.identity.optimizer.lr == lr and r.status == "completed" and r.metrics.val_top1 is not None
    ]
    return Entry(
        name,
        lr,
        tried,
        tuple(100 * float(each.mean()) for each in bits),
        tuple(r.seed for r in completed),
        np.mean(bits, axis=0) if bits else np.empty(0),
        len(finals[lr]) - len(completed),
        tuple(value for value in pair if value is not None),
        sum(r.cost.wall_seconds for r in completed) / max(1, len(completed)),
    )


def find_answer(entries: Sequence[Entry], workers: int = 1) -> Answer:
    """Finds the best optimizer, what the others lose, and what more time would tell.

    Args:
        entries: The optimizers with their runs.
        workers: Runs at a time, by which the time of more runs counts.
    """
    unranked = {e.optimizer: _why(e) for e in entries if not e.ranked}
    ranked = sorted((e for e in entries if e.ranked), key=lambda e: -e.mean)
    rest = tuple(e for e in entries if not e.ranked)
    if not ranked:
        return Answer(None, math.nan, None, False, (), rest, unranked, 0, None)
    best, images = ranked[0], len(ranked[0].correct)
    noise = _noise(ranked)
    pairs = len(ranked) * (len(ranked) - 1) // 2
    losses = [_loss(best, other, noise, pairs) for other in ranked[1:]]
    score, interval, corrected = _score(ranked, noise)
    near = [best, *(e for e, loss in zip(ranked[1:], losses, strict=True) if not loss.told)]
    more = _more(near, noise, pairs, workers, images) if len(near) > 1 and noise else None
    return Answer(best.optimizer, score, interval, corrected, tuple(losses), (*ranked, *rest), unranked, images, more)


def _why(entry: Entry) -> str:
    if entry.diverged and entry.top1:
        return f"diverged in {entry.diverged} of {entry.diverged + len(entry.top1)} final runs"
    if entry.diverged:
        return "diverged in all final runs"
    return "has no final run" + ("" if entry.tried else " and no trial")


@dataclass(frozen=True)
class _Noise:
    """Moderated variance of one run of each optimizer in squared points, with its degrees of freedom."""

    variance: Mapping[str, float]
    df: Mapping[str, float]
    most_df: float  # nothing is known better than all runs together tell


def _noise(ranked: Sequence[Entry]) -> _Noise | None:
    """The noise of runs over seeds; None where no optimizer has two runs, or no two scores differ."""
    groups = [e.top1 for e in ranked] + [e.pair for e in ranked if len(e.pair) > 1]
    most = max(map(len, groups))
    values = np.array([[*group, *[math.nan] * (most - len(group))] for group in groups], np.float64)
    places: NDArray[np.int64] = np.zeros(len(groups), np.int64)
    steps = np.array([100 / max(1, len(ranked[0].correct))] * len(groups))
    found = moderate(values, places, np.ones(len(groups), np.bool_), steps)
    freedom = float(sum(max(0, len(group) - 1) for group in groups))
    variance = {e.optimizer: float(v) for e, v in zip(ranked, found.variance, strict=False)}
    df = {e.optimizer: float(d) for e, d in zip(ranked, found.df, strict=False)}
    if any(math.isnan(v) for v in variance.values()):
        return None
    return _Noise(variance, df, freedom)


def _error(parts: Sequence[tuple[float, float]], most_df: float) -> tuple[float, float]:
    """Standard error and degrees of freedom of a sum of variances (Satterthwaite 1946)."""
    total = sum(variance for variance, _ in parts)
    if total <= 0:
        return 0.0, most_df
    return math.sqrt(total), total**2 / sum(variance**2 / df for variance, df in parts if variance > 0)


def _difference(one: Entry, other: Entry, noise: _Noise) -> tuple[float, float]:
    """Standard error of the difference of two means over seeds and images, with its degrees of freedom."""
    seeds = [(noise.variance[e.optimizer] / len(e.top1), noise.df[e.optimizer]) for e in (one, other)]
    own, df = _error(seeds, noise.most_df)
    apart = 100 * (one.correct - other.correct)
    images = float(apart.var(ddof=1)) / len(apart) if len(apart) > 1 else 0.0
    return _error([(own**2, min(df, noise.most_df)), (images, max(1, len(apart) - 1))], noise.most_df)


def _loss(best: Entry, other: Entry, noise: _Noise | None, pairs: int) -> Loss:
    points = best.mean - other.mean
    if noise is None:
        return Loss(other.optimizer, points, None)
    error, df = _difference(best, other, noise)
    half = t_quantile(1 - (1 - LEVEL) / 2 / pairs, df) * error
    return Loss(other.optimizer, points, Interval(points - half, points + half))


def _score(ranked: Sequence[Entry], noise: _Noise | None) -> tuple[float, Interval | None, bool]:
    """The score of the best optimizer with its interval over seeds and images, and whether it is corrected."""
    best = ranked[0]
    if noise is None:
        return best.mean, None, False
    share = best.mean / 100
    images = 1e4 * share * (1 - share) / max(1, len(best.correct))  # of one score; those of all optimizers share it
    error, df = _error(
        [(noise.variance[best.optimizer] / len(best.top1), noise.df[best.optimizer]), (images, len(best.correct) - 1)],
        noise.most_df,
    )
    half = t_quantile(0.5 + LEVEL / 2, df) * error
    plain = Interval(max(0.0, best.mean - half), min(100.0, best.mean + half))
    if len(ranked) < 3 or noise.most_df < 4:
        return best.mean, plain, False
    quantiles = (np.arange(_ERRORS) + 0.5) / _ERRORS
    spread = np.array(
        [
            np.sqrt(noise.variance[e.optimizer] / len(e.top1) * d / _special.chdtri(d, quantiles))
            for e in ranked
            for d in [noise.df[e.optimizer]]
        ]
    )
    found = correct_winner(np.array([e.mean for e in ranked]), np.maximum(spread, 1e-6))
    if found is None:
        return best.mean, plain, False
    low = min(plain.low, found.interval.low)
    high = max(found.estimate, min(plain.high, 100.0))
    return found.estimate, Interval(max(0.0, low), high), True


def _more(near: Sequence[Entry], noise: _Noise, pairs: int, workers: int, images: int) -> More | None:
    """What more final seeds would tell between the best optimizers.

    Args:
        near: The optimizers that are not told apart from the best one, and the best one.
        noise: The noise.
        pairs: Comparisons that are to hold together.
        workers: Runs at a time.
        images: Number of test images.
    """
    variance = max(noise.variance[e.optimizer] for e in near)
    apart = [100 * (near[0].correct - e.correct) for e in near[1:]]
    of_images = max(float(a.var(ddof=1)) for a in apart) if images > 1 else 0.0
    done = min(len(e.top1) for e in near)
    seconds = sum(e.seconds for e in near)
    level = 1 - (1 - LEVEL) / 2 / pairs
    for points in DIFFERENCES[1:]:
        for seeds in range(done + 1, MOST_SEEDS + 1):
            df = noise.most_df + len(near) * (seeds - done)
            # of the images' variance, the part that seeds leave falls with them; none of it is taken to
            error = math.sqrt(2 * variance / seeds + of_images / images)
            if (t_quantile(level, df) + t_quantile(POWER, df)) * error <= points:
                return More(points, seconds * (seeds - done) / workers, seeds)
    points = 1.0
    reach = float(_special.ndtri(level) + _special.ndtri(POWER))
    if reach * math.sqrt(of_images / images) > points:
        return More(points, None, None, math.ceil(of_images * (reach / points) ** 2))
    return More(DIFFERENCES[-1], None, None)
