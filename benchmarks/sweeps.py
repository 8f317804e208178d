"""What a sweep costs beyond training: against a shell loop, on Ray, over sleeping work, and before its first run.

    python benchmarks/sweeps.py --before /path/to/an/older/checkout >> benchmarks/sweeps.txt

Every ratio is of one run of this script, its sides in turns. ``--only`` names the parts to run:

- ``cells``: 48 small cells on two workers, against a shell loop over ``accelerate launch recipes/train.py`` of some of
  the same runs, two at a time as ``xargs -P 2`` does it, and against ``bocb sweep`` of an older checkout.
- ``ray``: the same cells on warm local workers and on warm Ray actors, and what a run takes beyond its own training.
- ``sleep``: 1,000 pieces of sleeping work of one second and 300 of one minute on 16 slots, local and Ray (40 minutes).
- ``planning``: what 6,000 cells × 25 trials take to plan against a store of 11,200 records.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent / "tests")]

import yaml  # noqa: E402 - after the paths of this checkout
from short_settings import short_run  # noqa: E402 - of the tests

from bocb_hf.runs.record import RunRecord  # noqa: E402 - after the paths of this checkout
from bocb_hf.store.contents import read_store  # noqa: E402 - after the paths of this checkout
from bocb_hf.store.local import LocalStore  # noqa: E402 - after the paths of this checkout
from bocb_hf.sweep.cells import Cell  # noqa: E402 - after the paths of this checkout
from bocb_hf.sweep.executors import work  # noqa: E402 - after the paths of this checkout
from bocb_hf.sweep.executors.local import LocalExecutor  # noqa: E402 - after the paths of this checkout
from bocb_hf.sweep.executors.protocol import Executor  # noqa: E402 - after the paths of this checkout
from bocb_hf.sweep.executors.ray import RayExecutor  # noqa: E402 - after the paths of this checkout
from bocb_hf.sweep.plan import load_plan  # noqa: E402 - after the paths of this checkout
from bocb_hf.sweep.run import Sweep  # noqa: E402 - after the paths of this checkout
from bocb_hf.sweep.view import LineView  # noqa: E402 - after the paths of this checkout

ROOT = Path(__file__).resolve().parent.parent
BACKBONES = ("tiny_resnet", "tiny_mobilenet", "tiny_convnext", "tiny_vit")
# those whose step is quick, so that what is compared is not the optimizer
OPTIMIZERS = ("sgdm", "adamw", "adam", "adagrad", "lion", "lars", "rmsprop", "adamax", "nadam", "radam", "sgdp", "adan")
BOCB = "from bocb_hf.cli import main; raise SystemExit(main())"
WORKERS = 2
SLOTS = 16


def make_data(folder: Path) -> Path:
    """A folder of 1,000 training, 90 validation and 101 test images."""
    import datasets

    from bocb_hf.data import DATASETS

    data = folder / "data"
    data.mkdir()
    embedded: Any = datasets.load_dataset(str(DATASETS.get("fashion_mnist_subset").embedded))
    for split, size in (("train", 1000), ("validation", 90), ("test", 101)):
        embedded[split].select(range(size)).to_parquet(data / f"{split}.parquet")
    return data


def make_plan(folder: Path, backbones: Sequence[str], optimizers: Sequence[str]) -> Path:
    """A plan of small cells: one trial and one final run each, 40 steps of 25 images."""
    data = folder / "data"
    if not data.exists():
        make_data(folder)
    sections = short_run(data, folder)
    sections["training"] |= {"epochs": 1}
    for key in ("backbone", "optimizer", "seed"):
        del sections[key]
    (folder / "setting.yaml").write_text(yaml.safe_dump(sections))
    plan: dict[str, Any] = {"name": "cells", "config": str(folder / "setting.yaml"), "backbones": list(backbones)}
    plan |= {"optimizers": list(optimizers), "final_seeds": [1], "baselines": False, "device": "cpu"}
    plan |= {"tuning": {"points": 1, "seed": 0, "max_extensions": 0}}
    path = folder / f"plan{len(backbones) * len(optimizers)}.yaml"
    path.write_text(yaml.safe_dump(plan))
    return path


def places(folder: Path) -> list[str]:
    """Where the runs of a sweep go."""
    return [f"runtime.store={folder}/store", f"runtime.state_dir={folder}/state"]


def sweep_cold(plan: Path, folder: Path, checkout: Path) -> float:
    """Seconds of ``bocb sweep`` as a user starts it, with the code of a checkout."""
    command = [sys.executable, "-c", BOCB, "sweep", str(plan), "--workers", str(WORKERS), *places(folder)]
    return timed(command, checkout)


def timed(command: Sequence[str], checkout: Path = ROOT) -> float:
    """Seconds of a command."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stdout[-1000:] + done.stderr[-3000:])
    return time.perf_counter() - started


