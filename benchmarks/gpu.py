"""What runs on one GPU, and how fast: checks and figures in at most nine minutes, without a network.

    python benchmarks/gpu.py --out gpu                   # writes gpu/figures.jsonl, and prints a line for each figure
    python benchmarks/gpu.py --out cpu --device cpu --tiny    # the same code in small, for a test of this script

It needs a checkout, torch 2.11 or later, timm, transformers and accelerate; the first figure names the version of every
package that ours import, or says that it is missing. Each group of figures is a process of its own with its share of
the time: one that fails, hangs or runs out of memory costs its own figures only. Every figure is a line of JSON that is
on the disk before the next one begins, so a run that is cut keeps what it has. All figures of a ratio are measured in
one process, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent

# the groups in the order of what nobody knows yet, each with its share of the time
GROUPS = {
    "environment": 20,
    "checks": 110,
    "loop": 60,
    "networks": 110,
    "end_to_end": 60,
    "cells": 90,
    "optimizers": 60,
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the groups one after the other; returns 1 when a check failed or a group ended early."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="folder of figures.jsonl")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small sizes, for a test of the script")
    parser.add_argument("--minutes", type=float, default=9.0, help="time for all groups")
    parser.add_argument("--only", nargs="+", choices=tuple(GROUPS), default=list(GROUPS), metavar="GROUP")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60 * given.minutes
    wanted = [name for name in GROUPS if name in given.only]
    good = True
    with (given.out / "figures.jsonl").open("a", encoding="utf-8") as file:
        for place, name in enumerate(wanted):
            left = ends - time.monotonic()
            # what earlier groups did not use goes to the later ones
            share = left * GROUPS[name] / sum(GROUPS[other] for other in wanted[place:])
            if share < 1:
                keep(file, {"figure": name, "skipped": "no time was left"})
                good = False
                continue
            good = run_group(name, given, share, file) and good
    return 0 if good else 1


def run_group(name: str, given: argparse.Namespace, seconds: float, file: IO[str]) -> bool:
    """Runs one group in a process of its own; returns whether it ended well and passed its checks."""
    command = [sys.executable, str(HERE / "gpu_figures.py"), name, given.device]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")]),
        "HF_HUB_OFFLINE": "1",
        "BOCB_GPU_SECONDS": f"{seconds:.0f}",
    }
    if given.tiny:
        command.append("tiny")
    if given.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    started = time.monotonic()
    errors = given.out / f"{name}.log"
    with errors.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
        cut = threading.Event()

        def end() -> None:
            cut.set()
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(seconds, end)
        timer.start()
        good = True
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if not line.startswith("{"):
                    continue  # a library has printed something
                found = json.loads(line)
                good = good and found.get("passed", True)
                keep(file, found)
            code = process.wait()
        finally:
            timer.cancel()
    took = time.monotonic() - started
    if cut.is_set():
        keep(file, {"figure": name, "error": f"cut after {took:.0f} s; what it had found stands above"})
    elif code:
        last = errors.read_text(encoding="utf-8").strip().splitlines()
        reason = last[-1][:300] if last else f"signal {-code}" if code < 0 else "no message"
        keep(file, {"figure": name, "error": f"ended with {code} after {took:.0f} s: {reason}; see {errors}"})
    return good and not code and not cut.is_set()


def keep(file: IO[str], found: dict[str, Any]) -> None:
    """Writes one line, waits until it is on the disk, and prints it for people."""
    file.write(json.dumps(found) + "\n")
    file.flush()
    os.fsync(file.fileno())
    print("  ".join(f"{key}: {value}" for key, value in found.items()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
