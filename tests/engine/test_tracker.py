"""Which tracker a run uses, and that trackio works without a network."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
from warm import WarmProcess

from bocb_hf.engine import run
from bocb_hf.runs.runtime_config import RuntimeConfig


@pytest.mark.parametrize("installed", [True, False])
def test_trackio_is_the_default_where_it_is_installed(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    plain = importlib.util.find_spec

    def find(name: str, *rest: Any) -> Any:
        return (object() if installed else None) if name == "trackio" else plain(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    assert run.choose_tracker(RuntimeConfig()) == ("trackio" if installed else None)
    assert run.choose_tracker(RuntimeConfig(tracker="none")) is None
    assert run.choose_tracker(RuntimeConfig(tracker="tensorboard")) == "tensorboard"


TRAIN = """
import json, sys
from bocb_hf.engine.run import train_run
from bocb_hf.runs.load_config import build_run_config
print(train_run(build_run_config(json.loads(sys.argv[1]), [])).run_id)
"""


def test_a_run_is_tracked_in_a_local_file(sections: dict[str, Any], tmp_path: Path) -> None:
    """In a process of its own: trackio stays in the process that imports it."""
    import json

    pytest.importorskip("trackio")
    environment = {k: v for k, v in os.environ.items() if k != "TRACKIO_DIR"} | {"HF_HUB_OFFLINE": "1"}
    sections["runtime"]["tracker"] = "trackio"
    process = WarmProcess(["-c", TRAIN, json.dumps(sections)], environment=environment)
    _, errors = process.communicate(timeout=170)
    assert process.returncode == 0, errors
    (database,) = tmp_path.rglob("*.db")
    assert database.stat().st_size > 0
    assert str(tmp_path / "state") in str(database)
