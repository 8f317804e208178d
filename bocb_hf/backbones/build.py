"""Builds a backbone, from scratch or from given weights (safetensors only)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from bocb_hf.backbones import OWN_ARCHITECTURES, SMALL_IMAGE, BackboneRow, Family
from bocb_hf.backbones.definition import TRANSFORMERS, define_backbone, fetch
from bocb_hf.errors import InputError
from bocb_hf.runs.config import BackboneConfig
from bocb_hf.runs.identity import BackboneIdentity

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class BackboneSource:
    """A backbone that can be built.

    Attributes:
        identity: What is built.
        family: Of the row, or ``unknown``.
        folder: Local folder with the starting weights, if there are any.
        module: Module whose import registers the architecture with timm; None for timm's own.
    """

    identity: BackboneIdentity
    family: Family
    folder: Path | None
    module: str | None


def resolve_backbone(config: BackboneConfig, drop_path: float, image_size: int) -> BackboneSource:
    """Resolves a configuration to what is built, and fetches the starting weights.

    A row builds its small-image stem for small images (``bocb_hf.backbones.stem_for``); the identity records the
    architecture and arguments that were chosen. ``backbone.args`` come last.

    Args:
        config: The backbone as the user wrote it.
        drop_path: Stochastic depth of the setting; 0 leaves the architecture's own.
        image_size: Side of the input in pixels.

    Raises:
        InputError: The weights cannot be found or are not safetensors, or the backbone does not take this size or has
            no branches to drop.
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
    folder = sha256 = None
    if config.pretrained is not None:
        folder = _fetch_weights(config.pretrained, architecture, row)
        _check_architecture(folder / "config.json", architecture, row)
        sha256 = _hash_weights(folder / WEIGHTS)
    # a local path stays out of the record; the hash says which weights they were
    pretrained = config.pretrained
    if pretrained is not None and Path(pretrained).is_dir():
        pretrained = "local"
    identity = BackboneIdentity(
        name=definition.name, architecture=architecture, args=args, pretrained=pretrained, pretrained_sha256=sha256
    )
    module = (row.module or None) if row else None
    if architecture in OWN_ARCHITECTURES:
        module = "bocb_hf"
    return BackboneSource(identity, row.family if row else "unknown", folder, module)


def build_backbone(
    source: BackboneSource, num_classes: int, image_size: int, seed: int, test_image_size: int | None = None
) -> nn.Module:
    """Builds the network on the CPU with weights that depend on (seed, backbone) only.

    Args:
        source: From ``resolve_backbone``.
        num_classes: Classes of the head; a head of another size is drawn anew when fine-tuning.
        image_size: Side of the input in pixels, checked with one forward pass.
        seed: Seed of the initialisation.
        test_image_size: Side of the input in evaluation, likewise checked, where it is another.

    Raises:
        InputError: It cannot be built with these arguments, or it does not take one of these image sizes.
    """
    identity = source.identity
    torch.manual_seed(seed)
    try:
        model = _create(identity, source.folder, num_classes)
    except (TypeError, ValueError, RuntimeError, AssertionError, KeyError, ArithmeticError) as error:
        library = "transformers" if identity.architecture.startswith(TRANSFORMERS) else "timm"
        raise InputError(
            f"backbone.args: {library} cannot build {identity.architecture!r} with {identity.args}: {error}"
        ) from error
    for key, side in (("image_size", image_size), ("test_image_size", test_image_size)):
        if side is not None:
            _check_size(model, identity.name, num_classes, side, f"data.{key}")
    return model.train()


def _check_size(model: nn.Module, name: str, num_classes: int, side: int, key: str) -> None:
    try:
        with torch.no_grad():
            logits = model.eval()(torch.zeros(1, 3, side, side))  # (1, num_classes)
    except (RuntimeError, AssertionError, ValueError, ArithmeticError) as error:
        raise InputError(f"{key}: backbone {name!r} does not take {side} px images: {error}") from error
    if logits.shape != (1, num_classes):
        raise InputError(f"backbone.name: {name!r} gives {tuple(logits.shape)}, not a classifier's (1, {num_classes})")


def _create(identity: BackboneIdentity, folder: Path | None, num_classes: int) -> nn.Module:
    if identity.architecture.startswith(TRANSFORMERS):
        from bocb_hf.backbones.transformers_classifier import build_classifier

        return build_classifier(identity.architecture, identity.args, num_classes, folder)
    name = f"local-dir:{folder}" if folder else identity.architecture
    return timm.create_model(name, pretrained=folder is not None, num_classes=num_classes, **identity.args)


def _fetch_weights(pretrained: str, architecture: str, row: BackboneRow | None) -> Path:
    """Folder with ``config.json`` and ``model.safetensors`` for a local directory, a Hub id or a timm tag."""
    folder = Path(pretrained)
    if folder.is_dir():
        for file in ("config.json", WEIGHTS):
            if not (folder / file).is_file():
                raise InputError(
                    f"backbone.pretrained: {folder} holds no {file}; weights are read from safetensors only"
                )
        return folder
    if "/" in pretrained:
        hub_id = pretrained.removeprefix("hf-hub:")
    else:
        tagged = f"{architecture}.{pretrained}"
        if not timm.is_model_pretrained(tagged):
            known = [n.split(".", 1)[1] for n in timm.list_pretrained(f"{architecture}.*")]
            options = ", ".join(known) or "none for this backbone"
            raise InputError(
                f"backbone.pretrained: no folder and no timm tag {pretrained!r} for {architecture!r}; "
                f"known tags: {options}{_about_stem(architecture, row)}"
            )
        # timm's rows name either a repository or only its namespace, "timm/"
        hub_id = str(getattr(timm.get_pretrained_cfg(tagged), "hf_hub_id", None) or "timm/")
        hub_id = hub_id + tagged if hub_id.endswith("/") else hub_id
    files = [fetch(hub_id, file, "backbone.pretrained") for file in ("config.json", WEIGHTS)]
    return files[0].parent


def _check_architecture(path: Path, architecture: str, row: BackboneRow | None) -> None:
    """Weights of another architecture must not be trained under this backbone's name."""
    if architecture.startswith(TRANSFORMERS):
        from bocb_hf.backbones.transformers_classifier import check_model_type

        check_model_type(path, architecture)
        return
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["architecture"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"backbone.pretrained: {path} is not a timm configuration ({error!r})") from error
    if stored != architecture:
        raise InputError(
            f"backbone.pretrained: {path.parent} holds {stored!r}, but backbone.name builds {architecture!r}; "
            f"choose the backbone of the weights{_about_stem(architecture, row)}"
        )


def _about_stem(architecture: str, row: BackboneRow | None) -> str:
    """Why ImageNet weights do not fit, where that is the small-image stem."""
    if row is None or architecture == row.architecture:
        return ""
    return (
        f"; up to {SMALL_IMAGE} px {row.id!r} is built with its small-image stem, "
        f"so weights of {row.architecture!r} need data.image_size above {SMALL_IMAGE}"
    )


def _hash_weights(path: Path) -> str:
    """SHA-256 of a safetensors file whose header can be read.

    Raises:
        InputError: The file is truncated or not safetensors.
    """
    try:
        with safe_open(path, framework="pt") as file:
            file.keys()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"backbone.pretrained: {path} is damaged or not safetensors ({error}); fetch it again"
        ) from error
