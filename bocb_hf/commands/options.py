"""The options that several commands have, each with one text and one check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import click
from click.shell_completion import CompletionItem

from bocb_hf.commands.completion import overrides as complete_overrides
from bocb_hf.commands.completion import rows
from bocb_hf.errors import InputError
from bocb_hf.files import CannotWrite, check_folder
from bocb_hf.registry import suggestion
from bocb_hf.schema import DEFAULT_STORE, HUB_SCHEME

if TYPE_CHECKING:
    from bocb_hf.store.contents import StoreContents

F = TypeVar("F", bound=Callable[..., Any])
Option = Callable[[F], F]
MIN_DRAWS = 100  # fewer draws of a bootstrap cannot tell the 2.5 % at either end
RESULTS = "hf://datasets/ORG/NAME"


class Source(NamedTuple):
    """What ``--source`` names: ``store``, ``paper`` with one of the published tables, or a file of records."""

    kind: Literal["store", "paper", "file"]
    table: str

    def read(self, store: Callable[[], StoreContents]) -> StoreContents:
        """Reads the records of the file that it names, or else those of the store.

        Raises:
            InputError: The file is not one of records, or the store cannot be read.
        """
        if self.kind != "file":
            return store()
        from bocb_hf.results.records_file import read_records_file

        return read_records_file(Path(self.table))


class _SourceType(click.ParamType):
    name = "source"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Source:
        if value.endswith(".parquet"):
            return Source("file", value)
        kind, _, table = value.partition(":")
        if kind not in ("store", "paper") or (kind == "store" and table):
            raise InputError(f"--source: {value!r} is neither 'store', 'paper', 'paper:TABLE' nor a .parquet file")
        return Source(kind, table or "cifar100")

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from bocb_hf.coupling.published import PUBLISHED

        known = ("store", "paper", *(f"paper:{table}" for table in PUBLISHED))
        return [CompletionItem(name) for name in known if name.startswith(incomplete)]


class _StoreType(click.ParamType):
    name = "store"

    def __init__(self, places: Literal["any", "folder", "hub"]) -> None:
        self.places = places

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if "://" in value and not value.startswith(HUB_SCHEME):
            raise InputError(f"--store: {value!r} is not supported; give a local folder or hf://<user or organisation>")
        if self.places == "folder" and value.startswith(HUB_SCHEME):
            raise InputError(f"--store: {value} must be a local folder")
        if self.places == "hub" and not value.startswith(HUB_SCHEME):
            raise InputError(f"--store: {value!r} must read hf://<user or organisation>")
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [] if self.places == "hub" else [CompletionItem(incomplete, type="dir")]


class _ResultsType(click.ParamType):
    name = "results data set"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from bocb_hf.results.dataset import dataset_name

        try:
            dataset_name(value)
        except InputError as error:
            raise InputError(f"{param.opts[0]}: {error}" if param is not None else str(error)) from None
        return value


class OneOf(click.Choice[str]):
    """A choice whose error suggests the closest one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            hint = suggestion(str(value), self.choices) or ";"
            self.fail(f"{value!r} is not known{hint} choose from {', '.join(self.choices)}", param, ctx)
        return value


def plan() -> Option[F]:
    """The argument ``PLAN``: a file, or a shipped plan."""
    return click.argument(
        "plan",
        metavar="PLAN",
        shell_complete=rows("sweeps", files=True),
        help="a YAML file, or a shipped plan: see `bocb list sweeps`",
    )


def overrides(text: str) -> Option[F]:
    """The argument ``section.key=value``, any number of times.

    Args:
        text: What the values are for.
    """
    return click.argument(
        "overrides", nargs=-1, metavar="[section.key=value]...", shell_complete=complete_overrides, help=text
    )


