"""The type that every analysis takes: from records and plain arrays, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from builders import make_grid, make_record
from cards import with_identity
from hypothesis import given
from hypothesis import strategies as st

from bocb_hf.coupling.analysis import analyse
from bocb_hf.coupling.indices import cost_of_coupling
from bocb_hf.coupling.noise import cell_noise
from bocb_hf.coupling.published import published
from bocb_hf.coupling.scores import ScoreTable, make_scores, scores_of
from bocb_hf.coupling.table import build_tables
from bocb_hf.errors import InputError
from bocb_hf.report.words.analysis import analysis_text


def mixed() -> ScoreTable:
    records = [
        *make_grid({("tiny_resnet", "sgdm"): (1600, 1620), ("tiny_vit", "sgdm"): (1400,)}),
        make_record("tiny_resnet", "adamw", seed=1, status="diverged"),
        make_record("tiny_vit", "adamw", seed=1, correct=1500),
        make_record("tiny_vit", "adamw", seed=2, status="diverged"),
        make_record("tiny_vit", "lamb", seed=1, status="interrupted"),
    ]
    return scores_of(build_tables(records)[0])


def test_records_become_scores_and_never_numbers_without_one():
    table = mixed()
    assert (table.backbones, table.optimizers) == (("tiny_resnet", "tiny_vit"), ("sgdm", "adamw", "lamb"))
    assert table.status.tolist() == [["completed", "diverged", "missing"], ["completed", "partial", "interrupted"]]
    assert table.n.tolist() == [[2, 0, 0], [1, 1, 0]] and table.diverged.tolist() == [[0, 1, 0], [0, 1, 0]]
    assert table.seeds == (1, 2) and table.values[0, 0].tolist() == [80.0, 81.0]
    assert np.isnan(table.means).tolist() == [[False, True, True], [False, True, True]]
    assert table.values[1, 1, 0] == 75.0
    assert (table.n_test, table.num_classes, table.chance, table.single) == (2000, 10, 10.0, False)
    assert (table.families, table.categories) == (("classical_cnn", "modern"), ("a", "b", "b"))
    assert table.config_hashes[0, 0] == make_record("tiny_resnet", "sgdm").config_hash
    assert not table.config_hashes[0, 2]
    assert table.packed is not None and np.unpackbits(table.packed[0, 0, 1])[:2000].sum() == 1620


def test_other_configurations_are_not_pooled():
    records = [make_record(seed=1, lr=0.1), make_record(seed=2, lr=0.1), make_record(seed=3, lr=0.3, correct=1900)]
    assert scores_of(build_tables(records)[0]).values.tolist() == [[[80.0, 80.0]]]


def test_equal_seeds_of_two_random_schemes_are_not_paired():
    """Neither initialisation nor data order is the same, so nothing is shared that could be blocked out."""
    grid = {(b, o): (1600, 1620) for b in ("tiny_resnet", "tiny_vit") for o in ("sgdm", "adamw", "lamb")}
    alike = make_grid(grid)
    other = [with_identity(r, random_scheme=2) if r.identity.optimizer.name == "lamb" else r for r in alike]
    paired, apart = (scores_of(build_tables(records)[0]) for records in (alike, other))
    assert (paired.seeds, apart.seeds) == ((1, 2), (1, 2, 1, 2)) and paired.notes == ()
    assert np.isfinite(apart.values[0]).tolist() == [[True, True, False, False]] * 2 + [[False, False, True, True]]
    assert np.array_equal(paired.means, apart.means) and np.array_equal(paired.n, apart.n)
    # all cells share the step from seed 1 to seed 2: no noise of their own where they are paired, all of it where not
    shared, own = cell_noise(paired.values), cell_noise(apart.values)
    assert shared is not None and np.allclose(shared, 0) and own is not None
    # lamb shares no seed: half of what seeds bring stands between the two others and the average of all three
    assert np.allclose(own, [0.25, 0.25, 0.5])
    cost = cost_of_coupling(apart)
    assert cost is not None and cost.split is None
    text = analysis_text(analyse(apart, draws=100))
    assert "equal seeds of both are not paired" in text[-1]
    assert "seeds 1, 2, data revision" in text[0]


def test_unequal_test_sets_leave_logits_and_bits_out():
    bits = np.arange(1000) < 500
    table = scores_of(build_tables([make_record(), make_record(optimizer="adamw", correct=bits)])[0])
    assert table.n_test is None and table.packed is None
    with pytest.raises(InputError, match="needs the number of test images"):
        table.on("logit")


def test_logits_by_hand():
    table = make_scores([[80.0, 0.0, 100.0]], ["b"], ["x", "y", "z"], unit="percent", n_test=2000)
    expected = [np.log(1600.5 / 400.5), -np.log(4001), np.log(4001)]
    assert table.on("logit")[0, :, 0] == pytest.approx(expected)


def test_select_and_without():
    table = mixed()
    part = table.select(["tiny_vit"], ["lamb", "sgdm"])
    assert (part.families, part.categories) == (("modern",), ("b", "a"))
    assert part.status.tolist() == [["interrupted", "completed"]] and part.packed is not None
    assert table.without(["sgdm"]).optimizers == ("adamw", "lamb")
    for wrong in (lambda: table.select(["vgg"]), lambda: table.without(["adam"])):
        with pytest.raises(InputError, match="the table has no"):
            wrong()


def test_a_table_cannot_be_written_to():
    table = mixed()
    for array in (table.values, table.status, table.diverged):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 0


@pytest.mark.parametrize(
    ("values", "unit", "reason"),
    [
        ([[0.8, 0.7]], "percent", "look like fractions"),
        ([[80.0, 70.0]], "fraction", "is no fraction"),
        ([[80.0, 0.75, 70.0]], "percent", "fractions and percent look mixed"),
        ([[80.0, 101.0]], "percent", "outside 0 to 100"),
        ([[80.0, -1.0]], "percent", "outside 0 to 100"),
        ([[80.0, np.inf]], "percent", "outside 0 to 100"),
        ([80.0, 70.0], "percent", "give backbones × optimizers"),
    ],
)
def test_mix_ups_are_refused(values, unit, reason):
    names = ["x", "y", "z"][: np.shape(values)[-1]]
    with pytest.raises(InputError, match=reason):
        make_scores(values, ["b"], names, unit=unit)


def test_what_looks_like_a_mix_up_can_be_confirmed_and_collapse_is_none():
    assert make_scores([[80.0, 0.75, 70.0]], ["b"], ["x", "y", "z"], unit="percent", checked=True).means[0, 1] == 0.75
    assert make_scores([[80.0, 1.0, 70.0]], ["b"], ["x", "y", "z"], unit="percent").means[0, 1] == 1.0
    assert make_scores([[0.8, 0.7]], ["b"], ["x", "y"], unit="fraction").means.tolist() == [[80.0, 70.0]]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"backbones": ["b", "b"]}, "named twice"),
        ({"families": ["modern"]}, "one family and cluster"),
        ({"status": [["completed", "diverged"], ["completed", "completed"]]}, "must hold a score"),
        ({"status": [["completed", "lost"], ["completed", "completed"]]}, "must hold a score"),
        ({"seeds": [1, 2]}, "does not begin with"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, reason):
    arguments = {"values": [[80.0, 70.0], [60.0, 50.0]], "backbones": ["a", "b"], "optimizers": ["x", "y"]} | changes
    with pytest.raises(InputError, match=reason):
        make_scores(arguments.pop("values"), arguments.pop("backbones"), arguments.pop("optimizers"), unit="percent",
                    **arguments)  # fmt: skip


@given(st.lists(st.floats(0.02, 1), min_size=4, max_size=4), st.integers(0, 3))
def test_any_fraction_among_percent_of_its_own_range_is_refused(fractions, place):
    percent = [100 * f for f in fractions]
    others = [p for i, p in enumerate(percent) if i != place]
    if min(others) <= 1 or not min(others) <= percent[place] <= max(others):
        return
    percent[place] = fractions[place]
    with pytest.raises(InputError, match="mixed"):
        make_scores([percent], ["b"], list("wxyz"), unit="percent")


def test_the_published_table_with_its_corrections():
    table = published()
    assert table.values.shape == (20, 20, 1) and table.single and table.trials_per_value == 3
    corrected = table.select(["repvgg_a1", "deit_small_patch16_224", "mixer_s16_224"], ["sgdm"])
    assert corrected.values.ravel().tolist() == [75.85, 63.20, 72.64]
    assert [table.families.count(f) for f in ("primary_cnn", "classical_cnn", "modern")] == [2, 5, 13]
    assert table.clusters.count("metaformer_s12") == 5
    assert [published(name).values.shape[0] for name in ("imagenet1k", "coco_pose", "coco_detection")] == [2, 3, 8]
    with pytest.raises(InputError, match="choose one of cifar100"):
        published("cifar10")  # pyright: ignore[reportArgumentType] - wrong on purpose