def launches(plan: Path, folder: Path, count: int) -> list[list[str]]:
    """So many runs of the plan as commands of a shell loop, spread over its backbones and optimizers."""
    loaded = load_plan(plan)
    found: list[list[str]] = []
    cells = list(loaded.cells())
    for number in range(count):
        cell = cells[number * len(cells) // count]
        names = [f"backbone.name={cell.backbone}", f"optimizer.name={cell.optimizer}", f"seed={number}"]
        words = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"]
        words += ["--num_cpu_threads_per_process", "1", str(ROOT / "recipes/train.py")]
        words += ["--config", cell.config, *names, "runtime.threads=1", *places(folder)]
        found.append(words)
    return found


def two_at_a_time(commands: Sequence[Sequence[str]]) -> float:
    """Seconds of commands as ``xargs -P 2`` runs them."""
    waiting, lock = iter(commands), threading.Lock()

    def work_off() -> None:
        while True:
            with lock:
                command = next(waiting, None)
            if command is None:
                return
            timed(command)

    started = time.perf_counter()
    threads = [threading.Thread(target=work_off) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def measure_cells(root: Path, arguments: argparse.Namespace) -> None:
    """Prints cells an hour of a cold sweep, of a shell loop, and of an older checkout."""
    plan = make_plan(root, BACKBONES, OPTIMIZERS)
    runs, each = 96, arguments.launches
    loop: list[float] = []  # seconds of a run
    new: list[float] = []  # seconds of the sweep, as of the next
    old: list[float] = []
    for number in range(arguments.rounds):
        new.append(sweep_cold(plan, root / f"new{number}", ROOT))
        trained = [r.cost.wall_seconds for r in read_store(LocalStore(root / f"new{number}" / "store")).records]
        if len(trained) != runs:
            raise SystemExit(f"{len(trained)} records instead of {runs}")
        loop.append(two_at_a_time(launches(plan, root / f"loop{number}", each)) / each)
        if arguments.before is not None:
            old.append(sweep_cold(plan, root / f"old{number}", arguments.before))
        print(
            f"  round {number + 1}: sweep {new[-1]:.0f} s, a run of the loop {loop[-1]:.1f} s"
            + (f", sweep before {old[-1]:.0f} s" if old else "")
            + f"; a run trains for {statistics.median(trained):.2f} s; load {os.getloadavg()[0]:.0f}",
            flush=True,
        )
    hours, loops = [3600 * 48 / seconds for seconds in new], [3600 / 2 / seconds for seconds in loop]
    print(f"48 small cells of two runs, cold `bocb sweep` on {WORKERS} workers: {median(hours)} cells an hour")
    print(f"shell loop over accelerate launch, two at a time: {median(loops)} cells an hour")
    print(f"  sweep against the loop: {median([a / b for a, b in zip(hours, loops, strict=True)])} × the cells an hour")
    if old:
        print(f"  sweep against that of the older checkout: {median([a / b for a, b in zip(old, new, strict=True)])} ×")


def median(values: Sequence[float]) -> str:
    """The median of the rounds, with their range."""
    low, middle, high = min(values), statistics.median(values), max(values)
    digits = 0 if middle >= 100 else 2
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def sweep_warm(executor: Executor, plan: Path, folder: Path) -> tuple[float, list[RunRecord]]:
    """Seconds that a sweep takes on warm workers in a new store, and its records."""
    sweep = Sweep(load_plan(plan), executor, places(folder))
    started = time.perf_counter()
    outcome = sweep.run(LineView(io.StringIO()))
    seconds = time.perf_counter() - started
    if outcome.failures:
        raise SystemExit(str(outcome.failures[0]))
    records = read_store(LocalStore(folder / "store")).records
    shutil.rmtree(folder)
    return seconds, records


def measure_ray(root: Path, arguments: argparse.Namespace) -> None:
    """Prints what runs take on warm local workers and on warm Ray actors."""
    plan = make_plan(root, BACKBONES, OPTIMIZERS[:2])
    # a cluster of its own, or Ray would take one that somebody else has started here
    cluster = open_cluster(WORKERS)
    executors: dict[str, Executor] = {
        "local": LocalExecutor(WORKERS, cpu_only=True),
        "ray": RayExecutor(cluster.address, WORKERS, cpu_only=True),
    }
    for kind, executor in executors.items():
        sweep_warm(executor, plan, root / f"first-{kind}")
    rates: dict[str, list[float]] = {kind: [] for kind in executors}
    beyond: dict[str, list[float]] = {kind: [] for kind in executors}
    for number in range(arguments.rounds):
        for kind in sorted(executors, reverse=bool(number % 2)):
            seconds, records = sweep_warm(executors[kind], plan, root / f"{kind}{number}")
            rates[kind].append(3600 * len(records) / 2 / seconds)
            trained = sum(record.cost.wall_seconds for record in records)
            beyond[kind].append((WORKERS * seconds - trained) / len(records))
    for kind in executors:
        print(
            f"8 small cells of two runs on {WORKERS} warm workers, {kind}: {median(rates[kind])} cells an hour; a run "
            f"takes {median(beyond[kind])} s of its worker beyond training and validation"
        )
    ratio = [r / own for own, r in zip(rates["local"], rates["ray"], strict=True)]
    print(f"  Ray against local: {median(ratio)} of its cells an hour", flush=True)
    for executor in executors.values():
        executor.close()
    cluster.shutdown()


def open_cluster(cpus: int) -> Any:
    """A Ray cluster of one node on this machine, with so many simulated CPUs."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": 200 * 2**20}
    return Cluster(initialize_head=True, connect=False, head_node_args=head)


def sleep_all(executor: Executor, count: int, seconds: float) -> float:
    """Seconds that so many sleeps take."""
    started = time.perf_counter()
    for future in [executor.start(work.sleep, seconds) for _ in range(count)]:
        future.result()
    return time.perf_counter() - started


@contextmanager
def open_slots(kind: str) -> Generator[Executor]:
    """A warm executor of 16 workers: local ones, or actors of a cluster with 16 simulated CPUs on this machine."""
    cluster = executor = None
    try:
        if kind == "ray":
            cluster = open_cluster(SLOTS)
            executor = RayExecutor(cluster.address, SLOTS, cpu_only=True)
        else:
            executor = LocalExecutor(SLOTS, cpu_only=True)
        while sleep_all(executor, SLOTS, 10.0) > 14:  # so long that none sleeps twice before all are warm
            pass
        yield executor
    finally:
        if executor is not None:
            executor.close()
        if cluster is not None:
            cluster.shutdown()


def measure_sleep(root: Path, arguments: argparse.Namespace) -> None:
    """Prints what sleeps take, one executor after the other, since 32 workers would take 16 GB of memory."""
    del root
    kinds = arguments.kinds.split(",")
    for kind in kinds:
        with open_slots(kind) as executor:
            for count, length in ((arguments.sleeps, 1.0), (arguments.minutes, 60.0)):
                if not count:
                    continue
                times = arguments.rounds if length == 1.0 else 1
                found = [sleep_all(executor, count, length) for _ in range(times)]
                least = length * -(-count // SLOTS)
                print(
                    f"{count} sleeps of {length:.0f} s on {SLOTS} slots, at least {least:.0f} s, {kind}: "
                    f"{statistics.median(found):.2f} s [{min(found):.2f}, {max(found):.2f}]",
                    flush=True,
                )


def measure_planning(root: Path, arguments: argparse.Namespace) -> None:
    """Prints what it takes to plan many cells."""
    del arguments
    import timm
    from aggregate import fill

    from bocb_hf.optim import OPTIMIZERS as ROWS
    from bocb_hf.sweep.left import find_left

    store = root / "many"
    started = time.process_time()
    records = fill(store, "grid", 20, 20)
    print(f"store of {records:,} records made in {time.process_time() - started:.0f} CPU s")
    optimizers = ROWS.names()
    from bocb_hf.backbones import BACKBONES as NETWORKS

    names = [name for name in NETWORKS.names() if not name.startswith("tiny")]
    names += [name for name in timm.list_models() if name not in names]
    backbones = names[: -(-6000 // len(optimizers))]
    plan: dict[str, Any] = {"name": "many", "config": "cifar100/pytorch", "backbones": backbones}
    plan |= {"optimizers": optimizers, "final_seeds": [1, 2, 3], "baselines": False}
    plan |= {"tuning": {"points": 5, "decay_points": 5, "seeds": [0], "max_extensions": 0}}
    path = root / "many.yaml"
    path.write_text(yaml.safe_dump(plan))
    print(f"plan of {len(backbones)} backbones × {len(optimizers)} optimizers × 25 trials; CPU s:")
    made: dict[str, Any] = {}

    def step(what: str, do: Callable[[], Any]) -> Any:
        before = time.process_time()
        made[what] = do()
        print(f"  {what:<58}{time.process_time() - before:>8.1f}", flush=True)
        return made[what]

    executor = LocalExecutor(WORKERS, cpu_only=True)
    sweep: Sweep = step(
        "read the plan and make its cells", lambda: Sweep(load_plan(path), executor, [f"runtime.store={store}"])
    )
    stored = step("count what the store has of them", sweep.stored_runs)
    step("queue the first 1,000 runs", lambda: sum(len(jobs) for jobs in islice(sweep.first(), 40)))
    left = step("what is left (--dry-run, without timing steps)", lambda: sum(find_left(c).runs for c in sweep.cells))
    count = step("make the configurations of all trials", lambda: sum(len(jobs) for jobs in fresh(sweep.cells).first()))
    print(f"  {len(sweep.cells):,} cells, {count:,} trials, {stored:,} runs in the store, {left:,} left")
    executor.close()


def fresh(cells: Sequence[Cell]) -> Any:
    """Something whose ``first`` makes the configurations of all trials of cells, as if none had ended."""

    class Every:
        def first(self) -> Any:
            for cell in cells:
                cell.trials.clear()
                yield [cell.trial(place) for place in cell.next_trials()]

    return Every()


PARTS: dict[str, Callable[[Path, argparse.Namespace], None]] = {
    "cells": measure_cells,
    "ray": measure_ray,
    "sleep": measure_sleep,
    "planning": measure_planning,
}


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run, separated by commas")
    parser.add_argument("--rounds", type=int, default=3, help="of each comparison")
    parser.add_argument("--launches", type=int, default=8, help="runs of the shell loop in a round")
    parser.add_argument("--sleeps", type=int, default=1000, help="pieces of one second")
    parser.add_argument("--minutes", type=int, default=300, help="pieces of one minute")
    parser.add_argument("--kinds", default="local,ray", help="executors that sleep")
    parser.add_argument("--before", type=Path, help="another checkout, whose `bocb sweep` runs the same cells")
    arguments = parser.parse_args()
    arguments.before = arguments.before.resolve() if arguments.before else None
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    os.environ |= {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    for part in arguments.only.split(","):
        print(
            f"\n{part}: {time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, load "
            f"{os.getloadavg()[0]:.1f} before; median of {arguments.rounds} round(s) [least, most]",
            flush=True,
        )
        with tempfile.TemporaryDirectory(prefix="bocb-sweeps-") as name:
            os.chdir(name)
            PARTS[part](Path(name), arguments)
            os.chdir("/")
        print(f"load {os.getloadavg()[0]:.1f} after", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
