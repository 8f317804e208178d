"""Builds a backbone, from scratch or from given weights (safetensors only)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from bocb_hf.backbones import OWN_ARCHITECTURES, Family
from bocb_hf.backbones.definition import TRANSFORMERS, define_backbone
from bocb_hf.backbones.pretrained import check_architecture, fetch_weights, read_preprocessing, read_timm_config
from bocb_hf.backbones.provenance import find_pretraining
from bocb_hf.backbones.sizes import suggest_size
from bocb_hf.backbones.starting_weights import Fit, find_files, hash_files, read_tensors, start_from
from bocb_hf.errors import InputError
from bocb_hf.runs.config import BackboneConfig
from bocb_hf.runs.identity import BackboneIdentity
from bocb_hf.runs.measurements import StartingWeights
from bocb_hf.runs.preprocessing import Preprocessing

# errors that libraries raise for arguments that they cannot use
_REFUSALS = (TypeError, ValueError, RuntimeError, AssertionError, KeyError, ArithmeticError, AttributeError, IndexError)


@dataclass(frozen=True)
class BackboneSource:
    """A backbone that can be built.

    Attributes:
        identity: Identity of the backbone, which says what is built.
        family: Family of the row, or ``unknown``.
        folder: Local folder with the starting weights, if there are any.
        module: Module whose import registers the architecture with timm; None for timm's own.
    """

    identity: BackboneIdentity
    family: Family
    folder: Path | None
    module: str | None

    @cached_property
    def preprocessing(self) -> Preprocessing | None:
        """Preprocessing that the starting weights were trained with; None from scratch.

        Raises:
            InputError: The folder of the weights does not say it.
        """
        return None if self.folder is None else read_preprocessing(self.folder, self.identity.architecture)


def resolve_backbone(config: BackboneConfig, drop_path: float, image_size: int) -> BackboneSource:
    """Resolves a configuration to what is built, and fetches the starting weights.

    A row builds its small-image stem for small images (``bocb_hf.backbones.stem_for``); the identity records the
    architecture and arguments that were chosen. ``backbone.args`` come last. Of weights that a run of this project
    made, the identity names that run.

    Args:
        config: The backbone as the user wrote it.
        drop_path: Stochastic depth of the setting; 0 keeps the architecture's own.
        image_size: Side of the input in pixels.

    Raises:
        InputError: The weights cannot be found or are not safetensors, the record of the run that made them is missing
            or is not theirs, the backbone does not take this image size, or it has no branches to drop.
    """
    definition = define_backbone(config.name, image_size)
    architecture, row = definition.architecture, definition.row
    args = definition.args | config.args
    if drop_path:
        if definition.drop_path_key is None:
            raise InputError(
                f"training.drop_path: backbone {definition.name!r} has no residual branches to drop; "
                "set training.drop_path=0"
            )
        args[definition.drop_path_key] = drop_path
    folder = sha256 = pretraining = None
    if config.pretrained is not None:
        folder = fetch_weights(config.pretrained, architecture, row)
        check_architecture(folder / "config.json", architecture, row)
        sha256 = hash_files(find_files(folder))
        pretraining = find_pretraining(config.pretrained, folder, sha256)
        args = _args_of_weights(folder, architecture, definition.args) | args
    # the record does not show a local path; the hash of the weights identifies them
    pretrained = config.pretrained
    if pretrained is not None and Path(pretrained).is_dir():
        pretrained = "local"
    identity = BackboneIdentity(
        name=definition.name,
        architecture=architecture,
        args=args,
        pretrained=pretrained,
        pretrained_sha256=sha256,
        pretraining=pretraining,
    )
    module = (row.module or None) if row else None
    if architecture in OWN_ARCHITECTURES:
        module = "bocb_hf"
    return BackboneSource(identity, row.family if row else "unknown", folder, module)


def _args_of_weights(folder: Path, architecture: str, known: dict[str, Any]) -> dict[str, Any]:
    """Arguments that the network of these weights was built with and that the backbone's name does not fix."""
    if architecture.startswith(TRANSFORMERS):
        from bocb_hf.backbones.transformers_classifier import compare_arguments

        compare_arguments(folder / "config.json", known)
        return {}
    return read_timm_config(folder)[1]


