"""``bocb submit``: proposes pushed runs for the leaderboard, checked by the code that ``bocb validate`` runs."""

from __future__ import annotations

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.schema import HUB_SCHEME

_DETAILS = """\
Validates the runs as a maintainer will, then opens one pull request on the results data set. Exit status 1, with the
reasons, when something is wrong; then nothing is opened.
"""


@declare("submit", _DETAILS)
@click.argument(
    "repositories",
    nargs=-1,
    required=True,
    metavar="NAMESPACE/NAME...",
    help="a repository on the Hub, as `bocb push` made it",
)
@options.seed("only the final run of this seed (repeatable; default: all)", multiple=True)
@options.to_results()
@options.dry_run("what the checks find and the files that would be proposed")
def command(repositories: tuple[str, ...], seed: tuple[int, ...], to: str, dry_run: bool) -> int:
    """Checks every repository; proposes all of them or none.

    Returns:
        1 if a repository cannot be merged, else 0.

    Raises:
        InputError: The check could not be made, or the Hub refused.
    """
    from bocb_hf.commands.submissions import print_judgement
    from bocb_hf.results.dataset import open_pull_request
    from bocb_hf.results.submission.document import MAX_BYTES, make_submission, place
    from bocb_hf.results.submission.review import judge, known_runs
    from bocb_hf.results.submission.snapshot import HubSnapshot
    from bocb_hf.store.pinned import PinnedStore

    names = list(dict.fromkeys(name.removeprefix(HUB_SCHEME) for name in repositories))
    source = HubSnapshot(to)
    known = known_runs(source, {place(name) for name in names})
    files: dict[str, bytes] = {}
    wrong = 0
    for name in names:
        submission = make_submission(PinnedStore(name), list(seed) or None)
        found = judge(submission, known)
        wrong += print_judgement(found)
        content = submission.to_json().encode()
        if found.path in source.paths() and source.read(found.path, MAX_BYTES) == content:
            print(f"there already: {found.path}")
        else:
            files[found.path] = content
    if wrong:
        print(f"not submitted: {wrong} of {len(names)} cannot be merged")
        return 1
    if dry_run:
        for path, content in files.items():
            print(f"{path}: {content.decode().rstrip()}")
        return 0
    if files:
        title = f"Submit {names[0]}" if len(names) == 1 else f"Submit {len(files)} repositories"
        text = f"Opened by `bocb submit`. To check it: `bocb validate {to} --revision refs/pr/<this number>`."
        print(f"submitted: {open_pull_request(to, files, title, text)}")
    return 0
