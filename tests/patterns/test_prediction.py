"""Whether a feature predicts an interaction: against a plain repetition, and on simulated effects."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bocb_hf.errors import InputError
from bocb_hf.patterns.prediction import View, ask


def simulate(
    seed: int, backbones: int, optimizers: int, share: float, features: int = 1
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Scores and features with main effects; the first feature explains a share of the interaction's variance."""
    generator = np.random.default_rng(seed)
    interaction = generator.standard_normal((features + 1, backbones, optimizers))
    interaction[-1] = math.sqrt(share) * interaction[0] + math.sqrt(1 - share) * interaction[-1]
    effects = 3 * generator.standard_normal((features + 1, backbones, 1))
    effects = effects + 3 * generator.standard_normal((features + 1, 1, optimizers))
    *found, scores = interaction + effects
    return scores, {f"feature {k}": table for k, table in enumerate(found)}


def repeated(scores: np.ndarray, feature: np.ndarray) -> float:
    """The mean rank correlation of complete tables, step by step."""
    correlations = []
    for b in range(len(scores)):
        others = [k for k in range(len(scores)) if k != b]
        x, y = feature[others], scores[others]
        x0, y0 = (t - t.mean(1, keepdims=True) - t.mean(0) + t.mean() for t in (x, y))
        slope = (x0 * y0).sum() / (x0**2).sum()
        predicted, wanted = slope * (feature[b] - x.mean(0)), scores[b] - y.mean(0)
        correlations.append(stats.pearsonr(stats.rankdata(predicted), stats.rankdata(wanted))[0])
    return float(np.mean(correlations))


def test_the_correlation_and_its_p_against_a_plain_repetition() -> None:
    scores, features = simulate(0, 4, 6, 0.5, 2)
    answer = ask({"score": [View(scores, features)]})
    assert answer.exact and answer.permutations == 24 and answer.tried == 2
    from itertools import permutations

    lines = {name: [repeated(scores, f[list(o)]) for o in permutations(range(4))] for name, f in features.items()}
    best = np.max(list(lines.values()), axis=0)
    for found in answer.findings:
        line = np.array(lines[found.feature])
        assert found.correlation == pytest.approx(line[0])
        assert found.p == pytest.approx((line >= line[0] - 1e-12).mean())
        assert found.adjusted == pytest.approx((best >= line[0] - 1e-12).mean())
        assert (found.low, found.high, found.backbones) == (None, None, 4)  # too few to resample


def test_main_effects_predict_nothing() -> None:
    """A feature that is any sum of effects of backbones and of optimizers leaves the answer as it is."""
    scores, features = simulate(1, 8, 10, 0.4)
    generator = np.random.default_rng(2)
    shift = 50 * generator.standard_normal((8, 1)) + 50 * generator.standard_normal((1, 10))
    plain = ask({"score": [View(scores, features)]}, most=200)
    shifted = ask({"score": [View(scores, {name: table + shift for name, table in features.items()})]}, most=200)
    assert plain.findings[0].correlation == pytest.approx(shifted.findings[0].correlation)
    alone = ask({"score": [View(scores, {"effects": shift})]}, most=200)
    assert alone.tried == 0 and alone.findings[0].correlation is None  # nothing is left of it but rounding


def test_an_effect_is_found_and_a_turned_one_as_well() -> None:
    scores, features = simulate(3, 12, 15, 0.5, 6)
    for sign in (1, -1):  # the sign is learned from the other backbones
        answer = ask({"score": [View(scores, {n: sign * f for n, f in features.items()})]}, most=1000)
        (found,) = answer.predicting()
        assert found.feature == "feature 0" and found.low is not None and found.low > 0.3
        assert found.high is not None and found.correlation is not None and found.low < found.correlation < found.high


def test_without_an_effect_the_smallest_adjusted_p_is_uniform() -> None:
    smallest = []
    for seed in range(60):
        scores, features = simulate(seed, 6, 5, 0.0, 4)
        answer = ask({"score": [View(scores, features)]}, most=100, draws=100, seed=seed)
        smallest.append(min(f.adjusted for f in answer.findings if f.adjusted is not None))
    assert stats.kstest(smallest, "uniform").pvalue > 0.01
    assert sum(p <= 0.05 for p in smallest) <= 8  # 3 expected


def test_missing_cells_and_unknown_features() -> None:
    scores, features = simulate(5, 10, 12, 0.6)
    holes = np.random.default_rng(6).random(scores.shape) < 0.15
    held = {"feature": np.where(holes, np.nan, features["feature 0"]), "nothing": np.full(scores.shape, np.nan)}
    answer = ask({"score": [View(np.where(holes.T[:10, :10].any() & holes, np.nan, scores), held)]}, most=500)
    found = {f.feature: f for f in answer.findings}
    assert answer.tried == 1 and found["nothing"].correlation is None and found["nothing"].backbones == 0
    assert found["feature"].adjusted is not None and found["feature"].adjusted < 0.02


def test_an_outcome_that_a_backbone_does_not_vary_in_is_not_predicted() -> None:
    _, features = simulate(7, 6, 8, 0.0)
    failed = np.zeros((6, 8))
    failed[0, 2] = failed[1, 2:4] = 1
    answer = ask({"failure": [View(failed, features)]})
    assert answer.findings[0].backbones == 2 and answer.findings[0].low is None
    failed[1] = 0  # one failure teaches the others nothing, and nobody else can teach that backbone
    assert ask({"failure": [View(failed, features)]}).tried == 0


def test_views_are_averaged() -> None:
    one, two = simulate(8, 5, 6, 0.3), simulate(9, 5, 6, 0.3)
    both = ask({"score": [View(*one), View(*two)]}).findings[0].correlation
    assert both == pytest.approx((repeated(one[0], one[1]["feature 0"]) + repeated(two[0], two[1]["feature 0"])) / 2)


def test_what_cannot_be_asked() -> None:
    scores, features = simulate(0, 2, 6, 0.5)
    with pytest.raises(InputError, match="2 backbones are too few"):
        ask({"score": [View(scores, features)]})
    with pytest.raises(InputError, match="no feature"):
        ask({"score": [View(np.zeros((4, 4)), {})]})
    with pytest.raises(InputError, match="2 shapes"):
        ask({"score": [View(scores, {})], "other": [View(np.zeros((4, 4)), {})]})
