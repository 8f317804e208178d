"""From a backbone's name to what is built: a row, a timm name, a timm model on the Hub, or one of transformers."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

import bocb_hf.backbones.architectures  # noqa: F401 - registers our architectures
from bocb_hf.backbones import BACKBONES, BackboneRow, stem_for
from bocb_hf.errors import InputError
from bocb_hf.registry import suggestion

HUB = "hf-hub:"  # a timm model on the Hub: its config.json says what is built
TRANSFORMERS = "transformers:"  # an image classifier of transformers, on the Hub or in a local folder


@dataclass(frozen=True)
class Definition:
    """What a name means.

    Attributes:
        name: As records show it; a local folder by its last part.
        architecture: timm's model name, or ``transformers:`` and the model type.
        args: Arguments that build it, plain JSON values.
        row: The row it comes from.
    """

    name: str
    architecture: str
    args: dict[str, Any]
    row: BackboneRow | None = None

    @property
    def drop_path_key(self) -> str | None:
        """The argument of stochastic depth; None where there is nothing to drop."""
        if self.row is not None and not self.row.has_drop_path:
            return None
        if self.architecture.startswith(TRANSFORMERS) and "drop_path_rate" not in self.args:
            return None
        return "drop_path_rate"


def check_backbone(name: str) -> None:
    """Accepts a row's id, any timm model name, ``hf-hub:<org>/<name>`` or ``transformers:<id or folder>``.

    Raises:
        InputError: It is none of them; the message suggests the closest name.
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
    """What is built for a name and an image size; only a row knows a small-image stem.

    Args:
        name: As ``check_backbone`` takes it. For the last two kinds config.json is read; weights are not.
        image_size: Side of the input in pixels.

    Raises:
        InputError: The name is unknown, its configuration cannot be had, or the backbone does not take this size.
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
        # transformers is imported for those who ask for it only: it takes seconds
        from bocb_hf.backbones.transformers_classifier import read_definition

        source = name.removeprefix(TRANSFORMERS)
        path = Path(source) / "config.json" if Path(source).is_dir() else fetch(source, "config.json", "backbone.name")
        recorded = TRANSFORMERS + (Path(source).resolve().name if Path(source).is_dir() else source)
        return Definition(recorded, *read_definition(path, image_size))
    return Definition(name, name, {})


def _define_timm(name: str) -> Definition:
    path = fetch(name.removeprefix(HUB), "config.json", "backbone.name")
    config = json.loads(path.read_text(encoding="utf-8"))
    architecture = config.get("architecture")
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        raise InputError(
            f"backbone.name: the config.json of {name!r} names no timm architecture ({architecture!r}); for a "
            f"transformers model write {TRANSFORMERS}{name.removeprefix(HUB)}"
        )
    # num_classes is the data's
    args = {key: value for key, value in (config.get("model_args") or {}).items() if key != "num_classes"}
    return Definition(name, architecture, args)


def fetch(hub_id: str, file: str, key: str) -> Path:
    """A file of a model repository on the Hub, or of its cache.

    Args:
        hub_id: ``<organisation>/<name>``.
        file: Its path in the repository.
        key: The configuration key to name in an error.

    Raises:
        InputError: It cannot be had.
    """
    try:
        return Path(hf_hub_download(hub_id, file))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise InputError(
            f"{key}: cannot get {file} of {hub_id!r} from the Hub ({type(error).__name__}); check the id, the network "
            "and HF_TOKEN, or give a local folder"
        ) from error


def _register(name: str, module: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"backbone.name: {name!r} needs the module {module!r}, which cannot be imported ({error}); "
            "install it or put its folder on PYTHONPATH"
        ) from error
