"""The bootstrap: what it draws, what it refuses, and that its interval is the known one where there is one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from simulated import simulate

from bocb_hf.coupling.bootstrap import Estimates, bootstrap, standard_statistics, within_bounds
from bocb_hf.coupling.contrast import contrast_weights
from bocb_hf.coupling.contrast_variants import contrast_variants
from bocb_hf.coupling.decomposition import decompose
from bocb_hf.coupling.indices import cost_of_coupling, kappa
from bocb_hf.coupling.population import population_bootstrap
from bocb_hf.coupling.published import published
from bocb_hf.coupling.scores import ScoreTable, make_scores
from bocb_hf.coupling.spread import chunks
from bocb_hf.coupling.world import World, image_luck, image_shifts
from bocb_hf.errors import InputError


def with_bits(seeds: int = 2, images: int = 400) -> ScoreTable:
    """Two CNNs and two modern backbones × three optimizers, runs right on the same easy images."""
    rng = np.random.default_rng(0)
    hard = rng.random(images)
    shape = (4, 3, seeds)
    bits = hard < rng.uniform(0.6, 0.9, (4, 3, 1, 1)) + 0.1 * rng.normal(size=(*shape, images))
    table = make_scores(
        100 * bits.mean(axis=3),
        ["tiny_resnet", "tiny_mobilenet", "tiny_vit", "tiny_convnext"],
        ["sgdm", "adamw", "lars"],
        unit="percent",
        n_test=images,
        num_classes=10,
    )
    return replace(table, packed=np.packbits(bits, axis=3))


def test_estimates_are_those_of_the_analyses():
    _, table = simulate(np.random.default_rng(1), 8, 6, 3, "factor 50")
    found = bootstrap(table, draws=100)
    assert found is not None and found.sources == ("seeds",) and found.conditional
    plain = {name: interval.plain for name, interval in found.intervals.items()}
    decomposition, indices, cost = decompose(table), kappa(table), cost_of_coupling(table)
    assert cost is not None
    assert np.maximum(plain["variances"], 0) == pytest.approx(decomposition.variances)
    assert np.maximum(plain["backbone"], 0) == pytest.approx(np.square(indices.backbone))
    assert np.maximum(plain["optimizer"], 0) == pytest.approx(np.square(indices.optimizer))
    assert plain["cost"] == pytest.approx(cost.naive)
    assert plain["contrast"] == pytest.approx(contrast_variants(table)[0].value)


@pytest.mark.parametrize("kind", ["parametric", "residual"])
def test_the_interval_of_a_mean_is_the_known_one(kind):
    """The table's mean with σ = 1 in 400 cells of three scores: ± 1.96/√1200."""
    rng = np.random.default_rng(2)
    table = make_scores(
        70 + rng.normal(size=(20, 20, 3)), [f"b{i}" for i in range(20)], [f"o{i}" for i in range(20)], unit="percent"
    )
    found = bootstrap(table, draws=4000, kind=kind, statistics={"mean": lambda means, noise: means.mean(axis=(1, 2))})
    assert found is not None
    i = found.intervals["mean"]
    # what cells of a backbone share in a seed is drawn as well: here it is noise around 0
    assert (i.high - i.low) / 2 == pytest.approx(1.96 / 1200**0.5, rel=0.15)
    assert (i.low + i.high) / 2 == pytest.approx(table.means.mean(), abs=0.01)


def test_images_move_all_cells_together_as_resampling_says():
    table = with_bits()
    shifts = image_shifts(table, 3000)
    assert shifts is not None and table.packed is not None
    bits = np.unpackbits(table.packed, axis=3, count=400).mean(axis=2).reshape(12, 400)
    covariance = np.cov(bits, bias=True) / 400 * 100**2
    assert np.cov(shifts.reshape(3000, 12).T) == pytest.approx(covariance, abs=0.12 * covariance.max())
    assert image_shifts(published(), 10) is None


def test_images_widen_the_contrast():
    table = with_bits()
    both, seeds = bootstrap(table, draws=2000), bootstrap(table, draws=2000, images=False)
    assert both is not None and seeds is not None
    assert both.sources == ("seeds", "test images") and seeds.sources == ("seeds",)
    widths = [float(f.intervals["contrast"].high - f.intervals["contrast"].low) for f in (both, seeds)]
    assert widths[0] > widths[1]


def test_images_alone_and_on_the_logit_scale():
    table = with_bits(seeds=1)
    for scale in ("points", "logit"):
        found = bootstrap(table, scale, draws=200)
        assert found is not None and found.sources == ("test images",)
        assert found.intervals["contrast"].low < found.intervals["contrast"].high


def test_nothing_to_draw_is_none():
    assert bootstrap(published()) is None


