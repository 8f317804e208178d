"""How often each 95 % interval holds the truth, and how often each test is wrong, on simulated tables.

    python benchmarks/coverage.py > benchmarks/coverage.txt

(``--only`` prints one part of ``PARTS``; an hour and a half of one core, columns divided among ``--jobs`` processes,
with a line on stderr for each)

Tables are in tests/simulated.py and counting in tests/covered.py, which the tests share. A new part is a function of
the number of tables and of processes, which prints blocks (``coverage_columns.Block``), and an entry of ``PARTS``.
"""

from __future__ import annotations

import argparse
import datetime
import os
from collections.abc import Callable
from functools import partial
from typing import Any, cast

# coverage_columns comes first: it puts tests/ onto the path
from coverage_columns import COVERAGE, ERRORS, LABEL, MORE, WIDTH, Block, Figures, cell_text, print_block
from coverage_kinds import print_kinds, print_winners
from covered import (
    DRAWS,
    coverage,
    false_positives,
    family_errors,
    image_coverage,
    logit_coverage,
    population_coverage,
)
from simulated import IMAGES, REGIMES, Regime
from simulated_holes import WHYS, Why, holes_coverage, holes_errors
from simulated_tuning import gap_coverage

from bocb_hf.coupling.world import Kind

NAMES = {
    "cell": "cell mean (Smyth 2004)",
    "residuals": "interaction residuals, all of a table",
    "best": "best set (Hsu), all of a backbone",
    "shares optimizer": "share of optimizers",
    "shares backbone": "share of backbones",
    "shares interaction": "share of interaction",
    "variances optimizer": "variance of optimizers",
    "variances backbone": "variance of backbones",
    "variances interaction": "variance of interaction",
    "interaction": "share of interaction",
    "backbone": "index of a backbone",
    "optimizer": "index of an optimizer",
    "cost": "cost of coupling",
    "contrast": "family contrast",
    "primary": "the same, primary",
    "winner": "the best, corrected (hybrid)",
    "winner too high": "its estimate lies above its truth",
    "welch": "the same, Welch",
}
SEEDS = (2, 3, 5)
# few cells can hardly tell a factor of 5 from equal spreads, so they are tried on it as well
INTERVALS: dict[tuple[int, int], tuple[Regime, ...]] = {
    (10, 8): REGIMES,
    (5, 4): ("equal", "factor 5", "factor 50", "collapsed"),
}
FAMILIES = ((2, 2), (2, 5), (5, 6), (7, 13))
RATIOS = (0.2, 1.0, 5.0)
TESTS = (
    "any interaction, simulated F",
    "variance of interaction above 0",
    "share of interaction above 0",
    "cost of coupling above 0",
    "any residual beside 0",
    "interaction as a product, Tukey",
    "optimizers, Friedman",
    "any pair of optimizers, Nemenyi",
)
# where cells are missing, some tables have no answer at all, and the figures named "has …" count those that do
HOLES = {
    "cell": NAMES["cell"],
    "has a cost": "has a cost",
    "cost": NAMES["cost"],
    "has a contrast": "has a contrast",
    "contrast": NAMES["contrast"],
    "primary": NAMES["primary"],
    "residuals": NAMES["residuals"],
    "best": NAMES["best"],
}
HOLE_TESTS = (
    "has an F",
    "any interaction, simulated F",
    "interaction as a product, Tukey",
    "optimizers, Skillings and Mack",
    "any pair of optimizers",
)
FAMILY_TESTS = ("claim", "Welch", "permutation", "permutation of C")
Coverage = Callable[[int, int, int, Regime, int], Figures]
HoleCount = Callable[[int, int, int, Regime, int, Why], Figures]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=1000, help="for each column")
    parser.add_argument("--only", choices=PARTS, help="one of these parts")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    arguments = parser.parse_args()
    print(f"{datetime.date.today()}, {arguments.tables} tables a column, seeded; {MORE} times as many where a figure")
    print("of the column lay outside its limits, to tell chance from a fault")
    print("95.3(7) stands for 95.3 with a standard error of 0.7; ! lies beyond the limits by more than 1.96 of these")
    for name, part in PARTS.items():
        if arguments.only in (None, name):
            part(arguments.tables, arguments.jobs)


def _intervals(tables: int, jobs: int) -> None:
    print(f"\nPercent of 95 % intervals that hold the truth, {DRAWS} draws each; limits: 92 to 98")
    _bootstraps(tables, jobs, "parametric")


