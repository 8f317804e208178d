"""What ``bocb verify`` and ``bocb reproduce`` have in common: their options, and what becomes of a result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bocb_hf.commands import options

if TYPE_CHECKING:
    from bocb_hf.runs.verification import Verification

F = TypeVar("F", bound=Callable[..., Any])


def _check_tolerance(context: click.Context, parameter: click.Parameter, value: float) -> float:
    from bocb_hf.runs.verification import check_tolerance

    check_tolerance(value)
    return value


def verification_options(tolerance: float) -> Callable[[F], F]:
    """The run, how close is close enough, and where the result goes.

    Args:
        tolerance: The default, in points of test top-1.
    """
    shared = (
        click.argument(
            "repository", metavar="NAMESPACE/NAME|FOLDER", help="a repository on the Hub, or the folder of one"
        ),
        options.seed(required=True),
        click.option("--data", metavar="NAME", help="the data set, where the record's name is not one of the Hub's"),
        click.option(
            "--tolerance",
            type=float,
            default=tolerance,
            metavar="POINTS",
            callback=_check_tolerance,
            help="largest difference in points of test top-1",
        ),
        options.out("outputs/verifications"),
        options.results("--propose", "open a pull request with the result on this results data set"),
    )

    def add(function: F) -> F:
        for option in reversed(shared):
            function = option(function)
        return function

    return add


def hand_in(result: Verification, seed: int, out: Path, propose: str | None) -> None:
    """Writes a result, prints what it says, and proposes it where that was asked for.

    Args:
        result: What was measured.
        seed: Of the run.
        out: Folder for it.
        propose: The results data set to open a pull request on, if any.

    Raises:
        InputError: The folder cannot be written, or the Hub refused.
    """
    from bocb_hf.files import write_atomically
    from bocb_hf.results.dataset import propose as open_proposal

    with options.naming("--out"):
        path = write_atomically(out / Path(result.path()).name, result.to_json().encode())
    print(
        f"{result.repository} seed {seed} is {result.level}: {result.measured} of {result.images} images "
        f"correct, the record says {result.claimed} (tolerance {result.tolerance:g} points); {result.differing} "
        f"image(s) differ. Wrote {path}"
    )
    if propose:
        print(f"proposed: {open_proposal(propose, result)}")
