"""Settings: what is wrong with one is said with its key, all of it together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.resolve import resolve_hyperparameters
from bocb_hf.runs.load_config import build_run_config, load_run_config


def problems(data: dict[str, Any], *overrides: str, **options: Any) -> list[str]:
    """The lines of the error, without its headline."""
    with pytest.raises(InputError) as raised:
        build_run_config(data, overrides, **options)
    headline, *lines = str(raised.value).splitlines()
    assert headline == f"configuration has {len(lines)} problem(s):"
    return [line.strip() for line in lines]


def test_all_problems_are_reported_together(minimal: dict[str, Any]) -> None:
    del minimal["training"]
    minimal["optimizer"] = {"name": "adamww", "hyperparameters": {}}
    minimal["data"]["image_sise"] = 32
    minimal["auxiliary"] = {}

    def check_backbone(name: str) -> None:
        raise InputError(f"no timm model is called {name!r}")

    found = problems(
        minimal,
        "seed=three",
        "nonsense",
        "data.name.deeper=1",
        "optimizer.lr=.nan",
        "data.revision=[1",
        "runtime.log_evry=3",
        check_backbone=check_backbone,
    )
    expected = [
        "'nonsense': not an override; write section.key=value, for example optimizer.lr=0.01",
        "data.name.deeper: name is a value, not a section",
        "override data.revision: not valid YAML:",
        "backbone.name: no timm model is called 'tiny_vit'",
        "optimizer.name: unknown optimizer 'adamww'; did you mean 'adamw'?",
        "data.image_sise: unknown key; did you mean 'image_size'?",
        "training: missing; give it in the YAML file or as training=VALUE",
        "optimizer.lr: input should be a finite number",
        "seed: input should be a valid integer",
        "runtime.log_evry: unknown key; did you mean 'log_every'?",
        "auxiliary: unknown key; known here: setting, backbone, optimizer,",
    ]
    for start in expected:
        assert sum(line.startswith(start) for line in found) == 1, (start, found)
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainin.epochs=3", "trainin: unknown key; did you mean 'training'?"),
        ("training.epoch=3", "training.epoch: unknown key; did you mean 'epochs'?"),
        ("training.zzz=0.1", "training.zzz: unknown key; known here: epochs,"),
        ("optimizer.weigth_decay=0.1", "optimizer.weigth_decay: unknown key; did you mean 'weight_decay'?"),
        ("optimizer.name=adamww", "optimizer.name: unknown optimizer 'adamww'; did you mean 'adamw'?"),
        ("optimizer.name=AdamW", "optimizer.name: unknown optimizer 'AdamW'; did you mean 'adamw'?"),
        ("optimizer.hyperparameters.beta3=0.9", "optimizer.hyperparameters: beta3: unknown key; did you mean 'beta"),
        ("optimizer.hyperparameters.momentum=0.9", "optimizer.hyperparameters: momentum: unknown key; known here: be"),
        ("optimizer.hyperparameters.beta1=1.0", "optimizer.hyperparameters: beta1: input should be less than 1"),
        ('optimizer.hyperparameters.beta1="0.9"', "optimizer.hyperparameters: beta1: input should be a valid number"),
        ("optimizer.hyperparameters.beta1=false", "optimizer.hyperparameters: beta1: input should be a valid number"),
        ('seed="3"', "seed: input should be a valid integer"),
        ("seed=3.0", "seed: input should be a valid integer"),
        ("seed=true", "seed: input should be a valid integer"),
        ("seed=", "seed: input should be a valid integer"),
        ("seed=-1", "seed: input should be greater than or equal to 0"),
        ('training.epochs="3"', "training.epochs: input should be a valid integer"),
        ("training.epochs=2.5", "training.epochs: input should be a valid integer"),
        ("training.epochs=0", "training.epochs: input should be greater than or equal to 1"),
        ("training.warmup_epochs=2", "training: warmup_epochs 2.0 must be less than epochs 2"),
        ("training.schedule=linear", "training.schedule: input should be 'cosine', 'step', 'constant' or 'wsd'"),
        ("optimizer.lr=.nan", "optimizer.lr: input should be a finite number"),
        ("optimizer.lr=.inf", "optimizer.lr: input should be a finite number"),
        ("optimizer.lr=1e999", "optimizer.lr: input should be a finite number"),
        ("optimizer.lr=0", "optimizer.lr: input should be greater than 0"),
        ("optimizer.lr=ten", "optimizer.lr: input should be a valid number"),
        ("optimizer=adamw", "optimizer: input should be an object"),
        ("backbone.args.drop=.nan", "backbone.args: out of range float"),
        ("augmentation.horizontal_flip=1", "augmentation.horizontal_flip: input should be a valid boolean"),
        ("runtime.namespace=../up", "runtime.namespace: string should match pattern"),
        ("setting=Has Spaces", "setting: string should match pattern"),
        ("role=winner", "role: input should be 'trial' or 'final'"),
        ("seed", "'seed': not an override"),
        ("=3", "'=3': not an override"),
        ("training..epochs=3", "'training..epochs=3': not an override"),
        (".seed=3", "'.seed=3': not an override"),
        ("seed={a: 1, a: 2}", "override seed: not valid YAML: duplicate key"),
        ("seed=!!python/name:os.system", "override seed: not valid YAML: tags are not allowed"),
        ("data.name.x.y=1", "data.name.x.y: name is a value, not a section"),
    ],
)
def test_each_kind_of_problem_names_its_key(minimal: dict[str, Any], override: str, message: str) -> None:
    (found,) = problems(minimal, override)
    assert found.startswith(message)


@pytest.mark.parametrize("section", ["setting", "backbone", "optimizer", "data", "training"])
def test_a_missing_section_is_named(minimal: dict[str, Any], section: str) -> None:
    del minimal[section]
    assert problems(minimal) == [f"{section}: missing; give it in the YAML file or as {section}=VALUE"]


def test_a_date_in_a_configuration_is_a_string_and_no_crash(tmp_path: Path, minimal: dict[str, Any]) -> None:
    path = tmp_path / "dated.yaml"
    path.write_text(yaml.safe_dump(minimal).replace("setting: short", "setting: 2024-01-01"))
    with pytest.raises(InputError, match="setting: string should match pattern"):
        load_run_config(path)


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "3\n", ""])
def test_a_file_without_sections_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"bad\.yaml: must hold sections such as `training:`"):
        load_run_config(path)


def test_the_file_is_named_in_the_headline(tmp_path: Path, minimal: dict[str, Any]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(minimal))
    assert load_run_config(path).setting == "short"
    with pytest.raises(InputError, match=r"mine\.yaml has 1 problem\(s\)"):
        load_run_config(path, ["sed=1"])


def test_nothing_can_be_changed_afterwards(minimal: dict[str, Any]) -> None:
    config = build_run_config(minimal)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3  # type: ignore[misc] - frozen, which is the test
    with pytest.raises(ValueError, match="frozen"):
        config.training.epochs = 3  # type: ignore[misc] - frozen, which is the test


def test_hyperparameters_are_resolved_over_the_defaults_of_the_row() -> None:
    assert resolve_hyperparameters(OPTIMIZERS.get("adamw"), {"beta2": 0.95}) == {
        "beta1": 0.9,
        "beta2": 0.95,
        "eps": 1e-8,
    }
    assert resolve_hyperparameters(OPTIMIZERS.get("sgdm"), {"momentum": 0}) == {"momentum": 0.0}
    for row in OPTIMIZERS:
        assert resolve_hyperparameters(row, {}) == row.hyperparameters().model_dump()
        with pytest.raises(InputError, match="lr: unknown key"):
            resolve_hyperparameters(row, {"lr": 0.1})
