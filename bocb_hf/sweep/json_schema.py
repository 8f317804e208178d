"""The JSON schema of plans, for editors: ``recipes/sweeps/plan.schema.json``. The command ::

    python -m bocb_hf.sweep.json_schema > recipes/sweeps/plan.schema.json

writes it anew; a test compares it. An editor with a YAML language server checks and completes a plan whose first line
is ``# yaml-language-server: $schema=<path of that file>``.
"""

from __future__ import annotations

import json
from typing import Any, cast

from bocb_hf.optim import OPTIMIZERS
from bocb_hf.sweep.kept_rates import KeptRates
from bocb_hf.sweep.plan import EDITION_2, SweepPlan
from bocb_hf.sweep.pretrained import PretrainedAxis
from bocb_hf.sweep.tuning import Tuning


def plan_schema() -> dict[str, Any]:
    """The schema of a plan, with the names of this package's optimizers and the docstrings as descriptions."""
    schema = SweepPlan.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    tuning = cast(dict[str, Any], schema["$defs"]["Tuning"])
    tuning["properties"]["seed"] = tuning["properties"]["seeds"]["items"] | {"title": "Seed"}
    parts = (Tuning, PretrainedAxis, KeptRates)
    described = [(part, schema["$defs"][part.__name__]["properties"]) for part in parts]
    for model, properties in [(SweepPlan, schema["properties"]), *described]:
        for name, text in attribute_texts(model.__doc__ or "").items():
            properties[name]["description"] = text
    for name, value in EDITION_2.items():
        tuning["properties"][name]["description"] += f" With `edition: 2`: {json.dumps(value)}."
    schema["properties"]["optimizers"]["items"]["examples"] = OPTIMIZERS.names()
    return schema


def attribute_texts(docstring: str) -> dict[str, str]:
    """The descriptions in the section ``Attributes`` of a docstring, by name."""
    found: dict[str, str] = {}
    name = ""
    for line in docstring.partition("Attributes:")[2].splitlines():
        if line.startswith("        ") and not line.startswith("         "):
            name, _, text = line.strip().partition(": ")
            found[name] = text
        elif name and line.strip():
            found[name] += " " + line.strip()
    return {key: text.replace("``", "`") for key, text in found.items()}


if __name__ == "__main__":
    print(json.dumps(plan_schema(), indent=1, ensure_ascii=False))
