"""Image classifiers of transformers as backbones: they map images to logits, and are saved in transformers' form."""

from __future__ import annotations

import copy
import json
import logging
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
)

from bocb_hf.backbones.starting_weights import Fit, not_finite
from bocb_hf.errors import InputError
from bocb_hf.runs.identity import DataIdentity

log = logging.getLogger(__name__)

PREFIX = "transformers:"

# These keys of a configuration describe a checkpoint, a library version or the labels of the data, not the network.
_NOT_THE_NETWORK = (
    *("_name_or_path", "architectures", "auto_map", "dtype", "id2label", "label2id", "num_labels", "model_type"),
    *("problem_type", "torch_dtype", "transformers_version"),
)


# Pillow's numbers of interpolations, which the configuration of an image processor holds
_PILLOW = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


class TransformersClassifier(nn.Module):
    """Maps images to logits through an image classifier of transformers.

    Args:
        network: Network that ``AutoModelForImageClassification`` built.
    """

    def __init__(self, network: PreTrainedModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to logits (N, num_labels)."""
        return cast(Any, self.network)(pixel_values=x).logits

    def no_weight_decay(self) -> set[str]:
        """Names of position embeddings and special tokens, as transformers names them; weight decay leaves them out."""
        parts = ("position_embeddings", "relative_position_bias_table", "_token")
        return {name for name, _ in self.named_parameters() if any(part in name for part in parts)}


def read_definition(path: Path, image_size: int) -> tuple[str, dict[str, Any]]:
    """Says what a checkpoint's configuration builds: ``transformers:<model type>`` and its arguments.

    The arguments rebuild the network without the checkpoint. An argument ``image_size`` is set to the image size of the
    data.

    Args:
        path: Path of a config.json.
        image_size: Side of the input in pixels.

    Raises:
        InputError: The file is not the configuration of an image classifier of transformers.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        model_type = str(stored["model_type"])
        config = AutoConfig.for_model(**stored)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"backbone.name: {path} is no configuration of transformers ({error!r})") from error
    if model_type == "timm_wrapper" or model_type not in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES:
        raise InputError(
            f"backbone.name: transformers has no image classifier of type {model_type!r}; a timm model is hf-hub:..."
        )
    known = _known_arguments(model_type)
    args = {key: value for key, value in config.to_diff_dict().items() if key in known}
    if isinstance(getattr(config, "image_size", None), int):
        args["image_size"] = image_size
    return PREFIX + model_type, json.loads(json.dumps(args))


def _known_arguments(model_type: str) -> set[str]:
    return set(CONFIG_MAPPING[model_type]().to_dict()) - set(_NOT_THE_NETWORK)


