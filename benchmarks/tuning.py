"""Tables that were tuned, then trained: what intervals and tests say of the procedure, with and without its tuning.

    python benchmarks/tuning.py > benchmarks/tuning.txt

Tables of 10 backbones × 8 optimizers; three rates, of which the best lies a gap above the second and twice the gap
above the third; noise of one run 0.6 points, in trials and final runs alike. Errors: tables without any interaction.
Coverage: tables with an interaction of 1 point. The truth is what the procedure gives on average. ``--only`` prints a
part; tables are drawn and counted by tests/simulated_tuning.py, which the tests share. With 1,000 tables a part takes
about half an hour of one core.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import time

# coverage_columns comes first: it puts tests/ onto the path
from coverage_columns import COVERAGE, ERRORS, cell_text
from covered import Share
from simulated_tuning import BOTH, GIVEN, Protocol, expected_loss, tuned_coverage, tuned_errors

SEEDS = (2, 3, 5)
BACKBONES, OPTIMIZERS = 10, 8
LABEL, WIDTH = 56, 12
STATISTICS = {
    "cell": "cell mean",
    "primary": "family contrast",
    "shares interaction": "share of interaction",
    "variances interaction": "variance of interaction",
    "cost": "cost of coupling",
    "residuals": "interaction residuals, all of a table",
    "backbone": "index of a backbone",
    "optimizer": "index of an optimizer",
    "best": "best set (Hsu), all of a backbone",
}
PROTOCOLS = [
    Protocol(gap, seeds, rule) for gap in (0.4, 1.0, 0.2) for rule in ("best", "one_standard_error") for seeds in (2, 3)
]
PARTS = ("row", "intervals", "errors", "coverage")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--only", choices=PARTS, help="one of these parts")
    arguments = parser.parse_args()
    print(f"{datetime.date.today()}, seeded; limits: errors 6, coverage 92 to 98")
    print("95.3(7) stands for 95.3 with a standard error of 0.7; ! lies beyond the limits by more than 1.96 of these")
    parts = {"row": _row, "intervals": _intervals, "errors": _errors, "coverage": _coverage}
    for name, part in parts.items():
        if arguments.only in (None, name):
            part(arguments.tables)


def _row(tables: int) -> None:
    print(f"\nGap 0.4, highest mean chosen: tables in which F finds interaction, in percent of {tables}\n")
    _head("final seeds")
    for seeds in (1, 2):
        found = tuned_errors(BACKBONES, OPTIMIZERS, SEEDS, Protocol(0.4, seeds), tables)
        for reading in (GIVEN, BOTH):
            if (reading, SEEDS[0]) in found:
                _line(f"{_seeds(seeds)}, {reading}", [found[reading, n] for n in SEEDS], ERRORS)


def _intervals(tables: int) -> None:
    print(
        f"\nGap 0.4, highest mean chosen: percent of 95 % intervals that hold what the procedure gives, {tables} tables"
    )
    print("(those of tuning and training: coverage.py --only tuned)")
    for seeds in (1, 2):
        found = tuned_coverage(BACKBONES, OPTIMIZERS, SEEDS, Protocol(0.4, seeds), tables, given=True)
        print()
        _head(f"{_seeds(seeds)}, {GIVEN}")
        for name, text in STATISTICS.items():
            _line(text, [found[name, n] for n in SEEDS], COVERAGE)


def _errors(tables: int) -> None:
    print("\nTables without interaction in which F finds it, in percent\n")
    _head("final seeds")
    for protocol in PROTOCOLS:
        found = tuned_errors(BACKBONES, OPTIMIZERS, SEEDS, protocol, max(1, tables // 4))
        for reading in (GIVEN, BOTH):
            _line(f"{_name(protocol)}, {reading}", [found[reading, n] for n in SEEDS], ERRORS)


def _coverage(tables: int) -> None:
    fewer = max(1, tables // 8)
    print(f"\nPercent of 95 % intervals {BOTH} that hold what the procedure gives, {fewer} tables")
    for protocol in PROTOCOLS:
        found = tuned_coverage(BACKBONES, OPTIMIZERS, SEEDS, protocol, fewer)
        print()
        _head(_name(protocol))
        for name, text in STATISTICS.items():
            _line(text, [found[name, n] for n in SEEDS], COVERAGE)


def _seeds(seeds: int) -> str:
    return f"{seeds} tuning seed{'s' if seeds > 1 else ''}"


def _name(protocol: Protocol) -> str:
    loss, variance = expected_loss(protocol)
    rule = {"best": "best", "one_standard_error": "1 SE"}[protocol.rule]
    return f"gap {protocol.gap:g}, {rule}, {_seeds(protocol.seeds)}, τ {variance**0.5:.2f}, loss {loss:.2f}"


def _head(title: str) -> None:
    print(f"{title:<{LABEL}}" + "".join(f"{n:>{WIDTH}}" for n in SEEDS), flush=True)


def _line(name: str, shares: list[Share], limits: tuple[float, float]) -> None:
    print((f"{name:<{LABEL}}" + "".join(f"{cell_text(s, *limits):>{WIDTH}}" for s in shares)).rstrip(), flush=True)
    print(f"{time.process_time():.0f} s of work, {name}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
