"""Every kind of architecture through the Hub: the lines of its card give the logits that the run's network gave."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hub_client import HubClient
from hub_server import HubServer

# Trains into the Hub, and keeps what the trained network says of the first test images just before it is saved.
TRAIN = """
import torch
from bocb_hf.data.augment import normalize
from bocb_hf.data.batches import evaluation_batches
from bocb_hf.engine import finish, run
from bocb_hf.runs.load_config import build_run_config

plain, prepared_of, seen = finish.export_model, finish._publish, {}

def publish(prepared, *rest):
    seen["test"] = prepared.data.test
    return prepared_of(prepared, *rest)

def export(model, identity, class_names, folder):
    data = identity.data
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (data.mean, data.std))
    (_, pixels, _), *_ = evaluation_batches(seen["test"], 20, 0, 1)
    with torch.no_grad():
        seen["logits"] = model.eval()(normalize(pixels, mean, std))
    plain(model, identity, class_names, folder)

finish.export_model, finish._publish = export, publish
try:
    record = run.train_run(build_run_config(sections, []))
finally:
    finish.export_model, finish._publish = plain, prepared_of
result = [record.repository(), record.identity.backbone.architecture, record.status, seen["logits"].tolist()]
"""

# Runs the blocks of the card as they stand there, each followed by the forward pass of its library.
LOAD = """
import datasets, torch, timm
split = datasets.load_dataset(data, split="test")
images = [image.convert("RGB") for image in split["image"][:20]]
result = []
for block in blocks:
    space = {}
    exec(compile(block, "card", "exec"), space)
    model = space["model"].eval()
    with torch.no_grad():
        if "timm.create_model" in block:
            transform = timm.data.create_transform(**timm.data.resolve_data_config(model.pretrained_cfg))
            logits = model(torch.stack([transform(image) for image in images]))
        elif "AutoModel" in block:
            logits = model(**space["processor"](images, return_tensors="pt")).logits
        else:
            logits = model.logits(images)
            right = logits.argmax(1) == torch.tensor(split["label"][:20])
            assert (right.numpy() == model.record.correctness.bits()[:20]).all()
    result.append(logits.tolist())
"""

CLASSIFIER = """
from transformers import AutoConfig, AutoModelForImageClassification
small = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
AutoModelForImageClassification.from_config(AutoConfig.for_model("resnet", **small)).save_pretrained(folder)
"""

# a name of timm's without a row; a row whose stem is ours at this size; an image classifier of transformers
KINDS = {
    "timm": ("mobilenetv3_small_050", "mobilenetv3_small_050", ("timm", "transformers", "bocb_hf")),
    "small-input stem": ("mobilenetv2_100", "mobilenetv2_100_small_input", ("timm", "transformers", "bocb_hf")),
    "transformers": ("transformers:{folder}", "transformers:resnet", ("transformers", "bocb_hf")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_lines_of_the_card_give_the_logits_of_the_run(
    kind: str, hub: HubServer, hub_client: HubClient, sections: dict[str, Any], small_data: Path, tmp_path: Path
) -> None:
    name, architecture, libraries = KINDS[kind]
    folder = str(tmp_path / "classifier")
    if "folder" in name:
        hub_client(CLASSIFIER, folder=folder)
    sections |= {
        "backbone": {"name": name.format(folder=folder)},
        "training": {"epochs": 1, "batch_size": 50},
        "runtime": sections["runtime"] | {"store": "hf://lab", "local_store": str(tmp_path / "local")},
    }
    repository, built, status, wanted = hub_client(TRAIN, sections=sections)
    assert (built, status) == (architecture, "completed")
    held = hub.repository(f"lab/{repository}").files
    blocks = re.findall(r"```python\n(.*?)```", held["README.md"].content.decode(), re.DOTALL)
    assert [next(library for library in libraries if f"{library}" in block) for block in blocks] == list(libraries)
    needs_us = [f"import bocb_hf  # registers the architecture {architecture}" in block for block in blocks[:-1]]
    assert set(needs_us) == {kind == "small-input stem"}
    for library, logits in zip(libraries, hub_client(LOAD, None, blocks=blocks, data=str(small_data)), strict=True):
        assert len(logits) == 20
        for row, expected in zip(logits, wanted, strict=True):
            assert row == pytest.approx(expected, abs=1e-4), library
    assert not any(path.endswith((".bin", ".pt", ".pth")) for path in held)
