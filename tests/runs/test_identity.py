"""What the identity of a run holds, its hash, and what of it is said in words."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from builders import make_record
from field_paths import leaves, value_at
from fine_tuned import make_pretrained, pretraining_of

from bocb_hf.runs.config import AugmentationConfig, BackboneConfig, DataConfig, RunConfig
from bocb_hf.runs.identity import DataIdentity, Identity
from bocb_hf.runs.training_config import TrainingConfig, TrainingSection
from bocb_hf.schema import Frozen, parse_strict


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
