"""A short form of ``benchmarks/chaos.py``: kills, a full disk, a read-only store, and a Hub that is away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / "benchmarks" / "chaos.py"


@pytest.mark.slow
def test_a_sweep_outlives_everything_that_the_script_does_to_it() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--kills", "12", "--seed", "1", "--minutes", "4"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "FAILED" not in done.stdout
    assert [line.split(":")[0] for line in done.stdout.splitlines()][1:] == [
        *("undisturbed", "local executor", "disk", "read-only", "hub"),
        "nothing finished was lost or written again; every weight and score is that of the undisturbed sweep",
    ]
