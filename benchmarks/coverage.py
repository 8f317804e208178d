"""How often each 95 % interval holds the truth, and how often each test is wrong, on simulated tables.

    python benchmarks/coverage.py > benchmarks/coverage.txt

(``--only intervals``, ``--only alternative`` or ``--only tests`` prints a part; about three quarters of an hour of one
core, with a line on stderr for each column)

Tables and counting are in tests/simulated.py, which the tests share.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from simulated import DRAWS, REGIMES, Regime, Share, coverage, false_positives, family_errors

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
FAMILIES = ((2, 2), (2, 5), (5, 6), (7, 13))
RATIOS = (0.2, 1.0, 5.0)
LABEL, WIDTH = 38, 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=1000, help="for each column")
    parser.add_argument("--only", choices=("intervals", "alternative", "tests"), help="one of the three parts")
    arguments = parser.parse_args()
    parts = (arguments.only,) if arguments.only else ("intervals", "alternative", "tests")
    print(f"{datetime.date.today()}, {arguments.tables} tables a column, seeded")
    print("95.3(7) stands for 95.3 with a standard error of 0.7; ! lies beyond the limits by more than 1.96 of these")
    if "intervals" in parts:
        print(f"\nPercent of 95 % intervals that hold the truth, {DRAWS} draws each; limits: 92 to 98")
        _intervals(arguments.tables, "parametric")
    if "alternative" in parts:
        print("\nThe same if the bootstrap draws rescaled residuals, which is why that is not the default")
        _intervals(arguments.tables, "residual")
    if "tests" in parts:
        _tests(arguments.tables)


def _intervals(tables: int, kind: Kind) -> None:
    for backbones, optimizers in ((10, 8), (5, 4)):
        columns: list[tuple[Regime, int]] = [(regime, seeds) for regime in REGIMES for seeds in SEEDS]
        found: list[dict[str, Share]] = []
        for regime, seeds in columns:
            started = time.perf_counter()
            found.append(coverage(backbones, optimizers, seeds, regime, tables, kind))
            _progress(f"{kind} {backbones}x{optimizers} {regime} {seeds}", found[-1], started)
        print()
        _head(f"{backbones} backbones × {optimizers} optimizers", list(REGIMES), "seeds", SEEDS)
        for name, text in NAMES.items():
            if name in found[0]:
                _line(text, [x[name] for x in found], 92, 98)


def _tests(tables: int) -> None:
    print("\nFalse positives in percent at p ≤ 0.05; limit: 6\n")
    columns: list[tuple[Regime, int]] = [(regime, seeds) for regime in REGIMES[:2] for seeds in SEEDS]
    found: list[dict[str, Share]] = []
    for regime, seeds in columns:
        started = time.perf_counter()
        found.append(false_positives(10, 8, seeds, regime, tables))
        _progress(f"tests {regime} {seeds}", found[-1], started)
    _head("10 backbones × 8 optimizers", list(REGIMES[:2]), "seeds", SEEDS)
    for name in found[0]:
        _line(name, [x[name] for x in found], 0, 6)
    print(
        "\nFamily contrast, equal means; others vary 'ratio' times as much as CNNs. A claim rests on the larger of the"
    )
    print("two tests' p. Permutations alone claim only that families differ in something, spread included: no limit.\n")
    errors: list[dict[str, Share]] = []
    for cnn, modern in FAMILIES:
        started = time.perf_counter()
        errors += [family_errors(cnn, modern, ratio, 4 * tables) for ratio in RATIOS]
        _progress(f"families {cnn}, {modern}", errors[-1], started)
    _head(f"CNNs, others ({4 * tables} samples)", [f"{m}, {n}" for m, n in FAMILIES], "ratio", RATIOS)
    for name, text, limit in (
        ("claim", "claim: the larger p of both", 6),
        ("Welch", "Welch's t", 6),
        ("permutation", "permutation", 100),
        ("permutation of C", "permutation of C itself", 100),
    ):
        _line(text, [x[name] for x in errors], 0, limit)


def _head(title: str, groups: list[str], what: str, columns: tuple[float, ...]) -> None:
    print(f"{title:<{LABEL}}" + "".join(f"{group:>{WIDTH * len(columns)}}" for group in groups))
    print(f"{what:<{LABEL}}" + "".join(f"{column:>{WIDTH}g}" for _ in groups for column in columns))


def _line(name: str, shares: list[Share], low: float, high: float) -> None:
    """One row of figures."""
    cells: list[str] = []
    for share in shares:
        outside = share.value < low - 1.96 * share.error or share.value > high + 1.96 * share.error
        cells.append(f"{share.value:.1f}({max(1, round(10 * share.error))}){'!' if outside else ' '}")
    print(f"{name:<{LABEL}}" + "".join(f"{cell:>{WIDTH}}" for cell in cells), flush=True)


def _progress(column: str, found: dict[str, Share], started: float) -> None:
    shares = ", ".join(f"{name} {share.value:.1f} ± {share.error:.1f}" for name, share in found.items())
    print(f"{column}, {time.perf_counter() - started:.0f} s: {shares}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
