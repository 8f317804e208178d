"""A small sweep on warm workers: tuning, final runs, baselines; stopping, dying workers, and failing runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from warm import BOCB, WarmProcess, run_warm, wait_until

from bocb_hf.coupling.table import build_tables
from bocb_hf.engine.run import train_run
from bocb_hf.runs.load_config import load_run_config
from bocb_hf.runs.record import RunRecord
from bocb_hf.store.contents import read_store
from bocb_hf.store.local import LocalStore

# Workers are forked from the sweep, which has the stack; the product starts each anew (`run_cold` below). Everything
# else is the product's: the pool, its event, what a worker does first, and how its death is noticed.
FORKED = "import multiprocessing as m; m.get_context = lambda _, get=m.get_context: get('fork'); " + BOCB


@pytest.fixture
def plan(sections: dict[str, Any], tmp_path: Path) -> Path:
    """2 backbones × 2 optimizers, 3 + 2 runs each, on the small data."""
    for key in ("backbone", "optimizer", "seed"):
        del sections[key]
    (tmp_path / "setting.yaml").write_text(yaml.safe_dump(sections))
    path = tmp_path / "plan.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "name": "small",
                "config": str(tmp_path / "setting.yaml"),
                "backbones": ["tiny_resnet", "tiny_vit"],
                "optimizers": ["sgdm", "adamw"],
                "tuning": {"points": 3, "factor": 3.0, "seed": 0, "max_extensions": 1},
                "final_seeds": [1, 2],
            }
        )
    )
    return path


def sweep(plan: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return run_warm(["-c", FORKED, "sweep", str(plan), "--workers", "2", *more])


def run_cold(*words: str) -> subprocess.CompletedProcess[str]:
    """`bocb` as a user starts it."""
    return subprocess.run(
        [sys.executable, "-c", BOCB, *words], capture_output=True, text=True, check=False, timeout=300
    )


def records(tmp_path: Path) -> list[RunRecord]:
    contents = read_store(LocalStore(tmp_path / "store"))
    assert contents.quarantined == []
    return list(contents.records)


def check_complete(tmp_path: Path, cells: int = 4) -> dict[str, str]:
    """Every cell is tuned by the rule and has its two final runs; returns the SHA-256 of each record by its place."""
    found = records(tmp_path)
    assert {r.status for r in found} == {"completed"}
    for cell in {r.identity.cell() for r in found}:
        trials = [r for r in found if r.identity.cell() == cell and r.role == "trial"]
        finals = [r for r in found if r.identity.cell() == cell and r.role == "final"]
        assert {r.seed for r in trials} == {0}
        assert sorted(r.seed for r in finals) == [1, 2]
        rates = sorted(r.identity.optimizer.lr for r in trials)
        assert len(rates) in (3, 4)
        scores = {r.identity.optimizer.lr: r.metrics.val_top1.last for r in trials if r.metrics.val_top1}
        chosen = {r.identity.optimizer.lr for r in finals}
        assert len(chosen) == 1
        assert scores[chosen.pop()] == max(v for v in scores.values() if v is not None)
        best_inside = max(scores, key=lambda lr: scores[lr] or 0) not in (rates[0], rates[-1])
        assert len(rates) == 4 or best_inside or len({*scores.values()}) < 3
    assert len({r.identity.cell() for r in found}) == cells
    return {f"{r.identity.cell()}{r.path()}": r.metrics.model_dump_json() for r in found}


def test_a_sweep_tunes_runs_and_is_not_run_twice(plan: Path, tmp_path: Path) -> None:
    first = sweep(plan)
    assert first.returncode == 0, first.stderr
    assert "20 of 20 runs to do" in first.stdout and "min on 2 workers" in first.stdout
    before = check_complete(tmp_path)
    contents = read_store(LocalStore(tmp_path / "store"))
    backbones = {record.identity.backbone.name for record in contents.records}
    assert {b.backbone.name for b in contents.floors if b.backbone is not None} == backbones
    assert len(contents.floors) == 1 + len(backbones)
    (table,) = build_tables(contents.records)
    assert len([row for row in table.rows if row.shown]) == 4
    files = {
        p: p.stat().st_mtime_ns for p in (tmp_path / "store").rglob("*") if p.is_file() and ".locks" not in p.parts
    }
    again = sweep(plan)
    assert again.returncode == 0, again.stderr
    assert "\n0 of 20 runs to do" in again.stdout
    assert {p: p.stat().st_mtime_ns for p in files} == files  # nothing was written again
    assert check_complete(tmp_path) == before


def workers_of(process: WarmProcess) -> list[int]:
    return [child.pid for child in psutil.Process(process.pid).children()]


def start(plan: Path) -> WarmProcess:
    command = ["-c", FORKED, "sweep", str(plan), "--workers", "2", "training.epochs=6"]
    return WarmProcess(command, session=True, merged=True)


def wait_for_records(tmp_path: Path, more: int, process: WarmProcess) -> None:
    """Waits until the process has completed so many runs."""

    def completed() -> int:
        paths = (tmp_path / "store" / "models").rglob("*.json")  # beside it, folders of a moment come and go
        return sum('"status":"completed"' in path.read_text() for path in paths if path.name != "config.json")

    start = completed()
    wait_until(lambda: completed() >= start + more, process)


def test_ctrl_c_a_dead_worker_and_a_dead_parent_lose_nothing(plan: Path, tmp_path: Path) -> None:
    """Ctrl-C, then SIGKILL of one worker, then SIGKILL of the parent; the next start continues and completes."""
    plan.write_text(yaml.safe_dump(yaml.safe_load(plan.read_text()) | {"backbones": ["tiny_resnet"]}))
    process = start(plan)
    wait_for_records(tmp_path, 2, process)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does: parent and workers get it
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "run the same command again to continue" in output
    assert "Traceback" not in output

    process = start(plan)
    wait_for_records(tmp_path, 1, process)
    workers = workers_of(process)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    wait_for_records(tmp_path, 3, process)  # it went on with new workers
    workers = workers_of(process)
    process.kill()
    process.wait(timeout=60)
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "workers outlived their parent"
        time.sleep(0.1)

    done = sweep(plan, "training.epochs=6")
    assert done.returncode == 0, done.stderr
    check_complete(tmp_path, cells=2)


def test_a_failing_run_does_not_end_the_others(plan: Path, tmp_path: Path) -> None:
    """Seed 1 of one cell is taken by another configuration: its final run fails, everything else is run.

    This sweep starts as a user's does: its worker is a new process that imports the stack itself, which also is the
    only way that its instructions can be limited.
    """
    other = ["backbone.name=tiny_vit", "optimizer.name=adamw", "optimizer.lr=0.5", "seed=1"]
    train_run(load_run_config(tmp_path / "setting.yaml", other))
    plan.write_text(yaml.safe_dump(yaml.safe_load(plan.read_text()) | {"backbones": ["tiny_vit"]}))
    done = run_cold("sweep", str(plan), "--workers", "1", "training.epochs=1", "runtime.portable=true")
    assert done.returncode == 1
    assert done.stderr.count("failed: tiny_vit × adamw seed 1: seed 1 of this cell holds run") >= 1
    assert "Traceback" not in done.stderr
    found = records(tmp_path)
    for record in (r for r in found if r.identity.optimizer.lr != 0.5):
        assert record.environment.portable and "512" not in (record.environment.cpu_capability or "")
    assert len([r for r in found if r.role == "final"]) == 4
    assert len([r for r in found if r.role == "final" and r.identity.optimizer.lr == 0.5]) == 1


def test_an_impossible_plan_fails_before_anything_runs(plan: Path, tmp_path: Path) -> None:
    data = yaml.safe_load(plan.read_text())
    plan.write_text(yaml.safe_dump(data | {"backbones": ["tiny_vit", "tiny_vti"]}))
    done = sweep(plan)
    assert done.returncode == 2
    assert "did you mean 'tiny_vit'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store").exists()
