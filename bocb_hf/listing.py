"""What ``bocb list`` prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bocb_hf.backbones import BACKBONES, SMALL_IMAGE
from bocb_hf.data import DATASETS
from bocb_hf.optim import CATEGORIES, OPTIMIZERS
from bocb_hf.resources import resource, setting_files


def list_rows(what: str) -> str:
    """The rows of a registry or the shipped files as an aligned text table.

    Args:
        what: ``backbones``, ``optimizers``, ``datasets``, ``settings`` or ``sweeps``.
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
        "Any other timm model name works too, without a row."
    )
    return f"{_table(header, rows)}\n\n{notes}"


def _optimizers() -> str:
    header = ("id", "category", "decay", "lr", "wd", "centre", "hyper-parameters", "implementation", "paper")
    rows = []
    for row in OPTIMIZERS:
        centre = row.centres["default"]
        defaults = ", ".join(f"{k}={v:g}" for k, v in row.hyperparameters().model_dump().items())
        source = (f"{centre.lr:g}", f"{centre.weight_decay:g}", centre.source)
        rows.append((row.id, row.category, row.decay, *source, defaults, row.implementation, row.paper))
    return _table(header, rows) + "\n\n" + "\n".join(f"({key}) {text}" for key, text in CATEGORIES.items())


def _datasets() -> str:
    header = ("id", "on the Hub", "revision", "licence", "px", "comes with the package")
    return _table(
        header,
        [
            (r.id, r.hub_id, r.revision[:12], r.licence, str(r.image_size), "yes" if r.embedded else "no")
            for r in DATASETS
        ],
    )


def _files(folder: str) -> str:
    root = resource(folder)
    paths = setting_files() if folder == "recipes/configs" else sorted(root.rglob("*.yaml"))
    rows = [
        (str(path.relative_to(root).with_suffix("")), *_headline(path.read_text(encoding="utf-8"))) for path in paths
    ]
    return _table(("name", "purpose", "expected", "cost"), rows)


def _headline(text: str) -> tuple[str, str, str]:
    """Purpose, expected score and cost from the comment at the top of a configuration."""
    found: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        name, colon, rest = line[1:].strip().partition(":")
        if colon and name in ("Purpose", "Command", "Expected", "Cost"):
            key, line = name, rest
        else:
            line = line[1:]
        found[key] = f"{found.get(key, '')} {line.strip()}".strip()
    return found.get("Purpose", ""), found.get("Expected", ""), found.get("Cost", "")


_LISTINGS: dict[str, Callable[[], str]] = {
    "backbones": _backbones,
    "optimizers": _optimizers,
    "datasets": _datasets,
    "settings": lambda: _files("recipes/configs"),
    "sweeps": lambda: _files("recipes/sweeps"),
}
