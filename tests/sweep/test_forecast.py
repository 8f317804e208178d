"""What a sweep would still do, take and cost: from records of the store, and from timed steps where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import make_record
from runs import make
from stored import publish

from bocb_hf.errors import InputError
from bocb_hf.runs.record import RunRecord
from bocb_hf.store.local import LocalStore
from bocb_hf.sweep import forecast as module
from bocb_hf.sweep.cells import Cell, plan_cells
from bocb_hf.sweep.forecast import check_fits, describe, find_left, forecast
from bocb_hf.sweep.plan import SweepPlan, load_plan
from bocb_hf.sweep.run import run_overrides
from bocb_hf.sweep.timing import Timed, free_memory, time_backbone

TIMED = Timed(seconds=0.1, steps=200, memory=2 * 10**9, activations=10**9, parameters=10**6)
SETTING = {
    "setting": "demo",
    "data": {"name": "fashion_mnist_subset", "image_size": 32},
    "training": {"epochs": 4, "batch_size": 64, "divergence_rule": "first_step"},
}


@pytest.fixture
def plan(tmp_path: Path) -> SweepPlan:
    """1 backbone × 2 optimizers, 3 rates × 2 seeds, 2 final seeds."""
    (tmp_path / "setting.yaml").write_text(yaml.safe_dump(SETTING))
    data = {
        "name": "small",
        "config": str(tmp_path / "setting.yaml"),
        "backbones": ["tiny_resnet"],
        "optimizers": ["sgdm", "adamw"],
        "tuning": {"seeds": [0, 5], "max_extensions": 1},
        "final_seeds": [1, 2],
    }
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(data))
    return load_plan(path)


@pytest.fixture(autouse=True)
def timed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The backbones that are timed, in their order; each takes what ``TIMED`` says."""
    names: list[str] = []
    monkeypatch.setattr(module, "time_backbone", lambda config: names.append(config.backbone.name) or TIMED)
    return names


def cells_of(plan: SweepPlan, store: Path) -> list[Cell]:
    return plan_cells(plan, run_overrides(plan, 1, [f"runtime.store={store}"]))


def trials(optimizer: str, centre: float, seeds: tuple[int, ...] = (0, 5), **more: Any) -> list[RunRecord]:
    """The trials of a grid, whose centre is best."""
    return [
        make_record(
            role="trial", optimizer=optimizer, seed=seed, lr=lr, val_top1=80.0 if lr == centre else 70.0, **more
        )
        for seed in seeds
        for lr in (float(f"{centre / 3:.4g}"), centre, float(f"{centre * 3:.4g}"))
    ]


def test_an_empty_store_is_timed(plan: SweepPlan, tmp_path: Path, timed: list[str]) -> None:
    found = forecast(plan, cells_of(plan, tmp_path / "store"), 2, "cpu")
    assert timed == ["tiny_resnet"], "once a backbone"
    assert [(left.trials, left.finals, left.extensions) for left in found.cells] == [(6, 2, 2)] * 2
    assert found.steps() == 16 * 200
    assert found.seconds() == {"cpu": pytest.approx(16 * 1.35 * 20)}
    assert found.seconds(extensions=True) == {"cpu": pytest.approx(20 * 1.35 * 20)}
    assert found.memory() == 2 * 10**9
    assert found.disk() == 4 * 4 * 10**6 + 16 * 40_000
    text = describe(found, 3.0, 10**10, str(tmp_path / "store"))
    assert "0 of 12 trials, 0 of 4 final runs" in text
    assert "cpu: 0.12 to 0.15 device-hours, from timed steps of this machine; about 4 min on 2 worker(s)" in text
    assert "price          0.36 to 0.45 at 3 a device-hour" in text
    assert "2.00 GB a worker, 4.00 GB for 2; 10.00 GB are free here" in text
    assert "`edition: 2`" in text and text.endswith("nothing was trained")


def test_records_of_the_store_count_and_are_measured(plan: SweepPlan, tmp_path: Path, timed: list[str]) -> None:
    cells = cells_of(plan, tmp_path / "store")
    sgdm, adamw = (float(cell.space.axes[0].tuned.centre) for cell in cells)
    others = [
        make_record(role="trial", seed=9, lr=sgdm),  # no tuning seed
        make_record(role="trial", optimizer="adamw", seed=5, lr=adamw, epochs=9),  # another length
        make_record(seed=2, lr=3 * sgdm),  # not what tuning chose
        make_record(role="trial", optimizer="adamw", seed=5, lr=adamw, status="interrupted"),
    ]
    stored = [*trials("sgdm", sgdm), *trials("adamw", adamw, (0,)), make_record(seed=1, lr=sgdm), *others]
    publish(LocalStore(tmp_path / "store"), stored)
    found = forecast(plan, cells, 1, "cpu")
    assert [(left.trials, left.finals, left.extensions) for left in found.cells] == [(0, 1, 0), (3, 2, 2)]
    # a record of another kind of device says nothing of this one, which is timed
    assert set(found.seconds()) == {"Test CPU", "cpu"} and timed == ["tiny_resnet"]
    assert found.seconds()["Test CPU"] == 6 * 20.0
    assert find_left(cells[0]).runs == 1
    same = forecast(plan, cells_of(plan, tmp_path / "store"), 1, "Test CPU")
    assert timed == ["tiny_resnet"], "nothing more"
    assert set(same.seconds()) == {"Test CPU"}
    assert (same.steps(), same.memory()) == (600, 10**9)
    assert "from records of the store" in describe(same, None, 10**10, str(tmp_path))


def test_what_cannot_fit_is_refused_with_what_would(
    plan: SweepPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(tmp_path / "store")
    found = forecast(plan, cells_of(plan, tmp_path / "store"), 4, "cpu")
    check_fits(found, 8 * 10**9, store)
    with pytest.raises(InputError, match=r"4 worker\(s\) need 8\.00 GB .* 7\.90 GB are free; take --workers 3"):
        check_fits(found, 79 * 10**8, store)
    with pytest.raises(InputError, match=r"runtime\.accumulation=4 takes the batch in 4 parts and would need 1\.25 GB"):
        check_fits(found, 13 * 10**8, store)
    with pytest.raises(InputError, match="a smaller backbone, batch"):
        check_fits(found, 9 * 10**8, store)
    monkeypatch.setattr(module, "free_disk", lambda store: 10**6)
    with pytest.raises(InputError, match=r"--store: the runs need 0\.02 GB, but 0\.00 GB are free"):
        check_fits(found, 10**10, store)
    check_fits(found, 10**10, "hf://somebody")


def test_a_backbone_is_timed_on_this_machine(sections: dict[str, Any]) -> None:
    found = time_backbone(make(sections))
    assert found.steps == 16 and 0 < found.seconds < 60
    assert found.memory > found.activations > 0
    assert found.parameters > 10_000
    assert free_memory() > 10**6