def check_model_type(path: Path, architecture: str) -> None:
    """Compares a configuration with what is built: other weights must not be trained under this backbone's name.

    Raises:
        InputError: The configuration at ``path`` is of another type.
    """
    try:
        stored = PREFIX + str(json.loads(path.read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"backbone.pretrained: {path} is no configuration of transformers ({error!r})") from error
    if stored != architecture:
        raise InputError(
            f"backbone.pretrained: {path.parent} holds {stored!r}, but backbone.name builds {architecture!r}; "
            "choose the backbone of the weights"
        )


def compare_arguments(path: Path, args: dict[str, Any]) -> None:
    """Warns where the configuration beside starting weights describes another network than the one that is built.

    A difference that changes no shape (the number of attention heads, an activation) would not be noticed otherwise.
    """
    stored = read_definition(path, args.get("image_size", 0))[1]
    changed = sorted(key for key in stored.keys() | args.keys() if stored.get(key) != args.get(key))
    if changed:
        log.warning(
            "starting weights: %s says otherwise about %s than the configuration that backbone.name gives; the latter "
            "is built",
            path,
            ", ".join(changed),
        )


def _configure(architecture: str, args: dict[str, Any], num_classes: int) -> PreTrainedConfig:
    """Makes the configuration of a network of transformers.

    Raises:
        ValueError: The configuration has no such argument; transformers would keep it as an attribute that nothing
            reads.
    """
    config = cast(
        PreTrainedConfig,
        AutoConfig.for_model(architecture.removeprefix(PREFIX), **(args | {"num_labels": num_classes})),
    )
    unknown = sorted(set(args) - _known_arguments(config.model_type))
    if unknown:
        raise ValueError(f"{architecture} has no argument {', '.join(unknown)}")
    return config


def build_classifier(architecture: str, args: dict[str, Any], num_classes: int) -> TransformersClassifier:
    """Builds the network from scratch.

    Args:
        architecture: Architecture from ``read_definition``.
        args: Arguments from ``read_definition``, overridden by those of the user.
        num_classes: Classes of the head.
    """
    return TransformersClassifier(
        AutoModelForImageClassification.from_config(_configure(architecture, args, num_classes))
    )


def build_from_tensors(
    architecture: str, args: dict[str, Any], num_classes: int, tensors: dict[str, Tensor]
) -> tuple[TransformersClassifier, Fit]:
    """Builds the network and hands it tensors through transformers' own conversion of checkpoints.

    Args:
        architecture: Architecture from ``read_definition``.
        args: Arguments from ``read_definition``, overridden by those of the user.
        num_classes: Classes of the head; a head of another size is drawn anew.
        tensors: Tensors of the files.

    Returns:
        The network in float32, and the description of what it took.
    """
    config = _configure(architecture, args, num_classes)
    kind = cast(Any, MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[type(config)])
    network, report = kind.from_pretrained(
        None,
        config=config,
        state_dict=dict(tensors),
        dtype=torch.float32,  # by default, it would be the type in the file
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    if report["error_msgs"]:
        raise ValueError("; ".join(report["error_msgs"]))
    own: dict[str, Tensor] = network.state_dict()
    classifier = _classifier_tensors(config, num_classes)
    misfits = {
        name: f"{name} ({tuple(given)} in the file, {tuple(wanted)} here)"
        for name, given, wanted in report["mismatched_keys"]
    }
    misfits |= _describe_integers(tensors, network, report["unexpected_keys"])
    weights = {name for name, tensor in own.items() if tensor.is_floating_point()}
    missing = report["missing_keys"] & weights
    drawn = (missing | misfits.keys()) & classifier
    taken = weights - missing - misfits.keys()
    fit = Fit(
        taken=tuple(sorted(taken)),
        missing=tuple(sorted(missing - classifier)),
        misfits=tuple(misfits[name] for name in sorted(misfits.keys() - classifier)),
        broken=not_finite({name: own[name] for name in taken}),
        drawn=tuple(sorted(drawn)),
        unused=tuple(sorted(report["unexpected_keys"])),
    )
    return TransformersClassifier(network), fit


def _describe_integers(tensors: Mapping[str, Tensor], network: nn.Module, unused: Collection[str]) -> dict[str, str]:
    """Describes integer tensors that would become weights, as in a quantised checkpoint, by their names in the file.

    Names in the file may be older ones, so a counter or an index is recognised by the last part of its name.
    """
    counters = {name.rpartition(".")[2] for name, b in network.named_buffers() if not b.is_floating_point()}
    return {
        name: f"{name} ({str(tensor.dtype).removeprefix('torch.')} in the file, floating-point numbers here)"
        for name, tensor in tensors.items()
        if not tensor.is_floating_point() and name not in unused and name.rpartition(".")[2] not in counters
    }


def _classifier_tensors(config: PreTrainedConfig, num_classes: int) -> set[str]:
    """Names of the tensors that make the logits: those whose shape changes with the number of classes."""
    shapes: list[dict[str, torch.Size]] = []
    for classes in (num_classes, num_classes + 1):
        other = copy.deepcopy(config)
        other.num_labels = classes
        with torch.device("meta"):
            network = AutoModelForImageClassification.from_config(other)
        shapes.append({name: tensor.shape for name, tensor in network.state_dict().items()})
    return {name for name, shape in shapes[0].items() if shape != shapes[1][name]}


def export_classifier(
    model: TransformersClassifier, data: DataIdentity, class_names: tuple[str, ...], folder: Path
) -> None:
    """Saves config.json, model.safetensors and an image processor that does the preprocessing of the run.

    Args:
        model: The classifier with its trained weights.
        data: Identity of the data, with the size, mean and standard deviation that the classifier was evaluated with.
        class_names: Name of each class, in the order of the logits.
        folder: Folder of the files; it is created if needed.
    """
    model.network.config.id2label = dict(enumerate(class_names))
    model.network.config.label2id = {name: label for label, name in enumerate(class_names)}
    model.network.save_pretrained(folder)
    side = data.test_image_size or data.image_size
    processor = {
        "image_processor_type": "BitImageProcessor",  # it resizes the shorter side and crops the centre, as timm does
        "do_resize": True,
        "size": {"shortest_edge": math.floor(side / data.test_crop_ratio)},
        "do_center_crop": True,
        "crop_size": {"height": side, "width": side},
        "resample": _PILLOW[data.interpolation],
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(data.mean),
        "image_std": list(data.std),
    }
    text = json.dumps(processor, indent=2, sort_keys=True) + "\n"
    (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")
