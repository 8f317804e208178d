"""``bocb sweep``: tunes and trains every cell of a plan."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.commands.command import named_plugins
from bocb_hf.commands.completion import overrides as complete_overrides
from bocb_hf.commands.completion import rows
from bocb_hf.errors import missing_extra

if TYPE_CHECKING:
    from bocb_hf.sweep.plan import SweepPlan


def _cores() -> int:
    """The cores that this process may use, which in a container or under taskset are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@declare("sweep", "Exit status 1 if a run failed, 130 if the sweep was stopped.")
@click.argument(
    "plan",
    metavar="PLAN",
    shell_complete=rows("sweeps", files=True),
    help="a YAML file, or a shipped plan: see `bocb list sweeps`",
)
@click.argument(
    "overrides",
    nargs=-1,
    metavar="[section.key=value]...",
    shell_complete=complete_overrides,
    help="values for every run, anywhere among the options",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=_cores,
    metavar="N",
    show_default="one for each core",
    help="number of processes that train",
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
    workers: int,
    store: str | None,
    dry_run: bool,
    price_per_hour: float | None,
) -> int:
    """Runs what is missing and prints how it ended.

    Returns:
        1 if a run failed or was interrupted, else 0.

    Raises:
        InputError: The plan or an override is wrong, which is found before any worker starts.
        KeyboardInterrupt: The sweep was stopped; what ran has saved its state.
    """
    try:
        import torch  # noqa: F401 - asked for here, so that the error comes before any worker starts
    except ImportError:
        raise missing_extra("torch", "train") from None
    from bocb_hf.plugins import load_plugins
    from bocb_hf.resources import find_config
    from bocb_hf.sweep.local import LocalExecutor
    from bocb_hf.sweep.plan import load_plan
    from bocb_hf.sweep.run import Sweep

    loaded = load_plan(find_config(plan, "recipes/sweeps"))
    changes = [*overrides, *([f"runtime.store={store}"] if store else [])]
    if dry_run:
        load_plugins(named_plugins(context))
        return _print_forecast(loaded, workers, changes, price_per_hour)
    if price_per_hour is not None:
        raise click.UsageError("--price-per-hour belongs to --dry-run", context)
    executor = LocalExecutor(workers, plugins=load_plugins(named_plugins(context)), cpu_only=loaded.device == "cpu")
    try:
        sweep = Sweep(loaded, executor, changes)
        print(f"sweep {loaded.name}: starting {workers} workers ...", flush=True)
        print(sweep.estimate(), flush=True)
        outcome = sweep.run()
    except BaseException:
        executor.stop()
        raise
    executor.close()
    ended = ", ".join(f"{count} {status}" for status, count in sorted(outcome.statuses.items())) or "nothing ran"
    print(f"sweep {loaded.name}: {ended}")
    for failure in outcome.failures:
        print(f"failed: {failure}", file=sys.stderr)
    if outcome.stopped:
        raise KeyboardInterrupt
    if interrupted := outcome.statuses.get("interrupted"):
        print(f"{interrupted} run(s) were interrupted; run the same command again to finish them", file=sys.stderr)
    return 1 if outcome.failures or interrupted else 0


def _print_forecast(plan: SweepPlan, workers: int, changes: list[str], price_per_hour: float | None) -> int:
    """Prints what a sweep would do and take.

    Raises:
        InputError: The plan or an override is wrong, or the runs do not fit into memory or on the disk.
    """
    if plan.device == "cpu":  # torch and accelerate read the variables when they start
        os.environ |= {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    from bocb_hf.engine.environment import describe_environment
    from bocb_hf.sweep.cells import plan_cells, run_overrides
    from bocb_hf.sweep.forecast import check_fits, describe, forecast
    from bocb_hf.sweep.timing import free_memory, this_device

    free = free_memory()
    cells = plan_cells(plan, run_overrides(plan, 1, changes))
    found = forecast(plan, cells, workers, describe_environment(this_device(), 1, 1).device)
    where = cells[0].config().runtime.store
    print(describe(found, price_per_hour, free, where))
    check_fits(found, free, where)
    return 0
