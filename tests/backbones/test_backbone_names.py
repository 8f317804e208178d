"""Backbones without a row: timm models of the Hub, and image classifiers of transformers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from backbone_cases import identity_of, images, resolve
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)
from safetensors.torch import load_file

from bocb_hf.backbones import BACKBONES
from bocb_hf.backbones.build import BackboneSource, build_backbone, resolve_backbone
from bocb_hf.backbones.definition import check_backbone
from bocb_hf.engine.export import export_model
from bocb_hf.engine.run import train_run
from bocb_hf.errors import InputError
from bocb_hf.optim.param_groups import split_parameters
from bocb_hf.runs.config import BackboneConfig
from bocb_hf.runs.load_config import build_run_config


def test_a_timm_model_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    row = BACKBONES.get("tiny_mixer")
    source = resolve(row, 32)
    export_model(build_backbone(source, 10, 32, seed=0), identity_of(source, 32), tuple("abcdefghij"), tmp_path)
    asked: list[tuple[str, str]] = []

    def download(hub_id: str, file: str) -> str:
        asked.append((hub_id, file))
        if not (tmp_path / file).is_file():
            raise EntryNotFoundError(f"no {file}")
        return str(tmp_path / file)

    monkeypatch.setattr("bocb_hf.backbones.definition.hf_hub_download", download)
    scratch = resolve_backbone(BackboneConfig(name="hf-hub:me/mixer"), 0.0, 32)
    assert asked == [("me/mixer", "config.json")] and scratch.family == "unknown"
    assert (scratch.identity.name, scratch.identity.architecture) == ("hf-hub:me/mixer", row.architecture)
    assert scratch.identity.args == source.identity.args and scratch.identity.pretrained is None
    tuned = resolve_backbone(BackboneConfig(name="hf-hub:me/mixer", pretrained="hf-hub:me/mixer"), 0.0, 32)
    assert tuned.identity.pretraining is None and "no record.json lies beside them" in caplog.text
    stored = load_file(tmp_path / "model.safetensors")
    for built, same in ((scratch, False), (tuned, True)):
        weights = build_backbone(built, 10, 32, seed=1).state_dict()
        assert torch.equal(weights["blocks.0.mlp_tokens.fc1.weight"], stored["blocks.0.mlp_tokens.fc1.weight"]) == same


def test_a_model_of_the_hub_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"backbone\.name: cannot get config\.json of 'me/nothing'"):
        resolve_backbone(BackboneConfig(name="hf-hub:me/nothing"), 0.0, 32)
    with pytest.raises(InputError, match="write hf-hub:<organisation>/<name>"):
        check_backbone("hf-hub:nothing")


def test_a_message_says_what_would_have_been_fetched_where_there_is_no_network() -> None:
    with pytest.raises(InputError, match=r"config\.json of 'timm/resnet18\.a1_in1k' from the Hub: .*no connection"):
        resolve_backbone(BackboneConfig(name="resnet18", pretrained="a1_in1k"), 0.0, 224)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RemoteEntryNotFoundError, "holds no such file"),
        (RepositoryNotFoundError, "no such repository, or it is private"),
        (GatedRepoError, "asks for an agreement"),
        (OfflineModeIsEnabled, "no connection"),
        (PermissionError, "PermissionError"),
    ],
)
def test_a_message_says_why_a_file_of_the_hub_cannot_be_had(
    error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(hub_id: str, file: str) -> str:
        response: Any = httpx.Response(404, request=httpx.Request("GET", "https://hub"))
        raise error("x", response=response) if issubclass(error, HfHubHTTPError) else error("x")

    monkeypatch.setattr("bocb_hf.backbones.definition.hf_hub_download", download)
    with pytest.raises(InputError, match=rf"backbone\.pretrained: cannot get config\.json of 'a/b' .*{message}"):
        resolve_backbone(BackboneConfig(name="resnet18", pretrained="a/b"), 0.0, 224)


SMALL = {"embed_dim": 16, "depth": 1, "num_heads": 2}


@pytest.mark.parametrize(
    ("name", "args", "side", "suggested"),
    [
        (
            "vit_tiny_patch16_224",
            SMALL,
            32,
            '{"img_size": 32, "patch_size": 4}',
        ),
        ("vit_tiny_patch16_224", SMALL, 96, '{"img_size": 96}'),
    ],
)
def test_a_size_that_a_network_does_not_take_comes_with_arguments_that_fit(
    name: str, args: dict[str, Any], side: int, suggested: str
) -> None:
    source = resolve_backbone(BackboneConfig(name=name, args=args), 0.0, side)
    with pytest.raises(InputError, match=rf"data\.image_size: .*backbone\.args={re.escape(suggested)}"):
        build_backbone(source, 10, side, seed=0)
    fitting = args | json.loads(suggested)
    built = build_backbone(resolve_backbone(BackboneConfig(name=name, args=fitting), 0.0, side), 10, side, seed=0)
    assert built.eval()(images(side)).shape == (2, 10)


def test_a_size_that_no_argument_changes_comes_with_the_size_that_fits() -> None:
    source = resolve_backbone(BackboneConfig(name="levit_128s"), 0.0, 32)
    with pytest.raises(InputError, match=r"made for images of 224 px, so choose that as data\.image_size"):
        build_backbone(source, 10, 32, seed=0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("in_chans", "images are read as RGB, .* every network takes 3; leave it out"),
        ("num_classes", "the number of classes is that of the data"),
        ("drop_path_rate", "set training.drop_path"),
        ("checkpoint_path", "weights come from backbone.pretrained"),
        ("no_jit", "in the form that is trained"),
    ],
)
def test_arguments_with_another_home_say_which(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"{name} cannot be given here: .*{message}"):
        BackboneConfig(name="resnet18", args={name: 1})


CLASSIFIERS: dict[str, dict[str, Any]] = {
    "vit": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "image_size": 64,
        "patch_size": 8,
    },
    "convnext": {"hidden_sizes": [16, 32], "depths": [1, 1], "num_stages": 2},
    "swin": {
        "embed_dim": 16,
        "depths": [1, 1],
        "num_heads": [1, 2],
        "image_size": 64,
        "patch_size": 4,
        "window_size": 4,
    },
    "resnet": {"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [1, 1]},
}


@pytest.fixture(params=CLASSIFIERS)
def classifier(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Folder of a tiny image classifier of transformers with 7 classes and random weights."""
    from transformers import AutoConfig, AutoModelForImageClassification

    torch.manual_seed(0)
    config = AutoConfig.for_model(request.param, **CLASSIFIERS[request.param], num_labels=7)
    AutoModelForImageClassification.from_config(config).save_pretrained(tmp_path / request.param)
    return tmp_path / request.param


