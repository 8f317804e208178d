"""What a shell offers where an argument takes a row: names from the registries, without importing torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

import click
from click.shell_completion import CompletionItem

from bocb_hf.errors import InputError

Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _names_of(what: str, context: click.Context) -> list[str]:
    """The rows or shipped files of a kind, as in ``bocb list``, with those of plug-ins."""
    from bocb_hf.backbones import BACKBONES
    from bocb_hf.commands.command import named_plugins
    from bocb_hf.data import DATASETS
    from bocb_hf.optim import OPTIMIZERS
    from bocb_hf.plugins import load_plugins
    from bocb_hf.resources import config_files
    from bocb_hf.runs.tasks import TASKS

    with suppress(InputError):  # a shell shows no message; the command itself will
        load_plugins(named_plugins(context))
    kinds: dict[str, Callable[[], Iterable[str]]] = {
        "backbones": BACKBONES.names,
        "optimizers": OPTIMIZERS.names,
        "datasets": DATASETS.names,
        "tasks": TASKS.names,
        "settings": lambda: config_files("recipes/configs"),
        "sweeps": lambda: config_files("recipes/sweeps"),
    }
    return list(kinds[what]())


def rows(what: str, *, files: bool = False) -> Completion:
    """Completes names of one kind.

    Args:
        what: ``backbones``, ``optimizers``, ``datasets``, ``tasks``, ``settings`` or ``sweeps``.
        files: Whether the argument also takes the path of a file.
    """

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(name) for name in _names_of(what, context) if name.startswith(incomplete)]
        return found or ([CompletionItem(incomplete, type="file")] if files else [])

    return complete


def short_settings(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completes a setting as records name it, without its data set."""
    names = dict.fromkeys(name.rpartition("/")[2] for name in _names_of("settings", context))
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


_OVERRIDES = {"backbone.name": "backbones", "optimizer.name": "optimizers", "data.name": "datasets"}


def overrides(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completes ``backbone.name=``, ``optimizer.name=`` and ``data.name=``, and the row behind them.

    zsh and fish hand over ``optimizer.name=ad`` as one word. bash hands over ``optimizer.name``, ``=`` and ``ad``, and
    takes back what follows the sign.
    """
    key, sign, begun = incomplete.partition("=")
    if sign and key in _OVERRIDES:
        names = _names_of(_OVERRIDES[key], context)
        return [CompletionItem(f"{key}={name}") for name in names if name.startswith(begun)]
    words = [word for word in context.params.get(parameter.name or "", ()) if word != "="]
    if words and words[-1] in _OVERRIDES:
        names = _names_of(_OVERRIDES[words[-1]], context)
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return [CompletionItem(f"{key}=") for key in _OVERRIDES if key.startswith(incomplete)]
