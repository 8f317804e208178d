"""What ``bocb explain`` can find: power, false positives and coverage on simulated tables of several sizes.

    python benchmarks/pattern_prediction.py > benchmarks/pattern_prediction.txt

Scores and features have main effects of backbones and optimizers three times as large as their interactions. The first
of several features explains a share of the interaction's variance, and the others none. In 'uneven' tables noise
differs between optimizers by a factor of up to 10, in features and scores alike, and one cell in twenty has collapsed,
in the score alone. 'Found': the adjusted p of that feature is at most 0.05. 'False': that of any other feature is
(without an effect: of any). 'Held': the interval of the first feature's correlation holds the mean of that correlation
over all tables of the line.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bocb_hf.patterns.prediction import Finding, View, ask

_Floats = NDArray[np.float64]

SIZES = ((4, 5), (8, 10), (20, 20))
SHARES = (0.0, 0.1, 0.3, 0.6)
FEATURES = 12


def simulate(
    generator: np.random.Generator, size: tuple[int, int], share: float, uneven: bool
) -> tuple[_Floats, dict[str, _Floats]]:
    """Scores (B, O) and the features by name."""
    backbones, optimizers = size
    found = generator.standard_normal((FEATURES + 1, backbones, optimizers))
    found[-1] = math.sqrt(share) * found[0] + math.sqrt(1 - share) * found[-1]
    if uneven:
        found *= 10 ** generator.uniform(-0.5, 0.5, optimizers)
        found[-1] -= 15 * (generator.random((backbones, optimizers)) < 0.05)
    found += 3 * generator.standard_normal((FEATURES + 1, backbones, 1))
    found += 3 * generator.standard_normal((FEATURES + 1, 1, optimizers))
    return found[-1], {str(k): table for k, table in enumerate(found[:-1])}


def measure(size: tuple[int, int], share: float, uneven: bool, tables: int, seed: int) -> str:
    """One line of the table."""
    generator = np.random.default_rng([seed, *size, round(100 * share), uneven])
    hits = wrong = 0
    first: list[Finding] = []
    smallest = 1.0
    for number in range(tables):
        scores, features = simulate(generator, size, share, uneven)
        answer = ask({"score": [View(scores, features)]}, most=400, draws=400, seed=number)
        by_name: Mapping[str, Finding] = {found.feature: found for found in answer.findings}
        predicting = {found.feature for found in answer.predicting()}
        first.append(by_name["0"])
        hits += "0" in predicting
        wrong += bool(predicting - ({"0"} if share else set()))
        smallest = answer.smallest_p
    correlations = np.array([f.correlation for f in first], np.float64)
    mean = float(correlations.mean())
    held = [f.low <= mean <= f.high for f in first if f.low is not None and f.high is not None]
    kind = "uneven" if uneven else "even"
    found = f"{100 * hits / tables:5.0f} %" if share else "      –"
    coverage = f"{100 * float(np.mean(held)):5.0f} %" if held else "      –"
    return (
        f"{size[0]:3} × {size[1]:<3} {kind:7} {share:5.1f}  {mean:11.2f}  {found}  {100 * wrong / tables:5.1f} %  "
        f"{coverage}  {smallest:9.2g}  {tables:6}"
    )


def main() -> None:
    """Prints the table, or one line of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=200, help="tables of a line; half as many of 20 × 20")
    parser.add_argument("--line", type=int, help="print only this line, from 0: lines may be run beside each other")
    given = parser.parse_args()
    lines = [(size, uneven, share) for size in SIZES for uneven in (False, True) for share in SHARES]
    if given.line is None:
        print(f"{FEATURES} features tried at once; at most 400 permutations")
        print(
            "backbones ×      share    mean rank\n"
            "optimizers      explained correlation    found    false     held  smallest p  tables"
        )
    for size, uneven, share in lines if given.line is None else [lines[given.line]]:
        tables = max(40, given.tables // (1 if size[0] < 20 else 2))
        print(measure(size, share, uneven, tables, 0), flush=True)


if __name__ == "__main__":
    main()
