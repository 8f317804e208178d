"""Design tags of a backbone, and how much another backbone's results say about it. This module needs no torch."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from bocb_hf.backbones import BACKBONES, CNN_FAMILIES, STUDY, BackboneRow
from bocb_hf.errors import InputError
from bocb_hf.registry import suggestion

Kind = Literal["CNN", "modern", "unknown"]
UNKNOWN = "unknown"
PREFIXES = ("hf-hub:", "transformers:")
# names of networks that are the network of a row in another size; the names of the rows themselves need no entry
_ALIASES = {"vit": "deit_small_patch16_224", "deit3": "deit_small_patch16_224", "resnext": "resnet50"}
# later networks of a series, built of the blocks of a row; hybrids with attention are not
_SERIES = dict.fromkeys(("mobilenetv3", "mobilenetv4", "mnasnet"), "mobilenetv2_100") | {"regnetx": "resnet50"}
ENOUGH_OF_KIND = 3  # with fewer backbones of the same kind than this, all kinds count


@dataclass(frozen=True)
class Tags:
    """The design of a backbone in the words of the study.

    Attributes:
        name: The backbone, as the user gave it.
        family: One of the study's families, or ``unknown``.
        stage_wise: Design across stages.
        block_wise: Design of a block.
        operator: The token mixer.
        source: Where the tags come from, in words.
        row: Id of the backbone's row; None where the backbone has no row.
        setting: The study's training setting for it, where its row names one.
        unasked: Why the Hub could not be asked about it; None where it was, or need not be.
    """

    name: str
    family: str = UNKNOWN
    stage_wise: str = UNKNOWN
    block_wise: str = UNKNOWN
    operator: str = UNKNOWN
    source: str = "none found"
    row: str | None = None
    setting: str | None = None
    unasked: str | None = None

    @property
    def kind(self) -> Kind:
        """The two sides of the study's claim: its two CNN families, and modern backbones."""
        return "CNN" if self.family in CNN_FAMILIES else "modern" if self.family == "modern" else "unknown"

    @property
    def design(self) -> tuple[str, str, str, str]:
        """Family, stage-wise and block-wise design, token mixer."""
        return (self.family, self.stage_wise, self.block_wise, self.operator)


def shared_tags(one: Tags, other: Tags) -> int:
    """Returns how many of the four design tags two backbones share; an unknown tag is shared with no backbone."""
    return sum(a == b != UNKNOWN for a, b in zip(one.design, other.design, strict=True))


def similarity(target: Tags, others: Sequence[Tags]) -> NDArray[np.float64]:
    """Returns how much each other backbone counts for the target, shape (others,).

    A backbone of the same kind (CNN or modern, the two sides of the study's claim) counts 1 and ¼ more for each design
    tag that it shares, so that one that shares all four counts twice; one of the other kind does not count. Where the
    kind is unknown, or fewer than three others are of it, all kinds count.
    """
    weights = np.array([1 + shared_tags(target, other) / 4 for other in others], np.float64)
    same = np.array([target.kind == other.kind != "unknown" for other in others], np.bool_)
    return np.where(same, weights, 0.0) if same.sum() >= ENOUGH_OF_KIND else weights


def known_tags(name: str) -> Tags:
    """Returns tags of a name in a table, from its row or from the network's name; sends no request to the Hub."""
    if (row := BACKBONES.find(name)) is not None:
        return _of_row(row, name, "its row", name)
    return _of_architecture(name, name, "the name alone")


