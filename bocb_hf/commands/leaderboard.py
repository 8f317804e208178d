"""``bocb leaderboard``: shows the tables in a browser, writes their page, or deploys it as a Space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.errors import InputError

if TYPE_CHECKING:
    from bocb_hf.page.locate import Located

_DETAILS = """\
One static page: it computes nothing, and any web host can serve it. --write FOLDER writes it with its data and the
Parquet file for programs; --write FILE.html writes one file that opens by a double click.
"""


@declare("leaderboard", _DETAILS)
@click.option(
    "--data",
    metavar=f"FILE|{options.RESULTS}",
    help="what to show (default: the laptop study and the published tables, which come with the package)",
)
@options.store(None, note="; shown instead of --data")
@click.option(
    "--write",
    type=click.Path(path_type=Path),
    metavar="FOLDER|FILE.html",
    help="write the page and end",
)
@options.draws()
@click.option("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on")
@click.option("--port", type=click.IntRange(0, 65535), default=7860, metavar="N", help="port to listen on")
@click.option("--deploy", metavar="ORG/SPACE", help="create or update a static Space of the Hub instead of serving")
@click.pass_context
def command(
    context: click.Context,
    data: str | None,
    store: str | None,
    write: Path | None,
    draws: int,
    host: str,
    port: int,
    deploy: str | None,
) -> int:
    """Serves, writes or deploys.

    Raises:
        InputError: The store holds no valid record, the file cannot be read, or arguments do not go together.
    """
    if data and store:
        raise InputError("--data and --store: give one of them")
    options.only_one(context, {"--write": write is not None, "--deploy": deploy is not None})
    if deploy is not None:
        from bocb_hf.page.deploy import deploy as deploy_space
        from bocb_hf.schema import HUB_SCHEME

        followed = data is not None and data.startswith(HUB_SCHEME)
        print(deploy_space(deploy, data if data is not None and followed else _located(data, store, draws)))
        return 0
    located = _located(data, store, draws)
    if write is not None:
        print(f"wrote {_write(located, write)}")
        return 0
    from bocb_hf.page.document import folder_files
    from bocb_hf.page.server import serve

    serve(folder_files(located.data(), located.content), located.source, host, port)
    return 0


def _located(data: str | None, store: str | None, draws: int) -> Located:
    """Opens what is to be shown."""
    from bocb_hf.page import EMBEDDED
    from bocb_hf.page.locate import Located, locate

    if store is None:
        return locate(data) if data is not None else locate(str(EMBEDDED), "the laptop study and the published tables")
    from bocb_hf.page.read import LeaderboardFile
    from bocb_hf.page.write import leaderboard_parquet
    from bocb_hf.results.counted import read_counted

    contents = read_counted(store)
    if not contents.records:
        raise InputError(f"--store: {store} holds no valid record of a run; name another")
    for item in contents.quarantined:
        print(f"left out: {item}")
    content = leaderboard_parquet(contents, draws)
    return Located(LeaderboardFile(store, content), content, store)


def _write(located: Located, path: Path) -> str:
    """Writes a folder, or one file where the name ends with ``.html``; returns what was written, in words."""
    from bocb_hf.files import write_atomically
    from bocb_hf.page.document import INDEX, folder_files, one_file

    if path.suffix == ".parquet":
        raise InputError(
            f"--write: {path} would be a folder; name a folder, in which leaderboard.parquet will lie, or FILE.html"
        )
    with options.naming("--write"):
        if path.suffix == ".html":
            return str(write_atomically(path, one_file(located.data())))
        files = folder_files(located.data(), located.content)
        # the document last: until then a page that is already there is the old one
        for name in sorted(files, key=lambda name: name == INDEX):
            write_atomically(path / name, files[name])
    return f"{path}: {', '.join(sorted(files))}; begin with {INDEX} on a web host, or `--write FILE.html` for one file"
