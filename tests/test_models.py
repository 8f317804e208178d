"""Optimizers and parameter groups; what a run's checkpoint gives in timm and in transformers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import nn

from bocb_hf.backbones import OWN_ARCHITECTURES, TINY
from bocb_hf.config import DataConfig, OptimizerConfig, build_run_config
from bocb_hf.data.augment import normalize
from bocb_hf.data.images import load_images
from bocb_hf.engine.run import train_run
from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.build import build_optimizer, resolve_optimizer
from bocb_hf.optim.param_groups import ParamGroups, split_parameters
from bocb_hf.record import parse_record

# optimizers: the update against equations in float64 (the variants that each row names)

Update = Any


def _sgdm(p: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int, lr: float, wd: float) -> np.ndarray:
    g = g + wd * p
    s["m"] = g if t == 1 else 0.9 * s["m"] + g
    return p - lr * s["m"]


def _adam_moments(g: np.ndarray, s: dict[str, Any], t: int) -> tuple[np.ndarray, np.ndarray]:
    s["m"] = 0.9 * s.get("m", 0 * g) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0 * g) + 0.001 * g * g
    return s["m"] / (1 - 0.9**t), s["v"] / (1 - 0.999**t)


def _adamw(p: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int, lr: float, wd: float) -> np.ndarray:
    m, v = _adam_moments(g, s, t)
    return p - lr * wd * p - lr * m / (np.sqrt(v) + 1e-8)


def _lamb(p: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int, lr: float, wd: float) -> np.ndarray:
    m, v = _adam_moments(g, s, t)
    update = m / (np.sqrt(v) + 1e-6) + wd * p
    return p - lr * np.linalg.norm(p) / np.linalg.norm(update) * update


def _lars(p: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int, lr: float, wd: float) -> np.ndarray:
    if p.ndim > 1:
        trust = 1e-3 * np.linalg.norm(p) / (np.linalg.norm(g) + wd * np.linalg.norm(p) + 1e-8)
        g = trust * (g + wd * p)
    s["m"] = g if t == 1 else 0.9 * s["m"] + g
    return p - lr * s["m"]


def _rmsprop(p: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int, lr: float, wd: float) -> np.ndarray:
    g = g + wd * p
    s["v"] = 0.99 * s.get("v", 0 * g) + 0.01 * g * g
    return p - lr * g / (np.sqrt(s["v"]) + 1e-8)


REFERENCES: dict[str, Update] = {"sgdm": _sgdm, "adamw": _adamw, "lamb": _lamb, "lars": _lars, "rmsprop": _rmsprop}


def test_every_optimizer_has_a_reference() -> None:
    assert set(REFERENCES) == set(OPTIMIZERS.names())


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_update_against_the_equations(name: str, weight_decay: float) -> None:
    rng = np.random.default_rng(0)
    values = [rng.standard_normal((4, 3)), rng.standard_normal(5)]
    parameters = [nn.Parameter(torch.from_numpy(v.copy())) for v in values]
    identity = resolve_optimizer(OptimizerConfig(name=name, weight_decay=weight_decay), "default")
    groups = ParamGroups(decay=[("w", parameters[0])], no_decay=[("b", parameters[1])])
    optimizer = build_optimizer(identity, groups)
    states: list[dict[str, Any]] = [{}, {}]
    for t in range(1, 13):
        grads = [rng.standard_normal(v.shape) for v in values]
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.grad = torch.from_numpy(grad)
        optimizer.step()
        for i, decay in enumerate((weight_decay, 0.0)):
            values[i] = REFERENCES[name](values[i], grads[i], states[i], t, identity.lr, decay)
    for parameter, value in zip(parameters, values, strict=True):
        np.testing.assert_allclose(parameter.detach().numpy(), value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_hyperparameters_reach_the_update(name: str) -> None:
    """Every typed hyper-parameter of the row changes the step; none is dropped on the way."""
    row = OPTIMIZERS.get(name)
    fields = row.hyperparameters.model_fields
    assert fields

    def steps(**changes: float) -> torch.Tensor:
        parameter = nn.Parameter(torch.linspace(-1, 1, 12, dtype=torch.float64).view(4, 3))
        identity = resolve_optimizer(OptimizerConfig(name=name, hyperparameters=dict(changes)), "default")
        optimizer = build_optimizer(identity, ParamGroups([("w", parameter)], []))
        generator = torch.Generator().manual_seed(0)
        for _ in range(3):
            parameter.grad = torch.rand(4, 3, dtype=torch.float64, generator=generator)
            optimizer.step()
        return parameter.detach()

    for field in fields:
        assert not torch.equal(steps(), steps(**{field: 0.5})), field


def test_no_decay_rule() -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=64, depth=1, num_heads=2)
    groups = split_parameters(model, "norms_biases_embeddings")
    exempt = {name for name, _ in groups.no_decay}
    assert {"pos_embed", "cls_token", "norm.weight", "blocks.0.attn.qkv.bias"} <= exempt
    assert {name for name, _ in groups.decay} == {
        "patch_embed.proj.weight",
        "blocks.0.attn.qkv.weight",
        "blocks.0.attn.proj.weight",
        "blocks.0.mlp.fc1.weight",
        "blocks.0.mlp.fc2.weight",
        "head.weight",
    }
    assert split_parameters(model, "nothing").no_decay == []
    model.patch_embed.requires_grad_(False)
    assert "patch_embed.proj.weight" not in {n for n, _ in split_parameters(model, "nothing").decay}


# checkpoints


# the rows of published records; tests/test_backbones.py saves and loads every row
@pytest.fixture(scope="module", params=[row.id for row in TINY[:4]])
def trained(request: pytest.FixtureRequest, small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the repository of a short run of each backbone on the small data."""
    root = tmp_path_factory.mktemp("trained")
    config = build_run_config(
        {
            "setting": "short",
            "backbone": {"name": request.param},
            "optimizer": {"name": "adamw"},
            "data": {"name": str(small_data), "image_size": 32},
            "training": {"epochs": 2, "batch_size": 50},
            "seed": 4,
            "runtime": {"store": str(root / "store"), "state_dir": str(root / "state"), "threads": 1},
        }
    )
    record = train_run(config)
    return root / "store" / "models" / "local" / record.repository()


