"""The axis ``pretrained`` of a plan: which checkpoints, in which order, and equal trials for all pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from fine_tuned import make_pretrained

from bocb_hf.errors import InputError
from bocb_hf.report.primaries import find_primaries
from bocb_hf.store.local import LocalStore
from bocb_hf.store.write import write_run
from bocb_hf.sweep.cells import floor_cells, plan_cells, run_overrides
from bocb_hf.sweep.plan import SweepPlan, load_plan
from bocb_hf.sweep.protocols import Trial

PLAN: dict[str, Any] = {
    "edition": 2,
    "name": "transfer",
    "config": "fashion_mnist_subset/demo",
    "backbones": ["tiny_resnet", "tiny_vit"],
    "optimizers": ["sgdm", "adamw"],
    "pretrained": {"checkpoints": {"sgdm": ["pre/{backbone}-sgdm/1", "pre/{backbone}-sgdm/2"], "lamb": ["a/b", "c/d"]}},
    "tuning": {"protocol": "grid", "points": 3, "seeds": [100, 101]},
    "final_seeds": [1, 2, 3, 4],
    "primary": "contrast",
}


def load(tmp_path: Path, changes: dict[str, Any] | None = None) -> SweepPlan:
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(PLAN | (changes or {})))
    return load_plan(path)


def test_each_level_is_a_setting_of_its_own_whose_seeds_take_the_checkpoints_in_turn(tmp_path: Path) -> None:
    plan = load(tmp_path)
    cells = plan_cells(plan, run_overrides(plan, 1, []))
    assert len(cells) == 8
    cell = next(cell for cell in cells if str(cell) == "tiny_vit from sgdm × sgdm")
    assert cell.names()[1:] == ("demo_sgdm", "tiny_vit", "sgdm")
    trials = [cell.trial(place) for place in cell.next_trials()]
    assert [(t.seed, t.backbone.pretrained) for t in trials if t.optimizer.lr == trials[0].optimizer.lr] == [
        (100, "pre/tiny_vit-sgdm/1"),
        (101, "pre/tiny_vit-sgdm/2"),
    ]
    for place in cell.next_trials():
        cell.trials[place] = Trial(80.0, 0.5, 1000)
    while places := cell.next_trials():
        cell.trials |= dict.fromkeys(places, Trial(70.0, 0.6, 1000))
    finals = list(cell.finals())
    assert [(f.seed, str(f.backbone.pretrained)[-1]) for f in finals] == [(1, "1"), (2, "2"), (3, "1"), (4, "2")]
    assert len({f.optimizer.lr for f in finals}) == 1 and finals[0].setting == "demo_sgdm"


def test_every_pair_gets_as_many_trials_around_the_centre_of_the_plain_setting(tmp_path: Path) -> None:
    plan = load(tmp_path)
    cells = plan_cells(plan, run_overrides(plan, 1, []))
    assert {len(cell.next_trials()) for cell in cells} == {6}
    by_optimizer = {
        c.place.optimizer: {d.space for d in cells if d.place.optimizer == c.place.optimizer} for c in cells
    }
    assert all(len(spaces) == 1 for spaces in by_optimizer.values())
    plain = plan_cells(load(tmp_path, {"pretrained": None}), ())[0]
    assert plain.space.points() == cells[0].space.points() and str(plain) == "tiny_resnet × sgdm"


def test_floors_are_of_random_weights_and_the_primary_statistic_is_known_to_every_level(tmp_path: Path) -> None:
    plan = load(tmp_path)
    cells = floor_cells(plan_cells(plan, ()))["frozen_backbone"]
    assert [(c.floor_config().backbone.name, c.floor_config().backbone.pretrained) for c in cells] == [
        ("tiny_resnet", None),
        ("tiny_vit", None),
    ]
    assert set(find_primaries(str(tmp_path / "plan.yaml"))) == {"demo_sgdm", "demo_lamb"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretrained": {}}, "give store, setting, optimizers and seeds"),
        ({"pretrained": {"store": "x", "setting": "s", "optimizers": ["sgdm"]}}, "give store, setting, optimizers and"),
        ({"pretrained": PLAN["pretrained"] | {"store": "x"}}, "give either checkpoints, or store"),
        ({"pretrained": {"checkpoints": {"a": ["x"], "b": ["x", "y"]}}}, "give every level as many"),
        ({"final_seeds": [1, 2, 3]}, "give a multiple of 2"),
        ({"overrides": ["backbone.pretrained=x"]}, "leave it out of overrides and variants"),
        ({"pretrained": {"store": "x", "setting": "s", "optimizers": ["sgdmm"], "seeds": [1]}}, "did you mean 'sgdm'"),
        (
            {"pretrained": {"store": "x", "setting": "s", "optimizers": ["sgdm"] * 2, "seeds": [1]}},
            "holds a value twice",
        ),
    ],
)
def test_a_wrong_axis_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(tmp_path, changes)


def fill(root: Path, **changes: Any) -> None:
    for backbone in PLAN["backbones"]:
        for optimizer in ("sgdm", "lamb"):
            for seed in (1, 2):
                record = make_pretrained(optimizer, backbone, seed=seed, **changes)
                folder = root / "weights"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "model.safetensors").write_bytes(b"w")
                (folder / "config.json").write_text("{}")
                write_run(LocalStore(root), "me", record, folder, False)


def test_the_checkpoints_of_a_store_are_found_by_setting_optimizer_and_seed(tmp_path: Path) -> None:
    store = tmp_path / "store"
    fill(store)
    axis = {"store": str(store), "setting": "pretrain", "optimizers": ["sgdm", "lamb"], "seeds": [2, 1]}
    plan = load(tmp_path, {"pretrained": axis})
    starts = {(c.place.backbone, c.place.pretrained): c.starts for c in plan_cells(plan, ())}
    assert len(starts) == 4
    for (backbone, level), found in starts.items():
        folders = [Path(name) for name in found]
        assert [folder.name for folder in folders] == ["2", "1"]
        assert all((folder / "record.json").is_file() for folder in folders)
        assert all(backbone in str(folder) and level in str(folder) for folder in folders)
    missing = load(tmp_path, {"pretrained": axis | {"seeds": [1, 5]}})
    with pytest.raises(
        InputError, match=r"holds no completed final run of setting 'pretrain' for tiny_resnet × sgdm seed 5"
    ):
        plan_cells(missing, ())


def test_seeds_of_several_configurations_are_no_draws_of_one_factor(tmp_path: Path) -> None:
    store = tmp_path / "store"
    fill(store)
    other = make_pretrained("sgdm", "tiny_resnet", seed=3, lr=0.5)
    write_run(LocalStore(store), "me", other, store / "weights", False)
    axis = {"store": str(store), "setting": "pretrain", "optimizers": ["sgdm"], "seeds": [1, 3]}
    plan = load(tmp_path, {"pretrained": axis, "backbones": ["tiny_resnet"]})
    with pytest.raises(InputError, match=r"tiny_resnet × sgdm .* are of 2 configurations"):
        plan_cells(plan, ())
