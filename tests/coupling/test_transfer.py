"""The three-way table of transfer: what stands in it, its split plot, and what its intervals hold."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from fine_tuned import Regime, draw_table, make_fine_tuned, make_pretrained, make_transfer_records, table_of
from other_tasks import as_task
from scipy.stats import f

from bocb_hf.coupling.published.transfer import published_transfer
from bocb_hf.coupling.rank_transfer import rank_transfer, spearman
from bocb_hf.coupling.split_plot import interaction_spread, matching_gain, split_plot, variance_interval
from bocb_hf.coupling.table import build_tables
from bocb_hf.coupling.transfer import analyse_transfer, transfer_tables

SCORES = np.random.default_rng(0).integers(1400, 1800, size=(2, 3, 3, 2, 3))


def test_every_run_stands_in_its_cell() -> None:
    records = make_transfer_records(SCORES)
    (table,) = transfer_tables(reversed(records))
    assert (table.backbones, table.pretrainings) == (("tiny_resnet", "tiny_vit"), ("adamw", "lamb", "sgdm"))
    assert np.allclose(table.values, SCORES / 20)
    assert (table.dataset, table.setting, table.pretraining_setting) == ("local/held_out", "finetune", "pretrain")
    assert table.checkpoint_seeds["tiny_vit", "lamb"] == (1, 2) and table.fine_tuning_seeds == (1, 2, 3, 4, 5, 6)
    assert table.pretraining_scores[1].tolist() == [[75.0, 75.05], [75.5, 75.55], [76.0, 76.05]]
    assert (table.runs == 6).all() and (table.status == "completed").all()
    assert table.matches.tolist() == np.eye(3, dtype=bool).tolist()


def test_a_cell_with_a_diverged_run_has_no_score_and_its_backbone_does_not_count() -> None:
    records = make_transfer_records(SCORES)
    bad = next(r for r in records if r.identity.backbone.pretraining and r.identity.optimizer.name == "sgdm")
    # its type allows None, which it is not here
    start = next(r for r in records if r.sha256() == bad.identity.backbone.pretraining.record_sha256)  # type: ignore[union-attr]
    diverged = make_fine_tuned(start, "sgdm", setting=bad.identity.setting, seed=bad.seed, status="diverged")
    (table,) = transfer_tables([diverged if r is bad else r for r in records])
    assert table.status[0, 0, 2] == "partial" and np.isnan(table.values[0, 0, 2]).all()
    found = analyse_transfer(table)
    assert found.plots[0] is None and found.plots[1] is not None and len(found.complete) == 1


def test_a_table_of_another_task_has_its_scores_and_its_metric() -> None:
    """Pre-training is of a classifier; what is fine-tuned on one data set for two tasks makes two tables."""
    scores = np.random.default_rng(0).integers(1400, 1800, size=(2, 3, 3, 2, 2))
    records = make_transfer_records(scores)
    (plain,) = transfer_tables(records)
    both = [as_task(r, task) for task in ("detection", "pose") for r in records if r.identity.backbone.pretraining]
    tables = {table.metric: table for table in transfer_tables([*records, *both])}
    assert tables.keys() == {"top-1", "AP", "OKS AP"} and plain.metric == "top-1"
    for table in tables.values():
        assert np.array_equal(table.values, plain.values) and table.runs.min() == 4
        assert np.array_equal(table.pretraining_scores, plain.pretraining_scores)


def test_runs_that_were_pretrained_or_fine_tuned_otherwise_stand_apart() -> None:
    records = make_transfer_records(SCORES[:1, :2, :2], optimizers=("adamw", "lamb"))
    longer = [make_pretrained(o, epochs=8) for o in ("adamw", "lamb")]
    other = [make_fine_tuned(start, o, seed=1) for start in longer for o in ("adamw", "lamb")]
    tables = transfer_tables([*records, *other])
    assert [(t.epochs, int(t.runs.sum())) for t in tables] == [((4, 4), 24), ((8, 8), 4)]
    assert transfer_tables(other[:2]) == []  # one pre-training is no factor
    assert transfer_tables([make_pretrained()]) == []


def test_ordinary_tables_are_given_one_checkpoint_each_and_share_the_trials_of_the_cell() -> None:
    records = make_transfer_records(SCORES[:1, :2, :2], optimizers=("adamw", "lamb"))
    start = next(r for r in records if r.identity.backbone.pretraining is None)
    trial = make_fine_tuned(start, "lamb", setting="finetune_adamw", seed=100, role="trial")
    tables = [t for t in build_tables([*records, trial]) if t.dataset == "local/held_out"]
    # each pre-training has a setting of its own here, as in a plan
    tables = [t for t in tables if t.setting == "finetune_adamw"]
    assert sorted(t.start for t in tables) == [f"weights pre-trained by adamw, seed {k}" for k in (1, 2)]
    assert [sorted(r.seed for r in t.records if r.identity.optimizer.name == "lamb") for t in tables] in (
        [[1, 2, 3], [4, 5, 6]],
        [[4, 5, 6], [1, 2, 3]],
    )
    assert all(t.shown("tiny_resnet", "lamb").trials == (trial,) for t in tables)


def test_the_split_plot_is_that_of_the_textbook() -> None:
    """Sums of squares as statsmodels' least squares give them, with checkpoints nested in their pre-training."""
    values = draw_table(Regime("", interaction=2.0, shape=(1, 3, 4, 3, 2)), np.random.default_rng(1)).values[0]
    plot = split_plot(values)
    assert plot is not None and plot.noise is not None
    z = values.mean(axis=3)
    rows = [(z[i, j, k], i, j, f"{i}-{k}") for i in range(3) for j in range(4) for k in range(3)]
    frame = pd.DataFrame(rows, columns=["y", "p", "f", "c"])
    whole, additive = (smf.ols(f"y ~ C(c) + C(f){more}", frame).fit() for more in (" + C(p):C(f)", ""))
    assert whole.df_resid == plot.noise_df == 18 and additive.df_resid - whole.df_resid == plot.interaction_df == 6
    assert whole.ssr / 18 == pytest.approx(plot.noise)
    assert (additive.ssr - whole.ssr) / 6 == pytest.approx(plot.ms_interaction)
    assert plot.p_value() == pytest.approx(f.sf(plot.ms_interaction / plot.noise, 6, 18))
    assert np.allclose(plot.interaction.sum(axis=0), 0) and np.allclose(plot.interaction.sum(axis=1), 0)