def pil_images(small_data: Path) -> Any:
    return datasets.load_dataset(str(small_data), split="test")["image"][:]


def stored_bits(folder: Path) -> np.ndarray:
    record = parse_record((folder / "seeds/4/record.json").read_bytes(), "record")
    assert record.correctness is not None
    return record.correctness.bits()


def test_timm_gives_the_evaluation_of_the_run(trained: Path, small_data: Path) -> None:
    for folder in (trained, trained / "seeds/4"):
        model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        weights = load_file(folder / "model.safetensors")
        assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
        transform: Any = timm.data.create_transform(**timm.data.resolve_data_config(model.pretrained_cfg))  # type: ignore[attr-defined]
        images = torch.stack([transform(image.convert("RGB")) for image in pil_images(small_data)])
        ours = load_images(DataConfig(name=str(small_data), image_size=32), trial=False)
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (ours.identity.mean, ours.identity.std))
        assert torch.equal(images, normalize(ours.test.pixels, mean, std))  # preprocessing included
        with torch.no_grad():
            right = (model(images).argmax(1) == ours.test.labels).numpy()
        assert np.array_equal(right, stored_bits(trained))


def test_transformers_pipeline_gives_the_evaluation_of_the_run(trained: Path, small_data: Path) -> None:
    from transformers import AutoModelForImageClassification, pipeline

    reference = timm.create_model(f"local-dir:{trained}", pretrained=True).eval()
    model = AutoModelForImageClassification.from_pretrained(trained, subfolder="seeds/4").eval()
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(pixels).logits, reference(pixels))
    classify = pipeline("image-classification", model=str(trained), device="cpu")
    split: Any = datasets.load_dataset(str(small_data), split="test")
    answers: Any = classify(list(pil_images(small_data)), top_k=1)
    best = [answer[0]["label"] for answer in answers]
    names = split.features["label"].names
    right = np.array([name == names[label] for name, label in zip(best, split["label"], strict=True)])
    assert np.array_equal(right, stored_bits(trained))


def test_config_describes_our_preprocessing(trained: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    cfg = config["pretrained_cfg"]
    assert cfg["input_size"] == [3, 32, 32]
    assert cfg["crop_pct"] == 1.0
    assert cfg["mean"] != [0.485, 0.456, 0.406]
    assert cfg["tag"] == "bocb" and cfg["license"] == "apache-2.0"
    assert config["label_names"][0] == "T-shirt/top"
    assert "num_classes" not in config["model_args"]
    assert "origin_url" not in cfg and "hf_hub_id" not in cfg


def test_documented_lines_work_in_a_fresh_process(trained: Path) -> None:
    """The lines of the card; timm's own architectures need no import of ours."""
    card = (trained / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0]
    assert ("import bocb_hf" in code) == (
        json.loads((trained / "config.json").read_text())["architecture"] in OWN_ARCHITECTURES
    )
    call = next(line for line in code.splitlines() if "snapshot_download(" in line)
    code = code.replace(call, f"folder = {str(trained)!r}")
    code += "\nimport safetensors.torch, torch\n"
    code += f"w = safetensors.torch.load_file({str(trained / 'seeds/4/model.safetensors')!r})\n"
    code += "assert all(torch.equal(v, w[k]) for k, v in model.state_dict().items())\nprint('same weights')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/")
    assert result.stdout.strip() == "same weights", result.stderr


def test_fine_tuning_from_a_local_folder(trained: Path, sections: dict[str, Any]) -> None:
    name = json.loads((trained / "seeds/4/record.json").read_text())["identity"]["backbone"]["name"]
    config = build_run_config(
        sections, [f"backbone.name={name}", f"backbone.pretrained={trained}", "optimizer.lr=1e-12", "training.epochs=1"]
    )
    record = train_run(config)
    assert record.identity.backbone.pretrained == "local"
    assert str(trained) not in record.to_json()
    assert record.correctness is not None
    if name != "tiny_resnet" and name != "tiny_mobilenet":  # batch norm's statistics still move at a learning rate of 0
        assert np.array_equal(record.correctness.bits(), stored_bits(trained))
    other = "tiny_vit" if name != "tiny_vit" else "tiny_resnet"
    with pytest.raises(InputError, match="choose the backbone of the weights"):
        train_run(build_run_config(sections, [f"backbone.name={other}", f"backbone.pretrained={trained}"]))


def test_starting_weights_must_be_sound_safetensors(trained: Path, tmp_path: Path, sections: dict[str, Any]) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    overrides = ["backbone.name=tiny_vit", f"backbone.pretrained={bad}"]
    (bad / "config.json").write_text((trained / "config.json").read_text())
    (bad / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(InputError, match="safetensors only"):
        train_run(build_run_config(sections, overrides))
    (bad / "model.safetensors").write_bytes((trained / "model.safetensors").read_bytes()[:1000])
    architecture = json.loads((trained / "config.json").read_text())["architecture"]
    message = "damaged or not safetensors" if architecture == "vit_tiny_patch16_224" else "choose the backbone"
    with pytest.raises(InputError, match=message):
        train_run(build_run_config(sections, overrides))