def test_a_classifier_of_transformers(classifier: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForImageClassification

    kind = classifier.name
    name = f"transformers:{classifier}"
    scratch = resolve_backbone(BackboneConfig(name=name), 0.0, 32)
    assert (scratch.identity.name, scratch.identity.architecture) == (f"transformers:{kind}", f"transformers:{kind}")
    assert str(classifier) not in scratch.identity.model_dump_json()
    # what the record holds is enough to build it again
    rebuilt = BackboneSource(scratch.identity.model_copy(), "unknown", None, None)
    first, again = (build_backbone(s, 10, 32, seed=1).state_dict() for s in (scratch, rebuilt))
    assert all(torch.equal(value, again[key]) for key, value in first.items() if "running" not in key)
    args = {"image_size": 64} if "image_size" in scratch.identity.args else {}
    source = resolve_backbone(BackboneConfig(name=name, args=args, pretrained=str(classifier)), 0.0, 64)
    model = build_backbone(source, 10, 64, seed=1)
    stored = AutoModelForImageClassification.from_pretrained(classifier).state_dict()
    # the head of another size is new; all else is what was stored
    body = {key: value for key, value in model.state_dict().items() if "network.classifier" not in key}
    assert all(
        torch.equal(value, stored[key.removeprefix("network.")]) for key, value in body.items() if "running" not in key
    )
    model(images(64)).square().sum().backward()
    unused = [key for key, p in model.named_parameters() if p.grad is None]
    assert unused == []
    exempt = {key for key, _ in split_parameters(model, "norms_biases_embeddings").no_decay}
    assert all(
        any(part in key for part in ("position", "token")) <= (key in exempt) for key, _ in model.named_parameters()
    )
    pixels = images(64)
    out = tmp_path / "out"
    export_model(model, identity_of(source, 64), tuple("abcdefghij"), out)
    assert {path.name for path in out.iterdir()} == {"config.json", "model.safetensors", "preprocessor_config.json"}
    loaded = AutoModelForImageClassification.from_pretrained(out).eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(pixels).logits, model.eval()(pixels))
    assert loaded.config.id2label[1] == "b"


@pytest.mark.parametrize("classifier", ["vit"], indirect=True)
def test_a_run_with_a_classifier_of_transformers(classifier: Path, sections: dict[str, Any], small_data: Path) -> None:
    """From configuration to repository; the pipeline of transformers then gives the evaluation of the run."""
    import datasets
    from transformers import pipeline

    record = train_run(build_run_config(sections, [f"backbone.name=transformers:{classifier}"]))
    folder = Path(sections["runtime"]["store"]) / "models" / "local" / record.repository()
    card = (folder / "README.md").read_text()
    assert "library_name: transformers" in card and "import timm" not in card and str(classifier) not in card
    split: Any = datasets.load_dataset(str(small_data), split="test")
    names = split.features["label"].names
    for place in (folder, folder / "seeds/1"):
        classify = pipeline("image-classification", model=str(place), device="cpu")
        answers: Any = classify([image.convert("RGB") for image in split["image"][:]], top_k=1)
        right = [answer[0]["label"] == names[label] for answer, label in zip(answers, split["label"], strict=True)]
        assert record.correctness is not None
        assert right == record.correctness.bits().tolist()


def test_arguments_that_a_classifier_of_transformers_lacks(classifier: Path) -> None:
    name = f"transformers:{classifier}"
    source = resolve_backbone(BackboneConfig(name=name, args={"hiden": 3}), 0.0, 32)
    with pytest.raises(InputError, match=r"has no argument hiden"):
        build_backbone(source, 10, 32, seed=0)
    if "drop_path_rate" in source.identity.args:
        assert resolve_backbone(BackboneConfig(name=name), 0.2, 32).identity.args["drop_path_rate"] == 0.2
    else:
        with pytest.raises(InputError, match="no residual branches to drop"):
            resolve_backbone(BackboneConfig(name=name), 0.2, 32)
