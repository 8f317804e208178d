"""What the curve of a run says about how it went."""

from __future__ import annotations

from typing import Any

import pytest
from builders import make_record

from bocb_hf.coupling.table import build_tables
from bocb_hf.report.words.tables import notes
from bocb_hf.runs.diagnosis import diagnose, has_not_trained
from bocb_hf.runs.measurements import Curve
from bocb_hf.runs.record import RunRecord


def with_curve(record: RunRecord, train: list[float], val: list[float] | None = None, **more: Any) -> RunRecord:
    steps = list(range(10, 10 * len(train) + 10, 10))
    val_steps = [round(k * steps[-1] / max(1, len(val or []) - 1)) for k in range(len(val or []))]
    curve = Curve(
        step=steps,
        lr=[0.1] * len(train),
        train_loss=train,
        train_top1=[50.0] * len(train),
        val_step=val_steps,
        val_loss=val or [],
        val_top1=[50.0] * len(val or []),
        **more,
    )
    return record.model_copy(update={"curve": curve})


def findings(record: RunRecord) -> list[str]:
    return [d.finding for d in diagnose(record)]


def test_a_flat_end_needs_no_words() -> None:
    assert findings(with_curve(make_record(), [2.0, 1.0, 0.6] + [0.5] * 20, update_ratio=[1e-3] * 23)) == []


def test_a_falling_end_is_slow() -> None:
    record = with_curve(make_record(), [2.0 * 0.97**k for k in range(40)])
    (found,) = diagnose(record)
    assert found.finding == "slow"
    assert "from 0.868 to 0.680" in found.text


def test_a_rising_validation_loss_under_a_falling_training_loss_is_over_fitting() -> None:
    train = [2.0 * 0.97**k for k in range(40)]
    assert findings(with_curve(make_record(), train, [2.0, 1.0, 0.9, 1.0, 1.2])) == ["over_fitted"]
    assert findings(with_curve(make_record(), train, [2.0, 1.0, 0.9, 0.9, 0.95])) == ["slow"]
    # the training loss rises as well: that is no over-fitting
    assert findings(with_curve(make_record(), [*train[:20], *train[:20][::-1]], [2.0, 1.0, 0.9, 1.0, 1.2])) == []


@pytest.mark.parametrize(("ratio", "expected"), [(1e-6, ["small_steps"]), (1e-3, []), (0.3, ["large_steps"])])
def test_the_size_of_steps(ratio: float, expected: list[str]) -> None:
    assert findings(with_curve(make_record(), [1.0] * 20, update_ratio=[ratio] * 19 + [None])) == expected


def test_divergence_tells_the_gradient_norm() -> None:
    record = make_record(status="diverged")
    record = with_curve(record, [2.0, 3.0], grad_norm=[1.5, 80.0])
    (found,) = diagnose(record)
    assert found.finding == "diverged"
    assert found.text.startswith(str(record.reason))
    assert "from 1.5 to 80" in found.text


def test_a_short_curve_is_not_judged() -> None:
    assert findings(with_curve(make_record(), [2.0, 1.0, 0.1], update_ratio=[1.0, 1.0, 1.0])) == []


@pytest.mark.parametrize(
    ("reference", "last", "expected"), [(2.3, 2.4, True), (2.3, 2.3, False), (2.3, 0.6, False), (None, 2.4, False)]
)
def test_a_completed_run_that_has_not_trained(reference: float | None, last: float, expected: bool) -> None:
    record = make_record()
    loss = record.metrics.train_loss.model_copy(update={"last": last})  # type: ignore[union-attr] - not None here
    metrics = record.metrics.model_copy(update={"train_loss": loss})
    run = record.model_copy(update={"metrics": metrics, "reference_loss": reference})
    assert has_not_trained(run) is expected
    assert ("not_trained" in findings(run)) is expected
    assert not has_not_trained(make_record(status="diverged").model_copy(update={"reference_loss": 0.1}))
    (table,) = build_tables([run])
    said = [note for note in notes(table, []) if "have not trained" in note]
    assert len(said) == int(expected)
