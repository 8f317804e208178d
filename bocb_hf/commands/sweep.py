"""``bocb sweep``: tunes and trains every cell of a plan."""

from __future__ import annotations

import os
import sys

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.commands.command import named_plugins
from bocb_hf.commands.completion import overrides as complete_overrides
from bocb_hf.commands.completion import rows
from bocb_hf.errors import missing_extra


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
@click.pass_context
def command(context: click.Context, plan: str, overrides: tuple[str, ...], workers: int, store: str | None) -> int:
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