def test_backbones_are_drawn_only_with_enough_of_them():
    with pytest.raises(InputError, match=r"2 CNN\(s\) and 2 modern one\(s\)"):
        population_bootstrap(with_bits())
    found = population_bootstrap(published(), draws=500)
    assert found.sources == ("backbones",) and not found.conditional
    assert set(found.intervals) == {"interaction", "contrast"}
    contrast, welch = found.intervals["contrast"], contrast_variants(published())[0].population
    assert welch is not None and float(contrast.low) == pytest.approx(welch.low, abs=1.5)
    assert float(contrast.high) == pytest.approx(welch.high, abs=1.5)


def test_backbones_of_an_incomplete_table_are_drawn_with_what_its_missing_cells_could_be():
    _, table = simulate(np.random.default_rng(3), 12, 6, 2, "equal")
    values = table.values.copy()
    values[0, 3] = np.nan
    holed = make_scores(values, table.backbones, table.optimizers, unit="percent", families=table.families)
    found = population_bootstrap(holed, draws=200)
    assert all(np.isfinite(i.low).all() and np.isfinite(i.high).all() for i in found.intervals.values())
    assert found.sources == ("seeds", "backbones", "missing cells")
    whole = population_bootstrap(table, draws=200)
    assert float(found.intervals["interaction"].plain) == pytest.approx(
        float(whole.intervals["interaction"].plain), abs=3
    )


def test_equal_seeds_give_equal_draws_and_others_give_others():
    _, table = simulate(np.random.default_rng(4), 6, 5, 2, "equal")
    first, again, other = (bootstrap(table, draws=150, seed=seed) for seed in (0, 0, 1))
    assert first is not None and again is not None and other is not None
    for name, interval in first.intervals.items():
        assert np.array_equal(interval.low, again.intervals[name].low), name
        assert np.array_equal(interval.high, again.intervals[name].high), name
        assert not np.array_equal(interval.low, other.intervals[name].low), name


def test_the_number_of_chunks_changes_the_draws_within_their_error_only(monkeypatch):
    """A chunk takes its normal and its other draws in turn, so that the sizes of chunks are part of a result."""
    _, table = simulate(np.random.default_rng(4), 6, 5, 2, "equal")
    sizes: list[list[int]] = []

    def small(draws: int, size: int, numbers: int = 0) -> list[int]:
        sizes.append(chunks(draws, size, 40 * size))
        return sizes[-1]

    whole = bootstrap(table, draws=400)
    monkeypatch.setattr("bocb_hf.coupling.bootstrap.chunks", small)
    parts = bootstrap(table, draws=400)
    assert whole is not None and parts is not None
    assert sizes and all(sum(size) == 400 and len(size) == 10 for size in sizes)
    for name, interval in whole.intervals.items():
        width = np.asarray(interval.high - interval.low)
        assert np.all(np.abs(interval.low - parts.intervals[name].low) <= 0.35 * width + 1e-9), name


def test_contrast_weights_by_hand():
    weights = contrast_weights(with_bits())
    assert weights is not None
    assert weights.tolist() == [[0.5, -0.5, 0], [0.5, -0.5, 0], [-0.5, 0.5, 0], [-0.5, 0.5, 0]]
    assert contrast_weights(with_bits().without(["sgdm"])) is None
    assert "contrast" not in standard_statistics(with_bits().select(["tiny_vit"]), "points")


def test_the_interval_of_a_maximum_is_nearly_symmetric_about_the_estimate_without_bias():
    _, table = simulate(np.random.default_rng(5), 6, 5, 2, "factor 50", interaction=6.0)
    found = bootstrap(table, draws=300)
    assert found is not None
    cost, shares = found.intervals["cost"], found.intervals["shares"]
    assert cost.estimate < cost.plain  # the luck of the best is taken off
    assert cost.low > 0
    assert cost.high - cost.estimate == pytest.approx(cost.estimate - cost.low, rel=0.1)
    assert not np.allclose(shares.high - shares.estimate, shares.estimate - shares.low, rtol=0.1)


def test_a_hull_holds_both_intervals():
    one, two = (Estimates(*(np.array([x, x]) for x in ends)) for ends in ((2.0, 3.0, 1.0, 4.0), (1.0, 3.0, 0.5, 1.5)))
    both = one.hull(two)
    assert [x.tolist() for x in (both.estimate, both.plain, both.low, both.high)] == [[y] * 2 for y in (1.5, 3, 0.5, 4)]


def test_no_share_of_an_interaction_that_may_not_be_there():
    """Without interaction: wherever its variance may be 0, so may its share."""
    generator = np.random.default_rng(12)
    zero: list[bool] = []
    for i in range(12):
        _, table = simulate(generator, 10, 6, 2, "factor 50", interaction=0.0)
        found = bootstrap(table, draws=100, seed=i)
        assert found is not None
        variances, shares = found.intervals["variances"], found.intervals["shares"]
        assert (shares.low[variances.low == 0] == 0).all()
        zero += [bool(shares.low[2] == 0)]
        zero += [bool(population_bootstrap(table, draws=100, seed=i).intervals["interaction"].low == 0)]
    assert len(zero) == 24 and all(zero)


