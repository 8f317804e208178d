"""Every pair of optimizers compared over the backbones of a table, each by its own scores alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bocb_hf.coupling.scores import Floats, ScoreTable
from bocb_hf.coupling.signed_rank import (
    Equivalence,
    SignedRank,
    bayesian_signed_rank,
    dirichlet_weights,
    holm,
    signed_rank,
)

ROPE = 1.0  # points; Benavoli et al. 2017 take 1 % of accuracy for practically equal
DRAWS = 2000  # of the posterior: a probability of 0.95 has an error of 0.005
LOSS = 1000.0  # the difference to a diverged cell in points: beyond any of two scores, so that it has the last rank


@dataclass(frozen=True)
class Pair:
    """Two optimizers compared over the backbones where both are known.

    Attributes:
        first: The optimizer with the higher sum of ranks.
        second: The other one.
        diverged: Backbones on which just one of the two diverged, which counts as the largest difference.
        clusters: Number of clusters among the backbones: siblings are one. The tests take backbones as independent.
        test: Wilcoxon's test of first − second, in points; an end of its interval beyond ±100 says 'no bound'.
        holm: Its p-value adjusted for all pairs of the table.
        equivalence: Posterior probabilities by the Bayesian signed-rank test.
    """

    first: str
    second: str
    diverged: int
    clusters: int
    test: SignedRank
    holm: float
    equivalence: Equivalence


@dataclass(frozen=True)
class Comparisons:
    """All pairs of a table.

    Attributes:
        rope: Half width in points of what counts as practically equal.
        draws: Draws of the posterior.
        pairs: Pairs with at least one backbone in common, the clearest first.
    """

    rope: float
    draws: int
    pairs: tuple[Pair, ...]


def compare_pairs(scores: ScoreTable, rope: float = ROPE, draws: int = DRAWS, seed: int = 0) -> Comparisons:
    """Compares every pair of optimizers over backbones, in points.

    A backbone where a cell of the pair is missing, interrupted or partly diverged is left out of this pair. One where
    just one of both diverged is its clearest loss; one where both did tells nothing apart, a difference of 0.

    Args:
        scores: The table.
        rope: Differences of up to so many points count as practically equal.
        draws: Draws of the posterior.
        seed: Seed of the draws.
    """
    lost = scores.status == "diverged"
    known = scores.ranked | lost
    height = np.where(lost, -LOSS, scores.means)
    found: list[tuple[int, int, Floats, int, int]] = []
    for i, j in combinations(range(len(scores.optimizers)), 2):
        rows = np.nonzero(known[:, i] & known[:, j])[0]
        if not len(rows):
            continue
        d = height[rows, i] - height[rows, j]
        d = np.where(np.abs(d) > 100, np.sign(d) * LOSS, d)
        if float(np.sign(d).sum()) < 0 or (float(np.sign(d).sum()) == 0 and float(np.median(d)) < 0):
            i, j, d = j, i, -d
        clusters = len({scores.clusters[int(b)] for b in rows})
        found.append((i, j, d, int((np.abs(d) == LOSS).sum()), clusters))
    tests = [signed_rank(d) for _, _, d, _, _ in found]
    adjusted = holm(np.array([test.p for test in tests]))
    weights = {n: dirichlet_weights(n, draws, seed) for n in {test.n for test in tests}}
    pairs = [
        Pair(
            scores.optimizers[i],
            scores.optimizers[j],
            diverged,
            clusters,
            test,
            float(p),
            bayesian_signed_rank(d, rope, weights[test.n]),
        )
        for (i, j, d, diverged, clusters), test, p in zip(found, tests, adjusted, strict=True)
    ]
    pairs.sort(key=lambda pair: (pair.test.p, -max(pair.equivalence.better, pair.equivalence.equal)))
    return Comparisons(rope, draws, tuple(pairs))
