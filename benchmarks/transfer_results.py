"""Keeps the runs of the transfer plans as one Parquet file, and prints what they answer (``docs/transfer.md``).

With ``--store`` it takes the records of a store and writes ``benchmarks/transfer_records.parquet``, in the layout of a
results data set, ``benchmarks/transfer_answer.txt``, and the answer in docs/transfer.md. Without, it
reads that file and prints::

    python benchmarks/transfer_results.py --store outputs/transfer/store
    python benchmarks/transfer_results.py
"""

from __future__ import annotations

import argparse
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from bocb_hf.coupling.transfer import analyse_transfer, transfer_tables
from bocb_hf.report.transfer import transfer_blocks
from bocb_hf.report.words.transfer import answer_text, counts_text
from bocb_hf.results.dataset import records_parquet
from bocb_hf.runs.record import RunRecord, parse_record
from bocb_hf.store import open_store
from bocb_hf.store.contents import read_store

RECORDS = Path(__file__).resolve().with_name("transfer_records.parquet")
ANSWER = RECORDS.with_name("transfer_answer.txt")
PAGE = RECORDS.parents[1] / "docs/transfer.md"
BEGIN, END = (
    "<!-- written by benchmarks/transfer_results.py -->",
    "<!-- end of what benchmarks/transfer_results.py writes -->",
)
DRAWS = 2000


def read_records(path: Path = RECORDS) -> list[RunRecord]:
    """Reads the records of a file.

    Raises:
        InputError: A record is not valid.
    """
    column = pq.read_table(path, columns=["record"]).column("record").to_pylist()
    return [parse_record(str(text).encode(), f"{path.name}, row {row}") for row, text in enumerate(column)]


def answer(records: Sequence[RunRecord]) -> str:
    """Returns what the records answer, with the numbers that it rests on."""
    tables = transfer_tables(records, "benchmarks/transfer_records.parquet")
    blocks = transfer_blocks([analyse_transfer(table, DRAWS) for table in tables])
    counts = Counter((r.identity.setting.partition("_")[0], r.role, r.status) for r in records)
    seconds = sum(r.cost.wall_seconds for r in records)
    lines = [f"{n} {status} {role} run(s) of {setting}" for (setting, role, status), n in sorted(counts.items())]
    edges, data = _edge(records), [record.identity.data for record in records]
    rates = Counter(edges)
    blocks.append(
        "\n".join(
            [
                *lines,
                f"{seconds / 60:.0f} min of training and evaluation, one thread a run, on {_devices(records)}",
                f"chosen learning rates at the edge of what was tried: {rates[True]} of {len(edges)} cells",
                f"data revisions: {', '.join(sorted({f'{d.name} {d.revision}' for d in data}))}",
            ]
        )
    )
    return "\n\n".join(blocks)


def write(records: Sequence[RunRecord]) -> None:
    """Writes the answer as a file, and into docs/transfer.md between its marks."""
    text = answer(records)
    ANSWER.write_text(text + "\n", encoding="utf-8")
    found = analyse_transfer(transfer_tables(records, RECORDS.name)[0], DRAWS)
    sentences = [*answer_text(found), counts_text(found)]
    short = textwrap.fill(" ".join(sentences), 120, break_on_hyphens=False)
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    block = f"{short}\n\n```text\n{text}\n```"
    PAGE.write_text(f"{before}{BEGIN}\n{block}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def _edge(records: Sequence[RunRecord]) -> list[bool]:
    """Whether the rate of each cell of final runs with several tried rates is the smallest or largest of them."""
    tried: dict[object, set[float]] = {}
    chosen: dict[object, float] = {}
    for record in records:
        cell, lr = record.identity.cell(), record.identity.optimizer.lr
        if record.role == "trial":
            tried.setdefault(cell, set()).add(lr)
        else:
            chosen[cell] = lr
    return [lr in (min(rates), max(rates)) for cell, lr in chosen.items() if len(rates := tried.get(cell, set())) > 1]


def _devices(records: Sequence[RunRecord]) -> str:
    return ", ".join(sorted({r.environment.device for r in records}))


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", help="take the records of this store, and write them")
    arguments = parser.parse_args()
    if arguments.store:
        contents = read_store(open_store(arguments.store))
        for item in contents.quarantined:
            print(f"left out: {item}")
        records = sorted(contents.records, key=lambda r: (r.identity.setting, r.role, r.run_id))
        RECORDS.write_bytes(records_parquet(records, contents.places, contents.levels))
        write(read_records())
    print(answer(read_records()))


if __name__ == "__main__":
    main()
