"""Writes trained weights in the form that timm and transformers load: ``config.json`` and ``model.safetensors``."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from timm.models import save_for_hf
from torch import nn

from bocb_hf.runs.identity import Identity
from bocb_hf.runs.tasks import CLASSIFICATION
from bocb_hf.tasks.task import write_description


def export_model(model: nn.Module, identity: Identity, class_names: tuple[str, ...], folder: Path) -> None:
    """Saves a classifier with its own preprocessing, label names and licence.

    Left to itself, timm would write the ImageNet tag, mean and size of the architecture, and these would give an image
    processor that is wrong for the trained weights.

    Args:
        model: The network as it was built, with its trained weights; a network of transformers is saved in the form of
            transformers.
        identity: The identity of the run.
        class_names: Name of each class, in the order of the logits. The network of another task is saved with a
            description of its task (``bocb_hf.tasks.task.write_description``).
        folder: Folder of the files; it is created if needed.
    """
    data = identity.data
    if identity.task.name != CLASSIFICATION:
        write_description(model, identity, class_names, folder)
        return
    if identity.backbone.architecture.startswith("transformers:"):
        from bocb_hf.backbones.transformers_classifier import TransformersClassifier, export_classifier

        assert isinstance(model, TransformersClassifier)
        export_classifier(model, data, class_names, folder)
        return
    side = data.test_image_size or data.image_size
    with torch.no_grad():
        save_for_hf(
            model,
            str(folder),
            model_config={
                "num_classes": data.num_classes,
                "label_names": list(class_names),
                "pretrained_cfg": {"tag": "bocb", "license": "apache-2.0", "origin_url": "", "paper_ids": ""},
            },
            data_config={
                "input_size": (3, side, side),
                "interpolation": data.interpolation,
                "mean": data.mean,
                "std": data.std,
                "crop_pct": data.test_crop_ratio,
                "crop_mode": "center",
            },
            safe_serialization=True,
        )
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["architecture"] = identity.backbone.architecture
    # timm writes num_classes into model_args as well, and transformers then passes it twice
    config["model_args"] = dict(identity.backbone.args)
    for key in ("origin_url", "paper_ids", "paper_name", "notes"):
        config["pretrained_cfg"].pop(key, None)
    # these keys are timm's defaults for another checkpoint of this architecture; ours was evaluated at input_size
    for key in ("test_input_size", "test_crop_pct", "pool_size", "min_input_size"):
        config["pretrained_cfg"].pop(key, None)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
