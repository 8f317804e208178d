"""What the recommender answers from published and own tables, and how it says it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from builders import make_grid, make_record

from bocb_hf.coupling.published import published
from bocb_hf.coupling.scores import make_scores
from bocb_hf.coupling.table import build_tables
from bocb_hf.errors import InputError
from bocb_hf.recommend.answer import answer
from bocb_hf.recommend.evidence import Evidence, evidence_of
from bocb_hf.recommend.sets import fill_missing
from bocb_hf.recommend.start import find_start
from bocb_hf.recommend.tags import find_tags
from bocb_hf.recommend.words import answer_text

TABLE = published("cifar100")


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
