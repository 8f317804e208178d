"""What `bocb aggregate` of a large sweep takes: reading its records, its tables and figures, and its analysis.

    python benchmarks/aggregate.py --before /path/to/an/older/checkout > benchmarks/aggregate.txt

Each cell has 25 trials, on the study's grid of 5 × 5 or at 25 random rates, and three final runs. Every row is a
process of its own, which begins with Python: seconds and peak memory hold all imports. ``--before`` reads the small
stores with the code of another checkout in the same run. The analysis, whose bootstrap takes thousands of draws, has
its own row.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Literal

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

READ = (
    "import inspect; from bocb_hf.results.counted import read_counted;"
    "keep = {'cached': True} if 'cached' in inspect.signature(read_counted).parameters else {};"
    "contents = read_counted(store, **keep)"
)
TABLES = (
    f"{READ}; from bocb_hf.report.tabulate import tabulate; from bocb_hf.report.outputs import write_outputs;"
    "print(write_outputs(tabulate(contents), pathlib.Path(out)).text)"
)
ALL = "from bocb_hf.cli import main; main(['aggregate', '--store', store, '--out', out])"
WRITE = """
import json, pathlib, sys, time
from bocb_hf.runs.record import parse_record
from bocb_hf.store.cards.curves import draw_curves
from bocb_hf.store.cards.text import render_card
from bocb_hf.store.local import LocalStore
from bocb_hf.store.write import write_runs
store, out = map(pathlib.Path, sys.argv[1:])
place = sorted((store / "models" / "local").iterdir())[0]
records = [parse_record(path.read_bytes(), path.name) for path in sorted(place.rglob("*.json"))]
weights = out / "weights"
weights.mkdir(parents=True, exist_ok=True)
(weights / "config.json").write_text("{}")
(weights / "model.safetensors").write_bytes(b"0" * 1000)
finals, trials = ([r for r in records if r.role == role] for role in ("final", "trial"))
runs = [(r, weights if r.role == "final" else None) for r in records]
def least(work):
    found = []
    for number in range(8):
        started = time.process_time()
        work(number)
        found.append(1000 * (time.process_time() - started))
    return min(found[1:])
at = str(time.time())
print(json.dumps({
    "all": least(lambda i: write_runs(LocalStore(out / f"{at}-{i}"), "local", runs, False)),
    "picture": least(lambda i: draw_curves(finals)),
    "card": least(lambda i: render_card("local/x", finals, trials)),
}))
"""


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


def measure(code: str, checkout: Path, store: Path, work: Path) -> dict[str, float]:
    """Runs a piece of code in a new process; returns seconds by the clock and of work, peak MiB and lines printed."""
    program = f"import pathlib, sys; store, out = sys.argv[1:]; {code}"
    environment = os.environ | {
        "PYTHONPATH": str(checkout),
        "HF_HOME": str(work / "home"),
        "MPLCONFIGDIR": str(work / "matplotlib"),
        "OMP_NUM_THREADS": "1",
    }
    started = time.perf_counter()
    with tempfile.TemporaryFile() as text:
        command = [sys.executable, "-c", program, str(store), str(work / "out")]
        process = subprocess.Popen(command, env=environment, stdout=text, cwd=work)
        _, status, usage = os.wait4(process.pid, 0)
        text.seek(0)
        lines = text.read().count(b"\n")
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{code!r} failed with the code of {checkout}")
    return {
        "seconds": seconds,
        "worked": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss / 1024,
        "lines": lines,
    }


def row(label: str, found: dict[str, float], records: int) -> None:
    """Prints one line."""
    print(
        f"{label:<62} {records:>7,} {found['worked']:>7.1f} {found['seconds']:>7.1f} {found['memory']:>9.0f} "
        f"{found['lines']:>6.0f}",
        flush=True,
    )


def age(store: Path) -> None:
    """Waits until the store is older than what the cache takes for settled."""
    newest = max(path.stat().st_ctime for path in store.rglob("*"))
    time.sleep(max(0.0, newest + 3 - time.time()))


def compare(work: Path, before: Path | None, rates: Rates, sides: tuple[int, int]) -> None:
    """Prints the rows of one store."""
    store = work / f"{rates}-{sides[0]}x{sides[1]}"
    records = fill(store, rates, *sides)
    age(store)
    name = f"{sides[0]} × {sides[1]} cells, {'5 × 5 rates' if rates == 'grid' else '25 random rates'}"
    shutil.rmtree(work / "home", ignore_errors=True)
    base = measure(TABLES, before, store, work) if before is not None else None
    if base is not None:
        row(f"before: records, tables and figures; {name}", base, records)
    cold = measure(TABLES, ROOT, store, work)
    row(f"records, tables and figures; {name}", cold, records)
    row("  the same, nothing changed", measure(TABLES, ROOT, store, work), records)
    if base is not None:
        print(
            f"  {base['worked'] / cold['worked']:.1f} × less work, {base['memory'] / cold['memory']:.1f} × less memory"
        )
    shutil.rmtree(work / "home", ignore_errors=True)
    row("  records alone", measure(READ, ROOT, store, work), records)
    row("  records alone, nothing changed", measure(READ, ROOT, store, work), records)
    os.utime(next(store.rglob("README.md")))
    row("  records alone, one repository changed", measure(READ, ROOT, store, work), records)


def write_speed(checkout: Path, work: Path, store: Path) -> dict[str, float]:
    """Returns milliseconds of work to write a repository of 28 records with their card, the least of seven."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "MPLCONFIGDIR": str(work / "matplotlib")}
    command = [sys.executable, "-c", WRITE, str(store), str(work / "written")]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, cwd=work)
    return json.loads(done.stdout)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="another checkout, whose code reads the same stores")
    parser.add_argument("--small", default="8x10", help="backbones x optimizers of the stores that both read")
    parser.add_argument("--sizes", default="20x20,21x48", help="those of the stores that this code alone reads")
    arguments = parser.parse_args()
    before = arguments.before.resolve() if arguments.before else None
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("pydantic", "PyYAML", "matplotlib"))
    print(f"{datetime.date.today()}, {platform.machine()}, Python {platform.python_version()}, {versions}")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}: where others work too, trust the CPU seconds\n")
    print(f"{'':<62} records   CPU s  wall s  peak MiB  lines")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        small = sides(arguments.small)
        for rates in ("grid", "random"):
            compare(work, before, rates, small)
        for size in arguments.sizes.split(","):
            compare(work, None, "random", sides(size))
        store = work / f"random-{arguments.small}"
        row(f"bocb aggregate with its analysis, {arguments.small} cells", measure(ALL, ROOT, store, work), 0)
        print("\nCPU ms to write a repository of 28 records, the least of seven: all, its picture, its card")
        for name, checkout in (("before", before), ("now", ROOT)):
            if checkout is not None:
                found = write_speed(checkout, work, store)
                print(f"{name:<8}" + "".join(f"{found[part]:>8.0f}" for part in ("all", "picture", "card")))
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


def sides(text: str) -> tuple[int, int]:
    """Parses ``backbones x optimizers``."""
    backbones, optimizers = map(int, text.split("x"))
    return backbones, optimizers


if __name__ == "__main__":
    main()
