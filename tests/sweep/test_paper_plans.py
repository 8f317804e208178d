"""The plans that repeat the study's tables, and the page that says what they take and give."""

from __future__ import annotations

import importlib.util
import math
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
import torch
from house import ROOT

from bocb_hf.backbones import BACKBONES
from bocb_hf.backbones.build import create_from_scratch, resolve_backbone
from bocb_hf.coupling.published import published
from bocb_hf.engine.environment import count_flops
from bocb_hf.resources import find_config
from bocb_hf.runs.config import BackboneConfig
from bocb_hf.runs.load_config import load_run_config
from bocb_hf.sweep.plan import SweepPlan, load_plan
from bocb_hf.sweep.run import Sweep


def load_script() -> ModuleType:
    """``benchmarks/paper_plans.py``, which lies in no package."""
    spec = importlib.util.spec_from_file_location("paper_plans", ROOT / "benchmarks/paper_plans.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = load_script()
PLANS: dict[str, list[str]] = SCRIPT.plans()


def test_every_file_is_what_the_script_writes() -> None:
    """``python benchmarks/paper_plans.py`` mends them."""
    for path, text in SCRIPT.places(SCRIPT.read_flops()).items():
        assert path.read_text(encoding="utf-8") == text, path


def test_the_plans_are_the_tables_of_the_study() -> None:
    small = [name for setting, names in PLANS.items() if setting.startswith("cifar100") for name in names]
    assert sorted(small) == sorted(published("cifar100").backbones) and len(small) == 20
    assert {setting: names for setting, names in PLANS.items() if setting.startswith("imagenet1k")} == {
        "imagenet1k/deit": ["deit_small_patch16_224"],
        "imagenet1k/rsb_a2": ["resnet50"],
    }
    assert (
        SCRIPT.study_optimizers() == list(published("cifar100").optimizers) == list(published("imagenet1k").optimizers)
    )
    for setting, names in PLANS.items():
        config = load_run_config(
            find_config(setting, "recipes/configs"), ["backbone.name=resnet50", "optimizer.name=adamw"]
        )
        data = setting.partition("/")[0]
        assert config.training.epochs == SCRIPT.EPOCHS[data]
        if data == "cifar100":
            assert {BACKBONES.get(name).image_size for name in names} == {config.data.image_size}
            assert {BACKBONES.get(name).setting for name in names} == {setting.split("/")[1].removesuffix("_224")}


@pytest.mark.parametrize("setting", PLANS)
def test_each_cell_of_a_plan_has_a_grid(setting: str) -> None:
    """25 trials for every optimizer under that setting, and three final runs."""
    plan = load_plan(find_config(SCRIPT.plan_name(setting), "recipes/sweeps"))
    one = plan.model_copy(update={"backbones": plan.backbones[:1]})  # grids do not depend on the backbone
    sweep = Sweep(one, cast(Any, SimpleNamespace(threads=1)), [])
    assert len(sweep.cells) == 20
    assert {len(set(cell.next_trials())) for cell in sweep.cells} == {SCRIPT.SEARCH}
    assert {plan.tuning.trials(name) for name in plan.optimizers} == {SCRIPT.SEARCH}
    assert len(plan.final_seeds) == SCRIPT.SEEDS


def test_the_cheaper_search_that_the_page_names() -> None:
    plan = load_plan(find_config("demo", "recipes/sweeps")).model_dump(
        include={"name", "config", "backbones", "optimizers"}
    )
    halved = SweepPlan.model_validate({**plan, "edition": 2, "final_seeds": [1, 2, 3]})
    assert halved.tuning.trials("adamw") == 8 and "8 trials a cell instead of 25" in SCRIPT.PAGE.read_text()


@pytest.mark.parametrize(
    ("setting", "name"),
    [("cifar100/pytorch_224", "alexnet"), ("cifar100/pytorch", "resnet50"), ("cifar100/rsb_a2", "caformer_s12")],
)
def test_the_flops_are_those_of_the_network(setting: str, name: str) -> None:
    size = BACKBONES.get(name).image_size
    source = resolve_backbone(BackboneConfig(name=name), 0.0, size)
    with torch.device("meta"):
        model = create_from_scratch(source.identity, 100, 0)
    assert count_flops(model, size) == SCRIPT.read_flops()[setting, name]


def test_hours_by_hand_and_as_in_the_headers() -> None:
    """3 × 1 GFLOP × 50,000 images × 200 epochs at 60 TFLOP/s are 500 s."""
    assert math.isclose(SCRIPT.hours("cifar100/deit", 10**9), 500 / 3600)
    flops = SCRIPT.read_flops()
    for (setting, name), number in flops.items():
        header = find_config(setting, "recipes/configs").read_text(encoding="utf-8")
        if f"device-hours a run for {name}" in header:
            shown = SCRIPT.hours(setting, number)
            text = f"{shown:.1f}" if shown < 10 else f"{shown:.0f}"
            assert f"about {text} device-hours a run for {name}" in header
