"""What all commands share: how a command is declared and run, its plug-ins, and how its errors are printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from bocb_hf.commands import COMMANDS
from bocb_hf.errors import InputError
from bocb_hf.terminal import make_streams_readable

CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 110}
_PLUGINS, _WORDS = f"{__name__}.plugins", f"{__name__}.words"  # keys of click's `Context.meta`


def _note_plugins(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> None:
    context.meta.setdefault(_PLUGINS, []).extend(value)


def plugin_option() -> click.Option:
    """The option ``--plugin``, which stands before the command or after it."""
    return click.Option(
        ["--plugin"],
        multiple=True,
        metavar="MODULE",
        expose_value=False,
        callback=_note_plugins,
        help="import a module that adds rows (repeatable)",
    )


def named_plugins(context: click.Context) -> list[str]:
    """The modules that were named with ``--plugin``, before the command and after it."""
    return list(context.meta.get(_PLUGINS, ()))


def words_of(context: click.Context) -> list[str]:
    """The words that followed the command, as they were typed."""
    return list(context.meta[_WORDS])


class Command(click.Command):
    """A command that takes ``--plugin`` and imports the plug-ins, named and installed, before it runs."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.params.append(plugin_option())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keeps the words as they were typed, for a command that hands them to another process."""
        ctx.meta[_WORDS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Imports the plug-ins, then runs the command."""
        from bocb_hf.plugins import load_plugins

        load_plugins(named_plugins(ctx))
        return super().invoke(ctx)


def command(name: str, details: str = "") -> Callable[[Callable[..., int]], Command]:
    """Declares a function as a command; it returns the exit status.

    Args:
        name: A key of ``COMMANDS``, whose one line begins the help.
        details: What the help says below that line.
    """
    line = COMMANDS[name]
    text = f"{line[0].upper()}{line[1:]}.\n\n{details}".strip()
    return click.command(name, cls=Command, help=text, short_help=line, context_settings=CONTEXT)


def run(entry: click.Command, argv: Sequence[str] | None, prog: str) -> int:
    """Runs a command, or the group of all commands; returns the exit status.

    Bad input is printed as ``error: ...`` and gives 2; where the words themselves are wrong, the usage stands above it.
    A reader of the output that leaves early gives 1, Ctrl-C gives 130.

    Args:
        entry: What to run.
        argv: The words after the program's name; None takes those of this process.
        prog: The program's name, for the usage.
    """
    make_streams_readable()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with entry.make_context(prog, words) as context:
            status = entry.invoke(context)
        sys.stdout.flush()
        return status
    except click.exceptions.Exit as ended:  # after --help or --version
        return ended.exit_code
    except click.UsageError as error:
        if error.ctx is not None:
            print(error.ctx.get_usage(), file=sys.stderr)
            print(f"Try '{error.ctx.command_path} --help' for help.\n", file=sys.stderr)
        print(f"error: {error.format_message()}", file=sys.stderr)
        return error.exit_code
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has left, as in `bocb aggregate | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again to continue", file=sys.stderr)
        return 130
