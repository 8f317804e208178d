"""``bocb reproduce``: trains a run again from its record and compares the scores."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.commands.command import named_plugins
from bocb_hf.commands.verifications import hand_in, verification_options
from bocb_hf.errors import missing_extra

_DETAILS = """\
Trains into a store of its own; interrupted, the same command continues. What several processes trained on a CPU is
trained by as many again where there are the cores; what several GPUs trained, by one process. Exit status 2 if the
scores are further apart than the tolerance. Other hardware or software trains along another path, so the tolerance is
of the size of the spread over seeds.
"""


@declare("reproduce", _DETAILS)
@verification_options(tolerance=1.0)
@options.dry_run("the run with its cost")
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    default="outputs/reproductions",
    metavar="FOLDER",
    help="folder to train in",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="section.key=value",
    help="where starting weights lie, or how the run executes, such as runtime.threads=2 (repeatable)",
)
@click.pass_context
def command(
    context: click.Context,
    repository: str,
    seed: int,
    data: str | None,
    tolerance: float,
    out: Path,
    propose: str | None,
    dry_run: bool,
    work: Path,
    overrides: tuple[str, ...],
) -> int:
    """Trains, compares, writes the result and prints it.

    Returns:
        0, or 130 if the training was stopped and can be continued.

    Raises:
        InputError: There is no such run, it cannot be trained here, or the scores are too far apart.
    """
    try:
        from bocb_hf.engine import reproduce
        from bocb_hf.engine.console import EXIT_INTERRUPTED, show_log
    except ImportError as error:
        raise missing_extra(error.name or "torch", "train") from None
    from bocb_hf.plugins import load_plugins

    show_log(logging.INFO)
    changes = [*([f"data.name={data}"] if data else []), *overrides]
    original = reproduce.read_original(repository, seed)
    config = reproduce.configure(original, work, changes)
    if warning := reproduce.warn_of_topology(original):
        print(warning, flush=True)
    if dry_run:
        print(reproduce.describe(original, config))
        return 0
    again = reproduce.train_again(original, config, load_plugins(named_plugins(context)))
    if again is None or again.status == "interrupted":
        print("stopped; run the same command again to continue")
        return EXIT_INTERRUPTED
    result = reproduce.compare(original, again, tolerance)
    print(f"trained again: the weights are {'the same, byte for byte' if result.same_weights else 'other ones'}")
    hand_in(result, seed, out, propose)
    return 0