def store(
    default: str | None = DEFAULT_STORE,
    *,
    places: Literal["any", "folder", "hub"] = "any",
    required: bool = False,
    shown: str | bool = True,
    note: str = "",
) -> Option[F]:
    """Declares ``--store``.

    Args:
        default: The store where the option is not given.
        places: Whether the store may be a folder, on the Hub, or either.
        required: Whether the option must be given.
        shown: What the help says of the default, where that is not the value.
        note: What the option means to this command alone.
    """
    forms = {
        "any": "FOLDER|hf://NAMESPACE[,NAMESPACE...]",
        "folder": "FOLDER",
        "hub": "hf://NAMESPACE",
    }
    return click.option(
        "--store",
        default=default,
        required=required,
        type=_StoreType(places),
        metavar=forms[places],
        show_default=shown,
        help="where the repositories of runs are kept" + note,
    )


def source() -> Option[F]:
    """Declares ``--source``, whose value is a ``Source``."""
    return click.option(
        "--source",
        default="store",
        type=_SourceType(),
        metavar="store|paper[:TABLE]|FILE",
        help="records of the store; a published table: cifar100 (where none is named), imagenet1k, coco_pose or "
        "coco_detection; or the records.parquet of a results data set",
    )


def _check_draws(context: click.Context, parameter: click.Parameter, value: int) -> int:
    if value < MIN_DRAWS:
        raise InputError(f"--draws: {value} is too few for a 95 % interval; use at least {MIN_DRAWS}")
    return value


def draws() -> Option[F]:
    """Declares ``--draws``."""
    return click.option(
        "--draws", type=int, default=2000, callback=_check_draws, help="draws of the bootstrap of each analysis"
    )


def _check_out(context: click.Context, parameter: click.Parameter, value: Path) -> Path:
    with naming("--out"):  # before anything is computed for it
        check_folder(value)
    return value


def out(default: str) -> Option[F]:
    """Declares ``--out``, a folder that can be written."""
    return click.option(
        "--out",
        default=default,
        type=click.Path(file_okay=False, path_type=Path),
        callback=_check_out,
        metavar="FOLDER",
        help="folder to write to; it is made where it is missing",
    )


def offline() -> Option[F]:
    """Declares ``--offline``."""
    return click.option("--offline", is_flag=True, help="send no request to the Hub; use what was read before")


def results(name: str, text: str, *, required: bool = False) -> Option[F]:
    """Declares an option that names a results data set, such as ``--results``.

    Args:
        name: The option with its dashes.
        text: What the command does with the data set.
        required: Whether the option must be given.
    """
    return click.option(name, type=_ResultsType(), required=required, metavar=RESULTS, help=text)


def to_results() -> Option[F]:
    """Declares ``--to`` of the commands that send something to a results data set."""
    return results("--to", "the results data set to write to", required=True)


def seed(text: str = "seed of the final run", *, required: bool = False, multiple: bool = False) -> Option[F]:
    """Declares ``--seed``."""
    kind = click.IntRange(min=0, max=2**31 - 1)
    return click.option(
        "--seed", type=kind, required=required, multiple=multiple, metavar="N", show_default=False, help=text
    )


def dry_run(shown: str) -> Option[F]:
    """Declares ``--dry-run``.

    Args:
        shown: What is printed instead of being done.
    """
    return click.option("--dry-run", is_flag=True, help=f"print {shown}, and do nothing else")


def only_one(context: click.Context, given: dict[str, bool], *, required: bool = False) -> None:
    """Checks that at most one of several options was given.

    Args:
        context: The command's context, for the usage.
        given: Whether each option was given, by its name.
        required: Whether it is a mistake, too, to give none of them.

    Raises:
        click.UsageError: More than one was given, or none where one is required.
    """
    found = [name for name, there in given.items() if there]
    if len(found) > 1:
        raise click.UsageError(f"{' and '.join(found)} exclude each other; give one of them", context)
    if required and not found:
        raise click.UsageError(f"one of {' and '.join(given)} is required", context)


@contextmanager
def naming(option: str) -> Iterator[None]:
    """Puts the name of the option that a user gave before the error of a file that cannot be written."""
    try:
        yield
    except CannotWrite as error:
        raise InputError(f"{option}: {error}") from error
