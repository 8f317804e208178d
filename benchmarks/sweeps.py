"""What executors cost: sleeping work, and the same small cells, on local workers, on Ray actors, and in a shell loop.

    python benchmarks/sweeps.py > benchmarks/sweeps.txt

Every ratio is of one run of this script, its two sides in turns. The shell loop starts ``accelerate launch
recipes/train.py`` for each run, for a few runs only; its time for all is that of these, scaled.
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
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from chaos import make_plan

from bocb_hf.sweep.executors import work
from bocb_hf.sweep.executors.local import LocalExecutor
from bocb_hf.sweep.executors.protocol import Executor
from bocb_hf.sweep.executors.ray import RayExecutor
from bocb_hf.sweep.plan import load_plan
from bocb_hf.sweep.run import Sweep
from bocb_hf.sweep.view import LineView


def sleep_all(executor: Executor, count: int, seconds: float) -> float:
    """Seconds that so many sleeps take."""
    started = time.perf_counter()
    for future in [executor.start(work.sleep, seconds) for _ in range(count)]:
        future.result()
    return time.perf_counter() - started


def sweep_all(executor: Executor, plan: Path, folder: Path) -> tuple[float, int]:
    """Seconds that a sweep takes on warm workers in a new store, and its number of runs."""
    places = [f"runtime.store={folder}/store", f"runtime.state_dir={folder}/state"]
    sweep = Sweep(load_plan(plan), executor, places)
    started = time.perf_counter()
    outcome = sweep.run(LineView(io.StringIO()))
    if outcome.failures:
        raise SystemExit(str(outcome.failures[0]))
    shutil.rmtree(folder)
    return time.perf_counter() - started, sum(outcome.statuses.values())


def launch_all(plan: Path, folder: Path, count: int) -> float:
    """Seconds that so many runs take in a shell loop, one after the other."""
    recipe = Path(__file__).resolve().parent.parent / "recipes" / "train.py"
    setting = str(load_plan(plan).config)
    started = time.perf_counter()
    for seed in range(count):
        names = ["backbone.name=tiny_vit", "optimizer.name=adamw", f"seed={seed}", "runtime.threads=1"]
        places = [f"runtime.store={folder}/store", f"runtime.state_dir={folder}/state"]
        command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1", str(recipe)]
        done = subprocess.run(
            [*command, "--config", setting, *names, *places], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
    shutil.rmtree(folder)
    return time.perf_counter() - started


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--workers", type=int, default=2, help="of each executor")
    parser.add_argument("--rounds", type=int, default=3, help="of each comparison")
    parser.add_argument("--sleeps", type=int, default=60, help="pieces of sleeping work of one second in a round")
    parser.add_argument("--launches", type=int, default=3, help="runs of the shell loop")
    arguments = parser.parse_args()
    workers = arguments.workers
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f} "
        f"before; {workers} workers; medians of {arguments.rounds} rounds",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="bocb-sweeps-") as name:
        root = Path(name)
        plan = make_plan(root)
        os.chdir(root)
        executors: list[Executor] = [LocalExecutor(workers), RayExecutor(None, workers)]
        for executor in executors:
            began = time.perf_counter()
            sleep_all(executor, workers, 1.0)
            sweep_all(executor, plan, root / "first")
            print(
                f"{executor.name}: {executor.workers} workers warm after {time.perf_counter() - began:.0f} s",
                flush=True,
            )
        slept: dict[str, list[float]] = {executor.name: [] for executor in executors}
        for _ in range(arguments.rounds):
            for executor in executors:
                slept[executor.name].append(sleep_all(executor, arguments.sleeps, 1.0))
        least = arguments.sleeps / workers
        for kind, seconds in slept.items():
            each = statistics.median(seconds)
            print(f"{arguments.sleeps} sleeps of 1 s, {kind}: {each:.2f} s, {100 * (each / least - 1):.1f} % too many")
        ratio = statistics.median(r / own for own, r in zip(slept["local"], slept["ray"], strict=True))
        print(f"  Ray over local: {100 * (ratio - 1):+.1f} %", flush=True)
        rates: dict[str, list[float]] = {executor.name: [] for executor in executors}
        for number in range(arguments.rounds):
            for executor in executors:
                seconds, runs = sweep_all(executor, plan, root / f"{executor.name}{number}")
                rates[executor.name].append(3600 * runs / seconds)
        for kind, each in rates.items():
            print(f"small sweep of 20 runs, {kind}: {statistics.median(each):.0f} runs an hour")
        ratio = statistics.median(r / own for own, r in zip(rates["local"], rates["ray"], strict=True))
        print(f"  Ray against local: {ratio:.2f} of its runs an hour", flush=True)
        if arguments.launches:
            seconds = launch_all(plan, root / "loop", arguments.launches)
            loop = 3600 * arguments.launches / seconds
            print(
                f"shell loop over accelerate launch, {arguments.launches} runs: {loop:.0f} runs an hour, one at a time"
            )
            print(f"  local sweep against the loop: {statistics.median(rates['local']) / loop:.1f} × the runs an hour")
        for executor in executors:
            executor.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
