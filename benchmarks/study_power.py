"""What the laptop study can detect, by simulation, before its first run.

    python benchmarks/study_power.py > benchmarks/study_power.txt

Tables much as the study will have them: 12 backbones, half of them CNNs, by 10 optimizers with three rates each, tuned
by two seeds for each rate and the rule of one standard error, then final seeds of their own. Effects are put in, and
what is counted is how often the analysis that ``bocb aggregate`` makes finds them, its intervals over tuning and
training together:

- *contrast*: SGD-M and SGDP lose so many points on the modern backbones only; the interval of the family contrast lies
  on the right side of 0;
- *design*: SGD-M and SGDP lose so many points on one of two backbones that differ in one design element; the interval
  of the difference of differences against category (b) lies on the right side of 0;
- *interaction*: cells differ from the additive table with so large a standard deviation; p ≤ 0.05;
- *pair*: one optimizer is worse than all others, which are alike, on one backbone; it is told apart from the best.

Effects are in multiples of the noise, which is the standard deviation of one run over seeds: with a noise of 0.3
points, an effect of 2 is one of 0.6 points. With an effect of 0 the share is that of false findings.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from simulated import OPTIMIZERS as OPTIMIZER_NAMES
from simulated_tuning import Protocol, simulate_tuned

from bocb_hf.coupling.combination import combine
from bocb_hf.coupling.contrast import contrast_weights
from bocb_hf.coupling.interaction_tests import interaction_test
from bocb_hf.coupling.ranks import best_sets
from bocb_hf.coupling.scores import ScoreTable

BACKBONES, OPTIMIZERS = 12, 10
MODERN = np.arange(BACKBONES) >= BACKBONES // 2
SGD = np.arange(OPTIMIZERS) < 2
ADAPTIVE = np.isin(OPTIMIZER_NAMES, ("adam", "adamw", "lamb", "adan"))  # category (b)
SEEDS = (3, 5)
NOISE = 0.6  # points, of one run, in ``simulate_tuned``
EFFECTS = {
    "contrast": (0.0, 0.5, 1.0, 2.0),
    "design": (0.0, 1.0, 2.0, 4.0),
    "interaction": (0.0, 0.25, 0.5, 1.0),
    "pair": (0.0, 1.0, 2.0, 4.0),
}


def effect(kind: str, size: float) -> NDArray[np.float64]:
    """What is added to the means of the cells, shape (12, 10)."""
    added = np.zeros((BACKBONES, OPTIMIZERS))
    if kind == "contrast":
        added[np.ix_(MODERN, SGD)] = -size
    elif kind == "design":
        added[-1, SGD] = -size
    elif kind == "pair":
        added[-1, -1] = -size
    return added


def find_contrast(table: ScoreTable) -> bool:
    """Whether the interval of the family contrast lies above 0."""
    weights = contrast_weights(table)
    assert weights is not None
    return _above(table, weights)


def find_design(table: ScoreTable) -> bool:
    """Whether the last backbone loses more with SGD than the one before it."""
    weights = np.zeros((BACKBONES, OPTIMIZERS))
    weights[-2] = SGD / SGD.sum() - ADAPTIVE / ADAPTIVE.sum()
    weights[-1] = -weights[-2]
    return _above(table, weights)


def find_interaction(table: ScoreTable) -> bool:
    """Whether there is interaction beyond noise and tuning noise."""
    test = interaction_test(table)
    assert test is not None
    return test.p <= 0.05


def find_pair(table: ScoreTable) -> bool:
    """Whether the last optimizer is told apart from the best of the last backbone."""
    sets = best_sets(table, draws=1000)
    assert sets is not None
    return not sets.candidates[-1, -1]


FINDERS: dict[str, Callable[[ScoreTable], bool]] = {
    "contrast": find_contrast,
    "design": find_design,
    "interaction": find_interaction,
    "pair": find_pair,
}


def _above(table: ScoreTable, weights: NDArray[np.float64]) -> bool:
    interval = combine(table, weights, draws=1000).interval
    assert interval is not None
    return interval.low > 0


def power(kind: str, size: float, seeds: int, tables: int) -> float:
    """Share of tables in which the effect, in multiples of the noise, is found."""
    generator = np.random.default_rng([*kind.encode(), int(100 * size), seeds])
    found = 0
    for _ in range(tables):
        interaction = NOISE * size if kind == "interaction" else 0.0
        shift: Any = NOISE * effect(kind, size)
        spread = 0.0 if kind == "pair" else 1.5
        protocol = Protocol(0.6, 2, "one_standard_error")
        _, table = simulate_tuned(generator, BACKBONES, OPTIMIZERS, seeds, protocol, interaction, shift, spread)
        found += FINDERS[kind](table)
    return found / tables


def main() -> None:
    """Prints the text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=200)
    asked = parser.parse_args()
    margin = 196 * (0.25 / asked.tables) ** 0.5
    print(f"{BACKBONES} × {OPTIMIZERS} cells, 3 rates, 2 tuning seeds, {asked.tables} tables a number")
    print(f"share of tables in which the effect is found, in %, each ± {margin:.0f} at most\n")
    print(f"{'effect':14}{'× noise':>8}" + "".join(f"{f'n = {n}':>8}" for n in SEEDS))
    for kind, sizes in EFFECTS.items():
        for size in sizes:
            shares = [power(kind, size, n, asked.tables) for n in SEEDS]
            print(f"{kind:14}{size:8.2f}" + "".join(f"{100 * share:8.0f}" for share in shares), flush=True)


if __name__ == "__main__":
    main()
