"""``bocb list``: the rows of a registry or the shipped files, as text."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

import click

from bocb_hf.backbones import BACKBONES, SMALL_IMAGE
from bocb_hf.commands.command import command as declare
from bocb_hf.commands.options import OneOf
from bocb_hf.data import DATASETS
from bocb_hf.optim import CATEGORIES, OPTIMIZERS
from bocb_hf.optim.row import NEEDS
from bocb_hf.resources import config_files
from bocb_hf.runs.tasks import TASKS


@declare("list")
@click.argument(
    "what", type=OneOf(("backbones", "optimizers", "datasets", "tasks", "settings", "sweeps")), help="what to show"
)
def command(what: str) -> int:
    """Prints one listing."""
    print(list_rows(what))
    return 0


def list_rows(what: str) -> str:
    """The rows of a registry as an aligned table, or the shipped files with their headlines.

    Args:
        what: ``backbones``, ``optimizers``, ``datasets``, ``tasks``, ``settings`` or ``sweeps``.
    """
    return _LISTINGS[what]()


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]]
    return "\n".join(line.rstrip() for line in lines)


def _backbones() -> str:
    header = ("id", "family", "year", "design", "operator", "px", "setting", "M params", "paper", "source")
    rows = [
        (
            *(row.id, row.family, str(row.year), f"{row.stage_wise}; {row.block_wise}", row.operator),
            *(str(row.image_size), row.setting or "-", f"{row.parameters / 1e6:.4g}"),
            *(f"{row.paper_parameters:g}" if row.paper_parameters else "-", row.source),
        )
        for row in BACKBONES
    ]
    notes = (
        f"px and setting: the study's on CIFAR-100. Up to {SMALL_IMAGE} px a small-image stem is built.\n"
        "M params: millions in the form that is trained, at 1000 classes and 224 px (tiny_*: 10 classes, 32 px);"
        " paper: the published figure.\n"
        "Without a row work any other timm model name, hf-hub:ORG/NAME (a timm model on the Hub), and\n"
        "transformers:ORG/NAME or transformers:FOLDER (an image classifier of transformers)."
    )
    return f"{_table(header, rows)}\n\n{notes}"


def _optimizers() -> str:
    header = ("id", "category", "decay", "lr", "wd", "centre", "needs", "state", "implementation", "paper")
    rows = []
    for row in OPTIMIZERS:
        centre = row.centres["default"]
        source = (f"{centre.lr:g}", f"{centre.weight_decay:g}", centre.source)
        needs = ", ".join(sorted(row.needs)) or "-"
        rows.append((row.id, row.category, row.decay, *source, needs, f"{row.state_floats:.2g}"))
        rows[-1] += (row.implementation, row.paper)
    return "\n".join(
        [
            _table(header, rows),
            "",
            *(f"({key}) {text}" for key, text in CATEGORIES.items()),
            "",
            "lr, wd: centre of the tuning grid, and where it is from; state: numbers a parameter of a 64 × 64 matrix",
            *(f"{key}: {text}" for key, text in NEEDS.items()),
            "`bocb check-optimizer ID` shows a row (variant, hyper-parameters, grids) and runs the conformance suite",
        ]
    )


def _datasets() -> str:
    header = ("id", "on the Hub", "revision", "licence", "px", "comes with the package")
    return _table(
        header,
        [
            (r.id, r.hub_id, r.revision[:12], r.licence, str(r.image_size), "yes" if r.embedded else "no")
            for r in DATASETS
        ],
    )


def _tasks() -> str:
    rows = [(row.id, f"{row.metric}, %", ", ".join(row.options.model_fields) or "-") for row in TASKS]
    meaning = (f"{row.metric}: {row.what}." for row in TASKS)
    return "\n".join([_table(("id", "metric", "task.options"), rows), "", *meaning])


def _files(folder: str) -> str:
    blocks: list[str] = []
    for name, path in config_files(folder).items():
        headline = _headline(path.read_text(encoding="utf-8"))
        blocks.append("\n".join([name, *map(_indented, headline)]))
    return "\n\n".join(blocks)


def _indented(text: str) -> str:
    return textwrap.fill(text, width=110, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


_SHOWN = ("Purpose", "Published", "Measured", "Cost")


def _headline(text: str) -> list[str]:
    """Purpose, scores and cost from the comment at the top of a configuration, each with its name."""
    found: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        name, colon, rest = line[1:].strip().partition(":")
        if colon and name in (*_SHOWN, "Command"):
            key, line = name, rest
        else:
            line = line[1:]
        found[key] = f"{found.get(key, '')} {line.strip()}".strip()
    return [f"{key.lower()}: {found[key]}" for key in _SHOWN if key in found]


_LISTINGS: dict[str, Callable[[], str]] = {
    "backbones": _backbones,
    "optimizers": _optimizers,
    "datasets": _datasets,
    "tasks": _tasks,
    "settings": lambda: _files("recipes/configs"),
    "sweeps": lambda: _files("recipes/sweeps"),
}