def test_what_a_checkpoint_shares_changes_neither_the_test_nor_the_contrast() -> None:
    values = draw_table(Regime("", shape=(1, 3, 3, 2, 2)), np.random.default_rng(2)).values[0]
    moved = values + np.random.default_rng(3).normal(0, 20, (3, 1, 2, 1))
    one, two = split_plot(values), split_plot(moved)
    assert one is not None and two is not None
    assert one.p_value() == pytest.approx(two.p_value())
    gains = [matching_gain([plot], np.eye(3, dtype=bool)) for plot in (one, two)]
    assert gains[0] is not None and gains[1] is not None
    assert gains[0].value == pytest.approx(gains[1].value) and gains[0].interval is not None
    assert gains[0].interval.low == pytest.approx(gains[1].interval.low)  # type: ignore[union-attr] - not None here
    assert two.half_widths().min() > one.half_widths().max()


def test_matching_is_the_mean_of_the_diagonal_minus_that_of_the_rest_after_both_main_effects() -> None:
    values = np.zeros((3, 4, 2, 1)) + np.arange(3)[:, None, None, None] * 5 + np.arange(4)[None, :, None, None] * 7
    for p in range(3):
        values[p, p] += 3.0
    values += np.array([1.0, -1.0])[None, None, :, None]  # of the checkpoints alone
    plot = split_plot(values + 50)
    matches = np.eye(3, 4, dtype=bool)
    gain = matching_gain([plot], matches) if plot is not None else None
    assert gain is not None and gain.interval is not None
    assert gain.value == pytest.approx(3.0) and gain.optimizers == 3
    assert gain.interval.high - gain.interval.low == pytest.approx(0.0, abs=1e-9)
    assert matching_gain([plot], np.zeros((3, 4), dtype=bool)) is None  # type: ignore[list-item] - wrong on purpose


