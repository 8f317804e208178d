"""The regret that the recommender claims against the true one, on simulated tables.

    python benchmarks/regret.py > benchmarks/regret.txt

Tables of 8 backbones × 8 optimizers in points: backbones differ by 3, optimizers by 1.5, interactions by 1, seeds by
0.6 (standard deviations); spreads over seeds are equal, or log-uniform over a factor of 20 or 50. Three backbones of
each table are asked for by name; then one that the table does not hold, whose true regret is the mean over new
backbones of the same kind. About a quarter of an hour of one core; ``--tables`` sets how many tables a line has.
"""

from __future__ import annotations

import argparse
import datetime
import textwrap

import numpy as np

from bocb_hf.coupling.cells import moderate_table
from bocb_hf.coupling.posterior import posterior
from bocb_hf.coupling.scores import ScoreTable, make_scores
from bocb_hf.recommend.answer import answer
from bocb_hf.recommend.evidence import Evidence
from bocb_hf.recommend.sets import Floats
from bocb_hf.recommend.tags import Tags

OPTIMIZERS = ("sgdm", "sgdp", "adam", "adamw", "lamb", "adan", "adabelief", "rmsprop")
BACKBONES, ASKED, NEW = 8, 3, 4000
BOUND = 1.0
READING = (
    "How to read it. 'Claimed' is the expected regret that the answer states, 'true' what the answer loses, 'held' how "
    "often its 95 % interval holds that. With n = 1 any share of what is left of the additive fit may be noise, so "
    "claims are wide there, and too high where there is little. For a backbone that the table does not hold the "
    "interval is of the mean over such backbones; a single one may lose more. The lines 'before' are the best observed "
    "mean and what was claimed of it; the rule of today may prefer a usual optimizer to it that is expected to lose up "
    "to half of the bound more, and says so."
)
LINE = "{:>5}  {:<8}{:>9}{:>9}{:>12}   {:>7}{:>9}"


def simulate(generator: np.random.Generator, seeds: int, factor: float) -> tuple[Floats, Floats, ScoreTable]:
    """Draws true means (B, O), those of new backbones (NEW, O) up to their level, and a table."""
    optimizers = 1.5 * generator.normal(size=len(OPTIMIZERS))
    shape = (BACKBONES, len(OPTIMIZERS))
    truth = 70 + 3 * generator.normal(size=(BACKBONES, 1)) + optimizers + generator.normal(size=shape)
    new = optimizers + generator.normal(size=(NEW, len(OPTIMIZERS)))
    sigma = 0.6 * np.exp(generator.uniform(0, np.log(factor), shape)) / np.sqrt(factor)
    values = np.clip(truth[..., None] + sigma[..., None] * generator.normal(size=(*shape, seeds)), 0, 100)
    return truth, new, make_scores(values, [f"b{i}" for i in range(BACKBONES)], OPTIMIZERS, unit="percent")


def lost(scores: Floats, members: list[int]) -> Floats:
    """The true regret of a set on each backbone, shape (backbones,)."""
    return scores.max(axis=1) - scores[:, members].max(axis=1)


def ask(table: ScoreTable, name: str, truth: Floats) -> tuple[float, float, float]:
    """Claimed and true regret of the answer, and whether the interval holds the true one."""
    noise = moderate_table(table.values, table.ranked).variance
    errors = np.sqrt(noise / table.n)
    given = answer(Evidence("simulated", table, errors), Tags(name), BOUND)
    claimed = given.chosen.regret if given.chosen.expected is None else given.chosen.expected
    true = float(lost(truth, [table.optimizers.index(o) for o in given.names(given.chosen)]).mean())
    held = given.interval is not None and given.interval.low - 1e-9 <= true <= given.interval.high + 1e-9
    return claimed, true, float(held)


def before(table: ScoreTable, b: int, truth: Floats) -> tuple[float, float, float]:
    """The same as it was claimed before: draws around the observed means, with moderated standard errors."""
    noise = moderate_table(table.values, table.ranked).variance
    drawn = table.means[b] + np.sqrt(noise[b] / table.n[b]) * np.random.default_rng(0).standard_normal(
        (400, len(OPTIMIZERS))
    )
    best = int(table.means[b].argmax())
    regrets = lost(drawn, [best])
    true = float(lost(truth[[b]], [best])[0])
    low, high = np.quantile(regrets, [0.025, 0.975])
    return float(regrets.mean()), true, float(low - 1e-9 <= true <= high + 1e-9)


def show(seeds: int, spread: str, name: str, found: list[list[tuple[float, float, float]]]) -> None:
    """Prints one line; standard errors over tables, since the questions of one table share its luck."""
    each = np.array(found).mean(axis=1)  # (tables, 3)
    claimed, true, held = each.mean(axis=0)
    bias = each[:, 0] - each[:, 1]
    error = bias.std(ddof=1) / len(each) ** 0.5
    of_held = 100 * each[:, 2].std(ddof=1) / len(each) ** 0.5
    print(
        LINE.format(
            seeds,
            spread,
            f"{claimed:.2f}",
            f"{true:.2f}",
            f"{bias.mean():+.2f}({error:.2f})",
            f"{100 * held:.1f}",
            f"({of_held:.1f})",
        )
        + f"   {name}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=200, help="for each line")
    tables = parser.parse_args().tables
    print(f"{datetime.date.today()}, {tables} tables a line, seeded; points; standard errors in brackets\n")
    print(LINE.format("seeds", "spreads", "claimed", "true", "bias", "held %", ""))
    for seeds in (1, 2, 3, 5):
        for factor, spread in ((1.0, "equal"), (20.0, "by 20"), (50.0, "by 50")):
            own: list[list[tuple[float, float, float]]] = []
            unseen: list[list[tuple[float, float, float]]] = []
            was: list[list[tuple[float, float, float]]] = []
            for i in range(tables):
                truth, new, table = simulate(np.random.default_rng((i, seeds, int(factor))), seeds, factor)
                own.append([ask(table, f"b{b}", truth[[b]]) for b in range(ASKED)])
                unseen.append([ask(table, "another", new)])
                if seeds > 1:
                    was.append([before(table, b, truth) for b in range(ASKED)])
                posterior.cache_clear()
            show(seeds, spread, "a backbone of the table", own)
            show(seeds, spread, "a backbone that it does not hold", unseen)
            if was:
                show(seeds, spread, "before: the best mean, draws around observed means", was)
    print("\n" + textwrap.fill(READING, 112))


if __name__ == "__main__":
    main()
