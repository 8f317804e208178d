"""Finds what a backbone's name stands for: a row, a timm model (by name or on the Hub), or a transformers model."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import hf_hub_download
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

import bocb_hf.backbones.architectures  # noqa: F401 - registers our architectures
from bocb_hf.backbones import BACKBONES, BackboneRow, stem_for
from bocb_hf.errors import InputError
from bocb_hf.registry import suggestion
from bocb_hf.runs.config import RESERVED_ARGS

HUB = "hf-hub:"  # a timm model on the Hub: its config.json says what is built
TRANSFORMERS = "transformers:"  # an image classifier of transformers, on the Hub or in a local folder


@dataclass(frozen=True)
class Definition:
    """The definition that the name of a backbone stands for.

    Attributes:
        name: The name as records show it; for a local folder, the last part of its path.
        architecture: timm's model name, or ``transformers:`` and the model type.
        args: Arguments that build the network, plain JSON values.
        row: Row of the backbone; None where it has none.
    """

    name: str
    architecture: str
    args: dict[str, Any]
    row: BackboneRow | None = None

    @property
    def drop_path_key(self) -> str | None:
        """Name of the argument of stochastic depth; None where there are no branches to drop."""
        if self.row is not None and not self.row.has_drop_path:
            return None
        if self.architecture.startswith(TRANSFORMERS) and "drop_path_rate" not in self.args:
            return None
        return "drop_path_rate"


def check_backbone(name: str) -> None:
    """Accepts a row's id, any timm model name, ``hf-hub:<org>/<name>`` or ``transformers:<id or folder>``.

    Raises:
        InputError: The name is none of these; the message suggests the closest name.
    """
    if name in BACKBONES or timm.is_model(name):
        return
    for prefix in (HUB, TRANSFORMERS):
        if name.startswith(prefix):
            if "/" not in name and not Path(name.removeprefix(TRANSFORMERS)).is_dir():
                raise InputError(f"backbone {name!r}: write {prefix}<organisation>/<name>")
            return
    hint = suggestion(name, [*BACKBONES.names(), *timm.list_models()]) or ";"
    raise InputError(
        f"unknown backbone {name!r}{hint} `bocb list backbones` shows our rows, timm.list_models() the rest"
    )


def define_backbone(name: str, image_size: int) -> Definition:
    """Says what is built for a name and an image size; only a row knows a small-image stem.

    Args:
        name: A name that ``check_backbone`` accepts. For a model on the Hub or in a folder, config.json is read, but
            not the weights.
        image_size: Side of the input in pixels.

    Raises:
        InputError: The name is unknown, its configuration cannot be read, or the backbone does not take this size.
    """
    check_backbone(name)
    if name in BACKBONES:
        row = BACKBONES.get(name)
        if row.module:
            _register(row.id, row.module)
        return Definition(name, *stem_for(row, image_size), row)
    if name.startswith(HUB):
        return _define_timm(name)
    if name.startswith(TRANSFORMERS):
        # transformers is imported only for its own models, since the import takes seconds
        from bocb_hf.backbones.transformers_classifier import read_definition

        source = name.removeprefix(TRANSFORMERS)
        path = Path(source) / "config.json" if Path(source).is_dir() else fetch(source, "config.json", "backbone.name")
        recorded = TRANSFORMERS + (Path(source).resolve().name if Path(source).is_dir() else source)
        return Definition(recorded, *read_definition(path, image_size))
    return Definition(name, name, {})


def _define_timm(name: str) -> Definition:
    path = fetch(name.removeprefix(HUB), "config.json", "backbone.name")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        architecture = config.get("architecture")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"backbone.name: the config.json of {name!r} cannot be read ({error!r})") from error
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        raise InputError(
            f"backbone.name: the config.json of {name!r} names no timm architecture ({architecture!r}); for a "
            f"transformers model write {TRANSFORMERS}{name.removeprefix(HUB)}"
        )
    given = dict(config.get("model_args") or {})
    if given.get("in_chans", 3) != 3:
        raise InputError(
            f"backbone.name: {name!r} takes images of {given['in_chans']} channels, and images are read as RGB; take a "
            "model of 3 channels"
        )
    # the number of classes and the other reserved arguments are decided by the configuration of the run
    return Definition(name, architecture, {key: value for key, value in given.items() if key not in RESERVED_ARGS})


def fetch(hub_id: str, file: str, key: str) -> Path:
    """Gets a file of a model repository from the Hub, or from the cache of the Hub.

    Args:
        hub_id: ``<organisation>/<name>``.
        file: Path of the file in the repository.
        key: Configuration key that an error names.

    Raises:
        InputError: The file cannot be got from the Hub and is not in the cache.
    """
    try:
        return Path(hf_hub_download(hub_id, file))
    except (HfHubHTTPError, EntryNotFoundError, OSError, ValueError) as error:
        raise InputError(f"{key}: cannot get {file} of {hub_id!r} from the Hub: {_explain(error)}") from error


def _explain(error: Exception) -> str:
    """Explains why a file could not be got from the Hub, and what to do."""
    if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled | ConnectionError | TimeoutError):
        return (
            f"it is not in the cache ({HF_HUB_CACHE}), and there is no connection (or HF_HUB_OFFLINE is set); run this "
            "once with a network, or copy config.json and the safetensors into a folder and name that"
        )
    if isinstance(error, GatedRepoError):
        return "its owner asks for an agreement; accept it on the Hub, and log in or set HF_TOKEN"
    if isinstance(error, RepositoryNotFoundError):
        return "there is no such repository, or it is private; check the id and HF_TOKEN, or give a local folder"
    if isinstance(error, EntryNotFoundError):
        return "the repository holds no such file; take another one, or give a local folder"
    return f"{type(error).__name__}; check the id, the network and HF_TOKEN, or give a local folder"


def _register(name: str, module: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"backbone.name: {name!r} needs the module {module!r}, which cannot be imported ({error}); "
            "install it or put its folder on PYTHONPATH"
        ) from error
