"""What a run's checkpoint gives in timm and in transformers, and where one may start from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import timm
import torch
from plain_loop import decoded
from safetensors.torch import load_file
from warm import run_warm

from bocb_hf.backbones import OWN_ARCHITECTURES, TINY
from bocb_hf.data.augment import normalize
from bocb_hf.data.images import load_images
from bocb_hf.engine.run import train_run
from bocb_hf.errors import InputError
from bocb_hf.runs.config import DataConfig
from bocb_hf.runs.load_config import build_run_config
from bocb_hf.runs.record import parse_record

# checkpoints


# the rows of published records; tests/backbones/test_backbones.py saves and loads every row
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
        # torch's type of a module does not know timm's attribute
        transform: Any = timm.data.create_transform(**timm.data.resolve_data_config(model.pretrained_cfg))  # type: ignore[attr-defined]
        images = torch.stack([transform(image.convert("RGB")) for image in pil_images(small_data)])
        ours = load_images(DataConfig(name=str(small_data), image_size=32), trial=False)
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (ours.identity.mean, ours.identity.std))
        assert torch.equal(images, normalize(decoded(ours.test).pixels, mean, std))  # preprocessing included
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
    result = run_warm(["-c", code], Path("/"), imported="others")
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
