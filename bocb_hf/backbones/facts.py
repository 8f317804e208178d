"""Finds the facts of a backbone that a setting is chosen by, from any way of naming it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import timm

from bocb_hf.backbones import BACKBONES
from bocb_hf.backbones.definition import HUB, TRANSFORMERS, check_backbone, fetch
from bocb_hf.errors import InputError
from bocb_hf.runs.facts import BackboneFacts

_USUAL = 224  # side in pixels of an architecture that does not say its own


def backbone_facts(name: str, scratch: bool = False) -> BackboneFacts:
    """Finds what a name means for ``backbone.name`` and ``backbone.pretrained``, and the facts of it.

    Weights are taken where the name has them: a timm name with a tag (``convnext_tiny.fb_in1k``), an id on the Hub
    (``timm/convnext_tiny.fb_in1k``, ``transformers:google/vit-base-patch16-224``) or a folder with config.json and
    safetensors. A row or a timm name without a tag is trained from scratch. Of a model on the Hub, config.json is
    fetched, but no weights.

    Args:
        name: The name as a user wrote it.
        scratch: Whether weights that the name has are left alone.

    Raises:
        InputError: The name is unknown, or config.json cannot be read or fetched.
    """
    if name in BACKBONES:
        row = BACKBONES.get(name)
        return BackboneFacts(name, None, row.image_size, smallest=row.smallest)
    folder, plain = Path(name.removeprefix(TRANSFORMERS)), name.removeprefix(HUB).removeprefix(TRANSFORMERS)
    if folder.is_dir():
        return _of_config(name, folder / "config.json", str(folder), None if scratch else str(folder))
    if "/" in plain:
        path = fetch(plain, "config.json", "backbone.name")
        return _of_config(name, path, plain, None if scratch else plain)
    check_backbone(name)
    architecture, _, tag = name.partition(".")
    if tag and not timm.is_model_pretrained(name):
        known = [other.split(".", 1)[1] for other in timm.list_pretrained(f"{architecture}.*")]
        raise InputError(
            f"backbone {name!r}: timm knows no weights of that tag for {architecture!r}; known tags: "
            f"{', '.join(known) or 'none'}; without a tag it is trained from scratch"
        )
    cfg: Any = timm.get_pretrained_cfg(name)
    size = int(cfg.input_size[-1]) if cfg is not None else _USUAL
    if architecture in BACKBONES and (scratch or not tag):
        row = BACKBONES.get(architecture)
        return BackboneFacts(architecture, None, row.image_size, smallest=row.smallest)
    fixed = bool(getattr(cfg, "fixed_input_size", False))
    return BackboneFacts(architecture, None if scratch or not tag else tag, size, fixed)


def _of_config(name: str, path: Path, source: str, pretrained: str | None) -> BackboneFacts:
    """Facts of a model whose config.json is at hand, of timm or of transformers."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        cfg: dict[str, Any] = config.get("pretrained_cfg") or {}
        architecture = config.get("architecture")
    except FileNotFoundError:
        raise InputError(
            f"backbone {name!r}: {path.parent} holds no config.json, which says what its weights are of; write that of "
            "timm or transformers beside them"
        ) from None
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"backbone {name!r}: {path} cannot be read ({error})") from error
    if name.startswith(TRANSFORMERS) or not isinstance(architecture, str):
        size = config.get("image_size")
        side = size if isinstance(size, int) else _USUAL
        return BackboneFacts(f"{TRANSFORMERS}{source}", pretrained, side, fixed_size=isinstance(size, int))
    if not timm.is_model(architecture):
        raise InputError(f"backbone {name!r}: {path} names the architecture {architecture!r}, which timm does not know")
    shape = cfg.get("input_size") or [3, _USUAL, _USUAL]
    known = architecture if Path(source).is_dir() else f"{HUB}{source}"
    return BackboneFacts(known, pretrained, int(shape[-1]), bool(cfg.get("fixed_input_size", False)))
