"""Runs ``bocb leaderboard``: here, or as a Space."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bocb_hf.errors import InputError, missing_extra
from bocb_hf.files import write_atomically
from bocb_hf.leaderboard import DEMO


def run(arguments: argparse.Namespace) -> int:
    """Serves, writes or deploys; returns the exit status.

    Raises:
        InputError: The store holds no valid record, the file cannot be read, or arguments do not go together.
    """
    if arguments.data and arguments.store:
        raise InputError("--data and --store: give one of them")
    if arguments.write is not None:
        if not arguments.store:
            raise InputError("--write: name the --store whose records it shall hold")
        path = _write(arguments, arguments.write)
        print(f"wrote {path}")
        return 0
    with tempfile.TemporaryDirectory(prefix="bocb-leaderboard-") as folder:
        location = arguments.data or str(DEMO)
        if arguments.store:
            location = str(_write(arguments, Path(folder) / "leaderboard.parquet"))
        if arguments.deploy:
            from bocb_hf.leaderboard.deploy import deploy

            print(deploy(arguments.deploy, location, wheel=arguments.wheel))
            return 0
        try:
            from bocb_hf.leaderboard.app import serve
        except ImportError as error:
            raise missing_extra(error.name or "gradio", "leaderboard") from None
        serve(location, arguments.host, arguments.port)
    return 0


def _write(arguments: argparse.Namespace, path: Path) -> Path:
    from bocb_hf.leaderboard.write import leaderboard_parquet
    from bocb_hf.results.counted import read_counted

    contents = read_counted(arguments.store)
    if not contents.records:
        raise InputError(f"--store: {arguments.store} holds no valid record of a run; name another")
    for item in contents.quarantined:
        print(f"left out: {item}")
    return write_atomically(path, leaderboard_parquet(contents, arguments.draws))
