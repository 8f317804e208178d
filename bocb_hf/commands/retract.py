"""``bocb retract``: declares a run void; it stays, and no table counts it."""

from __future__ import annotations

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.errors import InputError


@declare("retract", "Give --seed for a final run, or --trial for a tuning trial.")
@click.argument("repository", metavar="NAMESPACE/NAME", help="the repository that holds the run")
@options.seed()
@click.option("--trial", metavar="RUN_ID", help="a tuning trial, named as its file in trials/")
@click.option("--reason", required=True, metavar="TEXT", help="the reason, which everybody can read")
@options.store()
@click.pass_context
def command(
    context: click.Context, repository: str, seed: int | None, trial: str | None, reason: str, store: str
) -> int:
    """Writes the tombstone.

    Raises:
        InputError: There is no such run, or the store cannot be written.
    """
    from bocb_hf.store import open_store
    from bocb_hf.store.read import read_repository
    from bocb_hf.store.write import retract_run

    options.only_one(context, {"--seed": seed is not None, "--trial": trial is not None}, required=True)
    opened = open_store(store)
    contents = read_repository(opened, repository)
    if trial is not None:
        record, what = contents.trials.get(trial), f"trial {trial}"
    else:
        record, what = (None if seed is None else contents.finals.get(seed)), f"final run of seed {seed}"
    if record is None:
        raise InputError(f"{repository} holds no {what}, or it is retracted already")
    tombstone = retract_run(opened, repository, record, reason)
    print(f"retracted run {record.run_id} of {repository}: {tombstone.path()}")
    return 0
