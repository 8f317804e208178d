"""The whole analysis of any table: never a crash, never a number that is not there, never a matter of order."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from builders import make_grid, make_record
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import OPTIMIZERS, simulate

from bocb_hf.cli import main
from bocb_hf.coupling.analysis import Analysis, ScaleAnalysis, analyse, to_plain
from bocb_hf.coupling.contrast_variants import loss_contrast
from bocb_hf.coupling.decomposition import Decomposition
from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.scores import ScoreTable, make_scores, scores_of
from bocb_hf.coupling.statistics import Interval
from bocb_hf.coupling.table import build_tables
from bocb_hf.report.words.analysis import analysis_text
from bocb_hf.report.words.study_rules import study_sections
from bocb_hf.report.words.tables import fixed, interval_text, signed
from bocb_hf.store.local import LocalStore
from bocb_hf.store.write import write_run

BACKBONES = ("tiny_resnet", "tiny_mobilenet", "alexnet", "tiny_vit", "tiny_convnext", "my_net")
STATES = ("completed", "completed", "completed", "completed", "missing", "diverged", "partial", "interrupted")


def said(analysis: Analysis) -> str:
    """Everything that text and JSON say, checked for numbers that are none."""
    text = "\n".join(analysis_text(analysis))
    plain = json.dumps(to_plain(analysis), allow_nan=False)
    for word in ("nan", "inf", "None"):
        assert f" {word}" not in text.lower() or word == "None", text
    assert "None" not in text
    return text + plain


@given(
    st.integers(1, 6), st.integers(1, 5), st.integers(1, 3), st.integers(0, 10**6), st.sampled_from(["noisy", "equal"])
)
@settings(max_examples=30)
def test_any_table_is_analysed(backbones, optimizers, seeds, seed, kind):
    """One backbone, one optimizer, all-equal scores, missing, diverged, partial and unequal n, in any mixture."""
    rng = np.random.default_rng(seed)
    values = np.full((backbones, optimizers, seeds), 70.0)
    if kind == "noisy":
        values += 5 * rng.normal(size=values.shape)
    status = rng.choice(STATES, (backbones, optimizers)) if seed % 3 else np.full((backbones, optimizers), "completed")
    scored = np.isin(status, ("completed", "partial"))
    values[~scored] = np.nan
    if seeds > 1 and seed % 2:
        values[..., 1:][rng.random((backbones, optimizers, seeds - 1)) < 0.3] = np.nan
    table = make_scores(
        values, BACKBONES[:backbones], OPTIMIZERS[:optimizers], unit="percent", status=status, n_test=2000,
        num_classes=10,
    )  # fmt: skip
    analysis = analyse(table, draws=100)
    said(analysis)
    study_sections(table, analysis.failures, None, None)
    if isinstance(analysis.points, ScaleAnalysis):
        observed = analysis.points.decompositions["observed"]
        assert isinstance(observed, Decomposition)
        assert all(v >= 0 and math.isfinite(v) for v in observed.variances)
        assert np.isnan(analysis.points.residuals.r[~table.ranked]).all()
        if kind == "equal":
            assert observed.shares is None
    else:
        assert "nothing to decompose" in analysis.points or "share neither" in analysis.points


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 3), (5, 1, 3), (2, 2, 2)])
def test_the_smallest_tables_say_what_they_cannot(shape):
    values = 70 + np.random.default_rng(0).normal(size=shape)
    table = make_scores(values, BACKBONES[: shape[0]], OPTIMIZERS[: shape[1]], unit="percent")
    text = said(analyse(table, draws=100))
    assert ("n = 1 everywhere" in text) == (shape[2] == 1)
    assert ("No coupling can be seen" in text) == (shape != (2, 2, 2)) == ("Cost of coupling" not in text)
    assert "too few cells have two scores that differ" not in text
    assert ("Not told apart from the best" in text) == (shape in ((1, 5, 3), (2, 2, 2)))


def test_three_cells_with_two_scores_do_not_tell_how_scores_spread():
    values = 70 + np.random.default_rng(0).normal(size=(2, 2, 2))
    values[1, 1, 1] = np.nan
    text = said(analyse(make_scores(values, BACKBONES[:2], OPTIMIZERS[:2], unit="percent"), draws=100))
    assert "cannot be said: too few cells have two scores that differ" in text


def test_a_table_without_any_score():
    table = make_scores(np.full((2, 2), np.nan), ["a", "b"], ["x", "y"], unit="percent", status=[["diverged"] * 2] * 2)
    analysis = analyse(table, draws=100)
    assert isinstance(analysis.points, str) and analysis.failures.failed.all()
    text = said(analysis)
    assert "No decomposition: no cell is completed" in text and "4 cell(s); collapsed" in text
    assert "n = –" in text and "n = 1" not in text


def test_what_noise_explains_is_neither_a_negative_cost_nor_a_share_above_all_of_it():
    """Estimates are reported where they can lie: a cost from 0, a share from 0 to 100 %."""
    costs, shares = 0, 0
    for seed in range(8):
        values = 70 + 2 * np.random.default_rng(seed).normal(size=(4, 4, 3))
        analysis = analyse(make_scores(values, list("abcd"), OPTIMIZERS[:4], unit="percent"), draws=100)
        text = said(analysis)
        assert isinstance(analysis.points, ScaleAnalysis) and analysis.points.bootstrap is not None
        drawn = analysis.points.bootstrap.intervals
        costs += float(drawn["cost"].estimate) == 0
        shares += float(drawn["shares"].high[2]) == 100
        (luck,) = re.findall(r"without the luck (\S+), 95 % \[(\S+), (\S+)\]", text)
        assert 0 <= float(luck[1]) <= float(luck[0]) <= float(luck[2])
        for low, high in re.findall(r"interaction 95 % \[(\d+), (\d+)\] %", text):
            assert 0 <= int(low) <= int(high) <= 100
    assert costs > 0 and shares > 0  # so that this test could fail


def test_words_name_what_is_left_out_and_what_is_only_noise():
    rng = np.random.default_rng(5)
    values = np.full((5, 6, 2), 70.0) + rng.normal(size=(5, 6, 2))
    status = np.full((5, 6), "completed", dtype="<U12")
    status[0, 1], values[0, 1] = "missing", np.nan
    status[1, 2], values[1, 2] = "diverged", np.nan
    table = make_scores(values, BACKBONES[:5], OPTIMIZERS[:6], unit="percent", status=status, dataset="d", setting="s")
    text = said(analyse(table, draws=100))
    assert "(scores, d, setting s), top-1: 28 cell(s) with a mean, n = 2" in text
    assert (
        "2 of 30 cells have no mean: 1 not run (ResNet-tiny with SGDP); 1 diverged (MobileNet-tiny with Adam)" in text
    )
    assert "1 of these 30 cells were not run (ResNet-tiny with SGDP) and stand at what their backbone" in text
    assert "F = " in text and " on 28 cells of 5 backbones and 6 optimizers, p = " in text
    assert "over 5 backbones (adjusted for which cells are there: 29 of 30 have a rank): " in text
    assert " …; Skillings and Mack p = " in text and "no two optimizers are told apart (95 %" in text
    assert "Among the optimizers that ran; some did not on ResNet-tiny." in text
    assert ": all 6" in text  # none of a backbone's six is told apart
    assert "siblings as one" not in text  # there are none
    quiet = np.array([[70.0, 72.0], [72.0, 70.0]])[None].repeat(3, axis=0)
    text = said(analyse(make_scores(quiet, list("abc"), ["x", "y"], unit="percent"), draws=100))
    assert "nothing differs" in text and "No backbone is coupled beyond the noise" in text


def test_sentences_about_large_tables_stay_short():
    """JSON names all of them."""
    values = 70 + np.random.default_rng(6).normal(size=(24, 6, 2))
    values[:10, 1:5] = np.nan
    status = np.where(np.isfinite(values).all(axis=2), "completed", "missing")
    names = [f"b{i}" for i in range(24)], [f"o{i}" for i in range(6)]
    analysis = analyse(make_scores(values, *names, unit="percent", status=status), draws=100)
    text = analysis_text(analysis)
    (cost,), (best,) = ([s for s in text if s.startswith(start)] for start in ("Cost of coupling", "Not told apart"))
    assert "40 of these 144 cells were not run (b0 with o1, b0 with o2," in cost and "b1 with o4 and 32 more)" in cost
    assert best.count(": ") == 21 and "; 4 more backbones are in analysis.json. Among the optimizers" in best
    assert best.endswith("some did not on b0, b1, b2, b3, b4, b5, b6, b7 and 2 more.")
    assert len(to_plain(analysis)["points"]["candidates_for_best"]) == 24
    assert analysis.ranking is not None
    surest = replace(analysis, ranking=replace(analysis.ranking, p=0.0))
    assert "Skillings and Mack p < 1e-300, " in " ".join(analysis_text(surest))


def test_a_tie_for_the_best_is_marked_for_all_of_it_and_zero_has_no_sign():
    table = build_tables(make_grid({("tiny_vit", o): (1600, 1610) for o in ("sgdm", "adamw", "lamb")}))[0]
    assert Marks.of(scores_of(table), table).signs.tolist() == [["★", "★", "★"]]
    assert (signed(-0.04), signed(-0.06), fixed(-0.04, 1), fixed(-0.06, 1)) == ("+0.0", "−0.1", "0.0", "−0.1")
    assert interval_text(Interval(-0.01, 0.2)) == "95 % [0.0, 0.2]"


def test_order_changes_nothing_that_is_not_drawn():
    rng = np.random.default_rng(1)
    _, table = simulate(rng, 6, 7, 3, "collapsed")
    rows, columns = rng.permutation(6), rng.permutation(7)
    other = table.select([table.backbones[i] for i in rows], [table.optimizers[i] for i in columns])
    first, second = analyse(table, draws=400), analyse(other, draws=400)
    assert isinstance(first.points, ScaleAnalysis) and isinstance(second.points, ScaleAnalysis)
    assert second.points.kappa.backbone == pytest.approx(first.points.kappa.backbone[rows])
    assert second.points.kappa.optimizer == pytest.approx(first.points.kappa.optimizer[columns])
    assert first.points.cost is not None and second.points.cost is not None
    assert second.points.cost.naive == pytest.approx(first.points.cost.naive)
    assert second.points.cost.split == pytest.approx(first.points.cost.split)
    for one, two in zip(first.variants, second.variants, strict=True):
        assert two.value == pytest.approx(one.value) and two.permutation.p == pytest.approx(one.permutation.p)
    # what is drawn agrees up to the luck of 400 draws
    assert second.points.residuals.critical == pytest.approx(first.points.residuals.critical, rel=0.15)


def test_what_one_backbone_has_more_everywhere_changes_no_interaction():
    _, table = simulate(np.random.default_rng(2), 5, 6, 3, "factor 50")
    values = table.values.copy()
    values[2] -= 7
    moved = make_scores(values, table.backbones, table.optimizers, unit="percent", families=table.families)
    first, second = analyse(table, draws=100), analyse(moved, draws=100)
    assert isinstance(first.points, ScaleAnalysis) and isinstance(second.points, ScaleAnalysis)
    assert second.points.residuals.r == pytest.approx(first.points.residuals.r)
    assert second.points.residuals.critical == pytest.approx(first.points.residuals.critical)
    assert second.points.kappa.backbone == pytest.approx(first.points.kappa.backbone)
    assert second.points.best is not None and first.points.best is not None
    assert np.array_equal(second.points.best.candidates, first.points.best.candidates)
    assert first.variants[0].value == pytest.approx(second.variants[0].value)
    assert first.ranking is not None and second.ranking is not None
    assert np.array_equal(first.ranking.ranks, second.ranking.ranks)


def test_survivors_of_a_partial_failure_count_nowhere():
    def table(survivor: float) -> ScoreTable:
        values = 70 + np.arange(12.0).reshape(3, 4)[:, :, None] % 5 + 0.1 * np.arange(3)
        values[1, 2] = [survivor, np.nan, np.nan]
        status = np.full((3, 4), "completed", dtype="<U12")
        status[1, 2] = "partial"
        return make_scores(values, list("abc"), OPTIMIZERS[:4], unit="percent", status=status)

    high, low = (to_plain(analyse(table(score), draws=100)) for score in (99.0, 40.0))
    assert high == low


def test_equal_input_gives_equal_output():
    _, table = simulate(np.random.default_rng(3), 5, 5, 2, "factor 50")
    copy = make_scores(table.values, table.backbones, table.optimizers, unit="percent", families=table.families)
    assert to_plain(analyse(table, draws=100)) == to_plain(analyse(copy, draws=100))


@pytest.fixture
def store(tmp_path) -> LocalStore:
    found = LocalStore(tmp_path / "store")
    rng = np.random.default_rng(4)
    grid = {
        (b, o): rng.integers(1500, 1700, 2).tolist()
        for b in ("tiny_resnet", "tiny_mobilenet", "tiny_vit", "tiny_convnext")
        for o in ("sgdm", "adamw", "lamb")
    }
    records = [*make_grid(grid), make_record("tiny_vit", "lars", status="diverged")]
    for record in records:
        write_run(found, "local", record, None, False)
    return found


def test_records_are_analysed_beside_their_table(store, tmp_path, capsys):
    arguments = ["aggregate", "--store", str(store.root), "--out", str(tmp_path / "out"), "--draws", "100"]
    assert main([*arguments, "--rules", "paper"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for expected in ("Primary contrast", "Cost of coupling, G", "Sensitivity, diverged cells as chance", "test images"):
        assert expected in text
    for expected in ("final training loss", "Eq. 1 of the study", "Not told apart from the best"):
        assert expected in text
    (table,) = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert table["points"]["intervals"]["varied"] == ["seeds", "test images"]
    assert table["cells"]["tiny_vit"]["lars"] == {"status": "diverged", "n": 0}
    assert table["config_hashes"]["tiny_vit"]["sgdm"] == make_record("tiny_vit", "sgdm").config_hash


def test_the_contrast_of_training_losses_by_hand():
    """All losses are 0.6, so nobody is trained worse."""
    grid = {(b, o): (1600, 1610) for b in ("tiny_resnet", "tiny_vit") for o in ("sgdm", "adamw")}
    table = build_tables(make_grid(grid))[0]
    found = loss_contrast(table, scores_of(table))
    assert found is not None and (found.value, found.unit) == (0, "nats")
