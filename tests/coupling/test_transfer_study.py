"""The committed runs of the transfer plans give the committed answer, word for word."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_records_give_the_printed_answer() -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from transfer_results import answer, read_records  # pyright: ignore[reportMissingImports] - of the benchmarks
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    records = read_records()
    assert answer(records) == (ROOT / "benchmarks/transfer_answer.txt").read_text(encoding="utf-8").rstrip("\n")
    finals = [r for r in records if r.role == "final" and r.identity.backbone.pretraining is not None]
    assert len(finals) == 3 * 4 * 4 * 6
    known = {r.sha256() for r in records}
    # its type allows None, which it is not here
    assert all(r.identity.backbone.pretraining.record_sha256 in known for r in finals)  # type: ignore[union-attr]
