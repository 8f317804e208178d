"""Every value of a configuration can be overridden, and changes nothing else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from field_paths import leaves, value_at

from bocb_hf.errors import InputError
from bocb_hf.runs.config import (
    RunConfig,
)
from bocb_hf.runs.load_config import build_run_config
from bocb_hf.runs.tuned import Tuned, TunedAxis

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


def test_a_trial_was_chosen_by_nobody(minimal: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="tuned belongs to role=final"):
        build_run_config(minimal, ["role=trial", f"tuned={OVERRIDES['tuned'][0]}"])
