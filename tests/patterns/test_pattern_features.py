"""What is taken from records to predict their cells."""

from __future__ import annotations

import math

import numpy as np
import pytest
from builders import make_record, with_patterns

from bocb_hf.coupling.table import build_tables
from bocb_hf.patterns.features import FAILURE, RESIDUAL, evidence_of, run_features
from bocb_hf.runs.patterns import Inspection, Sharpness


def test_features_of_a_run() -> None:
    record = with_patterns(make_record())
    assert record.patterns is not None
    plain = run_features(record)
    assert plain["early loss"] == 2.0 and "early fall of the loss" not in plain  # no loss of the first step
    entropies = [layer.entropy for layer in record.patterns.layers]
    assert plain["final entropy, mean over layers"] == pytest.approx(np.mean(entropies))
    assert not any(name.startswith("early log") or name.startswith("early α") for name in plain)
    sharp = Sharpness(value=20.0, iterations=5, converged=True, tolerance=0.01, images=64)
    seen = {"patterns": record.patterns, "sharpness": sharp, "pattern_seconds": 0.1, "sharpness_seconds": 0.2}
    inspected = record.model_copy(
        update={"inspections": (Inspection(step=10, share=0.1, **seen), Inspection(step=50, share=0.5, **seen))}
    )
    more = run_features(inspected)
    assert more["early log sharpness"] == pytest.approx(math.log(20.0))
    assert more["early entropy, mean over layers"] == plain["final entropy, mean over layers"]


def test_scores_and_features_are_of_different_seeds() -> None:
    records = [
        with_patterns(make_record(backbone, optimizer, seed=seed, correct=1500 + 10 * seed + 20 * b))
        for b, backbone in enumerate(("tiny_resnet", "tiny_vit", "tiny_convnext"))
        for optimizer in ("sgdm", "adamw", "lamb")
        for seed in (1, 2)
    ]
    (table,) = build_tables(records)
    evidence = evidence_of(table)
    first, second = evidence.questions[RESIDUAL]
    assert evidence.split_seeds and evidence.cells == 9
    cell = (table.backbones.index("tiny_vit"), table.optimizers.index("lamb"))
    chosen = {
        r.seed: r for r in records if (r.identity.backbone.name, r.identity.optimizer.name) == ("tiny_vit", "lamb")
    }
    name = "final entropy, mean over layers"
    assert first.features[name][cell] == run_features(chosen[1])[name] and first.outcome[cell] == 100 * 1540 / 2000
    assert second.features[name][cell] == run_features(chosen[2])[name] and second.outcome[cell] == 100 * 1530 / 2000
    (failure,) = evidence.questions[FAILURE]
    assert failure.features[name][cell] == pytest.approx(np.mean([run_features(r)[name] for r in chosen.values()]))
    (single,) = build_tables([record for record in records if record.seed == 1])
    assert not evidence_of(single).split_seeds


def test_a_diverged_cell_failed_and_has_no_final_patterns() -> None:
    records = [
        with_patterns(make_record(b, o)) if (b, o) != ("tiny_vit", "sgdm") else make_record(b, o, status="diverged")
        for b in ("tiny_resnet", "tiny_vit", "tiny_convnext")
        for o in ("sgdm", "adamw", "lamb")
    ]
    (table,) = build_tables(records)
    evidence = evidence_of(table)
    cell = (table.backbones.index("tiny_vit"), table.optimizers.index("sgdm"))
    (failure,) = evidence.questions[FAILURE]
    assert failure.outcome[cell] == 1 and evidence.failed == 1
    assert np.isnan(failure.features["final entropy, mean over layers"][cell])
    assert failure.features["early loss"][cell] == 2.0
    assert np.isnan(evidence.questions[RESIDUAL][0].outcome[cell])


def test_a_backbone_that_has_only_trials_is_left_out() -> None:
    """It can be neither predicted nor permuted: with it there would seem to be more permutations than there are."""
    finals = [
        with_patterns(make_record(b, o)) for b in ("tiny_resnet", "tiny_vit", "tiny_convnext") for o in ("sgdm", "lamb")
    ]
    (table,) = build_tables([*finals, make_record("tiny_mobilenet", "sgdm", role="trial")])
    evidence = evidence_of(table)
    assert "tiny_mobilenet" in table.backbones and "tiny_mobilenet" not in evidence.backbones
    assert evidence.cells == 6 and len(evidence.backbones) == 3
    assert all(view.outcome.shape == (3, 2) for views in evidence.questions.values() for view in views)
