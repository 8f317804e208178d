"""Performance profiles and time to target by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from builders import make_record

from bocb_hf.coupling.profiles import performance_profiles
from bocb_hf.coupling.published import published
from bocb_hf.coupling.scores import make_scores
from bocb_hf.coupling.table import build_tables
from bocb_hf.coupling.targets import FACTORS, times_to_target
from bocb_hf.runs.measurements import Curve
from bocb_hf.runs.record import RunRecord, wilson_interval


def test_profiles_by_hand() -> None:
    values = np.array([[80.0, 79.5, 78], [70, 70, np.nan], [60, np.nan, 50], [np.nan, 40, 39.4]])
    status = np.where(np.isfinite(values), "completed", "missing")
    status[1, 2] = "diverged"
    scores = make_scores(values, list("wxyz"), ["sgdm", "adamw", "lamb"], unit="percent", status=status)
    found = performance_profiles(scores)
    assert found.n.tolist() == [3, 3, 4] and found.varied == ""
    assert np.isnan(found.low).all() and np.isnan(found.high).all()
    at = {t: found.share[:, found.at(t)].tolist() for t in (0.0, 0.5, 1.0, 2.0, 100.0)}
    assert at[0.0] == pytest.approx([1, 2 / 3, 0])
    assert at[0.5] == pytest.approx([1, 1, 0]) and at[1.0] == pytest.approx([1, 1, 0.25])
    assert at[2.0] == pytest.approx([1, 1, 0.5])
    assert at[100.0] == pytest.approx([1, 1, 0.75])  # what diverged is never within any distance


def test_profiles_of_the_published_table_vary_backbones() -> None:
    scores = published("cifar100")
    found = performance_profiles(scores, draws=300)
    place, adan = found.at(1.0), scores.optimizers.index("adan")
    gaps = scores.means.max(axis=1) - scores.means[:, adan]
    assert found.varied == "backbones" and found.share[adan, place] == pytest.approx((gaps <= 1).mean())
    assert (found.low <= found.share).all() and (found.share <= found.high).all()
    assert (np.diff(found.share, axis=1) >= 0).all()
    k = round(20 * float(found.share[adan, place]))
    low, high = wilson_interval(k, 20)
    assert found.low[adan, place] <= low / 100 and found.high[adan, place] >= high / 100
    assert found.low[adan, -1] < 1, "a share of 1 is not known for certain"


def test_profiles_of_few_backbones_vary_seeds() -> None:
    generator = np.random.default_rng(0)
    means = np.array([[80, 79.2, 70], [60, 61, 62.0]])
    values = means[:, :, None] + 0.3 * generator.normal(size=(2, 3, 3))
    scores = make_scores(values, ["resnet50", "deit_small"], ["sgdm", "adamw", "lamb"], unit="percent")
    found = performance_profiles(scores, draws=400)
    assert found.varied == "seeds"
    place = found.at(0.5)
    assert found.high[2, place] <= 0.5 and found.low[2, found.at(0.0)] >= 0  # lamb is 10 points behind on one of two
    assert found.low[0, place] <= found.share[0, place] <= found.high[0, place]


def curved(backbone: str, optimizer: str, top1: list[float], seed: int = 1, **changes: Any) -> RunRecord:
    """A run of 100 steps that is validated before it and after each quarter; 15 s of training."""
    record = make_record(backbone, optimizer, seed=seed, **changes)
    steps = [0, 25, 50, 75, 100][: len(top1)]
    curve = Curve(
        step=[10],
        lr=[0.1],
        train_loss=[1.0],
        train_top1=[50.0],
        val_step=steps,
        val_loss=[1.0] * len(steps),
        val_top1=top1,
    )
    return record.model_copy(update={"curve": curve})


RUNS = [
    curved("tiny_resnet", "sgdm", [10, 40, 60, 80, 82]),
    curved("tiny_resnet", "sgdm", [10, 40, 60, 70, 72], seed=2),
    curved("tiny_resnet", "adamw", [10, 70, 76, 80, 84]),
    curved("tiny_resnet", "adamw", [10, 60, 78, 78, 80], seed=2),
    curved("tiny_resnet", "lars", [10, 12, 5], status="diverged"),
    curved("tiny_vit", "adamw", [10, 20, 30, 50, 60]),
    make_record("tiny_vit", "sgdm"),
]


def test_time_to_a_stated_target_by_hand() -> None:
    (table,) = build_tables(RUNS)
    found = times_to_target(table, 75.0)
    assert found is not None and found.stated and found.every == 25
    assert found.targets == {"tiny_resnet": 75.0, "tiny_vit": 75.0}
    cells = {(c.backbone, c.optimizer): c for c in found.cells}
    adamw = cells["tiny_resnet", "adamw"]
    assert (adamw.runs, adamw.reached, adamw.steps, adamw.seconds) == (2, 2, 50, 7.5)
    sgdm = cells["tiny_resnet", "sgdm"]
    assert (sgdm.runs, sgdm.reached, sgdm.steps, sgdm.seconds) == (2, 1, None, None)  # one of two is censored
    assert cells["tiny_resnet", "lars"].reached == cells["tiny_vit", "adamw"].reached == 0
    assert ("tiny_vit", "sgdm") not in cells  # it has no validation curve
    by_name = {o.optimizer: o for o in found.optimizers}
    # the fastest on tiny_resnet is AdamW after 50 steps; SGD-M takes 75 in one run; nobody gets there on tiny_vit
    assert by_name["adamw"].share.tolist() == pytest.approx([2 / 3] * len(FACTORS))
    assert by_name["sgdm"].share.tolist() == pytest.approx([0.5 if f >= 1.5 else 0 for f in FACTORS])
    assert (by_name["adamw"].runs, by_name["adamw"].reached, by_name["lars"].reached) == (3, 2, 0)
    assert (by_name["adamw"].reaching.low, by_name["adamw"].reaching.high) == wilson_interval(2, 3)
    for o in found.optimizers:
        assert (o.low <= o.share).all() and (o.share <= o.high).all() and (o.high > 0).all()


def test_the_default_target_is_what_the_median_optimizer_ends_with() -> None:
    (table,) = build_tables(RUNS)
    found = times_to_target(table)
    assert found is not None and not found.stated
    assert found.targets == {"tiny_resnet": (77 + 82) / 2, "tiny_vit": 60.0}  # diverged runs end with nothing
    assert times_to_target(build_tables([make_record()])[0]) is None


def test_a_run_that_gets_there_counts_where_no_median_does() -> None:
    runs = [
        curved("tiny_vit", "adamw", [10, 20, 30, 50, 60]),
        curved("tiny_vit", "adamw", [10, 20, 30, 50, 62], seed=2),
    ]
    found = times_to_target(build_tables(runs)[0])
    assert found is not None and found.targets == {"tiny_vit": 61.0}
    (cell,), (optimizer,) = found.cells, found.optimizers
    assert (cell.reached, cell.steps) == (optimizer.reached, None) == (1, None)
    assert optimizer.share.tolist() == [0.5] * len(FACTORS)
