"""The setting for any data: what ``bocb train`` does with ``--config generic``, or without a setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from bocb_hf.errors import InputError
from bocb_hf.resources import find_config
from bocb_hf.runs.choose import FOLDER, choose_setting
from bocb_hf.runs.facts import BackboneFacts
from bocb_hf.runs.load_config import apply_overrides
from bocb_hf.runs.runtime_config import RuntimeConfig
from bocb_hf.schema import describe_errors

_SURVEYED = ("revision", "image_column", "label_column", "test_fraction", "validation_fraction", "evaluation_split")


def is_generic(config: str | None, overrides: Sequence[str]) -> bool:
    """Whether the setting is to follow from data and backbone: it is asked for, or data are named and no setting is."""
    if config is None:
        return any(override.startswith("data.name=") for override in overrides)
    return config == FOLDER and not Path(config).is_file()


def wants_portable(overrides: Sequence[str]) -> bool:
    """Whether these overrides limit the instructions of the processor; found out without importing torch."""
    data: dict[str, Any] = {}
    apply_overrides(data, overrides)
    runtime = data.get("runtime")
    return isinstance(runtime, dict) and cast(dict[str, Any], runtime).get("portable") is True


def choose_generic(overrides: Sequence[str]) -> tuple[Path, list[str], list[str]]:
    """Surveys the data and chooses a setting.

    Args:
        overrides: The pairs ``section.key=value`` that a user gave; they replace what is chosen.

    Returns:
        The file of the setting, all overrides for it, and sentences that say what was chosen and why.

    Raises:
        InputError: Data or backbone are not named, cannot be read, or do not fit.
    """
    from bocb_hf.data.survey import survey

    sections: dict[str, Any] = {}
    problems = apply_overrides(sections, overrides)
    if problems:
        raise InputError("\n".join(problems))
    data, backbone = (_section(sections, name) for name in ("data", "backbone"))
    for section, given in (("data", data), ("backbone", backbone)):
        if not isinstance(given.get("name"), str):
            raise InputError(
                f"{section}.name: the setting follows from data and backbone; give data.name=<folder, id or row> and "
                "backbone.name=<backbone>, or a setting with --config"
            )
    found = _find_backbone(backbone)
    try:
        runtime = RuntimeConfig.model_validate(_section(sections, "runtime"))
    except ValidationError as error:
        raise InputError("\n".join(f"runtime.{line}" for line in describe_errors(error, RuntimeConfig))) from None
    facts = survey(data["name"], runtime=runtime, **{key: data[key] for key in _SURVEYED if key in data})
    choice = choose_setting(facts, found)
    kept = [override for override in overrides if not override.startswith(("backbone.name=", "data.name="))]
    given_epochs = _section(sections, "training").get("epochs")
    if isinstance(given_epochs, int) and "warmup_epochs" not in _section(sections, "training"):
        kept.append(f"training.warmup_epochs={min(1.0, given_epochs / 10)}")
    said = [*facts.sentences(), *choice.reasons]
    return find_config(choice.name, "recipes/configs"), [*choice.overrides, *kept], said


def _section(sections: dict[str, Any], name: str) -> dict[str, Any]:
    found = sections.get(name, {})
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}


def _find_backbone(section: dict[str, Any]) -> BackboneFacts:
    """Facts of the backbone that a configuration names, with the weights that it names beside it."""
    from bocb_hf.backbones.facts import backbone_facts

    name, pretrained = str(section["name"]), section.get("pretrained")
    if pretrained is None:
        return backbone_facts(name, scratch="pretrained" in section)
    known = str(pretrained)
    weights = backbone_facts(known if "/" in known or Path(known).is_dir() else f"{name}.{known}")
    return replace(weights, name=backbone_facts(name, scratch=True).name, pretrained=known)
