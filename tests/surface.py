"""The whole command line as text: every command, argument, option, default and help.

Run as a program it rewrites ``tests/commands/surface.txt``, with which a test compares the present surface::

    python tests/surface.py
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from bocb_hf.cli import bocb

SURFACE = Path(__file__).resolve().parent / "commands" / "surface.txt"


def _commands() -> Iterator[tuple[str, click.Command]]:
    yield "bocb", bocb
    context = click.Context(bocb)
    for name in bocb.list_commands(context):
        command = bocb.get_command(context, name)
        assert command is not None, name
        yield f"bocb {name}", command


def _facts(parameter: click.Parameter) -> str:
    """What a parameter takes and what it is where it is not given; a default that is computed is described."""
    info: dict[str, Any] = parameter.to_info_dict()
    default = info["default"]
    facts = [str(info["type"]["name"])]
    if "min" in info["type"]:
        ends = (("from", info["type"]["min"]), ("to", info["type"]["max"]))
        facts[0] += "".join(f" {word} {end}" for word, end in ends if end is not None)
    if "choices" in info["type"]:
        facts[0] += f" of {', '.join(info['type']['choices'])}"
    facts += [word for word in ("required", "multiple", "is_flag") if info.get(word)]
    facts += ["any number"] * (info["nargs"] == -1)
    if isinstance(shown := getattr(parameter, "show_default", None), str):
        facts.append(f"default: {shown}")
    elif default not in (None, False, ()) and not info["required"]:
        facts.append(f"default {default!r}")
    return "; ".join(facts)


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent=indent, subsequent_indent=indent)


def surface() -> str:
    """The text; it does not depend on the width of a terminal or on the version of click."""
    blocks: list[str] = []
    for name, command in _commands():
        context = click.Context(command, info_name=name)
        paragraphs = (command.help or "").split("\n\n")
        lines = [name, *(line for text in paragraphs for line in _wrapped(text, "    "))]
        for parameter in command.params:
            names = ", ".join([*parameter.opts, *parameter.secondary_opts]) * isinstance(parameter, click.Option)
            is_flag = isinstance(parameter, click.Option) and parameter.is_flag
            metavar = "" if is_flag else parameter.make_metavar(context)
            lines.append(f"  {names} {metavar}".rstrip().replace("   ", "  ") + f"  ({_facts(parameter)})")
            lines += _wrapped(parameter.help or "", "      ")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    SURFACE.write_text(surface(), encoding="utf-8")