def build_backbone(
    source: BackboneSource, num_classes: int, image_size: int, seed: int, test_image_size: int | None = None
) -> nn.Module:
    """Builds the network on the CPU with weights that depend on (seed, backbone) only.

    Args:
        source: Backbone from ``resolve_backbone``.
        num_classes: Classes of the head; a head of another size is drawn anew when fine-tuning.
        image_size: Side of the input in pixels, checked with one forward pass.
        seed: Seed of the initialisation.
        test_image_size: Side of the input in evaluation in pixels, where it differs; it is checked in the same way.

    Raises:
        InputError: The network cannot be built with these arguments, the starting weights are not those of this
            network, or it does not take one of these image sizes.
    """
    identity = source.identity
    model = build_classifier(source, num_classes, seed)
    for key, side in (("image_size", image_size), ("test_image_size", test_image_size)):
        if side is not None:
            _check_size(model, identity, num_classes, side, f"data.{key}")
    return model.train()


def build_classifier(source: BackboneSource, num_classes: int, seed: int) -> nn.Module:
    """Builds the network on the CPU as ``build_backbone`` does, without a look at what image sizes it takes.

    Raises:
        InputError: The network cannot be built, or the starting weights are not those of this network.
    """
    if source.folder is None:
        return create_from_scratch(source.identity, num_classes, seed)
    return _start(source, source.folder, num_classes, seed)


def starting_weights(model: nn.Module) -> StartingWeights | None:
    """Says what a network from ``build_backbone`` took of its starting weights; None from scratch."""
    return getattr(model, "starting_weights", None)


def create_from_scratch(identity: BackboneIdentity, num_classes: int, seed: int) -> nn.Module:
    """Builds the network with random weights, on torch's default device.

    Raises:
        InputError: The network cannot be built with these arguments.
    """
    torch.manual_seed(seed)
    transformed = identity.architecture.startswith(TRANSFORMERS)
    try:
        if transformed:
            from bocb_hf.backbones.transformers_classifier import build_classifier

            return build_classifier(identity.architecture, identity.args, num_classes)
        return timm.create_model(identity.architecture, num_classes=num_classes, **identity.args)
    except InputError:
        raise
    except _REFUSALS as error:
        library = "transformers" if transformed else "timm"
        raise InputError(
            f"backbone.args: {library} cannot build {identity.architecture!r} with {identity.args}: {error}"
        ) from error


def _start(source: BackboneSource, folder: Path, num_classes: int, seed: int) -> nn.Module:
    """Builds the network with its starting weights; its attribute ``starting_weights`` says what it took of them."""
    identity = source.identity
    where = str(folder) if identity.pretrained == "local" else str(identity.pretrained)

    def attempt(tensors: dict[str, Tensor]) -> tuple[nn.Module, Fit]:
        torch.manual_seed(seed)
        if identity.architecture.startswith(TRANSFORMERS):
            from bocb_hf.backbones.transformers_classifier import build_from_tensors as build

            return build(identity.architecture, identity.args, num_classes, tensors)
        from bocb_hf.backbones.timm_start import build_from_tensors

        offset = read_timm_config(folder)[0].get("label_offset")
        return build_from_tensors(identity.architecture, identity.args, num_classes, tensors, offset)

    def checked(tensors: dict[str, Tensor]) -> tuple[nn.Module, Fit]:
        try:
            return attempt(tensors)
        except InputError:
            raise
        except _REFUSALS as error:
            create_from_scratch(identity, num_classes, seed)  # raises an error of its own if the arguments are wrong
            raise InputError(
                f"backbone.pretrained: the weights of {where} cannot be loaded into {identity.architecture!r}: {error}"
            ) from error

    model, taken = start_from(read_tensors(folder), checked, where)
    model.starting_weights = taken  # type: ignore[assignment] - modules take any attribute
    return model


def _check_size(model: nn.Module, identity: BackboneIdentity, num_classes: int, side: int, key: str) -> None:
    try:
        with torch.no_grad():
            logits = model.eval()(torch.zeros(1, 3, side, side))  # (1, num_classes)
    except _REFUSALS as error:
        raise InputError(
            f"{key}: backbone {identity.name!r} does not take {side} px images: {str(error).rstrip('.')}"
            f"{suggest_size(model, identity, num_classes, side)}"
        ) from error
    if logits.shape != (1, num_classes):
        raise InputError(
            f"backbone.name: {identity.name!r} gives {tuple(logits.shape)}, not a classifier's (1, {num_classes})"
        )
