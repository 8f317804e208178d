"""What `bocb aggregate` of a large sweep takes: reading its records, its tables and figures, and its analysis.

    python benchmarks/aggregate.py --before /path/to/an/older/checkout > benchmarks/aggregate.txt

A store holds 20 backbones × 20 optimizers; each cell has 25 trials and three final runs, so 11,200 records, whose trials
lie on the study's grid of 5 × 5 or at 25 random rates. Every row is a process of its own, which begins with
Python: seconds and peak memory hold all imports. ``--before`` reads the same stores with the code of another checkout
in the same run. The analysis, whose bootstrap takes thousands of draws, has its own row.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from builders import make_bits, make_data, make_record, with_patterns  # noqa: E402 - of the tests

from bocb_hf.backbones import BACKBONES  # noqa: E402 - after the path of this checkout
from bocb_hf.optim import OPTIMIZERS  # noqa: E402 - after the path of this checkout
from bocb_hf.runs.measurements import Curve  # noqa: E402 - after the path of this checkout
from bocb_hf.runs.record import RunRecord  # noqa: E402 - after the path of this checkout
from bocb_hf.store.cards.text import render_card  # noqa: E402 - after the path of this checkout

Rates = Literal["grid", "random"]
IMAGES = 10_000
SETTING = "pytorch"
STEPS = 28  # entries of a curve, as in the demo

READ = "from bocb_hf.results.counted import read_counted; found = len(read_counted(store).records)"
TABLES = (
    "from bocb_hf.results.counted import read_counted; from bocb_hf.report.tabulate import tabulate;"
    "from bocb_hf.report.outputs import write_outputs;"
    "tabulated = tabulate(read_counted(store)); found = len(tabulated.contents.records);"
    "print(write_outputs(tabulated, pathlib.Path(out)).text)"
)
ALL = "from bocb_hf.cli import main; found = main(['aggregate', '--store', store, '--out', out])"


def cell_records(backbone: str, optimizer: str, rates: Rates, generator: np.random.Generator) -> Iterator[RunRecord]:
    """Yields 25 trials and three final runs of a cell, whose best trial lies anywhere."""
    data = make_data("cifar100", "aadb3af77e9048adbea6b47c21a81e47dd092ae5", num_classes=100)
    centre = OPTIMIZERS.get(optimizer).centre(SETTING, data.name, 64, "ours")
    factors = [3.0**k for k in range(-2, 3)]
    decay = centre.weight_decay or 1e-5
    pairs = [(centre.lr * a, decay * b) for a, b in product(factors, factors)]
    if rates == "random":
        drawn = 3.0 ** generator.uniform(-2, 2, size=(25, 2))
        pairs = [(centre.lr * a, decay * b) for a, b in drawn.tolist()]
    scores = 60 + generator.normal(size=25) - 4 * np.abs(np.log([lr / centre.lr for lr, _ in pairs]))
    best = pairs[int(np.argmax(scores))]
    step = list(range(10, 10 * STEPS + 1, 10))
    for role, seed, (lr, weight_decay), score in (
        *(("trial", 0, pair, score) for pair, score in zip(pairs, scores.tolist(), strict=True)),
        *(("final", seed, best, float(scores.max() + generator.normal() / 3)) for seed in (1, 2, 3)),
    ):
        record = make_record(
            backbone,
            optimizer,
            seed=seed,
            role="final" if role == "final" else "trial",
            setting=SETTING,
            data=data,
            lr=lr,
            weight_decay=weight_decay,
            val_top1=score,
            correct=generator.permutation(make_bits(round(score / 100 * IMAGES), IMAGES)),
        )
        curve = Curve(
            step=step,
            lr=[lr] * STEPS,
            train_loss=[math.exp(-s / 100) + 1e-3 * seed for s in step],
            train_top1=[min(s / 4, 99.0) for s in step],
            val_step=[],
            val_loss=[],
            val_top1=[],
            grad_norm=[1 / s for s in step],
            update_ratio=[1e-3 / s for s in step],
        )
        record = record.model_copy(
            update={"total_steps": 10 * STEPS, "curve": curve, "grid": "ours" if rates == "grid" else None}
        )
        yield with_patterns(record, 12) if role == "final" else record


def fill(root: Path, rates: Rates, backbones: int, optimizers: int) -> int:
    """Makes a store; returns its number of records. Files are written directly, since writing has its own row."""
    generator = np.random.default_rng(0)
    names = [name for name in BACKBONES.names() if not name.startswith("tiny")][:backbones]
    count = 0
    for backbone, optimizer in product(names, OPTIMIZERS.names()[:optimizers]):
        records = list(cell_records(backbone, optimizer, rates, generator))
        repository = root / "models" / "local" / records[0].repository()
        for record in records:
            path = repository / record.path()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(record.to_json().encode())
        finals, trials = ([r for r in records if r.role == role] for role in ("final", "trial"))
        (repository / "README.md").write_text(render_card(f"local/{repository.name}", finals, trials))
        count += len(records)
    return count


def measure(code: str, checkout: Path, store: Path, work: Path) -> dict[str, Any]:
    """Runs a piece of code in a new process; returns seconds by the clock and of work, peak MiB and lines printed."""
    program = f"import pathlib, sys; store, out = sys.argv[1:]; {code}"
    environment = os.environ | {
        "PYTHONPATH": str(checkout),
        "HF_HOME": str(work / "home"),
        "MPLCONFIGDIR": str(work / "matplotlib"),
        "OMP_NUM_THREADS": "1",
    }
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = ["/usr/bin/env", "python3", "-c", program]
    command[0:2] = [sys.executable]
    with tempfile.TemporaryFile() as text:
        process = subprocess.Popen([*command, str(store), str(work / "out")], env=environment, stdout=text)
        _, status, usage = os.wait4(process.pid, 0)
        text.seek(0)
        lines = text.read().count(b"\n")
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{code!r} failed with the code of {checkout}")
    del before
    return {
        "seconds": seconds,
        "worked": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss / 1024,
        "lines": lines,
    }


def row(label: str, found: dict[str, Any], records: int) -> None:
    """Prints one line."""
    print(
        f"{label:<58} {records:>7,} {found['seconds']:>8.1f} {found['worked']:>8.1f} {found['memory']:>8.0f} "
        f"{found['lines']:>6}",
        flush=True,
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="another checkout, whose code reads the same stores")
    parser.add_argument("--backbones", type=int, default=20)
    parser.add_argument("--optimizers", type=int, default=20)
    parser.add_argument("--make", type=Path, help="only make the two stores in this folder")
    arguments = parser.parse_args()
    if arguments.make:
        for rates in ("grid", "random"):
            print(fill(arguments.make / rates, rates, arguments.backbones, arguments.optimizers))
        return
    del datetime, json, platform, metadata, shutil


if __name__ == "__main__":
    main()
