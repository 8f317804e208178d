"""The study's own rules, applied as printed, beside what it printed: where the two agree, and where they cannot.

Pure functions of a score table and of printed figures, which are in ``bocb_hf.coupling.published``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bocb_hf.backbones import CNN_FAMILIES
from bocb_hf.coupling.scores import Floats, ScoreTable

WEIGHTS = {"performance": 0.4, "hp_robustness": 0.2, "bocb": 0.2, "computation": 0.2}
# its figures are over all 20 scores; those of the others leave out the worst (range), and the two best too (mean, std)
UNTRIMMED = ("convnext_tiny",)


class PrintedSpread(Protocol):
    """The figures that are printed below a backbone's column, in points."""

    @property
    def mean(self) -> float: ...
    @property
    def std(self) -> float: ...
    @property
    def range(self) -> float: ...


class PrintedRank(Protocol):
    """One line of Table 4."""

    @property
    def performance(self) -> int: ...
    @property
    def hp_robustness(self) -> int: ...
    @property
    def bocb(self) -> int: ...
    @property
    def computation(self) -> int: ...
    @property
    def overall(self) -> int: ...


@dataclass(frozen=True)
class SpreadRow:
    """One figure below a column: computed and printed.

    Attributes:
        backbone: Id of the backbone.
        figure: ``mean``, ``std`` or ``range``.
        computed: The figure computed from the scores, by the rule that reproduces the printed ones.
        printed: The figure as printed; None for a table of ours.
        digits: Number of decimals of the printed figure.
    """

    backbone: str
    figure: str
    computed: float
    printed: float | None
    digits: int

    @property
    def agrees(self) -> bool | None:
        """Whether the computed figure rounds to the printed one, a half up or down; None without a printed one."""
        if self.printed is None:
            return None
        return abs(self.computed - self.printed) <= 0.5 * 10**-self.digits + 1e-9


def spread_rows(scores: ScoreTable, printed: Mapping[str, PrintedSpread] | None = None) -> list[SpreadRow]:
    """Mean, standard deviation and range of each backbone, as the study's figures come out.

    The text says 'the worst removed', but with the scores sorted upwards the printed figures come out as mean and
    population standard deviation of ``sorted[1:-2]`` (the worst and the two best removed) and as range of
    ``sorted[1:]``; those of ConvNeXt-T are over all scores.

    Args:
        scores: The table; backbones with fewer than five ranked cells are left out.
        printed: Printed figures by backbone id; None compares with nothing, and then no backbone is an exception.
    """
    rows: list[SpreadRow] = []
    for name, line in zip(scores.backbones, scores.means, strict=True):
        y: Floats = np.sort(line[np.isfinite(line)])
        if len(y) < 5:
            continue
        whole = printed is not None and name in UNTRIMMED
        middle = y if whole else y[1:-2]
        above = y if whole else y[1:]
        figures = {"mean": float(middle.mean()), "std": float(middle.std()), "range": float(above[-1] - above[0])}
        for figure, computed in figures.items():
            value = None if printed is None else float(getattr(printed[name], figure))
            rows.append(SpreadRow(name, figure, computed, value, {"mean": 2, "std": 1, "range": 0}[figure]))
    return rows


@dataclass(frozen=True)
class RankRow:
    """One optimizer of Table 4.

    Attributes:
        optimizer: Id of the optimizer.
        score: 0.4·performance + 0.2·HP robustness + 0.2·BOCB + 0.2·computation, of the printed ranks.
        low: First place that the formula leaves open to the optimizer.
        high: Last place that the formula leaves open to the optimizer.
        printed: The place as printed.
    """

    optimizer: str
    score: float
    low: int
    high: int
    printed: int

    @property
    def tied(self) -> bool:
        """Whether the formula leaves more than one place open to the optimizer."""
        return self.low != self.high

    @property
    def agrees(self) -> bool:
        """Whether the printed place is one that the formula leaves open."""
        return self.low <= self.printed <= self.high


def overall_ranking(columns: Mapping[str, PrintedRank]) -> list[RankRow]:
    """Computes the overall places from the four columns, best first; equal scores share a range of places."""
    scores = {o: round(sum(w * getattr(row, column) for column, w in WEIGHTS.items()), 6) for o, row in columns.items()}
    return sorted(
        (
            RankRow(
                o,
                score,
                1 + sum(other < score for other in scores.values()),
                sum(other <= score for other in scores.values()),
                columns[o].overall,
            )
            for o, score in scores.items()
        ),
        key=lambda row: (row.score, row.printed),
    )


def winners(scores: ScoreTable) -> dict[str, tuple[str, ...]]:
    """Finds the optimizers with the highest mean of each backbone; none for a backbone without a ranked cell."""
    found: dict[str, tuple[str, ...]] = {}
    for name, line in zip(scores.backbones, scores.means, strict=True):
        best = np.nanmax(line) if np.isfinite(line).any() else np.inf
        found[name] = tuple(o for o, y in zip(scores.optimizers, line.tolist(), strict=True) if y == best)
    return found


@dataclass(frozen=True)
class Wins:
    """The backbones of a family on which a set of optimizers has the highest mean.

    Attributes:
        won: Ids of these backbones.
        backbones: Number of backbones of the family with a ranked cell.
        gap: Median over the family of the best mean minus that of the set's first optimizer, in points; None when that
            optimizer is never ranked.
    """

    won: tuple[str, ...]
    backbones: int
    gap: float | None


def family_wins(scores: ScoreTable, optimizers: tuple[str, ...], cnn: bool) -> Wins:
    """Counts wins of some optimizers among CNNs, or among modern backbones."""
    best = winners(scores)
    in_family = [b for b, f in enumerate(scores.families) if (f in CNN_FAMILIES if cnn else f == "modern")]
    members = [b for b in in_family if best[scores.backbones[b]]]
    won = tuple(name for b in members if set(best[name := scores.backbones[b]]) & set(optimizers))
    first = scores.optimizers.index(optimizers[0]) if optimizers[0] in scores.optimizers else None
    gaps = [
        float(np.nanmax(scores.means[b]) - scores.means[b, first])
        for b in members
        if first is not None and np.isfinite(scores.means[b, first])
    ]
    return Wins(won, len(members), float(np.median(gaps)) if gaps else None)
