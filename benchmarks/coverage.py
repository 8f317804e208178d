"""How often each 95 % interval holds the truth, and how often each test is wrong, on simulated tables.

    python benchmarks/coverage.py > benchmarks/coverage.txt

(printed in two parts, ``--only intervals`` and ``--only tests``; half an hour of one core)

Tables and counting are in tests/simulated.py, which the tests share. A simultaneous statement counts as one for a table
(residuals) or for a backbone (best sets); indices count for each backbone or optimizer.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from simulated import DRAWS, REGIMES, Regime, coverage, false_positives, permutation_errors

NAMES = {
    "cell": "cell mean (Smyth 2004)",
    "residuals": "interaction residuals, all cells of a table together",
    "best": "best set of a backbone (Hsu), all its intervals together",
    "shares": "shares of variance",
    "variances": "variances",
    "backbone": "index of a backbone",
    "optimizer": "index of an optimizer",
    "cost": "cost of coupling",
    "contrast": "family contrast",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=120, help="for each column of intervals")
    parser.add_argument("--test-tables", type=int, default=300, help="for each column of tests")
    parser.add_argument("--only", choices=("intervals", "tests"), help="one of the two parts")
    arguments = parser.parse_args()
    if arguments.only != "tests":
        _intervals(arguments.tables)
    if arguments.only != "intervals":
        _tests(arguments.test_tables)


def _intervals(tables: int) -> None:
    error = 100 * (0.95 * 0.05 / tables) ** 0.5
    print(f"{datetime.date.today()}, {tables} tables a column, {DRAWS} draws, seeded; percent of intervals that hold")
    print(f"the truth, wanted: 92 to 98; standard error of a figure that counts tables: about {error:.1f}\n")
    for backbones, optimizers in ((10, 8), (5, 4)):
        for kind in ("parametric", "residual"):
            columns: list[tuple[Regime, int]] = [(regime, seeds) for regime in REGIMES for seeds in (2, 3, 5)]
            found = [coverage(backbones, optimizers, seeds, regime, tables, kind) for regime, seeds in columns]
            print(f"{backbones} backbones × {optimizers} optimizers, bootstrap: {kind}")
            print(" " * 60 + "".join(f"{regime:>21}" for regime in REGIMES))
            print(f"{'seeds':<60}" + "".join(f"{seeds:>{9 if seeds == 2 else 6}}" for _, seeds in columns))
            for name, text in NAMES.items():
                if name in found[0]:
                    cells = zip(columns, found, strict=True)
                    line = "".join(f"{100 * x[name]:>{9 if seeds == 2 else 6}.1f}" for (_, seeds), x in cells)
                    print(f"{text:<60}{line}", flush=True)
            print()


def _tests(tables: int) -> None:
    print(
        f"False positives in percent at p ≤ 0.05, {tables} tables a column, wanted: at most 6; standard error about 1"
    )
    columns: list[tuple[Regime, int]] = [(regime, seeds) for regime in REGIMES[:2] for seeds in (2, 3, 5)]
    found = [false_positives(10, 8, seeds, regime, tables) for regime, seeds in columns]
    print(" " * 60 + "".join(f"{regime:>21}" for regime in REGIMES[:2]))
    print(f"{'seeds':<60}" + "".join(f"{seeds:>{9 if seeds == 2 else 6}}" for _, seeds in columns))
    for name in found[0]:
        cells = zip(columns, found, strict=True)
        line = "".join(f"{100 * x[name]:>{9 if seeds == 2 else 6}.1f}" for (_, seeds), x in cells)
        print(f"{name:<60}{line}")
    for ratio in (1.0, 0.2, 5.0):
        shares = [100 * permutation_errors(5, 6, ratio, 4 * tables, statistic) for statistic in ("t", "mean")]
        name = f"family contrast, 5 CNNs and 6 others that vary {ratio:g} times as much"
        print(f"{name:<60}{shares[0]:>9.1f}   C itself: {shares[1]:.1f}")


if __name__ == "__main__":
    main()
