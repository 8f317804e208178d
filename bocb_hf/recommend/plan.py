"""Writes an answer as a plan for ``bocb sweep``."""

from __future__ import annotations

from pathlib import Path

import yaml

from bocb_hf.errors import InputError
from bocb_hf.files import replacing
from bocb_hf.recommend.answer import Answer
from bocb_hf.resources import find_config
from bocb_hf.sweep.plan import EDITION_2, NEWEST_EDITION, load_plan


def write_plan(path: Path, config: str, given: Answer) -> None:
    """Writes the members and the most promising other optimizer as a plan for the backbone.

    Raises:
        InputError: The setting is unknown, an optimizer has no row, or the path cannot be written.
    """
    find_config(config, "recipes/configs")
    optimizers = [*given.names(given.chosen), *(name for name, _ in given.probes[:1])]
    plan = {
        "edition": NEWEST_EDITION,
        "name": "recommended",
        "config": config,
        "backbones": [given.target.name],
        "optimizers": optimizers,
        "tuning": EDITION_2,
        "final_seeds": [1, 2, 3],
    }
    head = (
        f"# Purpose:  {given.target.name} with the optimizers that `bocb recommend` names, from {given.source.label}\n"
        f"# Command:  bocb sweep {path}\n"
    )
    try:
        with replacing(path) as temporary:
            temporary.write_text(head + yaml.safe_dump(plan, sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise InputError(f"--plan: cannot write {path}: {error.strerror}; choose another path") from error
    load_plan(path)
