"""``bocb leaderboard``: shows the tables in a browser, writes their file, or deploys them as a Space."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.errors import InputError, missing_extra
from bocb_hf.files import write_atomically


@declare("leaderboard")
@click.option(
    "--data",
    metavar=f"FILE|{options.RESULTS}",
    help="what to show (default: the results of `make demo` and the published tables, which come with the package)",
)
@options.store(None, note="; shown instead of --data")
@click.option(
    "--write",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="write the Parquet file of --store and end",
)
@options.draws()
@click.option("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on")
@click.option("--port", type=int, default=7860, metavar="N", help="port to listen on")
@click.option("--deploy", metavar="ORG/SPACE", help="create or update a Space of the Hub instead of serving")
@click.option(
    "--wheel",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="with --deploy: the wheel of this package, where it does not run from a checkout",
)
def command(
    data: str | None,
    store: str | None,
    write: Path | None,
    draws: int,
    host: str,
    port: int,
    deploy: str | None,
    wheel: Path | None,
) -> int:
    """Serves, writes or deploys.

    Raises:
        InputError: The store holds no valid record, the file cannot be read, or arguments do not go together.
    """
    if data and store:
        raise InputError("--data and --store: give one of them")
    if write is not None:
        if not store:
            raise InputError("--write: name the --store whose records it shall hold")
        print(f"wrote {_write(store, draws, write, '--write')}")
        return 0
    from bocb_hf.page import DEMO

    with tempfile.TemporaryDirectory(prefix="bocb-leaderboard-") as folder:
        location = data or str(DEMO)
        if store:
            location = str(_write(store, draws, Path(folder) / "leaderboard.parquet", None))
        if deploy:
            from bocb_hf.page.deploy import deploy as deploy_space

            print(deploy_space(deploy, location, wheel=wheel))
            return 0
        try:
            from bocb_hf.page.app import serve
        except ImportError as error:
            raise missing_extra(error.name or "gradio", "leaderboard") from None
        serve(location, host, port)
    return 0


def _write(store: str, draws: int, path: Path, option: str | None) -> Path:
    """Writes the leaderboard's file; ``option`` is what the user named the path with, if anything."""
    from bocb_hf.page.write import leaderboard_parquet
    from bocb_hf.results.counted import read_counted

    contents = read_counted(store)
    if not contents.records:
        raise InputError(f"--store: {store} holds no valid record of a run; name another")
    for item in contents.quarantined:
        print(f"left out: {item}")
    with options.naming(option) if option else nullcontext():
        return write_atomically(path, leaderboard_parquet(contents, draws))
