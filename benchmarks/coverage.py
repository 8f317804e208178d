"""How often each 95 % interval holds the truth, and how often each test is wrong, on simulated tables.

    python benchmarks/coverage.py > benchmarks/coverage.txt

The tables are those of tests/simulated.py. A simultaneous statement counts as one for a table (residuals) or for a
backbone (best sets); indices count for each backbone or optimizer.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from simulated import REGIMES, Regime, simulate

from bocb_hf.coupling.bootstrap import Kind, bootstrap, standard_statistics
from bocb_hf.coupling.contrast import permute
from bocb_hf.coupling.decomposition import decompose, fit_additive
from bocb_hf.coupling.indices import residuals
from bocb_hf.coupling.ranks import best_sets, rank_optimizers
from bocb_hf.coupling.statistics import moderate, t_quantile

DRAWS = 400
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


def coverage(backbones: int, optimizers: int, seeds: int, regime: Regime, tables: int, kind: Kind) -> dict[str, float]:
    """Share of intervals that hold the truth, by statistic."""
    generator = np.random.default_rng(1)
    hits: dict[str, list[float]] = defaultdict(list)
    for i in range(tables):
        truth, table = simulate(generator, backbones, optimizers, seeds, regime)
        found = bootstrap(table, draws=DRAWS, seed=i, kind=kind)
        assert found is not None
        for name, statistic in standard_statistics(table, "points").items():
            true, interval = statistic(truth[None], None)[0], found.intervals[name]
            hits[name].append(float(((interval.low <= true) & (true <= interval.high)).mean()))
        if kind == "residual":
            continue
        variance, df = moderate(table.values)
        half = np.array([t_quantile(0.975, d) for d in df.ravel()]).reshape(df.shape) * np.sqrt(variance / seeds)
        hits["cell"].append(float((np.abs(table.means - truth) <= half).mean()))
        r, true = residuals(table, draws=DRAWS, seed=i), fit_additive(truth).interaction
        hits["residuals"].append(float(((r.low <= true) & (true <= r.high)).all()))
        best = best_sets(table, draws=DRAWS, seed=i)
        assert best is not None
        others = np.stack([np.delete(truth, o, axis=1).max(axis=1) for o in range(optimizers)], axis=1)
        inside = (best.low <= truth - others) & (truth - others <= best.high)
        hits["best"].append(float(inside.all(axis=1).mean()))
    return {name: float(np.mean(values)) for name, values in hits.items()}


def false_positives(backbones: int, optimizers: int, seeds: int, regime: Regime, tables: int) -> dict[str, float]:
    """Share of tables without the effect in which p ≤ 0.05."""
    generator = np.random.default_rng(2)
    wrong: dict[str, list[bool]] = defaultdict(list)
    for _ in range(tables):
        _, table = simulate(generator, backbones, optimizers, seeds, regime, interaction=0.0)
        test = decompose(table).test
        assert test is not None
        wrong["interaction, simulated F"].append(test.p <= 0.05)
        _, table = simulate(generator, backbones, optimizers, seeds, regime, interaction=0.0, same=True)
        ranking = rank_optimizers(table)
        assert ranking is not None
        wrong["optimizers, Friedman"].append(ranking.p <= 0.05)
        wrong["any pair, Nemenyi"].append(float(np.ptp(ranking.mean_ranks)) > ranking.critical_difference)
    return {name: float(np.mean(values)) for name, values in wrong.items()}


def permutation_errors(cnn: int, modern: int, ratio: float, tables: int) -> float:
    """False positives of the permutation of backbones when the families' spreads differ by ``ratio``."""
    generator = np.random.default_rng(3)
    a, b = generator.normal(size=(tables, cnn)), ratio * generator.normal(size=(tables, modern))
    return float(np.mean([permute(x.tolist(), y.tolist()).p <= 0.05 for x, y in zip(a, b, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=300)
    tables = parser.parse_args().tables
    print(f"{datetime.date.today()}, {tables} tables a column, {DRAWS} draws, seeded; percent of intervals that hold")
    print("the truth, wanted: 92 to 98; standard error of a figure that counts tables: about 1.2\n")
    for backbones, optimizers in ((10, 8), (5, 4)):
        for kind in ("parametric", "residual"):
            columns = [(regime, seeds) for regime in REGIMES for seeds in (2, 3, 5)]
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
    print("False positives in percent at p ≤ 0.05, wanted: at most 6")
    columns = [(regime, seeds) for regime in REGIMES[:2] for seeds in (2, 3, 5)]
    found = [false_positives(10, 8, seeds, regime, tables) for regime, seeds in columns]
    print(" " * 60 + "".join(f"{regime:>21}" for regime in REGIMES[:2]))
    print(f"{'seeds':<60}" + "".join(f"{seeds:>{9 if seeds == 2 else 6}}" for _, seeds in columns))
    for name in found[0]:
        cells = zip(columns, found, strict=True)
        line = "".join(f"{100 * x[name]:>{9 if seeds == 2 else 6}.1f}" for (_, seeds), x in cells)
        print(f"{name:<60}{line}")
    for ratio in (1.0, 0.2, 5.0):
        share = 100 * permutation_errors(5, 6, ratio, 10 * tables)
        print(f"{f'family contrast, permutation, 5 and 6 backbones, spread × {ratio:g}':<60}{share:>9.1f}")


if __name__ == "__main__":
    main()
