"""How often each 95 % interval holds the truth, and how often each test is wrong, on simulated tables.

    python benchmarks/coverage.py > benchmarks/coverage.txt

(``--only`` prints one part: ``intervals``, ``images``, ``logit``, ``population``, ``holes``, ``alternative`` or
``tests``; an hour and a half of one core, columns divided among ``--jobs`` processes, with a line on stderr for each)

Tables and counting are in tests/simulated.py, which the tests share.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from simulated import (
    DRAWS,
    IMAGES,
    REGIMES,
    Regime,
    Share,
    coverage,
    false_positives,
    family_errors,
    image_coverage,
    logit_coverage,
    population_coverage,
)
from simulated_holes import WHYS, holes_coverage, holes_errors

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
Column = tuple[Regime, int]  # and the seeds
Coverage = Callable[[int, int, int, Regime, int], dict[str, Share]]
PARTS = ("intervals", "images", "logit", "population", "holes", "alternative", "tests")
FAMILY_TESTS = ("claim", "Welch", "permutation", "permutation of C")
COVERAGE, ERRORS = (92.0, 98.0), (0.0, 6.0)  # limits in percent
MORE = 4  # times the tables of a column in which a figure lies outside
LABEL, WIDTH = 38, 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=1000, help="for each column")
    parser.add_argument("--only", choices=PARTS, help="one of these parts")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    arguments = parser.parse_args()
    parts = (arguments.only,) if arguments.only else PARTS
    print(f"{datetime.date.today()}, {arguments.tables} tables a column, seeded; {MORE} times as many where a figure")
    print("of the column lay outside its limits, to tell chance from a fault")
    print("95.3(7) stands for 95.3 with a standard error of 0.7; ! lies beyond the limits by more than 1.96 of these")
    if "intervals" in parts:
        print(f"\nPercent of 95 % intervals that hold the truth, {DRAWS} draws each; limits: 92 to 98")
        _intervals(arguments.tables, "parametric", arguments.jobs)
    if "images" in parts:
        print(f"\nThe same of intervals over seeds and {IMAGES} test images together, for the truth of all images")
        _images(arguments.tables, arguments.jobs)
    if "logit" in parts:
        print("\nThe same on the logit scale, of what the logits of scores would be on average")
        _logit(arguments.tables, arguments.jobs)
    if "population" in parts:
        print("\nThe same of intervals for further backbones, half of them CNNs, with these optimizers")
        _population(arguments.tables, arguments.jobs)
    if "holes" in parts:
        _holes(arguments.tables, arguments.jobs)
    if "alternative" in parts:
        fewer = max(1, arguments.tables // 4)
        print(f"\nThe same, {fewer} tables a column, if the bootstrap draws rescaled residuals: why it does not")
        _intervals(fewer, "residual", arguments.jobs)
    if "tests" in parts:
        _tests(arguments.tables, arguments.jobs)


def _intervals(tables: int, kind: Kind, jobs: int) -> None:
    for (backbones, optimizers), regimes in INTERVALS.items():
        count = partial(_interval_column, kind, backbones, optimizers, tables)
        _block(count, regimes, backbones, optimizers, kind, jobs)


def _images(tables: int, jobs: int) -> None:
    for backbones, optimizers in INTERVALS:
        _regimes(image_coverage, backbones, optimizers, tables, jobs)


def _logit(tables: int, jobs: int) -> None:
    _regimes(logit_coverage, 10, 8, tables, jobs)


def _regimes(count: Coverage, backbones: int, optimizers: int, tables: int, jobs: int) -> None:
    column = partial(_column, count, backbones, optimizers, tables)
    _block(column, REGIMES, backbones, optimizers, count.__name__, jobs)


def _block(
    count: Callable[[Column], dict[str, Share]],
    regimes: tuple[Regime, ...],
    backbones: int,
    optimizers: int,
    what: str,
    jobs: int,
) -> None:
    """``count`` in each regime with each number of seeds."""
    columns: list[Column] = [(regime, seeds) for regime in regimes for seeds in SEEDS]
    found = _each(count, columns, f"{what} {backbones}x{optimizers}", jobs)
    print()
    _head(f"{backbones} backbones × {optimizers} optimizers", list(regimes), "seeds", SEEDS)
    for name, text in NAMES.items():
        if name in found[0]:
            _line(text, [x[name] for x in found], *COVERAGE)


def _population(tables: int, jobs: int) -> None:
    for backbones, optimizers in ((20, 8), (10, 8)):
        _regimes(population_coverage, backbones, optimizers, tables, jobs)


def _holes(tables: int, jobs: int) -> None:
    """Prints how often intervals and tests are right where cells are missing, by why they are."""
    print("\nThe same where cells are missing, 10 backbones × 8 optimizers: the cost and the contrast of the whole")
    print("table, what is said of cells for those that are there; 'has': percent of tables with an answer at all.")
    print("One cell; 10 and 30 % at random; more in some columns and rows than in others; low ones three times as")
    print("often; every fourth score. The last block of each is false positives in percent, limit: 6")
    for regime in REGIMES:
        for what, seeds, limits in (("", 3, COVERAGE), (" tests", 2, ERRORS)):
            column = partial(_hole_column, what, regime, seeds, tables)
            found = _each(column, [(why, seeds) for why in WHYS], f"holes{what} {regime}", jobs)
            print(f"\n{f'{regime}, {seeds} seeds':<{LABEL}}" + "".join(f"{why:>{WIDTH + 1}}" for why in WHYS))
            for name in found[0]:
                low, high = (0.0, 100.0) if name.startswith("has ") else limits
                cells = "".join(f"{_cell(x[name], low, high):>{WIDTH + 1}}" for x in found)
                print(f"{NAMES.get(name, name):<{LABEL}}{cells}".rstrip(), flush=True)


def _hole_column(what: str, regime: Regime, seeds: int, tables: int, column: tuple[Any, int]) -> dict[str, Share]:
    count = holes_errors if what else holes_coverage
    return count(10, 8, seeds, regime, tables, column[0])


def _tests(tables: int, jobs: int) -> None:
    print("\nFalse positives in percent: p ≤ 0.05, or a 95 % interval that excludes what is there; limit: 6\n")
    columns: list[Column] = [(regime, seeds) for regime in REGIMES[:2] for seeds in SEEDS]
    found = _each(partial(_test_column, tables), columns, "tests", jobs)
    _head("10 backbones × 8 optimizers", list(REGIMES[:2]), "seeds", SEEDS)
    for name in found[0]:
        _line(name, [x[name] for x in found], *ERRORS)
    print(
        f"\nFamily contrast, families of equal means, {4 * tables} samples a row. A claim rests on the larger p of the"
    )
    print("two tests; a permutation alone claims only that families differ in something, spread included: no limit.\n")
    print(f"{'CNNs, others, their ratio of spreads':<{LABEL}}" + "".join(f"{what:>20}" for what in FAMILY_TESTS))
    for cnn, modern in FAMILIES:
        for ratio in RATIOS:
            errors = family_errors(cnn, modern, ratio, 4 * tables)
            cells = [_cell(errors[what], 0, 6 if what in ("claim", "Welch") else 100) for what in FAMILY_TESTS]
            line = f"{f'{cnn}, {modern}, {ratio:g}':<{LABEL}}" + "".join(f"{cell:>20}" for cell in cells)
            print(line.rstrip(), flush=True)


def _each(
    count: Callable[[Any], dict[str, Share]], columns: Sequence[tuple[str, int]], what: str, jobs: int
) -> list[dict[str, Share]]:
    """The count of each column, in their order."""
    started = time.perf_counter()
    found: list[dict[str, Share]] = []
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        for column, shares in zip(columns, pool.map(count, columns), strict=True):
            found.append(shares)
            texts = ", ".join(f"{name} {share.value:.1f} ± {share.error:.1f}" for name, share in shares.items())
            name = f"{what} {column[0]} {column[1]}"
            print(f"{time.perf_counter() - started:.0f} s, {name}: {texts}", file=sys.stderr, flush=True)
    return found


def _interval_column(kind: Kind, backbones: int, optimizers: int, tables: int, column: Column) -> dict[str, Share]:
    count = partial(coverage, backbones, optimizers, column[1], column[0], kind=kind)
    return count(tables) if kind == "residual" else _count(count, tables, *COVERAGE)


def _column(count: Coverage, backbones: int, optimizers: int, tables: int, column: Column) -> dict[str, Share]:
    return _count(partial(count, backbones, optimizers, column[1], column[0]), tables, *COVERAGE)


def _test_column(tables: int, column: Column) -> dict[str, Share]:
    return _count(partial(false_positives, 10, 8, column[1], column[0]), tables, *ERRORS)


def _count(count: Callable[[int], dict[str, Share]], tables: int, low: float, high: float) -> dict[str, Share]:
    """What is counted on so many tables, or on these and more where a figure lies outside the limits."""
    found = count(tables)
    return found if all(low <= share.value <= high for share in found.values()) else count(MORE * tables)


def _head(title: str, groups: list[str], what: str, columns: tuple[float, ...]) -> None:
    print(f"{title:<{LABEL}}" + "".join(f"{group:>{WIDTH * len(columns)}}" for group in groups))
    print(f"{what:<{LABEL}}" + "".join(f"{column:>{WIDTH}g}" for _ in groups for column in columns))


def _line(name: str, shares: list[Share], low: float, high: float) -> None:
    """One row of figures."""
    line = f"{name:<{LABEL}}" + "".join(f"{_cell(share, low, high):>{WIDTH}}" for share in shares)
    print(line.rstrip(), flush=True)


def _cell(share: Share, low: float, high: float) -> str:
    """``95.3(7)``, with a mark where it lies beyond the limits by more than its error."""
    outside = share.value < low - 1.96 * share.error or share.value > high + 1.96 * share.error
    return f"{share.value:.1f}({max(1, round(10 * share.error))}){'!' if outside else ' '}"


if __name__ == "__main__":
    main()
