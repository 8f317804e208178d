"""Whether the intervals and tests of transfer hold, on simulated three-way tables (``docs/transfer.md``).

Prints, for each way in which tables come about, how often intervals hold the truth and how often tests see what is not
there::

    python benchmarks/transfer.py > benchmarks/transfer.txt
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fine_tuned import Regime, draw_table, table_of
from scipy.stats import chi2

from bocb_hf.coupling.split_plot import split_plot
from bocb_hf.coupling.transfer import analyse_transfer

REGIMES = (
    Regime("no interaction"),
    Regime("no interaction, checkpoints that differ by 4 points", checkpoint=4.0),
    Regime("no interaction, noise of backbones differs 5 ×", backbones=5.0),
    Regime("no interaction, noise of pairs differs 5 ×", cells=5.0),
    Regime("no interaction, 2 backbones, 5 × 5 optimizers", shape=(2, 5, 5, 2, 2)),
    Regime("interaction 1 point", interaction=1.0),
    Regime("interaction 3 points", interaction=3.0),
    Regime("interaction 1 point, noise of backbones differs 5 ×", interaction=1.0, backbones=5.0),
    Regime("interaction 1 point, 3 pre-training seeds", interaction=1.0, shape=(3, 4, 4, 3, 2)),
    Regime("interaction 1 point, ranking carries over (r = 0.9)", interaction=1.0, agreement=0.9),
    Regime("one pre-training seed: given the checkpoints", checkpoint=0.0, checkpoint_pair=0.0, shape=(3, 4, 4, 1, 3)),
)


def measure(regime: Regime, tables: int, draws: int) -> list[float | None]:
    """Percentages of tables: intervals of cells, spread, matching and ranking held; test and matching falsely seen.

    A percentage is None where there is nothing to hold, or where what is seen is there.
    """
    generator = np.random.default_rng(0)
    cells, spreads, matchings, rankings = list[float](), list[bool](), list[bool](), list[bool]()
    seen, matched, naive = list[bool](), list[bool](), list[bool]()
    for _ in range(tables):
        drawn = draw_table(regime, generator)
        found = analyse_transfer(table_of(drawn), draws)
        spread, matching, ranking, truth = found.spread, found.matching, found.ranking, drawn.means
        assert spread is not None and spread.interval is not None and spread.p_value is not None
        assert matching is not None and matching.interval is not None
        half = np.stack([plot.half_widths() for plot in found.complete])
        means = np.stack([plot.means for plot in found.complete])
        cells.append(float((np.abs(means - truth) <= half).mean()))
        spreads.append(spread.interval.holds(regime.interaction))
        same = np.eye(truth.shape[1], dtype=bool)
        gain = float(truth[:, same].mean() - truth[:, ~same].mean())
        matchings.append(matching.interval.holds(gain))
        if ranking is not None and ranking.interval is not None:
            rankings.append(ranking.interval.holds(drawn.ranking))
        if regime.interaction == 0:
            seen.append(spread.p_value < 0.05)
            matched.append(not matching.interval.holds(0.0))
            naive.append(_combined([_as_if_independent(values) for values in drawn.values]) < 0.05)
    columns: list[Sequence[float | bool]] = [cells, spreads, matchings, rankings, seen, matched, naive]
    return [100 * float(np.mean(column)) if len(column) else None for column in columns]


def _as_if_independent(values: np.ndarray) -> float:
    """The p value that treats all runs of a cell as independent, which pre-training seeds make false."""
    p, f, k, s = values.shape
    plot = split_plot(values.reshape(p, f, 1, k * s))
    p_value = None if plot is None else plot.p_value()
    assert p_value is not None
    return p_value


def _combined(values: Sequence[float]) -> float:
    """Fisher's combination of p values."""
    return float(chi2.sf(-2 * np.log(np.maximum(values, 1e-300)).sum(), 2 * len(values)))


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=400)
    arguments = parser.parse_args()
    start = time.process_time()
    print(
        f"Of {arguments.tables} simulated tables, in percent (95 is meant for what holds, 5 for what is seen falsely);"
    )
    print(
        f"{arguments.draws} draws for the ranking. 'naive' is the same F test with all runs of a cell as independent.\n"
    )
    head = (
        "interval holds:",
        "cells",
        "spread",
        "matching",
        "ranking",
        "| seen falsely:",
        "F test",
        "matching",
        "naive",
    )
    print(f"{'':55}" + "  ".join(head))
    for regime in REGIMES:
        row = [f"{v:.1f}" if v is not None else "–" for v in measure(regime, arguments.tables, arguments.draws)]
        b, p, f, k, s = regime.shape
        columns = [" " * len(head[0]), *row[:4], " " * len(head[5]), *row[4:]]
        cells = [text.rjust(len(title)) for text, title in zip(columns, head, strict=True)]
        print(f"{regime.name:55}" + "  ".join(cells))
        print(f"{f'   {b} backbones × {p} × {f} optimizers, {k} × {s} seeds':55}", flush=True)
    print(f"\n{time.process_time() - start:.0f} CPU s")


if __name__ == "__main__":
    main()
