"""Finds starting weights, and reads their architecture and the preprocessing that they were trained with."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast, get_args

import timm
from timm.models._hub import load_model_config_from_path

from bocb_hf.backbones import SMALL_IMAGE, BackboneRow
from bocb_hf.backbones.definition import TRANSFORMERS, fetch
from bocb_hf.backbones.provenance import split_hub_id
from bocb_hf.backbones.starting_weights import INDEX, WEIGHTS, find_files, read_index
from bocb_hf.errors import InputError
from bocb_hf.runs.config import RESERVED_ARGS
from bocb_hf.runs.preprocessing import Interpolation, Preprocessing

PROCESSOR = "preprocessor_config.json"
_PILLOW: dict[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}


def fetch_weights(pretrained: str, architecture: str, row: BackboneRow | None) -> Path:
    """Finds or fetches the folder with ``config.json`` and safetensors of a local directory, a Hub id or a timm tag.

    A Hub id may name one seed of a repository of this project: ``org/name/seeds/<n>``.

    Raises:
        InputError: One of the files is missing, they cannot be fetched, or timm does not know the tag.
    """
    folder = Path(pretrained)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise InputError(
                f"backbone.pretrained: {folder} holds no config.json, which says what the weights are of; write that "
                "of timm or transformers beside them"
            )
        find_files(folder)
        return folder
    place = ""
    if "/" in pretrained:
        hub_id, place = split_hub_id(pretrained)
    else:
        tagged = f"{architecture}.{pretrained}"
        if architecture.startswith(TRANSFORMERS) or not timm.is_model_pretrained(tagged):
            known = [n.split(".", 1)[1] for n in timm.list_pretrained(f"{architecture}.*")]
            options = ", ".join(known) or "none for this backbone"
            raise InputError(
                f"backbone.pretrained: no folder and no timm tag {pretrained!r} for {architecture!r}; "
                f"known tags: {options}{_about_stem(architecture, row)}"
            )
        # timm's pretrained configurations name either a repository or only its namespace, "timm/"
        hub_id = str(getattr(timm.get_pretrained_cfg(tagged), "hf_hub_id", None) or "timm/")
        hub_id = hub_id + tagged if hub_id.endswith("/") else hub_id
    config = fetch(hub_id, f"{place}config.json", "backbone.pretrained")
    try:
        fetch(hub_id, f"{place}{WEIGHTS}", "backbone.pretrained")
    except InputError as error:
        try:
            index = fetch(hub_id, f"{place}{INDEX}", "backbone.pretrained")
        except InputError:
            raise error from None
        for name in read_index(index):
            fetch(hub_id, f"{place}{name}", "backbone.pretrained")
    if architecture.startswith(TRANSFORMERS):
        with suppress(InputError):  # a run that needs the preprocessing gets an error later
            fetch(hub_id, f"{place}{PROCESSOR}", "backbone.pretrained")
    return config.parent


def check_architecture(path: Path, architecture: str, row: BackboneRow | None) -> None:
    """Compares a configuration with what is built: other weights must not be trained under this backbone's name.

    Raises:
        InputError: The file describes another architecture, or is no configuration.
    """
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
    """Explains that ImageNet weights do not fit because of the small-image stem; empty where that is not the reason."""
    if row is None or architecture == row.architecture:
        return ""
    return (
        f"; up to {SMALL_IMAGE} px {row.id!r} is built with its small-image stem, "
        f"so weights of {row.architecture!r} need data.image_size above {SMALL_IMAGE}"
    )


def read_timm_config(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads timm's description of a checkpoint, and the arguments that its network was built with.

    Arguments that a configuration sets elsewhere (stochastic depth, classes) are left out.

    Raises:
        InputError: The file config.json is not in timm's form.
    """
    try:
        described, _, args = load_model_config_from_path(folder)
        kept = {key: value for key, value in (args or {}).items() if key not in RESERVED_ARGS}
        return dict(described), json.loads(json.dumps(kept))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"backbone.pretrained: {folder / 'config.json'} is not a timm configuration ({error!r})"
        ) from error


def read_preprocessing(folder: Path, architecture: str) -> Preprocessing:
    """Reads mean, standard deviation and interpolation that a checkpoint was trained with.

    Raises:
        InputError: The folder does not say them, or says something that this project cannot do.
    """
    name = PROCESSOR if architecture.startswith(TRANSFORMERS) else "config.json"
    other = "or set data.normalization=data to use those of the data"
    try:
        if architecture.startswith(TRANSFORMERS):
            found = _read_processor(json.loads((folder / PROCESSOR).read_text(encoding="utf-8")))
        else:
            described = read_timm_config(folder)[0]
            found = _read_values(described["mean"], described["std"], described.get("interpolation") or "bicubic")
    except FileNotFoundError:
        raise InputError(
            f"backbone.pretrained: there is no {name} in {folder}, which would say the mean and standard deviation "
            f"that these weights were trained with; add it, {other}"
        ) from None
    except KeyError as error:
        raise InputError(
            f"backbone.pretrained: {folder / name} does not say with which {error} these weights were trained; "
            f"add it, {other}"
        ) from None
    except InputError:
        raise
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"backbone.pretrained: {folder / name} cannot be used ({error}); mend it, {other}") from error
    return found


def _read_processor(config: Mapping[str, Any]) -> Preprocessing:
    """Reads the configuration of transformers' image processors, which by default scale to 0..1 and normalise."""
    if config.get("do_flip_channel_order"):
        raise ValueError("it swaps red and blue, and images are read as RGB here")
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if config.get("do_normalize", True):
        mean, std = config["image_mean"], config["image_std"]
    # (pixel · factor - offset - mean) / std, with pixels in 0..255, is written as (pixel / 255 - mean') / std'
    factor = float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0
    offset = 1.0 if config.get("rescale_offset") else 0.0
    scale = 1.0 if math.isclose(factor, 1 / 255) else 255 * factor
    interpolation = config.get("resample", 3)
    if interpolation not in _PILLOW:
        raise ValueError(f"resample {interpolation!r} is none of Pillow's")
    means, stds = (
        [float(v) for v in (values if isinstance(values, list | tuple) else [values] * 3)] for values in (mean, std)
    )
    return _read_values([(m + offset) / scale for m in means], [s / scale for s in stds], _PILLOW[interpolation])


def _read_values(mean: Any, std: Any, interpolation: Any) -> Preprocessing:
    for name, values in (("mean", mean), ("std", std)):
        if not isinstance(values, list | tuple) or len(cast("list[Any]", values)) != 3:
            raise ValueError(f"{name} {values!r} is not one number for each of three channels")
    means, stds = (tuple(float(v) for v in values) for values in (mean, std))
    if not all(map(math.isfinite, (*means, *stds))) or min(stds) <= 0:
        raise ValueError(f"mean {mean!r} and std {std!r} must be finite, and std above 0")
    if interpolation not in get_args(Interpolation):
        raise ValueError(f"interpolation {interpolation!r} is none of {', '.join(get_args(Interpolation))}")
    return Preprocessing(means, stds, interpolation)  # type: ignore[arg-type] - checked above
