"""Starting weights: every tensor but the classifier's is taken, or the run is refused with the names of the others."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from backbone_cases import identity_of
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bocb_hf.backbones.build import build_backbone, resolve_backbone, starting_weights
from bocb_hf.backbones.starting_weights import find_files, hash_files, unwrapped
from bocb_hf.engine.export import export_model
from bocb_hf.errors import InputError
from bocb_hf.runs.config import BackboneConfig
from bocb_hf.runs.measurements import StartingWeights

Tensors = dict[str, Tensor]
ARGS: dict[str, Any] = {"depth": 1, "embed_dim": 16, "num_heads": 2, "img_size": 32, "patch_size": 8}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny residual network with 10 classes, batch norm included, as a run exports it."""
    folder = tmp_path_factory.mktemp("stored")
    source = resolve_backbone(BackboneConfig(name="tiny_resnet"), 0.0, 32)
    model = build_backbone(source, 10, 32, seed=5)
    for name, buffer in model.named_buffers():  # statistics that no initialisation gives
        if "running" in name:
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    export_model(model, identity_of(source, 32), tuple("abcdefghij"), folder)
    return folder


def rewritten(stored: Path, folder: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """The same checkpoint with other tensors."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text((stored / "config.json").read_text())
    save_file(change(load_file(stored / "model.safetensors")), folder / "model.safetensors")
    return folder


def start(folder: Path, classes: int = 10, name: str = "tiny_resnet", **args: Any) -> tuple[nn.Module, StartingWeights]:
    source = resolve_backbone(BackboneConfig(name=name, args=args, pretrained=str(folder)), 0.0, 32)
    model = build_backbone(source, classes, 32, seed=1)
    taken = starting_weights(model)
    assert taken is not None
    return model, taken


@pytest.mark.parametrize("classes", [10, 7])
def test_every_tensor_is_taken_but_a_head_of_another_size(stored: Path, classes: int) -> None:
    model, report = start(stored, classes)
    weights, own = load_file(stored / "model.safetensors"), model.state_dict()
    head = {"fc.weight", "fc.bias"} if classes == 7 else set[str]()
    assert set(report.drawn) == head and report.taken == 47 - len(head)
    assert (report.unused, report.prefix) == (0, "")
    assert all(torch.equal(own[name], weights[name]) for name in own.keys() - head)
    scratch = build_backbone(resolve_backbone(BackboneConfig(name="tiny_resnet"), 0.0, 32), classes, 32, seed=1)
    assert starting_weights(scratch) is None
    # a new head is drawn as from scratch with this seed
    assert all(torch.equal(own[name], scratch.state_dict()[name]) for name in head)


WRAPPED = (
    *("module.", "_orig_mod.", "model.", "encoder.", "backbone."),
    *("module.model.", "_orig_mod.module.", "model.encoder.backbone.", "module._orig_mod.model.encoder."),
)


@pytest.mark.parametrize("prefix", WRAPPED)
def test_prefixes_of_wrappers_are_taken_off(
    prefix: str, stored: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = rewritten(stored, tmp_path, lambda tensors: {prefix + name: t for name, t in tensors.items()})
    with caplog.at_level(logging.INFO, "bocb_hf"):
        model, report = start(folder, 7)
    weights = load_file(stored / "model.safetensors")
    assert torch.equal(model.state_dict()["stages.2.0.conv1.weight"], weights["stages.2.0.conv1.weight"])
    assert (report.prefix, report.taken, report.unused) == (prefix, 45, 0)
    assert repr(prefix) in caplog.text


def test_what_stands_beside_a_wrapped_network_is_counted(stored: Path, tmp_path: Path) -> None:
    extra = {"projector.weight": torch.zeros(2), "queue": torch.zeros(3)}
    folder = rewritten(stored, tmp_path, lambda tensors: {"encoder." + n: t for n, t in tensors.items()} | extra)
    assert start(folder)[1].model_dump() == {"taken": 47, "drawn": [], "unused": 2, "prefix": "encoder."}


def test_a_prefix_stays_where_the_rest_does_not_fit(stored: Path, tmp_path: Path) -> None:
    folder = rewritten(
        stored, tmp_path, lambda tensors: {"module." + n: t for n, t in tensors.items() if n != "conv1.weight"}
    )
    with pytest.raises(InputError, match=r"backbone\.pretrained: .* 1 are missing from it: conv1\.weight"):
        start(folder)
    assert [prefix for prefix, _ in unwrapped({"net.conv1.weight": torch.zeros(1)})] == [""]


def without(*parts: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: t for name, t in tensors.items() if not any(part in name for part in parts)}


def with_tensor(name: str, make: Callable[[Tensor], Tensor]) -> Callable[[Tensors], Tensors]:
    return lambda tensors: tensors | {name: make(tensors[name]).contiguous()}


REFUSED: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "a stage is missing": (without("stages.2"), r"15 of 47 tensors .* 15 are missing .* stages\.2\.0\.bn1\.bias.*more"),
    "one tensor is missing": (without("bn1.bias"), r"missing from it: bn1\.bias, stages\.0\.0\.bn1\.bias"),
    "statistics are missing": (without("running_var"), r"missing from it: bn1\.running_var"),
    "other names": (lambda tensors: {"net." + n: t for n, t in tensors.items()}, r"56 have no place here: net\."),
    "another shape": (
        with_tensor("conv1.weight", lambda t: t[:8]),
        r"of another shape or type: conv1\.weight \(\(8, 3, 3, 3\) in the file, \(16, 3, 3, 3\) here\)",
    ),
    "integers": (
        with_tensor("bn1.weight", lambda t: t.to(torch.int8)),
        r"bn1\.weight \(int8 in the file, float32",
    ),
    "no tensor": (lambda tensors: {}, r"holds no tensor"),
    "NaN": (with_tensor("conv1.weight", lambda t: t * float("nan")), r"1 of 47 tensors .* NaN .* conv1\.weight"),
    "an infinite statistic": (with_tensor("bn1.running_var", lambda t: t / 0), r"infinity: bn1\.running_var"),
    "a classifier that is taken is NaN": (with_tensor("fc.bias", lambda t: t * float("nan")), r"infinity: fc\.bias"),
    "only a classifier": (lambda tensors: {n: t for n, t in tensors.items() if n.startswith("fc.")}, r"missing"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_weights_that_are_not_those_of_the_network_are_refused(kind: str, stored: Path, tmp_path: Path) -> None:
    change, message = REFUSED[kind]
    with pytest.raises(InputError, match=r"backbone\.pretrained: .*" + message):
        start(rewritten(stored, tmp_path, change))


def test_what_is_no_weight_or_drawn_anew_anyway_may_be_missing_or_broken(stored: Path, tmp_path: Path) -> None:
    def change(tensors: Tensors) -> Tensors:
        kept = without("num_batches_tracked")(tensors)
        return kept | {"fc.weight": kept["fc.weight"] * float("nan"), "fc_teacher.weight": torch.zeros(3, 64)}

    report = start(rewritten(stored, tmp_path, change), 7)[1]
    assert (report.taken, report.unused, report.drawn) == (45, 1, ["fc.bias", "fc.weight"])
    # without any head, as self-supervised training leaves a network
    assert start(rewritten(stored, tmp_path, without("fc.")))[1].drawn == ["fc.bias", "fc.weight"]
    # half a head is none
    model, report = start(rewritten(stored, tmp_path, without("fc.bias")))
    assert report.drawn == ["fc.bias", "fc.weight"]
    assert not torch.equal(model.state_dict()["fc.weight"], load_file(stored / "model.safetensors")["fc.weight"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_another_precision_become_float32(dtype: torch.dtype, stored: Path, tmp_path: Path) -> None:
    folder = rewritten(
        stored, tmp_path, lambda ts: {n: t.to(dtype) if t.is_floating_point() else t for n, t in ts.items()}
    )
    weights, own = load_file(folder / "model.safetensors"), start(folder)[0].state_dict()
    assert own["conv1.weight"].dtype == torch.float32
    assert torch.equal(own["conv1.weight"], weights["conv1.weight"].float())


def shard(folder: Path, stored: Path) -> Path:
    """The same checkpoint in two files with an index."""
    tensors = load_file(stored / "model.safetensors")
    folder.mkdir()
    (folder / "config.json").write_text((stored / "config.json").read_text())
    parts = {"a.safetensors": sorted(tensors)[::2], "b.safetensors": sorted(tensors)[1::2]}
    for file, names in parts.items():
        save_file({name: tensors[name] for name in names}, folder / file)
    index = {"weight_map": {name: file for file, names in parts.items() for name in names}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_shards_with_an_index(stored: Path, tmp_path: Path) -> None:
    folder = shard(tmp_path / "sharded", stored)
    model, report = start(folder)
    assert report.taken == 47
    weights = load_file(stored / "model.safetensors")
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    before = hash_files(find_files(folder))
    changed = load_file(folder / "b.safetensors")
    save_file({name: t + 1 for name, t in changed.items()}, folder / "b.safetensors")
    assert hash_files(find_files(folder)) not in (before, hash_files(find_files(stored)))
    save_file(load_file(folder / "a.safetensors"), folder / "b.safetensors")
    with pytest.raises(InputError, match=r"backbone\.pretrained: two files of .* hold "):
        start(folder)
    (folder / "b.safetensors").unlink()
    with pytest.raises(InputError, match=r"index\.json names b\.safetensors, which is not there"):
        start(folder)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "pytorch_model.bin", 3])
def test_an_index_names_only_safetensors_beside_it(name: Any, stored: Path, tmp_path: Path) -> None:
    folder = shard(tmp_path / "sharded", stored)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"conv1.weight": name}}))
    with pytest.raises(InputError, match=r"backbone\.pretrained: .*only safetensors files beside it are read"):
        start(folder)


def test_timm_still_resamples_position_embeddings(tmp_path: Path) -> None:
    name = "vit_tiny_patch16_224"
    model = timm.create_model(name, num_classes=10, **ARGS)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    config = {"architecture": name, "num_classes": 10, "model_args": ARGS, "pretrained_cfg": {"num_classes": 10}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    source = resolve_backbone(BackboneConfig(name=name, args={"img_size": 48}, pretrained=str(tmp_path)), 0.0, 48)
    # the record says what the checkpoint's configuration built, so that it can be built without it
    assert source.identity.args == ARGS | {"img_size": 48}
    tuned = build_backbone(source, 10, 48, seed=1)
    report = starting_weights(tuned)
    assert report is not None and report.taken == len(tuned.state_dict()) and report.drawn == []
    reference = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, img_size=48)
    own, theirs = tuned.state_dict(), reference.state_dict()
    assert own["pos_embed"].shape == (1, 37, 16)
    assert all(torch.equal(own[key], theirs[key]) for key in theirs)
    # the file without the head, and the same stochastic depth as from scratch
    config["model_args"] = ARGS | {"drop_path_rate": 0.5}
    (tmp_path / "config.json").write_text(json.dumps(config))
    again = resolve_backbone(BackboneConfig(name=name, pretrained=str(tmp_path)), 0.0, 32)
    assert again.identity.args == ARGS


def test_both_heads_of_a_distilled_network_are_its_classifier(tmp_path: Path) -> None:
    name = "deit_tiny_distilled_patch16_224"
    model = timm.create_model(name, num_classes=5, **ARGS)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    config = {"architecture": name, "num_classes": 5, "model_args": ARGS, "pretrained_cfg": {"num_classes": 5}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    report = start(tmp_path, 10, name)[1]
    assert report.drawn == ["head.bias", "head.weight", "head_dist.bias", "head_dist.weight"]


def test_an_architecture_whose_function_drops_pretrained(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timm.models import _registry as registry

    def forgetful(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        return timm.create_model("tiny_resnet", num_classes=kwargs["num_classes"])

    # timm's own table, which it does not export
    monkeypatch.setitem(registry._model_entrypoints, "tiny_forgetful", forgetful)  # type: ignore[attr-defined]
    folder = rewritten(stored, tmp_path, lambda tensors: tensors)
    config = json.loads((folder / "config.json").read_text()) | {"architecture": "tiny_forgetful"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="the function that registers 'tiny_forgetful' loads no weights"):
        start(folder, 10, "tiny_forgetful")


def test_wrong_arguments_are_not_blamed_on_the_weights(stored: Path) -> None:
    with pytest.raises(InputError, match=r"backbone\.args: timm cannot build 'tiny_resnet'"):
        start(stored, 10, "tiny_resnet", nothing=1)
    with pytest.raises(InputError, match=r"backbone\.pretrained: .* \(32, 3, 3, 3\) here"):
        start(stored, 10, "tiny_resnet", widths=[32, 64, 128])


# classifiers of transformers


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny classifiers with 7 classes, the convolutional one with statistics that no initialisation gives."""
    from transformers import AutoConfig, AutoModelForImageClassification

    configs: dict[str, dict[str, Any]] = {
        "vit": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        | {"image_size": 32, "patch_size": 8},
        "resnet": {"embedding_size": 8, "hidden_sizes": [16], "depths": [1]},
    }
    folders: dict[str, Path] = {}
    for kind, args in configs.items():
        model = AutoModelForImageClassification.from_config(AutoConfig.for_model(kind, **args, num_labels=7))
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.copy_(torch.rand_like(buffer) + 0.5)
        folders[kind] = tmp_path_factory.mktemp(kind)
        model.save_pretrained(folders[kind])
    return folders


def started(folder: Path, stored: Path, classes: int = 10, side: int = 32) -> tuple[nn.Module, StartingWeights]:
    config = BackboneConfig(name=f"transformers:{stored}", pretrained=str(folder))
    model = build_backbone(resolve_backbone(config, 0.0, side), classes, side, seed=1)
    report = starting_weights(model)
    assert report is not None
    return model, report


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_a_classifier_of_transformers_takes_all_but_its_head(
    kind: str, classifiers: dict[str, Path], tmp_path: Path
) -> None:
    stored = classifiers[kind]
    weights = load_file(stored / "model.safetensors")
    head = sorted(name for name in weights if name.startswith("classifier"))

    counted = sum(t.is_floating_point() for t in weights.values())
    # some names are other ones in the file; the order of both is that of their numbers
    numbers = {name: t.double().sum() for name, t in weights.items() if name not in head}

    def check(model: nn.Module, exact: bool = True) -> None:
        own = {name.removeprefix("network."): t for name, t in model.state_dict().items()}
        assert {t.dtype for t in own.values()} <= {torch.float32, torch.int64}
        found = sorted(float(t.double().sum()) for name, t in own.items() if name not in head)
        assert found == pytest.approx(sorted(map(float, numbers.values())), abs=0 if exact else 0.1, rel=1e-2)
        same = own.keys() & numbers.keys()
        assert same and (not exact or all(torch.equal(own[name], weights[name]) for name in same))

    model, report = started(stored, stored, 7)
    assert (report.taken, report.drawn) == (counted, [])
    check(model)
    half = rewritten(
        stored, tmp_path / "half", lambda ts: {n: t.half() if t.is_floating_point() else t for n, t in ts.items()}
    )
    model, report = started(half, stored)
    assert (report.taken, report.drawn) == (counted - len(head), head)
    check(model, exact=False)
    extra = {"pooler.dense.weight": torch.zeros(2)}
    wrapped = rewritten(stored, tmp_path / "wrapped", lambda ts: {"module." + n: t for n, t in ts.items()} | extra)
    model, report = started(wrapped, stored)
    assert (report.prefix, report.unused) == ("module.", 1)
    check(model)
    check(started(shard(tmp_path / "sharded", stored), stored)[0])


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("vit", without("layernorm_before"), r"2 of \d+ tensors .* missing"),
        ("resnet", without("running_mean"), "missing from it: .*running_mean"),
        ("vit", lambda ts: {"net." + n: t for n, t in ts.items()}, "missing"),
        ("resnet", with_tensor("classifier.1.bias", lambda t: t[:3]), None),
        ("vit", with_tensor("vit.layernorm.weight", lambda t: t / 0), r"infinity: vit\.layernorm\.weight"),
        ("vit", with_tensor("vit.layernorm.weight", lambda t: t[:3]), r"\(3,\) in the file, \(16,\) here"),
        ("vit", lambda ts: {}, "holds no tensor"),
        (
            "vit",
            lambda ts: {n: (t * 99).to(torch.int8) if t.ndim == 2 else t for n, t in ts.items()},
            "int8 in the file",
        ),
    ],
)
def test_weights_that_are_not_those_of_a_classifier_of_transformers(
    kind: str, change: Callable[[Tensors], Tensors], message: str | None, classifiers: dict[str, Path], tmp_path: Path
) -> None:
    folder = rewritten(classifiers[kind], tmp_path, change)
    if message is None:  # its head is new anyway
        assert started(folder, classifiers[kind])[1].drawn == ["classifier.1.bias", "classifier.1.weight"]
        return
    with pytest.raises(InputError, match=r"backbone\.pretrained: .*" + message):
        started(folder, classifiers[kind])


def test_position_embeddings_of_another_size_are_not_drawn_anew(classifiers: dict[str, Path]) -> None:
    stored = classifiers["vit"]
    with pytest.raises(InputError, match=r"position_embeddings \(\(1, 17, 16\) in the file, \(1, 37, 16\) here\)"):
        started(stored, stored, side=48)