def test_bounds_of_shares():
    def interval(*ends: list[float]) -> Estimates:
        low, high = (np.array(x) for x in ends)
        return Estimates((low + high) / 2, (low + high) / 2, low, high)

    nan = float("nan")
    given = {
        "variances": interval([1.0, -1.0, nan], [2.0, 2.0, nan]),
        "shares": interval([-5.0, 3.0, nan], [120.0, 60.0, nan]),
        "contrast": interval([-9.0], [9.0]),
    }
    found = within_bounds(given)
    assert found["shares"].low.tolist()[:2] == [0.0, 0.0] and found["shares"].high.tolist()[:2] == [100.0, 60.0]
    assert np.isnan(found["shares"].low[2]) and found["variances"].low.tolist()[:2] == [1.0, 0.0]
    assert found["contrast"] is given["contrast"]


def test_the_luck_of_runs_with_images_by_hand():
    """Two runs that differ on a tenth of 400 images: p(1 − p)·n/(n − 1) is ½ there, so 0.05/400 in fractions²."""
    bits = np.ones((2, 2, 2, 400), bool)
    bits[0, 0, 1, :40] = False
    bits[1, 1, :, 100:] = False  # both runs wrong on the same
    table = make_scores(100 * bits.mean(axis=3), ["a", "b"], ["sgdm", "adamw"], unit="percent", n_test=400)
    table = replace(table, packed=np.packbits(bits, axis=3))
    luck = image_luck(table)
    assert luck is not None and luck == pytest.approx(1e4 * 0.05 / 400 * np.array([[1, 0], [0, 0]]))
    values = np.where(np.arange(2) == 0, table.values, np.nan)
    assert image_luck(replace(table, values=values)) is None
    values = values.copy()
    values[0, 0] = table.values[0, 0]  # the others have one run, and borrow
    assert image_luck(replace(table, values=values)) == pytest.approx(np.full((2, 2), 1e4 * 0.05 / 400))


def test_what_runs_owe_to_images_is_drawn_once():
    table = with_bits(seeds=3)
    luck = image_luck(table)
    assert luck is not None

    def spread(images: bool) -> np.floating[Any]:
        world = World(table, "points", "parametric", images=images)
        return world.draw(np.random.default_rng(1), 20_000)[0].var(axis=0).mean()

    left_out = spread(False) - spread(True)
    # a σ² that is drawn below the luck leaves nothing, so less than all of it is left out
    assert 0.4 * luck.mean() / 3 < left_out < 1.05 * luck.mean() / 3


def test_intervals_stay_where_the_truth_can_be():
    """Noise that is larger than every effect: without bounds, shares below 0 and above 100."""
    values = np.random.default_rng(8).normal(70, 1, (4, 3, 2))
    found = bootstrap(make_scores(values, list("abcd"), ["sgdm", "adamw", "lars"], unit="percent", checked=True))
    assert found is not None
    for name in ("shares", "variances", "backbone", "optimizer", "cost"):
        interval = found.intervals[name]
        for end in (interval.low, interval.estimate, interval.high):
            assert (end >= 0).all(), name
            assert name != "shares" or (end <= 100).all()
    assert (found.intervals["shares"].low == 0).any()


def test_few_draws_do_not_make_intervals_narrow():
    """Of 39 draws the 2.5 % quantile is the smallest: 95 % of further draws lie inside, as with 4,000."""
    _, table = simulate(np.random.default_rng(6), 5, 4, 3, "equal")

    def width(draws: int, seed: int) -> float:
        found = bootstrap(table, draws=draws, seed=seed, statistics={"mean": lambda means, noise: means.mean((1, 2))})
        assert found is not None
        return float(found.intervals["mean"].high - found.intervals["mean"].low)

    assert np.mean([width(39, seed) for seed in range(60)]) > width(4000, 0)


def test_seeds_ride_along_with_their_backbones():
    """The contrast of drawn backbones has the error that scipy's bootstrap of the differences d_b has."""
    _, table = simulate(np.random.default_rng(7), 16, 6, 2, "equal")
    found = population_bootstrap(table, draws=4000).intervals["contrast"]
    means, welch = contrast_variants(table)[0], contrast_variants(table)[0].population
    cnn, modern = list(means.cnn.values()), list(means.modern.values())
    known: Any = stats.bootstrap((cnn, modern), lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis), rng=0)
    wider = stats.t.ppf(0.975, 14) / stats.norm.ppf(0.975) * (8 / 7) ** 0.5
    assert float(found.high - found.low) == pytest.approx(wider * 2 * 1.96 * known.standard_error, rel=0.06)
    assert welch is not None and float(found.high - found.low) == pytest.approx(2 * welch.half_width, rel=0.1)
