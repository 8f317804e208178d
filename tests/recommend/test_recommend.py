"""The recommender: tags, sets against brute force, what it is worth on the published table, and what it says."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from boards import write_board
from builders import make_grid, make_record
from huggingface_hub import constants
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import publish

from bocb_hf.cli import main
from bocb_hf.coupling.published import published
from bocb_hf.coupling.scores import make_scores
from bocb_hf.coupling.table import build_tables
from bocb_hf.errors import InputError
from bocb_hf.page import locate
from bocb_hf.page.write import published_rows, to_parquet
from bocb_hf.recommend.answer import answer
from bocb_hf.recommend.answers import starts_of
from bocb_hf.recommend.evaluate import (
    FIXED,
    HELD_OUT,
    RULES,
    SHIPPED,
    compare,
    held_out_regrets,
    nested_regrets,
    single_regrets,
)
from bocb_hf.recommend.evidence import Evidence, evidence_of
from bocb_hf.recommend.lead import LINES, answers_text
from bocb_hf.recommend.sets import choose_sets, fill_missing, improvement, regrets, smallest_set
from bocb_hf.recommend.start import find_start
from bocb_hf.recommend.tags import Tags, find_tags, known_tags, shared_tags, similarity
from bocb_hf.recommend.words import answer_text
from bocb_hf.store import brief
from bocb_hf.store.local import LocalStore
from bocb_hf.sweep.plan import load_plan

TABLE = published("cifar100")
SCORES = st.integers(2, 5).flatmap(
    lambda o: st.lists(st.lists(st.integers(0, 30), min_size=o, max_size=o), min_size=2, max_size=6)
)


@pytest.mark.parametrize(
    ("name", "kind", "operator"),
    [
        ("resnet50", "CNN", "conv"),
        ("resnet152d", "CNN", "conv"),
        ("vgg19_bn", "CNN", "conv"),
        ("vit_base_patch16_224", "modern", "attention"),
        ("convnextv2_base", "modern", "dw conv (+GRN)"),
        ("swin_base_patch4_window7_224", "modern", "local attention"),
        ("caformer_s18", "modern", "sep. conv + attention"),
        ("levit_256", "unknown", "unknown"),
    ],
)
def test_tags_of_timm_names(name, kind, operator):
    found = find_tags(name)
    assert (found.kind, found.operator) == (kind, operator)
    assert (found.row == name) == (name == "resnet50")
    assert "row" in found.source or "name" in found.source


@pytest.mark.parametrize(
    ("config", "family"),
    [({"architecture": "convnext_base"}, "modern"), ({"model_type": "mobilenet_v2"}, "classical_cnn")],
)
def test_tags_of_a_folder(tmp_path, config, family):
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name in (str(tmp_path), f"transformers:{tmp_path}"):
        found = find_tags(name)
        assert found.family == family and "config.json" in found.source and found.row is None


@pytest.mark.parametrize("content", ["[1]", "{}", "{", '{"architecture": 3}'])
def test_a_config_that_tells_nothing_is_an_error(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json"):
        find_tags(str(tmp_path))


def test_a_model_on_the_hub(monkeypatch):
    asked: list[tuple[str, str]] = []

    def read(repository: str, file: str) -> bytes:
        asked.append((repository, file))
        return b'{"architecture": "resnet26d"}'

    monkeypatch.setattr(brief, "read_briefly", read)
    found = find_tags("hf-hub:somebody/my-model")
    assert asked == [("somebody/my-model", "config.json")]
    assert found.family == "classical_cnn" and "resnet26d" in found.source


def test_without_the_hub_the_repositorys_name_is_read_and_the_answer_says_so(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = find_tags("timm/convnext_tiny.fb_in22k")
    assert (found.kind, found.row) == ("modern", "convnext_tiny")
    assert "the Hub could not be asked for its config.json: HF_HUB_OFFLINE is set" in found.source
    assert find_tags("somebody/my-model").kind == "unknown"


@pytest.mark.parametrize("name", ["resnt50", "no such thing", "a/b/c", ""])
def test_a_wrong_name_is_an_error(name):
    with pytest.raises(InputError, match="backbone"):
        find_tags(name)
    with pytest.raises(InputError, match="did you mean 'resnet50'"):
        find_tags("resnt50")


def test_similarity():
    resnet, densenet, vit = (known_tags(n) for n in ("resnet50", "densenet121", "deit_small_patch16_224"))
    assert shared_tags(resnet, densenet) == 4 and shared_tags(resnet, vit) == 0
    cnns = [known_tags(b) for b in TABLE.backbones[1:7]]
    weights = similarity(resnet, [*cnns, vit])
    assert weights[-1] == 0 and weights.max() == 2 and (weights[:-1] >= 1).all()
    assert (similarity(resnet, [densenet, vit]) > 0).all()  # too few of its kind
    assert (similarity(Tags("x"), [densenet, vit]) == 1).all()
    assert shared_tags(Tags("x"), Tags("y")) == 0  # unknown is not a tag


@settings(max_examples=60)
@given(SCORES, st.data())
def test_sets_against_brute_force(values, data):
    scores = np.array(values, np.float64)
    weights = np.array(data.draw(st.lists(st.integers(1, 4), min_size=len(values), max_size=len(values))), np.float64)
    others = np.ones((len(values), len(values)))
    for choice in choose_sets(scores, weights, others):
        size = len(choice.members)
        all_sets = list(combinations(range(scores.shape[1]), size))

        def mean(members, w):
            return float(w @ regrets(scores, members) / w.sum())

        assert choice.regret == pytest.approx(min(mean(s, weights) for s in all_sets))
        assert mean(choice.members, weights) == pytest.approx(choice.regret)
        for i in range(len(scores)):  # each scenario is judged by a set that is best for the others
            rest = np.where(np.arange(len(scores)) == i, 0.0, 1.0)
            best = min(mean(s, rest) for s in all_sets)
            good = [s for s in all_sets if mean(s, rest) == pytest.approx(best, abs=1e-9)]
            assert any(choice.each[i] == pytest.approx(regrets(scores[[i]], s)[0]) for s in good)
        assert choice.expected == pytest.approx(float(weights @ choice.each / weights.sum()))


@settings(max_examples=40)
@given(SCORES, st.permutations(range(6)))
def test_order_and_level_of_backbones_do_not_matter(values, order):
    scores = np.array(values, np.float64) + 0.001 * np.arange(len(values[0]))  # no ties between optimizers
    rows = [i for i in order if i < len(scores)]
    shifted = scores[rows] + 7.0 * np.arange(len(scores))[:, None]
    ones, pairs = np.ones(len(scores)), np.ones((len(scores), len(scores)))
    for a, b in zip(choose_sets(scores, ones, pairs), choose_sets(shifted, ones, pairs), strict=True):
        assert a.regret == pytest.approx(b.regret, abs=1e-9)


def test_the_smallest_set_within_a_bound():
    scores = np.array([[10.0, 0, 5], [0, 10, 5], [10, 0, 5], [0, 10, 5]])
    choices = choose_sets(scores, np.ones(4), np.ones((4, 4)))
    assert [c.regret for c in choices] == [5, 0]
    assert set(choices[1].members) == {0, 1}
    assert choices[0].expected == 10  # the others, two against one, choose the wrong one for each
    assert smallest_set(choices, 10)[0].members == choices[0].members
    assert smallest_set(choices, 1) == (choices[1], True)
    assert smallest_set(choices[:1], 1) == (choices[0], False)


def test_many_optimizers_are_searched_without_looking_at_all_sets():
    rng = np.random.default_rng(0)
    scores = rng.normal(70, 3, size=(30, 60))
    choices = choose_sets(scores, np.ones(30), np.ones((30, 30)))
    sizes = [len(c.members) for c in choices]
    found = [c.regret for c in choices]
    assert sizes == [1, 2, 3, 4, 5] and found == sorted(found, reverse=True)
    exact = min(float(regrets(scores, s).mean()) for s in combinations(range(60), 2))
    assert found[1] == pytest.approx(exact)


def test_scores_without_a_number_are_refused():
    with pytest.raises(InputError, match="finite"):
        choose_sets(np.array([[1.0, np.nan]]), np.ones(1), np.ones((1, 1)))


def test_missing_cells_are_guessed_from_additive_effects():
    additive = 60 + np.array([0.0, 5, 9])[:, None] + np.array([0.0, -2, 3, 1])
    holes = additive.copy()
    holes[1, 2] = holes[2, 0] = np.nan
    assert fill_missing(holes) == pytest.approx(additive)
    collapsed = holes.copy()
    collapsed[0, 3] = 1.0  # a collapsed cell stays what it is and moves no guess
    assert fill_missing(collapsed)[1, 2] == pytest.approx(additive[1, 2])
    with pytest.raises(InputError, match="leave it out"):
        fill_missing(np.array([[1.0, np.nan], [2.0, np.nan]]))


def test_improvement_is_what_another_optimizer_would_add():
    scores = np.array([[10.0, 12, 9], [10.0, 8, 9]])
    assert improvement(scores, np.array([3.0, 1.0]), [0]) == pytest.approx([0, 1.5, 0])


def test_the_rivals_of_the_published_table():
    """shared/statistics.md: always AdamW 1.86; best fixed set 0.65, 0.31, 0.29."""
    assert single_regrets(TABLE, "adamw").mean() == pytest.approx(1.86, abs=0.005)
    fixed = held_out_regrets(TABLE, RULES[FIXED], (1, 2, 3)).mean(axis=1)
    assert fixed == pytest.approx([0.65, 0.31, 0.29], abs=0.005)


def test_it_is_better_at_each_size_than_the_best_fixed_set():
    ours, fixed = (held_out_regrets(TABLE, RULES[name], (1, 2, 3)) for name in (SHIPPED, FIXED))
    assert ours.mean(axis=1) == pytest.approx([0.452, 0.225, 0.225], abs=0.0015)
    assert (ours.mean(axis=1) < fixed.mean(axis=1)).all()
    assert RULES[SHIPPED] is similarity


def test_a_family_that_nobody_measured_gains_nothing():
    for held in ("family", "kind"):
        ours, fixed = (held_out_regrets(TABLE, RULES[name], (1, 2), held).mean(axis=1) for name in (SHIPPED, FIXED))
        assert ours == pytest.approx(fixed, abs=0.05) and ours[0] > 4
    data = held_out_regrets(TABLE, RULES[SHIPPED], (1, 2), "family").mean(axis=1)
    ours = held_out_regrets(TABLE, RULES[SHIPPED], (1, 2), "family", 1.0).mean(axis=1)
    assert re.findall(r"\d\.\d", HELD_OUT) == [f"{v:.1f}" for v in (*ours, *data)]


def test_the_usual_first_is_as_good_as_printed():
    """benchmarks/recommender.txt and README: 0.42, 0.29, 0.27."""
    ours = held_out_regrets(TABLE, RULES[SHIPPED], (1, 2, 3), usual_first=1.0).mean(axis=1)
    assert ours == pytest.approx([0.418, 0.288, 0.272], abs=0.0015)


def test_nested_choice_of_the_rule_never_sees_the_backbone():
    names = [FIXED, SHIPPED]
    part = TABLE.select(backbones=TABLE.backbones[:9])
    values, chosen = nested_regrets(part, [RULES[n] for n in names], (1,))
    outer = np.stack([held_out_regrets(part, RULES[n], (1,))[0] for n in names])
    assert values[0] == pytest.approx(outer[chosen[0], np.arange(9)])
    for b in range(9):
        rest = part.select(backbones=[x for i, x in enumerate(part.backbones) if i != b])
        inner = [held_out_regrets(rest, RULES[n], (1,)).mean() for n in names]
        assert inner[chosen[0, b]] == pytest.approx(min(inner))


def test_the_comparison_is_paired():
    rival = np.array([1.0, 2.0, 3.0, 4.0])
    same = compare(rival, rival - 0.5, ["a", "b", "c", "c"], draws=500)
    assert same.gain == pytest.approx(0.5) and same.interval.low == pytest.approx(0.5) == same.interval.high
    assert same.clustered.high == pytest.approx(0.5) and (same.better, same.worse) == (4, 0)
    assert compare(rival, rival[::-1], list("abcd"), draws=2000).interval.holds(0)


def own_source(records):
    return evidence_of(build_tables(records)[0], "own", "own")


PAPER = Evidence("paper", TABLE)


def test_an_unseen_cnn_and_an_unseen_transformer():
    cnn, vit = (answer(PAPER, find_tags(n), bound=1.0) for n in ("resnet101", "vit_base_patch16_224"))
    assert not cnn.own and set(cnn.reference) == set(TABLE.backbones[:7])
    assert cnn.bounded and cnn.names(cnn.chosen) == ("sgdm", "lamb") and cnn.chosen.expected is not None
    assert cnn.usual is not None and cnn.usual.optimizer == "sgdm" and not cnn.usual.excess.above_zero
    assert cnn.usual.loss.interval is not None and cnn.usual.loss.interval.holds(1.22)
    assert cnn.worst is not None and cnn.worst[1] == "resnet50"
    assert vit.names(vit.chosen) == ("adan",) and set(vit.reference) == set(TABLE.backbones[7:])
    assert vit.interval is not None and vit.chosen.expected is not None and vit.interval.holds(vit.chosen.expected)
    assert vit.usual is not None and vit.usual.optimizer == "adamw" and vit.usual.excess.above_zero
    assert "the data tell them apart" in " ".join(answer_text(vit, [None]).split())


def test_a_tighter_bound_asks_for_more_optimizers():
    sizes = [len(answer(PAPER, find_tags("resnet101"), b).chosen.members) for b in (2.0, 1.0, 0.5)]
    assert sizes == sorted(sizes) and sizes[0] == 1
    tight = answer(PAPER, find_tags("resnet101"), 0.0)
    assert not tight.bounded and "no set of up to" in answer_text(tight, [None] * len(tight.chosen.members))


def test_a_published_backbone_tries_the_usual_and_the_best_of_its_own_column():
    found = answer(PAPER, find_tags("resnet50"), 1.0)
    assert found.own and not found.noise_known and found.names(found.chosen) == ("sgdm", "adabelief")
    assert found.without_own is not None and found.without_own[1] > 0
    assert found.interval is not None and found.interval.high > 2  # any part of a difference may be noise
    text = " ".join(answer_text(found, [None, None]).split())
    assert "any part of a difference may be noise" in text and "within the bound" not in text


GRID = {
    (b, o): (1600 + 100 * (o == "adamw") - 40 * (b == "tiny_vit"), 1610 + 100 * (o == "adamw"))
    for b in ("tiny_resnet", "tiny_mobilenet", "tiny_convnext", "tiny_vit")
    for o in ("sgdm", "adamw", "lamb")
}


def test_own_records_bound_the_regret_over_seeds():
    found = answer(own_source(make_grid(GRID)), find_tags("tiny_vit"), 1.0)
    assert found.own and found.noise_known and found.names(found.chosen) == ("adamw",)
    assert 0 <= found.chosen.regret < 0.5
    assert "Tuning and budget behind these scores: equal in every cell" in answer_text(found, [None])
    assert answer(own_source(make_grid(GRID)), find_tags("tiny_vit"), 1.0).chosen.regret == found.chosen.regret


def test_holes_of_the_own_column_come_from_comparable_backbones():
    records = make_grid({k: v for k, v in GRID.items() if k != ("tiny_vit", "adamw")})
    found = answer(own_source(records), find_tags("tiny_vit"), 1.0)
    assert found.own and found.guessed == 1 and found.names(found.chosen) == ("adamw",)
    text = " ".join(answer_text(found, [None]).split())
    assert "Its own column lacks 1 of the 3 candidates: these are guessed from 3 backbone(s)" in text
    assert "It has no results" not in text and "tune AdamW" in text
    # the other two have two seeds each, so their noise is known
    assert found.noise_known and "is unknown" not in text and "run SGD-M + LAMB with further seeds" in text


def test_a_diverged_cell_of_its_own_does_not_hide_the_noise_of_the_others():
    records = [
        r for r in make_grid(GRID) if (r.identity.backbone.name, r.identity.optimizer.name) != ("tiny_vit", "lamb")
    ]
    records += [make_record("tiny_vit", "lamb", seed=s, status="diverged") for s in (1, 2)]
    found = answer(own_source(records), find_tags("tiny_vit"), 1.0)
    assert found.own and found.noise_known and found.names(found.chosen) == ("adamw",)


def test_a_diverged_optimizer_is_not_recommended():
    records = make_grid({k: v for k, v in GRID.items() if k[1] != "adamw"})
    for backbone in ("tiny_resnet", "tiny_mobilenet", "tiny_convnext", "tiny_vit"):
        records.append(make_record(backbone, "adamw", seed=1, correct=1990))
        records.append(make_record(backbone, "adamw", seed=2, status="diverged"))
    found = answer(own_source(records), find_tags("convnext_tiny"), 1.0)
    assert "adamw" not in found.names(found.chosen) and found.failed == 4
    assert "chance" in answer_text(found, [None])


def test_a_backbone_on_which_nothing_completed_is_neither_answered_nor_a_reference():
    """Every optimizer loses nothing on it, which would make any set look good."""
    failed = [make_record("tiny_vit", o, seed=s, status="diverged") for o in ("sgdm", "adamw", "lamb") for s in (1, 2)]
    records = [*make_grid({k: v for k, v in GRID.items() if k[0] != "tiny_vit"}), *failed]
    with pytest.raises(InputError, match=r"every optimizer that was tried on tiny_vit .* diverged"):
        answer(own_source(records), find_tags("tiny_vit"), 1.0)
    found = answer(own_source(records), find_tags("convnext_tiny"), 1.0)
    assert found.left_out == {"tiny_vit": "nothing completed on it"} and "tiny_vit" not in found.reference
    with pytest.raises(InputError, match="fewer than two optimizers"):
        answer(own_source(failed), find_tags("convnext_tiny"), 1.0)


def test_an_answer_says_its_bound_what_comes_next_and_proposes_no_run_twice():
    grid = {k: (v[0] - 150, v[1] - 150) if k[1] == "lamb" else v for k, v in GRID.items()}
    found = answer(own_source(make_grid(grid)), find_tags("tiny_vit"), 1.0)
    text = " ".join(answer_text(found, [None]).split())
    assert "it was measured on this backbone itself, with 2 seeds a cell" in text and "within the bound of 1." in text
    assert re.search(r"next best on ViT-tiny: SGD-M [\d.]+ \(2\) −[\d.]+, LAMB [\d.]+ \(2\) −[\d.]+ -", text)
    assert "with further seeds" in text and "to learn more" not in text  # all three are measured already
    other = answer(own_source(make_grid(grid)), find_tags("convnext_tiny"), 1.0)
    assert "Reference: " in answer_text(other, [None]) or "backbones count" in answer_text(other, [None])
    alike = make_grid({("tiny_vit", o): (1600 + 20 * i,) * 2 for i, o in enumerate(("sgdm", "adamw", "lamb"))})
    lone = answer(own_source(alike), find_tags("tiny_vit"), 1.0)
    assert not lone.noise_known and lone.interval is None  # one backbone, and no two scores that differ


def test_a_guess_is_never_shown_as_a_result():
    """The evidence holds measured scores only: a filled hole appears as missing."""
    means = np.array([[70.0, 72, 71], [60, 62, np.nan], [65, 66, 68], [50, 53, 52]])
    scores = make_scores(
        means, ["resnet50", "resnet101", "densenet121", "vgg13_bn"], ["sgdm", "adamw", "lamb"], unit="percent"
    )
    found = answer(Evidence("x", scores), find_tags("repvgg_a1"), 0.0)
    assert found.guessed == 1
    text = answer_text(found, [None] * len(found.chosen.members))
    guess = fill_missing(means)[1, 2]
    assert f"{guess:.1f}" not in text.partition("evidence")[2].partition("what to run")[0]
    if "lamb" in found.names(found.chosen):
        assert "R-101 missing" in text


def test_a_source_that_cannot_answer_says_why():
    with pytest.raises(InputError, match="fewer than two optimizers"):
        answer(own_source([make_record("tiny_vit", "sgdm")]), find_tags("resnet50"), 1.0)


def test_starts_come_from_own_trials_then_comparable_ones_then_the_row():
    def tuned(backbone: str, best: float):
        return [
            make_record(backbone, "sgdm", role="trial", seed=0, lr=lr, val_top1=80 - 10 * abs(lr - best))
            for lr in (0.0333, 0.1, 0.3)
        ]

    table = build_tables([*tuned("tiny_vit", 0.1), *tuned("tiny_resnet", 0.3), *tuned("tiny_convnext", 0.3)])[0]
    tried = evidence_of(table, "own", "own").tried_with("sgdm")
    own = find_start("sgdm", "demo", tried, "tiny_vit", {})
    other = find_start("sgdm", "demo", tried, "tiny_mobilenet", {"tiny_resnet": 1.0, "tiny_convnext": 1.0})
    row = find_start("sgdm", "demo", tried, "tiny_mobilenet", {})
    assert own is not None and own.lr == 0.1 and "own 3 trial" in own.source
    assert other is not None and other.lr == pytest.approx(0.3) and "2 comparable" in other.source
    assert row is not None and row.lr == 0.1 and "centre" in row.source and row.rates[2] == row.lr
    assert find_start("nobody", None, {}, "x", {}) is None


def test_a_start_without_weight_decay_has_a_grid_upwards():
    start = find_start("adam", None, {}, "x", {})
    assert start is not None and start.weight_decay == 0 and start.decays[0] == 0 < start.decays[1]


def test_the_command_answers_from_the_paper(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["recommend", "resnet101"]) == 0
    text = capsys.readouterr().out
    for part in (
        "resnet101: use SGD-M",
        "30 of 43 published recipes for CNNs",
        "the data cannot tell them apart",
        "n = 1",
        "lr 0.1",
        "bocb train --config cifar100/pytorch backbone.name=resnet101 optimizer.name=sgdm",
    ):
        assert part in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 120 and len(text.splitlines()) <= LINES
    assert main(["recommend", "resnet101", "--full"]) == 0
    full = capsys.readouterr().out
    for part in ("family classical_cnn", "expected regret", "start with", "what to run next", "R-50 78.8 (1)"):
        assert part in full


@pytest.mark.parametrize("name", ["convnext_tiny", "alexnet", "a/b"])
def test_every_answer_is_short_and_begins_with_what_to_use(capsys, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert main(["recommend", name]) == 0
    out, err = capsys.readouterr()
    lines = [line for line in out.splitlines() if not line.startswith("The Hub could not be asked")]
    assert len(out.splitlines()) <= LINES and not err
    assert next(filter(None, lines)).startswith(f"{name}: use ")
    assert ("The Hub could not be asked (HF_HUB_OFFLINE is set)" in out) == (name == "a/b")


def test_all_figures_are_there_as_json(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["recommend", "resnet101", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    first, study = found["answers"]
    assert study["source"].startswith("the laptop study") and not study["measured_on_this_backbone"]
    assert first["use"] == ["sgdm", "lamb"] and first["interval"][0] < first["expected_regret"] < first["interval"][1]
    assert first["usual"]["recipes"]["sgdm"] == 30 and first["usual"]["distinguishable"] is False
    assert first["start"][0]["lr"] == 0.1 and found["backbone"]["row"] == "resnet101"


def test_sources_answer_apart_and_the_one_that_knows_the_backbone_first(capsys, tmp_path):
    publish(LocalStore(tmp_path / "store"), make_grid(GRID))
    plan = tmp_path / "plans" / "next.yaml"
    arguments = ["recommend", "tiny_vit", "--store", str(tmp_path / "store")]
    assert main([*arguments, "--plan", str(plan), "--config", "fashion_mnist_subset/demo"]) == 0
    text = capsys.readouterr().out
    assert text.index("own records") < text.index("Another source, published")
    loaded = load_plan(plan)
    assert loaded.backbones == ["tiny_vit"] and loaded.optimizers[0] == "adamw" and loaded.final_seeds == [1, 2, 3]
    assert main([*arguments, "--source", "store"]) == 0
    assert "Another source" not in capsys.readouterr().out


def test_the_laptop_study_answers_first_for_its_own_backbones_and_last_for_others(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(locate, "EMBEDDED", write_board(tmp_path / "leaderboard.parquet"))
    caution = "The laptop study is of networks of 0.1 to 0.2 M parameters"
    assert main(["recommend", "tiny_convnext"]) == 0
    text = capsys.readouterr().out
    assert "Evidence (the laptop study" in text and caution not in text
    assert main(["recommend", "resnet50"]) == 0
    text = capsys.readouterr().out
    assert "Evidence (published" in text and "Another source, the laptop study" in text
    assert main(["recommend", "resnet50", "--source", "study"]) == 0
    text = capsys.readouterr().out
    assert caution in " ".join(text.split()) and len(text.splitlines()) <= LINES + 2
    assert main(["recommend", "resnet50", "--source", "study", "--full"]) == 0
    assert caution in " ".join(capsys.readouterr().out.split())


def test_an_answer_from_many_sources_keeps_its_length_and_counts_those_that_find_no_place():
    target = find_tags("resnet101")
    given = answer(Evidence("published", published("cifar100")), target, 1.0)
    text = answers_text([given] * 9, starts_of(given, None), None)
    assert len(text.splitlines()) == LINES
    shown = text.count("Another source, published")
    assert 0 < shown < 8 and f"and {8 - shown} further sources), --json" in text
    assert "further" not in answers_text([given], starts_of(given, None), None)


def test_a_version_without_the_laptop_study_says_so(capsys, tmp_path, monkeypatch):
    path = tmp_path / "leaderboard.parquet"
    path.write_bytes(to_parquet(published_rows()))
    monkeypatch.setattr(locate, "EMBEDDED", path)
    assert main(["recommend", "resnet50", "--source", "study"]) == 2
    assert "--source study" in capsys.readouterr().err
    assert main(["recommend", "tiny_convnext"]) == 0
    assert "laptop study" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-regret", "-1"], "--max-regret"),
        (["--plan", "x.yaml"], "--config"),
        (["--source", "store", "--store", "nothing"], "--store"),
    ],
)
def test_bad_arguments(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["recommend", "resnet50", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(Path().iterdir())
