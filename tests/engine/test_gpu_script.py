"""``benchmarks/gpu.py`` keeps what it has: figures of a group that fails, hangs or prints other things stay."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
GROUPS = """
import json, sys, time
group, device, *tiny = sys.argv[1:]
print("a library says hello", flush=True)
print(json.dumps({"figure": f"{group} first", "device": device, "tiny": tiny == ["tiny"]}), flush=True)
if group == "loop":
    sys.exit("no memory is left")
if group == "networks":
    time.sleep(60)
if group == "checks":
    print(json.dumps({"figure": "check fp16", "passed": False}), flush=True)
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with groups that take no time beside it."""
    spec = importlib.util.spec_from_file_location("gpu", ROOT / "benchmarks" / "gpu.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "gpu_figures.py").write_text(GROUPS)
    monkeypatch.setattr(module, "HERE", tmp_path / "beside")
    return module


def run(script: ModuleType, out: Path, *more: str) -> tuple[int, list[dict[str, Any]]]:
    code = script.main(["--out", str(out), "--device", "cpu", "--tiny", *more])
    return code, [json.loads(line) for line in (out / "figures.jsonl").read_text().splitlines()]


def test_every_group_is_run_and_a_failed_check_is_the_exit_status(script: ModuleType, tmp_path: Path) -> None:
    code, found = run(script, tmp_path / "out", "--only", "checks", "environment")
    assert [line["figure"] for line in found] == ["environment first", "checks first", "check fp16"] and code == 1
    assert found[0]["device"] == "cpu" and found[0]["tiny"] is True
    assert run(script, tmp_path / "good", "--only", "environment")[0] == 0


def test_a_group_that_ends_early_costs_its_own_figures_only(script: ModuleType, tmp_path: Path) -> None:
    code, found = run(script, tmp_path / "out", "--only", "loop", "cells")
    assert [line["figure"] for line in found] == ["loop first", "loop", "cells first"] and code == 1
    assert "ended with 1" in found[1]["error"] and "no memory is left" in found[1]["error"]


def test_a_group_that_hangs_is_cut_and_later_ones_have_their_turn(script: ModuleType, tmp_path: Path) -> None:
    started = time.monotonic()
    code, found = run(script, tmp_path / "out", "--only", "networks", "optimizers", "--minutes", "0.15")
    assert time.monotonic() - started < 30 and code == 1
    assert [line["figure"] for line in found][:2] == ["networks first", "networks"]
    assert "cut after" in found[1]["error"] and found[2]["figure"].startswith("optimizers")


def test_without_time_a_group_is_named_as_left_out(script: ModuleType, tmp_path: Path) -> None:
    code, found = run(script, tmp_path / "out", "--only", "cells", "--minutes", "0")
    assert found == [{"figure": "cells", "skipped": "no time was left"}] and code == 1


@pytest.mark.slow
def test_all_groups_run_in_small_on_the_cpu(tmp_path: Path) -> None:
    """The script itself, as one would start it on a machine without a GPU."""
    import subprocess

    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--out", str(tmp_path), "--device", "cpu", "--tiny"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
    found = [json.loads(line)["figure"] for line in (tmp_path / "figures.jsonl").read_text().splitlines()]
    for figure in ("environment", "check fp32", "check resume", "loop tiny_resnet fp32", "end to end tiny_vit"):
        assert figure in found
    assert any(name.startswith("network tiny_resnet") for name in found) and "cells, 2 at once" in found
    assert "optimizer lion" in found
