"""``bocb sweep``: tunes and trains every cell of a plan."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.commands.command import named_plugins
from bocb_hf.errors import InputError, missing_extra

if TYPE_CHECKING:
    from bocb_hf.sweep.executors.local import LocalExecutor
    from bocb_hf.sweep.executors.protocol import Executor
    from bocb_hf.sweep.plan import SweepPlan
    from bocb_hf.sweep.shard import Shard


def _cores() -> int:
    """The cores that this process may use, which in a container or under taskset are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@declare("sweep", "Exit status 1 if a run failed, 130 if the sweep was stopped.")
@options.plan()
@options.overrides("values for every run, anywhere among the options")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    show_default="one for each core, or for each run that a GPU takes; of a Ray cluster, all that it has room for",
    help="number of processes that train",
)
@click.option(
    "--per-gpu",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="number of runs that share a GPU",
)
@click.option(
    "--executor",
    type=options.OneOf(["local", "ray"]),
    default="local",
    help="local: processes of this machine; ray: actors of a Ray cluster",
)
@click.option(
    "--address",
    metavar="ADDRESS",
    default=None,
    show_default="the cluster that RAY_ADDRESS names or that runs here, or else one of this machine alone",
    help="address of the Ray cluster, such as auto or 10.0.0.1:6379",
)
@click.option(
    "--shard",
    metavar="NUMBER/COUNT",
    default=None,
    help="run only this part of the cells, such as 3/16; the parts of all numbers make up the plan",
)
@click.option(
    "--done",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PARQUET",
    default=None,
    help="a file of records, such as data/records.parquet of a results data set; runs that it holds are not repeated",
)
@options.store(None, shown="outputs/store")
@options.dry_run("what is left to do, with its time, memory, disk and price")
@click.option(
    "--price-per-hour",
    type=click.FloatRange(min=0),
    metavar="PRICE",
    help="price of one device for an hour, for --dry-run",
)
@click.pass_context
def command(
    context: click.Context,
    plan: str,
    overrides: tuple[str, ...],
    workers: int | None,
    per_gpu: int,
    executor: str,
    address: str | None,
    shard: str | None,
    done: Path | None,
    store: str | None,
    dry_run: bool,
    price_per_hour: float | None,
) -> int:
    """Runs what is missing and prints how it ended.

    Returns:
        1 if a run failed or was interrupted, else 0.

    Raises:
        InputError: The plan, an option or an override is wrong, which is found before any worker starts.
        KeyboardInterrupt: The sweep was stopped; what ran has saved its state.
    """
    if address is not None and executor != "ray":
        raise InputError("--address: is of --executor ray; name that executor, or leave the address out")
    try:
        import torch  # noqa: F401 - asked for here, so that the error comes before any worker starts
    except ImportError:
        raise missing_extra("torch", "train") from None
    from bocb_hf.plugins import load_plugins
    from bocb_hf.resources import find_config
    from bocb_hf.sweep.plan import load_plan
    from bocb_hf.sweep.run import Sweep
    from bocb_hf.sweep.shard import Shard

    loaded = load_plan(find_config(plan, "recipes/sweeps"))
    changes = [*overrides, *([f"runtime.store={store}"] if store else [])]
    plugins, cpu_only = load_plugins(named_plugins(context)), loaded.device == "cpu"
    part = Shard.parse(shard) if shard is not None else None
    if dry_run:
        local = _local(workers, per_gpu, plugins, cpu_only) if executor == "local" else None
        count = local.workers if local is not None else workers or _cores()
        return _print_forecast(loaded, count, changes, price_per_hour, part, done)
    if price_per_hour is not None:
        raise click.UsageError("--price-per-hour belongs to --dry-run", context)
    opened: Executor
    if executor == "ray":
        from bocb_hf.sweep.executors.ray import RayExecutor

        opened = RayExecutor(address, workers, plugins=plugins, cpu_only=cpu_only, per_gpu=per_gpu)
    else:
        opened = _local(workers, per_gpu, plugins, cpu_only)
    try:
        sweep = Sweep(loaded, opened, changes, part, done)
        print(f"sweep {loaded.name}: starting {opened.workers} workers ...", flush=True)
        print(sweep.estimate(), flush=True)
        outcome = sweep.run()
    except BaseException:
        opened.stop()
        raise
    opened.close()
    ended = ", ".join(f"{count} {status}" for status, count in sorted(outcome.statuses.items())) or "nothing ran"
    print(f"sweep {loaded.name}: {ended}")
    for failure in outcome.failures:
        print("\n".join(failure.lines()), file=sys.stderr)
    if outcome.stopped:
        raise KeyboardInterrupt
    if interrupted := outcome.statuses.get("interrupted"):
        print(f"{interrupted} run(s) were interrupted; run the same command again to finish them", file=sys.stderr)
    return 1 if outcome.failures or interrupted else 0


def _local(workers: int | None, per_gpu: int, plugins: Sequence[str], cpu_only: bool) -> LocalExecutor:
    """The local executor; where there are GPUs that the plan may use, each worker sees one of them."""
    from bocb_hf.sweep.executors.local import LocalExecutor, visible_gpus

    gpus = [] if cpu_only else visible_gpus()
    count = workers or (len(gpus) * per_gpu if gpus else _cores())
    if gpus and count > len(gpus) * per_gpu:
        raise InputError(
            f"--workers: {count} runs do not fit on {len(gpus)} GPU(s) with --per-gpu {per_gpu}; give at most "
            f"--workers {len(gpus) * per_gpu}, or a larger --per-gpu"
        )
    return LocalExecutor(count, plugins=plugins, cpu_only=cpu_only, gpus=gpus)


def _print_forecast(
    plan: SweepPlan,
    workers: int,
    changes: list[str],
    price_per_hour: float | None,
    part: Shard | None,
    done: Path | None,
) -> int:
    """Prints what a sweep, or a part of it, would do and take.

    Raises:
        InputError: The plan or an override is wrong, or the runs do not fit into memory or on the disk.
    """
    if plan.device == "cpu":  # torch and accelerate read the variables when they start
        os.environ |= {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    from bocb_hf.engine.environment import describe_environment
    from bocb_hf.sweep.cells import plan_cells, run_overrides
    from bocb_hf.sweep.forecast import check_fits, describe, forecast
    from bocb_hf.sweep.run import cells_in
    from bocb_hf.sweep.timing import free_memory, this_device

    free = free_memory()
    cells = cells_in(part, plan_cells(plan, run_overrides(plan, 1, changes)), plan.name)
    found = forecast(plan, cells, workers, describe_environment(this_device(), 1, 1).device, done)
    where = cells[0].config().runtime.store
    print(describe(found, price_per_hour, free, where))
    check_fits(found, free, where)
    return 0
