"""``bocb analyze``: looks into the weights of checkpoints layer by layer."""

from __future__ import annotations

import re
from pathlib import Path

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.commands.completion import rows
from bocb_hf.errors import InputError
from bocb_hf.runs.patterns import KERNELS, Kernels

_DETAILS = """\
WEIGHTS is a run's folder (a store, a repository of one, or one seed), any folder with safetensors and, if it is to be
compared with its random initialisation, a config.json of timm or transformers, a safetensors file, or the id of a
repository on the Hub. Each layer is read alone; no pickle is ever opened and no code of a repository is run. Written
are patterns.csv and .parquet, conventions.json and, for each backbone, a ridge plot over its optimizers, best first,
and bars of the exponent alpha. An alpha whose fit is not good is not shown as a number.
"""
_HUB_ID = re.compile(r"(?:hf-hub:|timm/)?[A-Za-z0-9][\w.-]*/[\w.-]+")
_RUN_FILES = ("seeds/*/record.json", "seeds/*/model.safetensors")


@declare("analyze", _DETAILS)
@click.argument("weights", nargs=-1, required=True, metavar="WEIGHTS...", help="what to look into: see above")
@click.option(
    "--kernels",
    type=options.OneOf(tuple(KERNELS)),
    default="rows",
    help="how a convolution's kernel becomes a matrix: one with a row for each output, or slices of one pixel each, as "
    "WeightWatcher has it",
)
@click.option(
    "--architecture",
    metavar="NAME",
    shell_complete=rows("backbones", files=True),
    help="the network of weights that do not say it: a row, a timm name, hf-hub:ORG/NAME or transformers:ORG/NAME",
)
@options.seed("seed of the random initialisation to compare with (default: the lowest of the runs, or 0)")
@click.option("--no-untrained", is_flag=True, help="compare with no random initialisation; needs no torch")
@click.option("--full", is_flag=True, help="print the layers of every checkpoint, not of a single one alone")
@options.out("outputs/patterns")
def command(
    weights: tuple[str, ...],
    kernels: Kernels,
    architecture: str | None,
    seed: int | None,
    no_untrained: bool,
    full: bool,
    out: Path,
) -> int:
    """Analyses, prints, and writes files and figures.

    Raises:
        InputError: There is no such checkpoint, it is damaged or not safetensors, or a file cannot be written.
    """
    from bocb_hf.files import write_atomically
    from bocb_hf.patterns.analysis import analyze
    from bocb_hf.patterns.checkpoints import find_checkpoints
    from bocb_hf.patterns.files import pattern_files
    from bocb_hf.report.figures.layers import pattern_drawings
    from bocb_hf.report.figures.style import figure_bytes
    from bocb_hf.report.words.patterns import pattern_text

    checkpoints = [checkpoint for given in weights for checkpoint in find_checkpoints(_local(given))]
    found = analyze(checkpoints, kernels, architecture, seed, untrained=not no_untrained)
    print(pattern_text(found, kernels, full))
    with options.naming("--out"):
        paths = [write_atomically(out / name, content) for name, content in pattern_files(found, kernels).items()]
        records = [checkpoint.record for checkpoint in checkpoints if checkpoint.record is not None]
        for name, figure in pattern_drawings(found, records).items():
            paths += [write_atomically(out / f"{name}.{k}", figure_bytes(figure, k)) for k in ("png", "svg")]
    print(f"\nwrote {len(paths)} files to {out}: {', '.join(dict.fromkeys(path.stem for path in paths))}")
    return 0


def _local(given: str) -> Path:
    """The path that was given, or the folder that a repository of the Hub was fetched into."""
    path = Path(given)
    if path.exists() or not _HUB_ID.fullmatch(given):
        return path
    from huggingface_hub import snapshot_download

    from bocb_hf.store import check_repository
    from bocb_hf.store.hub_calls import explained, make_api

    repository = check_repository(given.removeprefix("hf-hub:"))
    with explained(repository):
        files = make_api().list_repo_files(repository)
        runs = any(re.fullmatch(r"seeds/\d+/record\.json", name) for name in files)
        wanted = _RUN_FILES if runs else _plain_files(repository, files)
        return Path(snapshot_download(repository, allow_patterns=list(wanted)))


def _plain_files(repository: str, files: list[str]) -> list[str]:
    """The configuration and the safetensors at the root of a repository, the sharded ones by their index."""
    single = "model.safetensors" in files
    found = [
        n for n in files if "/" not in n and n.endswith(".safetensors") and (not single or n == "model.safetensors")
    ]
    if not found:
        raise InputError(f"{repository}: holds no safetensors at its root; pickles are not opened")
    return [*found, *(n for n in ("config.json", "model.safetensors.index.json") if n in files)]
