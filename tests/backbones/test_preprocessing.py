"""A fine-tuned run normalises as its checkpoint was trained, and everything that loads it does the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
import timm
import torch
from backbone_cases import identity_of
from runs import folder_of, make

from bocb_hf.backbones.build import build_backbone, resolve_backbone
from bocb_hf.backbones.pretrained import read_preprocessing
from bocb_hf.engine.prepare import prepare_run
from bocb_hf.engine.repetition import sections_of
from bocb_hf.engine.run import train_run
from bocb_hf.engine.trained import TrainedClassifier, load_backbone
from bocb_hf.engine.verify import verify_run
from bocb_hf.errors import InputError
from bocb_hf.runs.config import BackboneConfig
from bocb_hf.runs.load_config import build_run_config
from bocb_hf.runs.preprocessing import Preprocessing

MEAN, STD = (0.5, 0.25, 0.125), (0.5, 1.0, 0.25)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A tiny network whose configuration states a mean, a standard deviation and an interpolation of its own."""
    from bocb_hf.engine.export import export_model

    folder = tmp_path / "checkpoint"
    source = resolve_backbone(BackboneConfig(name="tiny_mixer"), 0.0, 32)
    identity = identity_of(source, 32)
    identity = identity.model_copy(update={"data": identity.data.model_copy(update={"num_classes": 7})})
    export_model(build_backbone(source, 7, 32, seed=0), identity, tuple("abcdefg"), folder)
    describe(folder, mean=MEAN, std=STD, interpolation="bilinear")
    return folder


