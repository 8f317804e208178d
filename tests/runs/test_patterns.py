"""Weight patterns, fits and inspections as parts of a record."""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders import make_record, with_patterns
from pydantic import ValidationError

from bocb_hf.runs.patterns import Inspection, LayerPattern, Sharpness, TailFit, WeightPatterns
from bocb_hf.runs.record import RunRecord, parse_record

SHARPNESS = Sharpness(value=12.5, iterations=9, converged=True, tolerance=0.01, images=64)


def make_inspection(step: int = 10, **changes: Any) -> Inspection:
    fields: dict[str, Any] = {"step": step, "share": 0.1, "patterns": WeightPatterns(layers=[]), "sharpness": SHARPNESS}
    fields |= {"pattern_seconds": 0.1, "sharpness_seconds": 0.5}
    return Inspection(**fields | changes)


def test_a_record_without_patterns_keeps_its_bytes():
    record = make_record()
    assert "patterns" not in record.to_json()
    held = with_patterns(record)
    assert parse_record(held.to_json().encode(), "it") == held and held.config_hash == record.config_hash


def test_only_a_completed_final_run_has_patterns():
    patterns = with_patterns(make_record()).model_dump(mode="json")["patterns"]
    for other in (make_record(status="diverged"), make_record(role="trial")):
        with pytest.raises(ValueError, match="no weight patterns"):
            RunRecord.model_validate_json(other.to_json().replace("{", '{"patterns":' + json.dumps(patterns) + ",", 1))


def test_a_record_from_before_fits_and_inspections_keeps_its_bytes():
    old = with_patterns(make_record()).to_json()
    for name in ("fit", "stable_rank", "kernels", "tail_rule", "inspections"):
        assert f'"{name}"' not in old
    assert parse_record(old.encode(), "it").to_json() == old


def test_a_fit_and_its_exponent_agree():
    numbers = {"name": "a.weight", "entropy": 1.0, "norm": 1.0, "energy": 0.5}
    good = TailFit(status="ok", eigenvalues=40, exponent=3.5, tail=20, distance=0.1)
    poor = good.model_copy(update={"status": "poor fit"})
    assert LayerPattern(**numbers, alpha=3.5, fit=good).alpha == 3.5
    assert LayerPattern(**numbers, alpha=None, fit=poor).alpha is None
    for alpha, fit in ((3.5, poor), (None, good), (3.4, good)):
        with pytest.raises(ValidationError, match="not what its fit says"):
            LayerPattern(**numbers, alpha=alpha, fit=fit)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"status": "ok", "eigenvalues": 40}, "must say its exponent"),
        ({"status": "ok", "eigenvalues": 40, "exponent": 3.0}, "go together"),
        ({"status": "ok", "eigenvalues": 9, "exponent": 3.0, "tail": 10, "distance": 0.1}, "longer than its spectrum"),
    ],
)
def test_what_is_no_fit_is_refused(wrong: dict[str, Any], reason: str):
    with pytest.raises(ValidationError, match=reason):
        TailFit(**wrong)


def test_inspections_belong_to_a_final_run_and_lie_within_it():
    def held(record: RunRecord, *found: Inspection) -> RunRecord:
        given = [one.model_dump(mode="json") for one in found]
        return RunRecord.model_validate_json(
            record.to_json().replace("{", '{"inspections":' + json.dumps(given) + ",", 1)
        )

    record = held(make_record(), make_inspection(10), make_inspection(100, share=1.0))
    assert record.inspections[0].sharpness == SHARPNESS and parse_record(record.to_json().encode(), "it") == record
    assert len(held(make_record(status="diverged"), make_inspection()).inspections) == 1  # what failure is asked of
    for wrong in ((make_inspection(101),), (make_inspection(20), make_inspection(10))):
        with pytest.raises(ValueError, match="must rise within the 100 steps"):
            held(make_record(), *wrong)
    with pytest.raises(ValueError, match="trial must hold no inspections"):
        held(make_record(role="trial"), make_inspection())
    with pytest.raises(ValidationError, match="or the reason why there is none"):
        make_inspection(sharpness=None)
