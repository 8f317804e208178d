"""Coverage by kind of cell, under several kinds of noise, and of the best of a backbone: parts of coverage.py."""

from __future__ import annotations

from functools import partial

from coverage_columns import Block, print_block
from kinds import NOISES, kind_coverage

SEEDS = (2, 3, 5)
KINDS = {
    "ordinary": "ordinary cells",
    "collapsed": "collapsed cells",
    "flaky": "flaky cells, for the mean of all runs",
    "best": "the best of a backbone, as it is",
    "probability": "probability to diverge (Wilson)",
    "rare": "tables that show rare losses, in %",
    "wider": "intervals longer for these by, in %",
}
WINNERS = {
    "best": "interval of the best as it is",
    "corrected": "corrected interval (hybrid)",
    "best too high": "the best lies above its truth",
    "corrected too high": "the corrected estimate does",
    "longer": "corrected interval longer by, in %",
}
# the interval of the best as it is holds for a cell that was chosen beforehand: it shows what the correction mends
FREE = frozenset({"best", "best too high", "corrected too high", "longer", "rare", "wider", "probability"})


def print_kinds(tables: int, jobs: int) -> None:
    """Prints the intervals of cells by kind of cell, for each kind of noise."""
    print(
        "\nPercent of 95 % intervals of cells that hold the truth, by kind of cell; limits of the first three: 92 to 98"
    )
    names = list(NOISES)
    for part in (names[:3], names[3:6], names[6:]):
        block = Block("10 backbones × 8 optimizers", kind_coverage, part, SEEDS, KINDS, repeat=False, free=FREE)
        print_block(block, tables, jobs)


def print_winners(tables: int, jobs: int) -> None:
    """Prints what choosing the best of a backbone does to its interval, and what the correction gives."""
    print(
        "\nThe best of a backbone, in percent; limits of the corrected interval: 92 to 98, its estimate should be half"
    )
    count = partial(kind_coverage, winner=True, size=(4, 8))
    names = ("equal", "factor 50", "collapsed", "flaky")
    title = "4 backbones × 8 optimizers"
    print_block(Block(title, count, names, SEEDS, WINNERS, repeat=False, free=FREE | {"ordinary"}), tables, jobs)
