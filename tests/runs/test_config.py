"""Configuration: all problems at once, every value can be overridden, and the hash covers what decides a result."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import make_record
from fine_tuned import make_pretrained, pretraining_of
from pydantic import BaseModel

from bocb_hf.commands.list import list_rows
from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.resolve import resolve_hyperparameters
from bocb_hf.resources import find_config
from bocb_hf.runs.config import (
    AugmentationConfig,
    BackboneConfig,
    DataConfig,
    RunConfig,
    TrainingConfig,
    TrainingSection,
)
from bocb_hf.runs.identity import DataIdentity, Identity
from bocb_hf.runs.load_config import build_run_config, load_run_config
from bocb_hf.runs.tuned import Tuned, TunedAxis
from bocb_hf.schema import Frozen, parse_strict
from bocb_hf.sweep.plan import load_plan

ROOT = Path(__file__).resolve().parents[2]
HEADER = ["Purpose", "Command", "Published", "Measured", "Cost"]
NAMES = ["backbone.name=tiny_resnet", "optimizer.name=adamw"]


@pytest.fixture
def minimal() -> dict[str, Any]:
    return {
        "setting": "short",
        "backbone": {"name": "tiny_vit"},
        "optimizer": {"name": "adamw"},
        "data": {"name": "fashion_mnist_subset", "image_size": 32},
        "training": {"epochs": 2, "batch_size": 25},
    }


def problems(data: dict[str, Any], *overrides: str, **options: Any) -> list[str]:
    """The lines of the error, without its headline."""
    with pytest.raises(InputError) as raised:
        build_run_config(data, overrides, **options)
    headline, *lines = str(raised.value).splitlines()
    assert headline == f"configuration has {len(lines)} problem(s):"
    return [line.strip() for line in lines]


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted names of all fields that are not models themselves."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from leaves(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def value_at(config: Any, path: str) -> Any:
    for part in path.split("."):
        config = config[part] if isinstance(config, dict) else getattr(config, part)
    return config


# what is wrong with a configuration


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


# overrides

OVERRIDES: dict[str, tuple[str, Any]] = {  # text and value of each field
    "data.test_image_size": ("64", 64),
    "data.test_crop_ratio": ("0.875", 0.875),
    "data.streaming": ("true", True),
    "training.step_epochs": ("[0.5, 1.5]", (0.5, 1.5)),
    "training.step_factor": ("0.2", 0.2),
    "training.decay_epochs": ("0.5", 0.5),
    "training.loss": ("bce", "bce"),
    "training.bce_target_threshold": ("0.2", 0.2),
    "training.layer_decay": ("0.75", 0.75),
    "training.linear_probe": ("true", True),
    "training.cached_features": ("true", True),
    "augmentation.repeats": ("3", 3),
    "augmentation.crop_scale": ("[0.08, 1]", (0.08, 1.0)),
    "augmentation.crop_aspect": ("[0.5, 2]", (0.5, 2.0)),
    "augmentation.crop_padding_mode": ("reflect", "reflect"),
    "augmentation.randaugment_magnitude": ("9", 9.0),
    "augmentation.randaugment_std": ("0", 0.0),
    "augmentation.random_erasing": ("0.25", 0.25),
    "augmentation.mixup_alpha": ("0.8", 0.8),
    "augmentation.cutmix_alpha": ("1", 1.0),
    "runtime.cache_dir": ("cache", "cache"),
    "runtime.memory_budget_gb": ("0.5", 0.5),
    "runtime.workers": ("0", 0),
    "runtime.channels_last": ("true", True),
    "runtime.compile_model": ("true", True),
    "runtime.compile_optimizer": ("true", True),
    "runtime.cuda_graphs": ("true", True),
    "runtime.deterministic": ("true", True),
    "runtime.tf32": ("true", True),
    "runtime.portable": ("true", True),
    "runtime.tracker": ("tensorboard", "tensorboard"),
    "setting": ("other.1", "other.1"),
    "backbone.name": ("resnet18.a1_in1k", "resnet18.a1_in1k"),
    "backbone.args": ("{depths: [1, 2], scale: 1e-6}", {"depths": [1, 2], "scale": 1e-6}),
    "backbone.pretrained": ("a1_in1k", "a1_in1k"),
    "optimizer.name": ("lars", "lars"),
    "optimizer.lr": ("3e-4", 3e-4),
    "optimizer.weight_decay": ("0", 0.0),
    "optimizer.grid": ("released", "released"),
    "optimizer.hyperparameters": ("{beta1: 0.8}", {"beta1": 0.8}),
    "data.name": ("org/name", "org/name"),
    "data.revision": ("abcdef0", "abcdef0"),
    "data.image_size": ("64", 64),
    "data.validation_fraction": ("0.2", 0.2),
    "data.test_fraction": ("0.25", 0.25),
    "data.duplicates": ("group", "group"),
    "data.image_column": ("picture", "picture"),
    "data.label_column": ("kind", "kind"),
    "data.evaluation_split": ("validation", "validation"),
    "data.normalization": ("data", "data"),
    "training.epochs": ("7", 7),
    "training.batch_size": ("128", 128),
    "training.schedule": ("constant", "constant"),
    "training.warmup_epochs": ("0.5", 0.5),
    "training.min_lr": ("1e-5", 1e-5),
    "training.label_smoothing": ("0.1", 0.1),
    "training.drop_path": ("0.05", 0.05),
    "training.clip_grad_norm": ("5", 5.0),
    "training.ema_decay": ("0.99", 0.99),
    "training.no_decay": ("norms_biases_embeddings", "norms_biases_embeddings"),
    "training.precision": ("bf16", "bf16"),
    "training.divergence_epochs": ("0.5", 0.5),
    "training.divergence_rule": ("first_step", "first_step"),
    "augmentation.crop_padding": ("4", 4),
    "augmentation.horizontal_flip": ("true", True),
    "task.name": ("detection", "detection"),
    "task.options": ("{channels: 64}", {"channels": 64}),
    "seed": ("11", 11),
    "role": ("trial", "trial"),
    "tuned": (
        "{protocol: grid, selection: best, seeds: [0], axes: [{name: lr, centre: 0.1, factor: 3}]}",
        Tuned(protocol="grid", selection="best", seeds=(0,), axes=(TunedAxis(name="lr", centre=0.1, factor=3.0),)),
    ),
    "runtime.store": ("elsewhere", "elsewhere"),
    "runtime.local_store": ("nearby", "nearby"),
    "runtime.inspect_at": ("[0.1, 1]", (0.1, 1.0)),
    "runtime.namespace": ("me", "me"),
    "runtime.state_dir": ("there", "there"),
    "runtime.threads": ("2", 2),
    "runtime.accumulation": ("4", 4),
    "runtime.log_every": ("1", 1),
    "runtime.save_every": ("5", 5),
    "runtime.supersede": ("true", True),
}


# what makes a field of any use
COMPANIONS: dict[str, list[str]] = {
    "runtime.cuda_graphs": ["runtime.compile_model=true"],
    "task.options": ["task.name=detection"],
    "training.step_epochs": ["training.schedule=step"],
    "training.step_factor": ["training.schedule=step", "training.step_epochs=[1]"],
    "training.decay_epochs": ["training.schedule=wsd"],
    "training.bce_target_threshold": ["training.loss=bce"],
    "training.divergence_epochs": ["training.divergence_rule=first_step"],
    "training.cached_features": ["training.linear_probe=true"],
    "augmentation.crop_aspect": ["augmentation.crop_scale=[0.5, 1]"],
    "augmentation.crop_padding_mode": ["augmentation.crop_padding=4"],
    "augmentation.randaugment_std": ["augmentation.randaugment_magnitude=9"],
}


def test_the_table_of_overrides_covers_every_field() -> None:
    assert len(OVERRIDES) >= 69
    assert sorted(OVERRIDES) == sorted(leaves(RunConfig))


@pytest.mark.parametrize("path", sorted(leaves(RunConfig)))
def test_every_value_can_be_overridden(minimal: dict[str, Any], path: str) -> None:
    text, value = OVERRIDES[path]
    before, given = build_run_config(minimal), copy.deepcopy(minimal)
    companions = COMPANIONS.get(path, [])
    config = build_run_config(given, [f"{path}={text}", *companions])
    assert value_at(config, path) == value
    assert value_at(before, path) != value, "the test must change something"
    for other in leaves(RunConfig):
        if other != path and other not in {c.partition("=")[0] for c in companions}:
            assert value_at(config, other) == value_at(before, other)
    assert given == minimal, "the caller's data must stay as it was"


def test_values_inside_free_dictionaries_can_be_overridden(minimal: dict[str, Any]) -> None:
    config = build_run_config(
        minimal, ["backbone.args.depths=[1, 1]", "backbone.args.a.b=2", "optimizer.hyperparameters.eps=1e-6"]
    )
    assert config.backbone.args == {"depths": [1, 1], "a": {"b": 2}}
    assert config.optimizer.hyperparameters == {"eps": 1e-6}


def test_the_later_override_wins(minimal: dict[str, Any]) -> None:
    assert build_run_config(minimal, ["seed=1", "optimizer.lr=0.1", "seed=2"]).seed == 2
    assert build_run_config(minimal, ["data.image_size=64", "data={name: x, image_size: 8}"]).data.image_size == 8
    assert build_run_config(minimal, ["data={name: x, image_size: 8}", "data.image_size=64"]).data.image_size == 64


def test_an_empty_section_can_be_filled(minimal: dict[str, Any]) -> None:
    minimal["augmentation"] = None
    assert build_run_config(minimal, ["augmentation.crop_padding=2"]).augmentation.crop_padding == 2


def test_values_may_hold_an_equals_sign(minimal: dict[str, Any]) -> None:
    assert build_run_config(minimal, ["runtime.store=a=b"]).runtime.store == "a=b"


# identity


def every_field(model: Frozen) -> dict[str, Any]:
    """All fields as JSON values; a dump leaves out those that came later and are at their default."""
    return {k: list(v) if isinstance(v, tuple) else v for k in type(model).model_fields for v in [getattr(model, k)]}


IDENTITY: dict[str, Any] = {
    "random_scheme": 1,
    "setting": "demo",
    "backbone": {
        "name": "tiny_vit",
        "architecture": "vit_tiny_patch16_224",
        "args": {"depth": 2, "scale": 1e-06},
        "pretrained": "org/name",
        "pretrained_sha256": "a" * 64,
    },
    "optimizer": {
        "name": "adamw",
        "lr": 0.001,
        "weight_decay": 0.05,
        "hyperparameters": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-08},
    },
    "training": every_field(TrainingConfig(epochs=4, batch_size=64)),
    "augmentation": every_field(AugmentationConfig()),
    "data": {
        "name": "fashion_mnist_subset",
        "revision": "2337f0bebb5963476df77a1aaafb5ca23570a538",
        "image_column": "image",
        "label_column": "label",
        "image_size": 32,
        "num_classes": 10,
        "validation_fraction": 0.1,
        "validation_indices_sha256": "b" * 64,
        "test_fraction": None,
        "normalization": "data",
        "interpolation": "bicubic",
        "test_indices_sha256": None,
        "evaluation_split": "test",
        "test_image_size": None,
        "test_crop_ratio": 1.0,
        "streaming": False,
        "mean": [0.2852, 0.2852, 0.2852],
        "std": [0.3528, 0.3528, 0.3528],
    },
}

# another valid value for each field
CHANGED: dict[str, Any] = {
    "random_scheme": 2,
    "setting": "other",
    "backbone.name": "tiny_vit2",
    "backbone.architecture": "vit_small_patch16_224",
    "backbone.args": {"depth": 3, "scale": 1e-06},
    "backbone.pretrained": "org/other",
    "backbone.pretrained_sha256": "c" * 64,
    "backbone.pretraining": pretraining_of(make_pretrained()),
    "optimizer.name": "lamb",
    "optimizer.lr": 0.0010000000000000002,
    "optimizer.weight_decay": 0.0,
    "optimizer.hyperparameters": {"beta1": 0.9, "beta2": 0.999, "eps": 1.1e-08},
    "training.epochs": 5,
    "training.batch_size": 65,
    "training.schedule": "constant",
    "training.warmup_epochs": 0.5,
    "training.min_lr": 1e-9,
    "training.label_smoothing": 0.1,
    "training.drop_path": 0.1,
    "training.clip_grad_norm": 1.0,
    "training.ema_decay": 0.5,
    "training.no_decay": "norms_biases_embeddings",
    "training.precision": "bf16",
    "training.divergence_epochs": 2.0,
    "training.divergence_rule": "end",
    "training.step_epochs": [1.0],
    "training.step_factor": 0.5,
    "training.decay_epochs": 1.0,
    "training.loss": "bce",
    "training.bce_target_threshold": 0.2,
    "training.layer_decay": 0.75,
    "training.linear_probe": True,
    "training.cached_features": True,
    "augmentation.repeats": 3,
    "augmentation.crop_scale": [0.08, 1.0],
    "augmentation.crop_aspect": [0.5, 2.0],
    "augmentation.crop_padding": 4,
    "augmentation.crop_padding_mode": "reflect",
    "augmentation.horizontal_flip": True,
    "augmentation.randaugment_magnitude": 9.0,
    "augmentation.randaugment_std": 0.0,
    "augmentation.random_erasing": 0.25,
    "augmentation.mixup_alpha": 0.8,
    "augmentation.cutmix_alpha": 1.0,
    "data.test_image_size": 64,
    "data.test_crop_ratio": 0.875,
    "data.streaming": True,
    "data.name": "fashion_mnist",
    "data.revision": "3337f0bebb5963476df77a1aaafb5ca23570a538",
    "data.image_column": "img",
    "data.label_column": "labels",
    "data.image_size": 28,
    "data.num_classes": 11,
    "data.validation_fraction": 0.2,
    "data.validation_indices_sha256": "d" * 64,
    "data.test_fraction": 0.25,
    "data.test_indices_sha256": "e" * 64,
    "data.duplicates": "group",
    "data.evaluation_split": "validation",
    "data.interpolation": "bilinear",
    "data.normalization": "checkpoint",
    "data.mean": [0.2852, 0.2852, 0.2853],
    "data.std": [0.3528, 0.3528, 0.3529],
    "task.name": "detection",
    "task.options": {"channels": 64},
}


def changed(path: str) -> Identity:
    """The identity with one field changed, without what fields must agree on."""
    identity = parse_strict(Identity, IDENTITY)
    section, _, name = path.rpartition(".")
    value = tuple(CHANGED[path]) if isinstance(CHANGED[path], list) else CHANGED[path]
    if not section:
        return identity.model_copy(update={name: value})
    inner = getattr(identity, section).model_copy(update={name: value})
    return identity.model_copy(update={section: inner})


def test_the_hash_of_an_identity_is_pinned() -> None:
    """Changing this value makes every published run unpairable; it needs a new schema version."""
    assert parse_strict(Identity, IDENTITY).config_hash() == "ab66ef3cb942"


def test_the_hash_changes_with_every_scientific_field() -> None:
    names = sorted(leaves(Identity))
    assert len(names) == 65
    assert sorted(CHANGED) == names
    before = parse_strict(Identity, IDENTITY)
    hashes = {before.config_hash()}
    for path in names:
        assert value_at(before, path) != CHANGED[path]
        hashes.add(changed(path).config_hash())
    assert len(hashes) == len(names) + 1


def test_fields_that_came_later_leave_older_hashes_alone() -> None:
    """An identity as it was stored before they existed is read, written and hashed as it was."""
    before = {
        "training": ("epochs", "batch_size", "schedule", "warmup_epochs", "min_lr", "label_smoothing", "drop_path"),
        "augmentation": ("crop_padding", "horizontal_flip"),
    }
    before["training"] += ("clip_grad_norm", "ema_decay", "no_decay", "precision", "divergence_epochs")
    old = copy.deepcopy(IDENTITY)
    for section, names in before.items():
        old[section] = {name: old[section][name] for name in names}
    later = ("test_image_size", "test_crop_ratio", "streaming", "test_fraction", "test_indices_sha256")
    for name in (*later, "normalization", "interpolation"):
        del old["data"][name]
    identity = parse_strict(Identity, old)
    assert identity == parse_strict(Identity, IDENTITY)
    assert identity.model_dump(mode="json") == old


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    def reverse(node: Any) -> Any:
        return {key: reverse(node[key]) for key in reversed(node)} if isinstance(node, dict) else node

    turned = reverse(IDENTITY)
    assert list(turned) == list(reversed(IDENTITY))
    assert list(turned["optimizer"]["hyperparameters"]) == ["eps", "beta2", "beta1"]
    assert parse_strict(Identity, turned).config_hash() == parse_strict(Identity, IDENTITY).config_hash()


def test_an_integer_for_a_float_gives_the_same_hash() -> None:
    a, b = copy.deepcopy(IDENTITY), copy.deepcopy(IDENTITY)
    a["optimizer"]["weight_decay"], b["optimizer"]["weight_decay"] = 0, 0.0
    assert parse_strict(Identity, a).config_hash() == parse_strict(Identity, b).config_hash()


def test_a_trial_was_chosen_by_nobody(minimal: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="tuned belongs to role=final"):
        build_run_config(minimal, ["role=trial", f"tuned={OVERRIDES['tuned'][0]}"])


def test_only_what_does_not_change_a_result_is_outside_the_identity() -> None:
    assert set(RunConfig.model_fields) - set(Identity.model_fields) == {"seed", "role", "tuned", "runtime"}
    # its type allows None, which it is not here
    assert set(BackboneConfig.model_fields) <= set(Identity.model_fields["backbone"].annotation.model_fields)  # type: ignore[union-attr]
    assert set(DataConfig.model_fields) <= set(DataIdentity.model_fields)
    assert set(TrainingSection.model_fields) == set(TrainingConfig.model_fields)
    assert Identity.model_fields["training"].annotation is TrainingConfig
    assert Identity.model_fields["augmentation"].annotation is RunConfig.model_fields["augmentation"].annotation


def test_the_seed_is_in_the_run_id_but_not_in_the_hash() -> None:
    one, two = make_record(seed=1), make_record(seed=2)
    assert one.config_hash == two.config_hash
    assert (one.run_id, two.run_id) == (f"{one.config_hash}-1", f"{one.config_hash}-2")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("random_scheme", 3),
        ("optimizer.lr", "0.001"),
        ("backbone.pretrained", None),
        ("backbone.pretrained_sha256", None),
        ("data.mean", [0.1, 0.1]),
        ("data.revision", "main"),
        ("backbone.args", {"x": float("nan")}),
        ("seed", 1),
    ],
)
def test_an_invalid_identity_is_refused(path: str, value: Any) -> None:
    data = copy.deepcopy(IDENTITY)
    section, _, name = path.rpartition(".")
    (data[section] if section else data)[name] = value
    with pytest.raises(ValueError, match=r"validation error"):
        parse_strict(Identity, data)


def test_the_split_rule_is_said_in_words() -> None:
    data = parse_strict(Identity, IDENTITY).data
    assert "a stratified 10% of train" in data.split_rule
    imagenet = data.model_copy(update={"validation_fraction": None, "evaluation_split": "validation"})
    assert imagenet.split_rule.endswith("the validation split of the data set counts as test")
    tiny = data.model_copy(update={"validation_indices_sha256": None})
    assert tiny.split_rule == "validation: none, since train is too small for a draw; final runs train on all of train"
    drawn = data.model_copy(update={"test_fraction": 0.25, "test_indices_sha256": "e" * 64})
    assert drawn.split_rule.startswith(
        "test: a stratified 25% of train, the same for every run (SHA-256 of its row num"
    )
    assert "e" * 64 in drawn.split_rule


@pytest.mark.parametrize("changes", [{"test_fraction": 0.2}, {"test_indices_sha256": "e" * 64}])
def test_a_drawn_test_split_has_its_fraction_and_its_rows(changes: dict[str, Any]) -> None:
    data = copy.deepcopy(IDENTITY["data"])
    with pytest.raises(ValueError, match="test_fraction and test_indices_sha256 go together"):
        parse_strict(DataIdentity, data | changes)


# shipped files


def header(path: Path) -> dict[str, str]:
    """The comment at the top: title to text."""
    found: dict[str, str] = {}
    title = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        first, colon, rest = line[1:].strip().partition(":")
        if colon and first in HEADER:
            title, line = first, rest
        found[title] = f"{found.get(title, '')} {line.strip('# ')}".strip()
    return found


CONFIGS = sorted((ROOT / "recipes/configs").rglob("*.yaml"))
SWEEPS = sorted((ROOT / "recipes/sweeps").rglob("*.yaml"))


def test_all_shipped_files_are_collected_and_listed() -> None:
    assert CONFIGS
    assert SWEEPS
    for what, paths in (("settings", CONFIGS), ("sweeps", SWEEPS)):
        names = [line for line in list_rows(what).splitlines() if line and not line.startswith(" ")]
        folder = CONFIGS[0].parent.parent if what == "settings" else SWEEPS[0].parent
        assert names == [str(path.relative_to(folder).with_suffix("")) for path in paths]
    # a file with another ending would be shipped, but neither listed nor tested
    others = [p for p in (ROOT / "recipes").rglob("*.y*ml") if p not in CONFIGS + SWEEPS]
    assert {p.name for p in others if p.parent.name == "accelerate"} == {"cpu.yaml", "multi_gpu.yaml", "fsdp.yaml"}
    assert len(others) == 3


@pytest.mark.parametrize("path", CONFIGS + SWEEPS, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_shipped_file_begins_with_its_headline(path: Path) -> None:
    found = header(path)
    assert list(found) == [key for key in HEADER if key != "Published" or path in CONFIGS]
    assert all(found.values())
    measured = found["Measured"]
    assert measured == "not measured" or any(character.isdigit() for character in measured)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_shipped_setting_parses_and_its_command_runs_it(path: Path) -> None:
    generic = path.parent.name == "generic"  # which leaves data and image size to the user
    assert load_run_config(path, [*NAMES, *(["data.name=mine", "data.image_size=32"] if generic else [])]).setting
    words = shlex.split(header(path)["Command"].replace("\\", " "))
    task = load_run_config(path, words[5:]).task.name
    recipe = "train" if task == "classification" else task
    assert words[:3] == ["accelerate", "launch", f"recipes/{recipe}.py"]
    assert (ROOT / words[2]).is_file()
    assert words[3] == "--config"
    assert find_config(words[4], "recipes/configs") == path
    assert load_run_config(path, words[5:])


@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_shipped_sweep_parses_and_its_command_runs_it(path: Path) -> None:
    plan = load_plan(path)
    words = shlex.split(header(path)["Command"].replace("\\", " "))
    assert words[:2] == ["bocb", "sweep"]
    assert find_config(words[2], "recipes/sweeps") == path
    configs = [find_config(name, "recipes/configs") for name in plan.configs]
    assert set(configs) <= set(CONFIGS)
    checked = 0
    for config in configs:
        for backbone in plan.backbones:
            for optimizer in plan.optimizers:
                load_run_config(config, [f"backbone.name={backbone}", f"optimizer.name={optimizer}", *plan.overrides])
                checked += 1
    assert checked == len(configs) * len(plan.backbones) * len(plan.optimizers) > 0


def test_a_configuration_is_found_by_path_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = CONFIGS[0]
    name = str(shipped.relative_to(ROOT / "recipes/configs").with_suffix(""))
    for given in (name, f"{name}.yaml", f"recipes/configs/{name}.yaml", str(shipped)):
        assert find_config(given, "recipes/configs").samefile(shipped)
    with pytest.raises(InputError, match="no configuration file 'nope'; give a path to a YAML file or one of: ") as no:
        find_config("nope", "recipes/configs")
    assert name in str(no.value)
