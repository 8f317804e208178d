"""``bocb render``: rebuilds the cards of a store from its records."""

from __future__ import annotations

import re

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.errors import InputError


@declare("render")
@click.argument(
    "repositories", nargs=-1, metavar="[NAMESPACE/NAME]...", help="of the store (default: all repositories)"
)
@options.store()
@click.option(
    "--eval-results",
    metavar="TASK",
    help="from now on keep .eval_results/bocb.yaml too, which the Hub shows for a data set that has registered a "
    "benchmark; TASK is the id of its task",
)
@click.option("--no-eval-results", is_flag=True, help="no longer keep .eval_results/bocb.yaml")
@click.pass_context
def command(
    context: click.Context, repositories: tuple[str, ...], store: str, eval_results: str | None, no_eval_results: bool
) -> int:
    """Rebuilds and prints the name of each repository.

    Raises:
        InputError: The store holds no repository or no valid record, or there can be no such task.
    """
    from bocb_hf.store import open_store
    from bocb_hf.store.peers import find_peers
    from bocb_hf.store.write import holds_runs, render_repository

    options.only_one(context, {"--eval-results": eval_results is not None, "--no-eval-results": no_eval_results})
    task = "" if no_eval_results else eval_results
    if task and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", task):
        raise InputError(f"--eval-results: {task!r} is no id of a task; the data set's eval.yaml lists them")
    opened = open_store(store)
    names = repositories or [name for name in opened.repositories() if holds_runs(opened, name)]
    if not names:
        raise InputError(f"--store: {store} holds no repository; train something first")
    peers = find_peers(opened, names)
    for name in names:
        render_repository(opened, name, peers[name], task)
        print(f"rendered {name}")
    return 0
