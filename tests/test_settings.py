"""What the headers of shipped configurations promise."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bocb_hf.engine.run import prepare_run
from bocb_hf.load_config import load_run_config
from bocb_hf.resources import find_config, resource

HEADERS = {path: path.read_text(encoding="utf-8") for path in resource("recipes/configs").rglob("*.yaml")}
MEASURED = [path for path, text in HEADERS.items() if re.search(r"configuration [0-9a-f]{12}", text)]


def test_some_setting_was_measured() -> None:
    assert MEASURED


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_a_measured_score_is_that_of_the_command_beside_it(path: Path) -> None:
    """The configuration hash in the header is the one that its command runs: a changed setting needs a new score."""
    lines = [line.removeprefix("#") for line in HEADERS[path].splitlines() if line.startswith("#")]
    text = " ".join(lines)
    command = text.split("Command:")[1].split("Expected:")[0].replace("\\", " ")
    words = shlex.split(command)
    config = words[words.index("--config") + 1]
    overrides = [word for word in words if "=" in word]
    identity = prepare_run(load_run_config(find_config(config, "recipes/configs"), overrides)).identity
    match = re.search(r"configuration ([0-9a-f]{12})", text)
    assert match is not None
    assert identity.config_hash() == match.group(1)
