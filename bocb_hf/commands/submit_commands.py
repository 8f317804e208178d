"""``bocb submit`` and ``bocb validate``: a row in the leaderboard, proposed and checked by the same code."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from bocb_hf.errors import InputError
from bocb_hf.schema import HUB_SCHEME, one_line


def register(commands: Any) -> dict[str, Callable[[argparse.Namespace], int]]:
    """Adds the subcommands to a parser's; returns what runs them, by name."""
    submit = commands.add_parser(
        "submit",
        help="propose pushed runs for the leaderboard",
        description="Validates the runs as a maintainer will, then opens one pull request on the results data set. "
        "Exit status 1, with the reasons, when something is wrong; then nothing is opened.",
    )
    submit.add_argument("repositories", nargs="+", metavar="namespace/name", help="on the Hub, as `bocb push` made it")
    submit.add_argument("--seed", type=int, action="append", help="only this final run (repeatable; default: all)")
    submit.add_argument("--to", required=True, metavar="hf://datasets/ORG/NAME", help="the results data set")
    submit.add_argument("--dry-run", action="store_true", help="validate and print the files; open nothing")

    validate = commands.add_parser(
        "validate",
        help="check the submissions of a results data set, or of a pull request on it",
        description="Prints one line a file or reason. Exit status 1 if something is wrong, 2 if the check itself "
        "could not be made. Reads only; loads no weights and runs nothing.",
    )
    validate.add_argument("where", metavar="FOLDER|hf://datasets/ORG/NAME", help="a checkout, or the data set")
    validate.add_argument("--revision", metavar="refs/pr/N", help="a pull request (what it changes), branch or commit")
    return {"submit": _submit, "validate": _validate}


def _submit(arguments: argparse.Namespace) -> int:
    from bocb_hf.results.dataset import dataset_name, open_pull_request
    from bocb_hf.results.submission.document import MAX_BYTES, make_submission, place
    from bocb_hf.results.submission.review import judge, known_runs
    from bocb_hf.results.submission.snapshot import HubSnapshot
    from bocb_hf.store.pinned import PinnedStore

    dataset_name(arguments.to)
    names = list(dict.fromkeys(name.removeprefix(HUB_SCHEME) for name in arguments.repositories))
    source = HubSnapshot(arguments.to)
    known = known_runs(source, {place(name) for name in names})
    files: dict[str, bytes] = {}
    wrong = unchanged = 0
    for name in names:
        submission = make_submission(PinnedStore(name), arguments.seed)
        found = judge(submission, known)
        wrong += _tell(found.path, found.offer, found.reasons)
        content = submission.to_json().encode()
        if found.path in source.paths() and source.read(found.path, MAX_BYTES) == content:
            unchanged += 1
            print(f"there already: {found.path}")
        else:
            files[found.path] = content
    if wrong:
        print(f"not submitted: {wrong} of {len(names)} cannot be merged")
        return 1
    if arguments.dry_run:
        for path, content in files.items():
            print(f"{path}: {content.decode().rstrip()}")
        return 0
    if files:
        title = f"Submit {names[0]}" if len(names) == 1 else f"Submit {len(files)} repositories"
        text = f"Opened by `bocb submit`. To check it: `bocb validate {arguments.to} --revision refs/pr/<this number>`."
        print(f"submitted: {open_pull_request(arguments.to, files, title, text)}")
    return 0


def _validate(arguments: argparse.Namespace) -> int:
    from bocb_hf.results.submission.review import review
    from bocb_hf.results.submission.snapshot import open_snapshot

    count = wrong = 0
    for found in review(open_snapshot(arguments.where, arguments.revision)):
        count += 1
        wrong += _tell(found.path, found.offer, found.reasons)
    if not count:
        raise InputError(f"{arguments.where}: there is no submission to check; `bocb submit` proposes one")
    print(f"{count} file(s) checked, {wrong} wrong")
    return 1 if wrong else 0


def _tell(path: str, offer: str, reasons: Any) -> bool:
    """Prints one line for a good file, or one a reason; returns whether there was one."""
    if not reasons:
        print(f"fine: {one_line(path)}: {one_line(offer)}", flush=True)
    for reason in reasons:
        print(f"wrong: {one_line(path)}: {one_line(reason)}", flush=True)
    return bool(reasons)
