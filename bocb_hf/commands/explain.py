"""``bocb explain``: asks whether weight patterns, sharpness or early curves predict coupling."""

from __future__ import annotations

from pathlib import Path

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.errors import InputError

_DETAILS = """\
Of every final weight pattern, every pattern and the sharpness at 10 % of training (runtime.inspect_at=[0.1]) and the
early loss, it is asked whether it predicts a cell's coupling residual, or its failure, beyond the main effects of
backbone and optimizer: by leaving each backbone out, with an interval over backbones, a permutation test, and a
correction for all that was tried. That it does not is an answer. Written are answer.json and features.csv.
"""


@declare("explain", _DETAILS)
@options.store()
@options.source()
@options.draws()
@click.option(
    "--permutations",
    type=click.IntRange(100, 1_000_000),
    default=5000,
    metavar="N",
    help="permutations of backbones to draw where there are more; else all are taken",
)
@click.option("--full", is_flag=True, help="print every feature")
@options.out("outputs/explain")
def command(store: str, source: options.Source, draws: int, permutations: int, full: bool, out: Path) -> int:
    """Asks, prints the answer of each table, and writes it.

    Raises:
        InputError: There is no valid record, or no table has three backbones and a feature.
    """
    from bocb_hf.coupling.table import build_tables
    from bocb_hf.files import write_atomically
    from bocb_hf.patterns.features import evidence_of
    from bocb_hf.patterns.prediction import ask
    from bocb_hf.report.outputs import table_slug
    from bocb_hf.report.words.prediction import answer_files, answer_text
    from bocb_hf.store import open_store
    from bocb_hf.store.contents import read_store

    if source.kind == "paper":
        raise InputError("--source: published tables hold no patterns; name a store or a file of records")
    option, place = ("--store", store) if source.kind == "store" else ("--source", source.table)
    contents = source.read(lambda: read_store(open_store(store)))
    if not contents.records:
        raise InputError(f"{option}: {place} holds no valid record of a run; name another")
    tables, refused, answered = build_tables(contents.records), [], 0
    for table in tables:
        name = f"{table.dataset} · {table.setting}" + (f" · {table.start}" if table.start else "")
        try:
            evidence = evidence_of(table)
            answer = ask(evidence.questions, permutations, draws)
        except InputError as error:
            refused.append(f"{name}: {error}")
            continue
        answered += 1
        print(f"{name}\n{answer_text(answer, evidence, full)}\n")
        folder = out / table_slug(table) if len(tables) > 1 else out
        with options.naming("--out"):
            for file, content in answer_files(answer, evidence).items():
                print(f"wrote {write_atomically(folder / file, content)}")
    if not answered:
        raise InputError(f"{option}: no table of {place} can answer ({'; '.join(refused)})")
    for line in refused:
        print(f"no answer from {line}")
    return 0