def describe(folder: Path, **values: Any) -> None:
    """Changes what config.json says of the preprocessing; None takes it out."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    described = config["pretrained_cfg"] | values
    config["pretrained_cfg"] = {key: value for key, value in described.items() if value is not None}
    path.write_text(json.dumps(config))


def test_a_fine_tuned_run_is_normalised_as_its_checkpoint_everywhere(
    checkpoint: Path, sections: dict[str, Any], small_data: Path
) -> None:
    overrides = ["backbone.name=tiny_mixer", f"backbone.pretrained={checkpoint}", "training.epochs=1"]
    config = make(sections, *overrides)
    record = train_run(config)
    data = record.identity.data
    assert (data.mean, data.std, data.interpolation, data.normalization) == (MEAN, STD, "bilinear", "checkpoint")
    assert record.starting_weights is not None
    assert record.starting_weights.drawn == ["head.bias", "head.weight"]
    folder = folder_of(config, record)
    described = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    assert (described["mean"], described["std"], described["interpolation"]) == ([*MEAN], [*STD], "bilinear")
    # every way of loading gives the images that the run was scored on their very scores
    split: Any = datasets.load_dataset(str(small_data), split="test")
    trained = load_backbone(str(folder), seed=1)
    assert isinstance(trained, TrainedClassifier)
    logits = trained.logits(split["image"][:])
    assert record.correctness is not None
    assert ((logits.argmax(1) == torch.tensor(split["label"][:])).numpy() == record.correctness.bits()).all()
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    # torch's type of a module does not know timm's attribute
    transform: Any = timm.data.create_transform(**timm.data.resolve_data_config(network.pretrained_cfg))  # type: ignore[attr-defined]
    with torch.no_grad():
        theirs = network(torch.stack([transform(image.convert("RGB")) for image in split["image"][:]]))
    torch.testing.assert_close(theirs, logits, rtol=0, atol=1e-5)
    assert verify_run(str(folder), 1, 0.01, str(small_data)).measured == record.correctness.k
    # trained again from its record it is the same run, and with the data's values another
    again = sections_of(record)
    again["data"]["name"], again["backbone"]["pretrained"] = str(small_data), str(checkpoint)
    assert prepare_run(build_run_config(again)).identity == record.identity
    own = prepare_run(make(sections, *overrides, "data.normalization=data"))
    assert own.identity.config_hash() != record.config_hash
    assert own.identity.data.mean != MEAN and "normalization" not in own.identity.data.model_dump()


def test_a_run_from_scratch_keeps_its_identity(sections: dict[str, Any]) -> None:
    prepared = prepare_run(make(sections))
    assert not {"normalization", "interpolation"} & prepared.identity.data.model_dump().keys()
    assert prepare_run(make(sections, "data.normalization=data")).run_id == prepared.run_id
    with pytest.raises(InputError, match=r"data\.normalization: there is no checkpoint"):
        prepare_run(make(sections, "data.normalization=checkpoint"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mean": None}, "does not say with which 'mean'"),
        ({"std": [0.5, 0.0, 0.5]}, "std above 0"),
        ({"mean": [0.5]}, "is not one number for each of three channels"),
        ({"mean": ["a", "b", "c"]}, "cannot be used"),
        ({"interpolation": "random"}, "interpolation 'random' is none of"),
    ],
    ids=str,
)
def test_a_checkpoint_that_does_not_say_it_is_refused_unless_the_data_counts(
    values: dict[str, Any], message: str, checkpoint: Path, sections: dict[str, Any]
) -> None:
    describe(checkpoint, **values)
    overrides = ["backbone.name=tiny_mixer", f"backbone.pretrained={checkpoint}"]
    with pytest.raises(InputError, match=r"backbone\.pretrained: .*" + message + ".*data.normalization=data"):
        prepare_run(make(sections, *overrides))
    assert prepare_run(make(sections, *overrides, "data.normalization=data")).identity.data.mean != MEAN


PROCESSORS: dict[str, tuple[dict[str, Any], Preprocessing]] = {
    "values": ({"image_mean": MEAN, "image_std": STD, "resample": 2}, Preprocessing(MEAN, STD, "bilinear")),
    "not normalised": ({"do_normalize": False}, Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))),
    "scaled to -1 .. 1": (
        {"do_normalize": False, "rescale_factor": 1 / 127.5, "rescale_offset": True},
        Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ),
    "not scaled": (
        {"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [51.0] * 3, "resample": 0},
        Preprocessing((0.5, 0.5, 0.5), (0.2, 0.2, 0.2), "nearest"),
    ),
    "one number": ({"image_mean": 0.5, "image_std": 0.25}, Preprocessing((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))),
}


@pytest.mark.parametrize("kind", PROCESSORS)
def test_image_processors_of_transformers(kind: str, tmp_path: Path) -> None:
    config, expected = PROCESSORS[kind]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    found = read_preprocessing(tmp_path, "transformers:vit")
    assert found.interpolation == expected.interpolation
    assert found.mean == pytest.approx(expected.mean) and found.std == pytest.approx(expected.std)


def test_image_processors_that_cannot_be_followed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no preprocessor_config\.json"):
        read_preprocessing(tmp_path, "transformers:vit")
    for config, message in (
        ({"do_flip_channel_order": True}, "swaps red and blue"),
        ({"image_std": STD}, "does not say with which 'image_mean'"),
        ({"image_mean": MEAN, "image_std": STD, "resample": 9}, "resample 9"),
        ([], "cannot be used"),
    ):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
        with pytest.raises(InputError, match=message):
            read_preprocessing(tmp_path, "transformers:vit")


def test_a_transformers_run_exports_what_it_used(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForImageClassification

    from bocb_hf.engine.export import export_model

    folder = tmp_path / "vit"
    args = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    AutoModelForImageClassification.from_config(
        AutoConfig.for_model("vit", **args, image_size=32, patch_size=8, num_labels=3)
    ).save_pretrained(folder)
    source = resolve_backbone(BackboneConfig(name=f"transformers:{folder}"), 0.0, 32)
    identity = identity_of(source, 32)
    data = identity.data.model_copy(update={"mean": MEAN, "std": STD, "interpolation": "nearest"})
    model = build_backbone(source, 10, 32, seed=0)
    export_model(model, identity.model_copy(update={"data": data}), tuple("abcdefghij"), tmp_path / "out")
    assert read_preprocessing(tmp_path / "out", "transformers:vit") == Preprocessing(MEAN, STD, "nearest")
