"""Reads a run's configuration: strict YAML, then command-line overrides, every problem reported at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from bocb_hf.errors import InputError
from bocb_hf.runs import strict_yaml
from bocb_hf.runs.config import RunConfig
from bocb_hf.schema import describe_errors, parse_strict


def apply_overrides(data: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Sets ``section.key=value`` pairs in place; values are read as YAML.

    Returns:
        One message for every malformed override; the others are applied.
    """
    problems: list[str] = []
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = key.split(".")
        if not equals or not all(parts):
            problems.append(f"{override!r}: not an override; write section.key=value, for example optimizer.lr=0.01")
            continue
        try:
            value = strict_yaml.parse(text, f"override {key}")
        except InputError as error:
            problems.append(str(error))
            continue
        node = data
        for part in parts[:-1]:
            child = node.get(part)
            if child is None:
                child = node[part] = {}
            if not isinstance(child, dict):
                problems.append(f"{key}: {part} is a value, not a section")
                break
            node = cast(dict[str, Any], child)
        else:
            node[parts[-1]] = value
    return problems


def write_override(key: str, value: object) -> str:
    """``section.key=value`` from which ``apply_overrides`` reads this value: texts are quoted where YAML needs it."""
    if not isinstance(value, str):
        return f"{key}={json.dumps(value)}"
    try:
        same = strict_yaml.parse(value, key) == value
    except InputError:
        same = False
    return f"{key}={value if same else json.dumps(value, ensure_ascii=False)}"


def load_run_config(
    path: Path, overrides: Sequence[str] = (), check_backbone: Callable[[str], None] | None = None
) -> RunConfig:
    """Reads a setting, applies overrides, and reports every problem at once.

    Args:
        path: YAML file with the sections of ``RunConfig``.
        overrides: ``section.key=value`` pairs; later ones win.
        check_backbone: Raises ``InputError`` for a backbone name that cannot be built.

    Raises:
        InputError: Anything unknown, missing, unusable or out of range; one line for each problem.
    """
    data = strict_yaml.parse_file(path)
    if not isinstance(data, dict):
        raise InputError(f"{path}: must hold sections such as `training:`, but holds {type(data).__name__}")
    return build_run_config(cast(dict[str, Any], data), overrides, check_backbone, source=str(path))


def build_run_config(
    data: dict[str, Any],
    overrides: Sequence[str] = (),
    check_backbone: Callable[[str], None] | None = None,
    source: str = "configuration",
) -> RunConfig:
    """``load_run_config`` for sections that are already parsed."""
    data = json.loads(json.dumps(data))
    problems = apply_overrides(data, overrides)
    context = {"check_backbone": check_backbone} if check_backbone else {}
    config = None
    try:
        config = cast(RunConfig, parse_strict(RunConfig, data, context))
    except ValidationError as error:
        problems += describe_errors(error, RunConfig, overridable=True)
    if problems or config is None:
        raise InputError(f"{source} has {len(problems)} problem(s):\n" + "\n".join(f"  {p}" for p in problems))
    return config
