"""``bocb``: the command line. It knows the commands by name and imports the file of the one that is called."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem

from bocb_hf.commands import COMMANDS
from bocb_hf.commands.command import CONTEXT, plugin_option, run
from bocb_hf.version import __version__

_COMPLETE = "_BOCB_COMPLETE"  # set by the script that a shell loads, as click has it
_EXAMPLES = """\
\b
examples:
  bocb compare photos/ --backbone convnext_tiny.fb_in1k --time 30m   the best optimizer for your images
  bocb list optimizers                        what can be trained with
  bocb sweep demo                             a grid of tiny backbones on the embedded images
  bocb status demo                            how far it is, from another terminal
  bocb aggregate                              read the cards back, print the coupling table
  bocb push --to hf://my-lab                  send finished runs to the Hub
  bocb submit me/x --to hf://datasets/lab/y   propose pushed runs for the leaderboard
  bocb validate hf://datasets/my-lab/results  check what others have submitted
  bocb recommend resnet101                    which optimizers to try on a backbone, and why
  bocb pull tiny_vit --store hf://my-lab      get its best checkpoint, by validation
  bocb leaderboard                            look at the tables in a browser
  bocb figures --source paper                 every figure of the study's published table
  bocb train --config fashion_mnist_subset/demo backbone.name=tiny_vit optimizer.name=adamw --dry-run
"""


class Commands(click.Group):
    """The commands of ``COMMANDS``; the help and the completion of their names import none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now, or None."""
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"bocb_hf.commands.{cmd_name.replace('-', '_')}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names.

        Raises:
            click.UsageError: There is no such command; the message has the closest name and all names.
        """
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            from bocb_hf.registry import suggestion

            hint = suggestion(args[0], COMMANDS) or ";"
            raise click.UsageError(f"there is no command {args[0]!r}{hint} choose from {', '.join(COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes each command with its line of help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Returns the commands, and the options before a command, that begin with a text."""
        names = [CompletionItem(name, help=line) for name, line in COMMANDS.items() if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]


def _show_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        print(f"bocb-hf {__version__}")
        context.exit()


bocb = Commands(
    "bocb",
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_version,
            help="print the version",
        ),
        plugin_option(),
    ],
    help="Which optimizer for this backbone, and how much does the choice matter?",
    epilog=_EXAMPLES,
    subcommand_metavar="COMMAND ...",
    no_args_is_help=False,
    context_settings=CONTEXT,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command, or answers a shell that completes one; returns the exit status."""
    if instruction := os.environ.get(_COMPLETE):
        from click.shell_completion import shell_complete

        return shell_complete(bocb, {}, "bocb", _COMPLETE, instruction)
    return run(bocb, argv, "bocb")