def find_tags(name: str) -> Tags:
    """Returns tags of what a user names: a row, a timm name, a local folder, or a model on the Hub.

    For a folder or a model on the Hub, config.json is read, which names timm's architecture or transformers' model
    type. Where the Hub has none or does not answer within a second, the repository's name is used instead, and
    ``source`` says so.

    Args:
        name: ``resnet50``, ``hf-hub:timm/convnext_tiny.in12k``, ``timm/...``, ``transformers:<id or folder>``.

    Raises:
        InputError: The name is none of these.
    """
    if name in BACKBONES:
        return known_tags(name)
    plain = name
    for prefix in PREFIXES:
        plain = plain.removeprefix(prefix)
    folder = Path(plain)
    if (folder / "config.json").is_file():
        try:
            content = (folder / "config.json").read_bytes()
        except OSError as error:
            raise InputError(f"backbone {name!r}: its config.json cannot be read ({error})") from None
        return _of_config(content, name)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", plain):
        from bocb_hf.store.brief import read_briefly  # the client takes a third of a second, which no row waits for
        from bocb_hf.store.hub_calls import HubError

        try:
            content = read_briefly(plain, "config.json")
        except HubError as error:
            why = f"the repository's name; the Hub could not be asked for its config.json: {error}"
            return replace(_of_architecture(plain.rpartition("/")[2], name, why), unasked=str(error))
        return _of_config(content, name)
    return _of_bare_name(plain, name)


def _of_bare_name(plain: str, name: str) -> Tags:
    """Returns tags of a name without folder or organisation, which must be a timm architecture."""
    architecture = plain.partition(".")[0]
    known = list(BACKBONES.names())
    if importlib.util.find_spec("timm") is not None:
        import timm

        known += timm.list_models()
        if architecture in known:
            return _of_architecture(architecture, name, "the name of the timm architecture")
    elif _reference_row(architecture) is not None:
        return _of_architecture(architecture, name, "the name alone; timm is not installed, so nobody checked it")
    hint = suggestion(plain, known) or ";"
    raise InputError(
        f"unknown backbone {name!r}{hint} give a row of `bocb list backbones`, a timm name, a folder with config.json, "
        "or <organisation>/<name> on the Hub"
    )


def _of_config(content: bytes, name: str) -> Tags:
    """Returns tags from a config.json of timm (``architecture``) or transformers (``model_type``).

    Raises:
        InputError: The content is not a JSON object, or names neither.
    """
    try:
        config: Any = json.loads(content.decode("utf-8"))
    except ValueError as error:
        raise InputError(f"backbone {name!r}: its config.json cannot be read ({error})") from None
    found = cast(dict[str, Any], config) if isinstance(config, dict) else {}
    architecture, model_type = found.get("architecture"), found.get("model_type")
    if isinstance(architecture, str):
        return _of_architecture(architecture, name, f"architecture {architecture} of its config.json")
    if isinstance(model_type, str):
        return _of_architecture(model_type.replace("_", ""), name, f"model type {model_type} of its config.json")
    raise InputError(
        f"backbone {name!r}: its config.json names neither a timm architecture nor a transformers model type"
    )


def _of_architecture(architecture: str, name: str, source: str) -> Tags:
    plain = architecture.partition(".")[0]
    if (own := BACKBONES.find(plain)) is not None:
        return _of_row(own, name, source, plain)
    row = _reference_row(plain)
    if row is None:
        return Tags(name, source=f"{source} tells none")
    return _of_row(row, name, f"{source}, as those of {row.short}", None)


def _of_row(row: BackboneRow, name: str, source: str, identity: str | None) -> Tags:
    setting = row.setting if identity is not None else None
    return Tags(name, row.family, row.stage_wise, row.block_wise, row.operator, source, identity, setting)


def _reference_row(architecture: str) -> BackboneRow | None:
    """Returns the study's backbone of the same architecture in another size, or of its series; None without any."""
    stem = _stem(architecture)
    if stem in _ALIASES:
        return BACKBONES.get(_ALIASES[stem])
    if stem in _SERIES and "hybrid" not in architecture:
        return BACKBONES.get(_SERIES[stem])
    return next((row for row in STUDY if _stem(row.id) == stem), None)


def _stem(architecture: str) -> str:
    """Returns a name without its size: ``resnet`` of ``resnet101d``, ``convnextv2`` of ``convnextv2_base``."""
    first = architecture.lower().partition("_")[0]
    return re.sub(r"(?<![v\d])\d+[a-z]*$", "", first)
