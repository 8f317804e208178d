"""How often each 95 % interval holds the truth, and how often each test is wrong, on simulated tables.

    python benchmarks/coverage.py > benchmarks/coverage.txt

(``--only intervals``, ``population``, ``alternative`` or ``tests`` prints one part; three quarters of an hour of one
core, with a line on stderr for each column)

Tables and counting are in tests/simulated.py, which the tests share.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from simulated import DRAWS, REGIMES, Regime, Share, coverage, false_positives, family_errors, population_coverage

from bocb_hf.coupling.world import Kind

NAMES = {
    "cell": "cell mean (Smyth 2004)",
    "residuals": "interaction residuals, all of a table",
    "best": "best set (Hsu), all of a backbone",
    "shares": "shares of variance",
    "variances": "variances",
    "backbone": "index of a backbone",
    "optimizer": "index of an optimizer",
    "cost": "cost of coupling",
    "contrast": "family contrast",
}
SEEDS = (2, 3, 5)
# few cells can hardly tell a factor of 5 from equal spreads, so they are tried on it as well
INTERVALS: dict[tuple[int, int], tuple[Regime, ...]] = {
    (10, 8): REGIMES,
    (5, 4): ("equal", "factor 5", "factor 50", "collapsed"),
}
FAMILIES = ((2, 2), (2, 5), (5, 6), (7, 13))
RATIOS = (0.2, 1.0, 5.0)
PARTS = ("intervals", "population", "alternative", "tests")
FAMILY_TESTS = ("claim", "Welch", "permutation", "permutation of C")
COVERAGE, ERRORS = (92.0, 98.0), (0.0, 6.0)  # limits in percent
MORE = 4  # times the tables of a column in which a figure lies outside
LABEL, WIDTH = 38, 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=1000, help="for each column")
    parser.add_argument("--only", choices=PARTS, help="one of these parts")
    arguments = parser.parse_args()
    parts = (arguments.only,) if arguments.only else PARTS
    print(f"{datetime.date.today()}, {arguments.tables} tables a column, seeded; {MORE} times as many where a figure")
    print("of the column lay outside its limits, to tell chance from a fault")
    print("95.3(7) stands for 95.3 with a standard error of 0.7; ! lies beyond the limits by more than 1.96 of these")
    if "intervals" in parts:
        print(f"\nPercent of 95 % intervals that hold the truth, {DRAWS} draws each; limits: 92 to 98")
        _intervals(arguments.tables, "parametric")
    if "population" in parts:
        print("\nThe same of intervals for further backbones, half of them CNNs, with these optimizers")
        _population(arguments.tables)
    if "alternative" in parts:
        fewer = max(1, arguments.tables // 4)
        print(f"\nThe same, {fewer} tables a column, if the bootstrap draws rescaled residuals: why it does not")
        _intervals(fewer, "residual")
    if "tests" in parts:
        _tests(arguments.tables)


def _intervals(tables: int, kind: Kind) -> None:
    for (backbones, optimizers), regimes in INTERVALS.items():
        columns: list[tuple[Regime, int]] = [(regime, seeds) for regime in regimes for seeds in SEEDS]
        found: list[dict[str, Share]] = []
        for regime, seeds in columns:
            started = time.perf_counter()
            count = partial(coverage, backbones, optimizers, seeds, regime, kind=kind)
            found.append(count(tables) if kind == "residual" else _count(count, tables, *COVERAGE))
            _progress(f"{kind} {backbones}x{optimizers} {regime} {seeds}", found[-1], started)
        print()
        _head(f"{backbones} backbones × {optimizers} optimizers", list(regimes), "seeds", SEEDS)
        for name, text in NAMES.items():
            if name in found[0]:
                _line(text, [x[name] for x in found], *COVERAGE)


def _population(tables: int) -> None:
    for backbones, optimizers in ((20, 8), (10, 8)):
        columns: list[tuple[Regime, int]] = [(regime, seeds) for regime in REGIMES for seeds in SEEDS]
        found: list[dict[str, Share]] = []
        for regime, seeds in columns:
            started = time.perf_counter()
            count = partial(population_coverage, backbones, optimizers, seeds, regime)
            found.append(_count(count, tables, *COVERAGE))
            _progress(f"population {backbones}x{optimizers} {regime} {seeds}", found[-1], started)
        print()
        _head(f"{backbones} backbones × {optimizers} optimizers", list(REGIMES), "seeds", SEEDS)
        for name, text in (
            ("shares", "shares of variance"),
            ("contrast", "family contrast"),
            ("welch", "the same, Welch"),
        ):
            _line(text, [x[name] for x in found], *COVERAGE)


def _tests(tables: int) -> None:
    print("\nFalse positives in percent at p ≤ 0.05; limit: 6\n")
    columns: list[tuple[Regime, int]] = [(regime, seeds) for regime in REGIMES[:2] for seeds in SEEDS]
    found: list[dict[str, Share]] = []
    for regime, seeds in columns:
        started = time.perf_counter()
        found.append(_count(partial(false_positives, 10, 8, seeds, regime), tables, *ERRORS))
        _progress(f"tests {regime} {seeds}", found[-1], started)
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
            print(f"{f'{cnn}, {modern}, {ratio:g}':<{LABEL}}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


def _count(count: Callable[[int], dict[str, Share]], tables: int, low: float, high: float) -> dict[str, Share]:
    """What is counted on so many tables, or on these and more where a figure lies outside the limits."""
    found = count(tables)
    return found if all(low <= share.value <= high for share in found.values()) else count(MORE * tables)


def _head(title: str, groups: list[str], what: str, columns: tuple[float, ...]) -> None:
    print(f"{title:<{LABEL}}" + "".join(f"{group:>{WIDTH * len(columns)}}" for group in groups))
    print(f"{what:<{LABEL}}" + "".join(f"{column:>{WIDTH}g}" for _ in groups for column in columns))


def _line(name: str, shares: list[Share], low: float, high: float) -> None:
    """One row of figures."""
    print(f"{name:<{LABEL}}" + "".join(f"{_cell(share, low, high):>{WIDTH}}" for share in shares), flush=True)


def _cell(share: Share, low: float, high: float) -> str:
    """``95.3(7)``, with a mark where it lies beyond the limits by more than its error."""
    outside = share.value < low - 1.96 * share.error or share.value > high + 1.96 * share.error
    return f"{share.value:.1f}({max(1, round(10 * share.error))}){'!' if outside else ' '}"


def _progress(column: str, found: dict[str, Share], started: float) -> None:
    shares = ", ".join(f"{name} {share.value:.1f} ± {share.error:.1f}" for name, share in found.items())
    print(f"{column}, {time.perf_counter() - started:.0f} s: {shares}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
