"""``bocb push``: sends finished local runs to the Hub."""

from __future__ import annotations

from pathlib import Path

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.errors import InputError
from bocb_hf.schema import HUB_SCHEME


@declare("push")
@click.argument(
    "repositories", nargs=-1, metavar="[NAMESPACE/NAME]...", help="of the local store (default: all repositories)"
)
@click.option("--to", metavar="hf://ORG", help="the user or organisation that gets them")
@click.option("--pending", is_flag=True, help="send what earlier pushes left behind")
@options.store(places="folder")
@click.option("--supersede", is_flag=True, help="replace the finished runs that are there")
def command(repositories: tuple[str, ...], to: str | None, pending: bool, store: str, supersede: bool) -> int:
    """Sends, prints what was sent, and queues what could not be.

    Returns:
        1 if something still waits, else 0.

    Raises:
        InputError: Arguments that do not go together, an empty store, or a place where the token may not write.
    """
    from bocb_hf.store.hub_calls import check_writable
    from bocb_hf.store.local import LocalStore
    from bocb_hf.store.push import Queue, push_pending, push_repository
    from bocb_hf.store.read import FLOOR, RUN

    local = LocalStore(Path(store))
    if pending:
        if repositories or to:
            raise InputError(
                "--pending sends what waits, to where it was meant to go; give neither repositories nor --to"
            )
        sent, left = push_pending(local)
        print(f"{sent} record(s) sent, {len(left)} repositor{'y' if len(left) == 1 else 'ies'} still waiting")
        for entry in left:
            print(f"waiting: {entry.repository} to {entry.to}, since {entry.since}: {entry.reason}")
        return 1 if left else 0
    if not to or not to.startswith(HUB_SCHEME):
        raise InputError("--to: name the user or organisation, as in --to hf://my-lab")
    names = repositories or local.repositories()
    if not names:
        raise InputError(f"--store: {store} holds no repository; train something first")
    check_writable(to.removeprefix(HUB_SCHEME))
    failed = 0
    for name in names:
        try:
            count = push_repository(local, name, to, supersede=supersede)
            print(f"pushed {name}: {count} record(s)", flush=True)
        except InputError as error:  # one repository must not keep the others
            failed += 1
            queued = [path for path in local.files(name) if RUN.fullmatch(path) or FLOOR.fullmatch(path)]
            Queue(local).add(name, to, queued, supersede, str(error))
            print(f"not pushed, `bocb push --pending` tries again: {error}", flush=True)
    return 1 if failed else 0