def test_one_pretraining_seed_is_given_its_checkpoints_and_no_seed_gives_no_interval() -> None:
    values = draw_table(Regime("", shape=(1, 3, 3, 1, 3)), np.random.default_rng(4)).values[0]
    plot = split_plot(values)
    assert plot is not None and plot.given and plot.noise_df == 12 and plot.p_value() is not None
    bare = split_plot(values[..., :1])
    assert bare is not None and bare.noise is None and bare.p_value() is None and np.isnan(bare.half_widths()).all()
    spread = interaction_spread([bare])
    assert spread.interval is None and spread.p_value is None and spread.value > 0


def test_a_checkpoint_that_not_every_optimizer_started_from_does_not_count() -> None:
    values = draw_table(Regime("", shape=(1, 3, 3, 3, 2)), np.random.default_rng(5)).values[0].copy()
    values[0, 1, 2] = np.nan
    plot = split_plot(values)
    assert plot is not None and [z.shape[1] for z in plot.replicates] == [2, 3, 3]
    values[0, 1] = np.nan
    assert split_plot(values) is None


def test_the_interval_of_a_variance_lies_around_it_and_reaches_zero_where_the_test_does_not_see_it() -> None:
    low, high = variance_interval((10.0, 9), (1.0, 12))
    assert 0 < low < 9 < high
    low, high = variance_interval((1.0, 9), (1.0, 12))
    assert low < 0 < high


def test_rank_correlations_with_ties_and_their_interval() -> None:
    assert spearman(np.array([1.0, 2, 3]), np.array([10.0, 20, 30])) == 1
    assert spearman(np.array([1.0, 2, 2]), np.array([1.0, 3, 2])) == pytest.approx(0.8660254)
    assert spearman(np.ones(3), np.arange(3.0)) == 0
    calm = np.array([[90.0, 90.1], [80.0, 80.1], [70.0, 70.1], [60.0, 60.1]])
    found = rank_transfer([(calm, calm)])
    assert found is not None and found.value == 1 and found.interval is not None and found.interval.low == 1
    noisy = calm + np.array([[-30.0, 30.0]])
    wide = rank_transfer([(noisy, calm)])
    assert wide is not None and wide.interval is not None and wide.interval.low < 0.5
    alone = rank_transfer([(calm[:, :1], calm[:, :1])])
    assert alone is not None and alone.interval is None
    assert rank_transfer([(calm[:2], calm[:2])]) is None


@pytest.mark.parametrize("regime", [Regime("equal"), Regime("unequal", backbones=5.0, checkpoint=4.0)])
def test_noise_alone_is_seen_as_an_interaction_about_as_often_as_it_is_said(regime: Regime) -> None:
    """benchmarks/transfer.py counts more tables and more ways in which they come about."""
    generator, seen, held, matched = np.random.default_rng(6), 0, 0, 0
    for _ in range(200):
        plots = [plot for values in draw_table(regime, generator).values if (plot := split_plot(values)) is not None]
        spread, gain = interaction_spread(plots), matching_gain(plots, np.eye(4, dtype=bool))
        assert spread.p_value is not None and spread.interval is not None
        assert gain is not None and gain.interval is not None
        seen += spread.p_value < 0.05
        held += spread.interval.holds(0.0)
        matched += gain.interval.holds(0.0)
    assert seen <= 20 and held >= 184 and 180 <= matched <= 199


def test_a_published_table_says_that_optimizer_and_epochs_are_one() -> None:
    table = published_transfer("coco_detection")
    assert table is not None and table.backbones == ("resnet50",)
    assert table.pretrainings == ("SGD", "LARS", "A3", "A2", "A1", "Adan")
    assert dict(zip(table.pretrainings, table.epochs, strict=True))["A1"] == 600
    assert table.values[0, 2, table.optimizers.index("lamb"), 0, 0] == 37.7
    found = analyse_transfer(table)
    assert found.spread is not None and found.spread.interval is None
    assert found.matching is not None and found.matching.interval is None and found.ranking is None
    assert any("confounded with epochs" in note for note in table.notes)
    assert published_transfer("coco_pose") is None and published_transfer("cifar100") is None


def test_other_seeds_of_the_draws_change_no_estimate() -> None:
    table = table_of(draw_table(Regime(""), np.random.default_rng(7)))
    one, two = analyse_transfer(table, 200), analyse_transfer(dataclasses.replace(table), 200)
    assert one.ranking == two.ranking and one.matching == two.matching
