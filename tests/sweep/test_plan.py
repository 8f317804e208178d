"""What a plan may hold, the defaults of its edition, its cells, and what it must not hold."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from builders import make_record

from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.results.dataset import records_parquet
from bocb_hf.schema import parse_strict
from bocb_hf.sweep.json_schema import plan_schema
from bocb_hf.sweep.kept_rates import KeptRates
from bocb_hf.sweep.plan import EDITION_2, CellPlan, SweepPlan, load_plan
from bocb_hf.sweep.pretrained import PretrainedAxis
from bocb_hf.sweep.run import Sweep
from bocb_hf.sweep.tuning import Tuning

PLAN: dict[str, Any] = {
    "name": "mine",
    "config": "fashion_mnist_subset/demo",
    "backbones": ["tiny_resnet", "tiny_vit"],
    "optimizers": ["sgdm", "adamw"],
    "final_seeds": [1, 2],
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": 2}, "must be odd, so that the centre is one of the points"),
        ({"points": 0}, "greater than or equal to 1"),
        ({"factor": 1.0}, "greater than 1"),
        ({"factor": float("nan")}, "finite number"),
        ({"max_extensions": -1}, "greater than or equal to 0"),
        ({"max_extension": 1}, "Extra inputs"),
        ({"seeds": []}, "at least 1 item"),
        ({"seeds": [1, 1]}, "holds a seed twice"),
        ({"seed": 1, "seeds": [1, 2]}, "seed and seeds say the same"),
        ({"protocol": "halving"}, "halving tries fewer configurations with each further seed"),
        ({"selection": "worst"}, "one_standard_error"),
        ({"grid_of": {"sgdm": {"momentum": [0.9]}}}, "at least 2 items"),
    ],
)
def test_an_unusable_tuning_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_strict(Tuning, changes)


# plans


def load(tmp_path: Path, **changes: Any) -> SweepPlan:
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in (PLAN | changes).items() if v is not ...}))
    return load_plan(path)


@pytest.mark.parametrize(("of", "decay"), [("ours", 0.1), ("released", 0.0)])
def test_a_plan_names_the_grid_of_its_runs(tmp_path: Path, of: str, decay: float) -> None:
    plan = load(tmp_path, optimizers=["adamp", "adamw"], tuning={"grid": of})
    assert plan.tuning.grid == of
    sweep = Sweep(plan, cast(Any, SimpleNamespace(threads=1)), ["training.batch_size=256"])
    # four times the batch of the demo: the root of it for ours, while the study's values are never scaled
    assert [cell.space.axes[0].tuned.centre for cell in sweep.cells] == (
        [2e-3, 6e-3] if of == "ours" else [1e-3, 3e-3]
    ) * 2
    (config, *_) = (cell.config() for cell in sweep.cells if cell.place.optimizer == "adamp")
    assert config.optimizer.grid == of
    centre = OPTIMIZERS.get("adamp").centre(config.setting, grid=config.optimizer.grid)
    assert centre.weight_decay == decay
    with pytest.raises(InputError, match=r"tuning\.grid: input should be 'ours' or 'released'"):
        load(tmp_path, tuning={"grid": "study"})


def test_a_plan_is_read_with_its_defaults(tmp_path: Path) -> None:
    plan = load(tmp_path)
    assert plan == SweepPlan(**PLAN)
    assert plan.tuning == Tuning(points=3, factor=3.0, seeds=[0], max_extensions=2, selection="best", protocol="grid")
    assert (plan.overrides, plan.baselines) == ([], True)


def test_the_edition_of_a_plan_decides_about_its_defaults(tmp_path: Path) -> None:
    plan = load(tmp_path, edition=2)
    assert plan.tuning == Tuning.model_validate(EDITION_2)
    given = load(tmp_path, edition=2, tuning={"seeds": [4, 5, 6], "points": 3})
    assert (given.tuning.seeds, given.tuning.points) == ([4, 5, 6], 3)
    assert given.tuning.selection == "one_standard_error"
    assert load(tmp_path, edition=2, tuning={"seed": 4, "protocol": "grid"}).tuning.seeds == [4]
    assert load(tmp_path, tuning={"seed": 4}).tuning == Tuning(seeds=[4])
    for data in ({"tuning": 3}, {"edition": 3}):
        with pytest.raises(InputError, match=r"1 problem\(s\)"):
            load(tmp_path, **({"edition": 2} | data))


def test_settings_and_variants_are_further_axes(tmp_path: Path) -> None:
    plan = load(
        tmp_path,
        config=["fashion_mnist_subset/demo", "cifar100/deit"],
        variants={"a": [], "b256": ["training.batch_size=256"]},
        optimizers=["sgdm"],
    )
    assert len(list(plan.cells())) == 8
    assert next(plan.cells()) == CellPlan("fashion_mnist_subset/demo", "a", "tiny_resnet", "sgdm", ())
    sweep = Sweep(plan, cast(Any, SimpleNamespace(threads=1)), [])
    configs = [cell.config() for cell in sweep.cells]
    assert len({(c.data.name, c.setting, c.backbone.name) for c in configs}) == 8
    assert [(c.setting, c.training.batch_size) for c in configs[::2]] == [
        ("demo_a", 64),
        ("demo_b256", 256),
        ("deit_a", 100),
        ("deit_b256", 256),
    ]
    row = OPTIMIZERS.get("sgdm")
    for cell, config in zip(sweep.cells, configs, strict=True):
        setting = config.setting.partition("_")[0]
        centre = row.centre(setting, config.data.name, config.training.batch_size)
        assert cell.space.axes[0].tuned.centre == centre.lr, "the centre of the setting, scaled to the batch"
        assert config.optimizer.weight_decay == centre.weight_decay
    assert str(sweep.cells[0]) == "tiny_resnet × sgdm (fashion_mnist_subset/demo a)"


def test_unequal_budgets_are_refused_unless_the_plan_says_so(tmp_path: Path) -> None:
    tuning = {"grid_of": {"sgdm": {"momentum": [0.8, 0.9]}}}
    with pytest.raises(InputError, match="sgdm would get 6 trials a cell and adamw 3; give each optimizer as many"):
        load(tmp_path, tuning=tuning)
    assert load(tmp_path, tuning=tuning, budget="free").budget == "free"
    equal = {"grid_of": {"sgdm": {"momentum": [0.8, 0.9]}, "adamw": {"beta1": [0.9, 0.8]}}}
    assert load(tmp_path, tuning=equal).tuning.trials("adamw") == 6
    with pytest.raises(InputError, match="grid_of names lamb, which is none of the optimizers"):
        load(tmp_path, tuning={"grid_of": {"lamb": {"beta1": [0.9, 0.8]}}}, budget="free")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"final_seeds": [0, 1]}, "final_seeds: holds the tuning seed 0; the result needs fresh seeds"),
        ({"final_seeds": [1, 5], "tuning": {"seed": 5}}, "final_seeds: holds the tuning seed 5"),
        ({"final_seeds": [1, 1]}, "final_seeds: holds a value twice"),
        ({"final_seeds": []}, "final_seeds: list should have at least 1 item"),
        ({"final_seeds": ["1"]}, "final_seeds.0: input should be a valid integer"),
        ({"final_seeds": [-1]}, "final_seeds.0: input should be greater than or equal to 0"),
        ({"backbones": ["a", "b", "a"]}, "backbones: holds a value twice"),
        ({"backbones": []}, "backbones: list should have at least 1 item"),
        ({"optimizers": ["sgdm", "sgdm"]}, "optimizers: holds a value twice"),
        ({"optimizers": ["sgdm", "adamww"]}, "optimizers: unknown optimizer 'adamww'; did you mean 'adamw'?"),
        ({"optimizer": ["sgdm"]}, "optimizer: unknown key; did you mean 'optimizers'?"),
        ({"tuning": {"point": 3}}, "tuning.point: unknown key; did you mean 'points'?"),
        ({"tuning": {"points": 4}}, "tuning.points: must be odd"),
        ({"config": ...}, "config: missing"),
        ({"name": "Not A Slug"}, "name: string should match pattern"),
        ({"overrides": "seed=1"}, "overrides: input should be a valid array"),
    ],
)
def test_each_problem_of_a_plan_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        load(tmp_path, **changes)
    headline, *lines = str(raised.value).splitlines()
    assert headline.endswith(f"plan.yaml has {len(lines)} problem(s):")
    assert any(line.startswith(f"  {message}") for line in lines), lines


def test_all_problems_of_a_plan_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has 4 problem\(s\)"):
        load(tmp_path, final_seeds=[0], optimizers=["adamww"], name="!", extra=1)


@pytest.mark.parametrize("text", ["", "- 1\n", "3\n"])
def test_a_file_that_is_no_plan_is_an_input_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"plan\.yaml has 1 problem"):
        load_plan(path)


# documents about plans

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/plans.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES, ids=[str(yaml.safe_load(text)["name"]) for text in EXAMPLES])
def test_every_example_of_the_documentation_is_a_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    plan = load_plan(path)
    if plan.kept is not None:  # the file of records that the example names
        monkeypatch.chdir(tmp_path)
        tuned = [make_record(b, o, setting=plan.kept.setting) for b in plan.backbones for o in plan.optimizers]
        places = {(r.role, r.run_id): f"lab/{r.repository()}/{r.path()}" for r in tuned}
        Path(plan.kept.source).write_bytes(records_parquet(tuned, places, {}))
    sweep = Sweep(plan, cast(Any, SimpleNamespace(threads=1)), [])
    assert len(sweep.cells) == len(list(plan.cells()))
    trials = [len(set(cell.next_trials())) for cell in sweep.cells]
    assert set(trials) == {0} if plan.kept is not None else min(trials) >= 5


def test_the_documentation_has_an_example_of_each_use() -> None:
    plans = [yaml.safe_load(text) for text in EXAMPLES]
    assert {plan.get("tuning", {}).get("protocol") for plan in plans} == {None, "grid", "random", "halving"}
    assert {key for plan in plans for key in plan.get("tuning", {})} >= {"decay_points", "grid_of", "selection"}
    assert any("variants" in plan and isinstance(plan["config"], list) for plan in plans)


def test_the_schema_for_editors_is_that_of_the_code() -> None:
    """``python -m bocb_hf.sweep.json_schema > recipes/sweeps/plan.schema.json`` writes it anew."""
    committed = json.loads((ROOT / "recipes/sweeps/plan.schema.json").read_text(encoding="utf-8"))
    assert committed == plan_schema()
    for model, properties in (
        (SweepPlan, committed["properties"]),
        (Tuning, committed["$defs"]["Tuning"]["properties"]),
        (PretrainedAxis, committed["$defs"]["PretrainedAxis"]["properties"]),
        (KeptRates, committed["$defs"]["KeptRates"]["properties"]),
    ):
        assert set(properties) - {"seed"} == set(model.model_fields)
        assert {name for name in properties if "description" not in properties[name]} <= {
            *("name", "backbones", "optimizers", "final_seeds", "seed")
        }
