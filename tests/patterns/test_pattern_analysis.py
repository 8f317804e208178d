"""Checkpoints of every kind, in the order of the network, beside their random initialisation."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import timm
import torch
from builders import make_record
from safetensors.torch import save_file

import bocb_hf  # noqa: F401 - registers our architectures with timm
from bocb_hf.data.sampling import init_seed
from bocb_hf.errors import InputError
from bocb_hf.patterns.analysis import Analysis, analyze
from bocb_hf.patterns.checkpoints import find_checkpoints
from bocb_hf.patterns.files import pattern_files
from bocb_hf.patterns.layers import kind_of, natural, stage_of
from bocb_hf.patterns.measure import weight_patterns


def write_run(folder: Path, optimizer: str, seed: int, correct: int, status: Any = "completed") -> Path:
    """A seed's folder with a tiny_resnet of random weights of its own."""
    folder = folder / f"bocb-tiny_resnet-{optimizer}" / "seeds" / str(seed)
    folder.mkdir(parents=True)
    record = make_record("tiny_resnet", optimizer, seed=seed, correct=correct, status=status)
    if status == "completed":
        torch.manual_seed(100 * seed + len(optimizer))
        save_file(timm.create_model("tiny_resnet", num_classes=10).state_dict(), folder / "model.safetensors")
        sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        record = record.model_copy(update={"weights_sha256": sha256})
    (folder / "record.json").write_text(record.to_json())
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of one backbone: two optimizers, of which one has a diverged run."""
    root = tmp_path_factory.mktemp("store")
    for optimizer, seed, correct, status in (
        *(("sgdm", 1, 1600, "completed"), ("sgdm", 2, 1610, "completed")),
        *(("adamw", 1, 1700, "completed"), ("adamw", 2, 0, "diverged")),
    ):
        write_run(root / "models" / "local", optimizer, seed, correct, status)
    return root


@pytest.fixture(scope="module")
def analyses(store: Path) -> list[Analysis]:
    return analyze(find_checkpoints(store))


def test_a_store_has_its_runs_and_one_untrained_network(store: Path, analyses: list[Analysis]) -> None:
    assert [(a.optimizer, a.seed, a.trained, a.status) for a in analyses] == [
        (None, 1, False, "completed"),
        ("adamw", 1, True, "completed"),
        ("adamw", 2, True, "diverged"),
        ("sgdm", 1, True, "completed"),
        ("sgdm", 2, True, "completed"),
    ]
    untrained, first, diverged, *_ = analyses
    assert len({a.group for a in analyses}) == 1 and diverged.rows == ()
    assert (first.top1, first.metric) == (85.0, "top-1") and first.order == "forward"
    assert diverged.metric is None and untrained.metric is None
    assert [row.name for row in first.rows] == [row.name for row in untrained.rows]
    assert (first.rows[0].stage, first.rows[-1].stage) == ("stem", "head")
    # the untrained network is that of the run's own seed
    torch.manual_seed(init_seed(1, "tiny_resnet"))
    state = timm.create_model("tiny_resnet", num_classes=10).state_dict()
    expected = weight_patterns({name: t.numpy() for name, t in state.items()})
    assert {x.name: x for x in untrained.patterns().layers} == {x.name: x for x in expected.layers}


def test_layers_stand_in_the_order_in_which_an_image_reaches_them(analyses: list[Analysis]) -> None:
    """A shortcut's convolution is registered after the block's, and reached after them or before."""
    network, reached = timm.create_model("tiny_resnet", num_classes=10).eval(), []
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(lambda *_, name=name: reached.append(f"{name}.weight"))
    network(torch.zeros(1, 3, 32, 32))
    assert [row.name for row in analyses[1].rows] == reached


def test_files_hold_every_value_and_what_it_means(analyses: list[Analysis]) -> None:
    files = pattern_files(analyses, "rows")
    rows = list(csv.DictReader(io.StringIO(files["patterns.csv"].decode())))
    table = pq.read_table(io.BytesIO(files["patterns.parquet"]))
    assert len(rows) == table.num_rows == sum(len(a.rows) for a in analyses) and list(rows[0]) == table.column_names
    layer = analyses[1].rows[3]
    assert layer.pattern is not None and layer.pattern.fit is not None
    row = next(r for r in rows if (r["optimizer"], r["seed"], r["place"]) == ("adamw", "1", "4"))
    assert (float(row["entropy"]), float(row["ks_distance"])) == (layer.pattern.entropy, layer.pattern.fit.distance)
    assert {r["alpha"] == "" for r in rows if r["alpha_status"] != "ok"} == {True}
    assert {(r["bins"], r["kernels"], r["tail_rule"]) for r in rows} == {("256", "rows", "powerlaw")}
    stated = json.loads(files["conventions.json"])
    assert "WeightWatcher" in stated["kernels"] and table.schema.metadata[b"kernels"].decode() == stated["kernels"]


def test_weights_of_nobody_in_particular(store: Path, tmp_path: Path) -> None:
    source = next(store.rglob("model.safetensors"))
    path = tmp_path / "mine.safetensors"
    shutil.copy(source, path)
    (alone,) = analyze(find_checkpoints(path))
    assert (alone.name, alone.order, alone.optimizer, alone.top1) == ("mine", "name", None, None)
    untrained, named = analyze(find_checkpoints(path), architecture="tiny_resnet", seed=5)
    assert (named.order, untrained.seed, untrained.trained) == ("forward", 5, False)
    assert {r.name: r.pattern for r in named.rows} == {r.name: r.pattern for r in alone.rows}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "tiny_resnet", "num_classes": 10}))
    assert [a.order for a in analyze(find_checkpoints(tmp_path))] == ["forward", "forward"]
    assert [a.order for a in analyze(find_checkpoints(tmp_path), untrained=False)] == ["forward"]
    with pytest.raises(InputError, match="not those of 'tiny_vit'"):
        analyze(find_checkpoints(path), architecture="tiny_vit")


def test_a_classifier_of_transformers(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForImageClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = AutoConfig.for_model("vit", **sizes, image_size=16, patch_size=8, num_labels=3)
    AutoModelForImageClassification.from_config(config).save_pretrained(tmp_path)
    untrained, found = analyze(find_checkpoints(tmp_path))
    assert found.backbone == "vit" and found.order == "forward"
    assert [row.name for row in untrained.rows] == [row.name for row in found.rows]
    assert found.rows[0].stage == "stem" and "block" in found.rows[3].stage + found.rows[3].name


def test_what_cannot_be_measured_is_said(tmp_path: Path) -> None:
    tensors = {"a.weight": torch.randn(4, 4), "b.weight": torch.full((4, 4), torch.nan), "c.weight": torch.zeros(3, 3)}
    path = tmp_path / "x.safetensors"
    save_file(tensors | {"q.weight": torch.zeros(4, 4, dtype=torch.int8)}, path)
    (found,) = analyze(find_checkpoints(path))
    assert [row.problem for row in found.rows] == [
        *(None, "holds NaN or an infinity", None, "stored as I8, not as numbers")
    ]
    save_file({"a.bias": torch.zeros(4)}, path)
    with pytest.raises(InputError, match="no weight of a layer"):
        analyze(find_checkpoints(path))


def test_what_is_no_checkpoint(store: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        find_checkpoints(tmp_path / "nothing")
    pickled = tmp_path / "model.bin"
    pickled.write_bytes(b"\x80\x04")
    with pytest.raises(InputError, match="never from a pickle"):
        find_checkpoints(pickled)
    folder = tmp_path / "seeds" / "1"
    shutil.copytree(next(store.rglob("seeds/1")), folder)
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="not the weights of the record"):
        find_checkpoints(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="fetch it as well"):
        find_checkpoints(tmp_path)
    (tmp_path / "empty" / "models").mkdir(parents=True)
    with pytest.raises(InputError, match="no final run"):
        find_checkpoints(tmp_path / "empty")


def test_types_stages_and_places() -> None:
    shapes = {(8, 4): "linear", (8, 1, 3, 3): "depthwise convolution", (8, 4, 1, 1): "1×1 convolution"}
    shapes |= {(8, 4, 3, 3): "convolution"}
    assert {shape: kind_of(shape) for shape in shapes} == shapes
    stages = {
        "conv1.weight": "stem",
        "layer3.0.conv2.weight": "stage 3",
        "stages.2.blocks.4.mlp.fc1.weight": "stage 2",
        "stages_1.blocks.0.token_mixer.weight": "stage 1",
        "features.7.weight": "stage 7",
        "blocks.11.attn.qkv.weight": "block 11",
        "patch_embed.proj.weight": "stem",
        "head.fc.weight": "head",
        "fc.weight": "head",
        "something.weight": "-",
    }
    assert {name: stage_of(name) for name in stages} == stages
    names = ["blocks.10.a.weight", "head.weight", "blocks.2.a.weight", "stem.conv.weight"]
    assert natural(names) == ["stem.conv.weight", "blocks.2.a.weight", "blocks.10.a.weight", "head.weight"]