def _alternative(tables: int, jobs: int) -> None:
    fewer = max(1, tables // 4)
    print(f"\nThe same, {fewer} tables a column, if the bootstrap draws rescaled residuals: why it does not")
    _bootstraps(fewer, jobs, "residual")


def _bootstraps(tables: int, jobs: int, kind: Kind) -> None:
    for (backbones, optimizers), regimes in INTERVALS.items():
        count = partial(_column, partial(coverage, kind=kind), backbones, optimizers)
        _regimes(count, backbones, optimizers, tables, jobs, regimes, repeat=kind == "parametric")


def _images(tables: int, jobs: int) -> None:
    print(f"\nThe same of intervals over seeds and {IMAGES} test images together, for the truth of all images")
    for backbones, optimizers in INTERVALS:
        _regimes(partial(_column, image_coverage, backbones, optimizers), backbones, optimizers, tables, jobs)


def _logit(tables: int, jobs: int) -> None:
    print("\nThe same on the logit scale, of what the logits of scores would be on average")
    _regimes(partial(_column, logit_coverage, 10, 8), 10, 8, tables, jobs)


def _tuned(tables: int, jobs: int) -> None:
    print(
        "\nThe same of tuning and training, for what 'tune, then train' gives: 3 rates, 2 tuning seeds, so many points"
    )
    print("between the best rate and the second; F in tables without interaction, limit 6")
    lines = {**NAMES, "F": "F finds interaction", "F given": "the same, given the tuned rates"}
    free = frozenset(("F", "F given", "winner too high"))
    title = "10 backbones × 8 optimizers"
    for gap in ("gap 0.4", "gap 1.0", "gap 0.2"):
        block = Block(title, gap_coverage, (gap,), SEEDS, lines, repeat=False, free=free, together=True)
        print_block(block, tables, jobs)


def _population(tables: int, jobs: int) -> None:
    print("\nThe same of intervals for further backbones, half of them CNNs, with these optimizers")
    for backbones in (20, 10):
        _regimes(partial(_column, population_coverage, backbones, 8), backbones, 8, tables, jobs)


def _holes(tables: int, jobs: int) -> None:
    """Prints how often intervals and tests are right where cells are missing, by why they are."""
    print("\nThe same where cells are missing, 10 backbones × 8 optimizers: the cost and the contrast of the whole")
    print("table, what is said of cells for those that are there; 'has': percent of tables with an answer at all.")
    print("One cell; 10 and 30 % at random; more in some columns and rows than in others; low ones three times as")
    print("often; every fourth score. The last block of each is false positives in percent, limit: 6")
    tests = {name: name for name in HOLE_TESTS}
    for regime in REGIMES:
        for count, seeds, lines, limits in (
            (holes_coverage, 3, HOLES, COVERAGE),
            (holes_errors, 2, tests, ERRORS),
        ):
            column = partial(_hole_column, count, regime)
            free = frozenset(name for name in lines if name.startswith("has "))
            title = f"{regime}, {seeds} seeds"
            print_block(Block(title, column, WHYS, (seeds,), lines, limits, False, free, WIDTH + 1), tables, jobs)


def _hole_column(count: HoleCount, regime: Regime, why: str, seeds: int, tables: int) -> Figures:
    return count(10, 8, seeds, regime, tables, cast("Why", why))


def _column(count: Coverage, backbones: int, optimizers: int, regime: str, seeds: int, tables: int) -> Figures:
    return count(backbones, optimizers, seeds, cast("Regime", regime), tables)


def _regimes(
    count: Callable[[str, int, int], Figures],
    backbones: int,
    optimizers: int,
    tables: int,
    jobs: int,
    regimes: tuple[Regime, ...] = REGIMES,
    **options: Any,
) -> None:
    """Prints ``count`` in each regime with each number of seeds."""
    title = f"{backbones} backbones × {optimizers} optimizers"
    print_block(Block(title, count, regimes, SEEDS, NAMES, **options), tables, jobs)


def _tests(tables: int, jobs: int) -> None:
    print("\nFalse positives in percent: p ≤ 0.05, or a 95 % interval that excludes what is there; limit: 6")
    count = partial(_column, false_positives, 10, 8)
    title = "10 backbones × 8 optimizers"
    print_block(Block(title, count, REGIMES[:2], SEEDS, {name: name for name in TESTS}, ERRORS), tables, jobs)
    print(
        f"\nFamily contrast, families of equal means, {4 * tables} samples a row. A claim rests on the larger p of the"
    )
    print("two tests; a permutation alone claims only that families differ in something, spread included: no limit.\n")
    print(f"{'CNNs, others, their ratio of spreads':<{LABEL}}" + "".join(f"{what:>20}" for what in FAMILY_TESTS))
    for cnn, modern in FAMILIES:
        for ratio in RATIOS:
            errors = family_errors(cnn, modern, ratio, 4 * tables)
            cells = [cell_text(errors[what], 0, 6 if what in ("claim", "Welch") else 100) for what in FAMILY_TESTS]
            line = f"{f'{cnn}, {modern}, {ratio:g}':<{LABEL}}" + "".join(f"{cell:>20}" for cell in cells)
            print(line.rstrip(), flush=True)


# each prints its blocks for so many tables a column and so many processes
PARTS: dict[str, Callable[[int, int], None]] = {
    "intervals": _intervals,
    "kinds": print_kinds,
    "winners": print_winners,
    "images": _images,
    "logit": _logit,
    "tuned": _tuned,
    "population": _population,
    "holes": _holes,
    "alternative": _alternative,
    "tests": _tests,
}


if __name__ == "__main__":
    main()
