"""``bocb validate``: checks the submissions of a results data set, or of a pull request on it."""

from __future__ import annotations

import click

from bocb_hf.commands.command import command as declare
from bocb_hf.commands.options import RESULTS
from bocb_hf.errors import InputError

_DETAILS = """\
Prints one line for each file, or for each reason against it. Exit status 1 if something is wrong, 2 if the check itself
could not be made. Reads only; loads no weights and runs nothing.
"""


@declare("validate", _DETAILS)
@click.argument("where", metavar=f"FOLDER|{RESULTS}", help="a checkout of the results data set, or its address")
@click.option("--revision", metavar="refs/pr/N", help="a pull request (what it changes), branch or commit")
def command(where: str, revision: str | None) -> int:
    """Checks and prints.

    Returns:
        1 if something is wrong, else 0.

    Raises:
        InputError: The check could not be made, or there is nothing to check.
    """
    from bocb_hf.commands.submissions import print_judgement
    from bocb_hf.results.submission.review import review
    from bocb_hf.results.submission.snapshot import open_snapshot

    count = wrong = 0
    for found in review(open_snapshot(where, revision)):
        count += 1
        wrong += print_judgement(found)
    if not count:
        raise InputError(f"{where}: there is no submission to check; `bocb submit` proposes one")
    print(f"{count} file(s) checked, {wrong} wrong")
    return 1 if wrong else 0
