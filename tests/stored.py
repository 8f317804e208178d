"""Stores of records for tests: what is published, and a table that holds every status."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from builders import CNNS, MODERN, make_bits, make_record
from cards import render_card

from bocb_hf.runs.record import RunRecord
from bocb_hf.store.local import LocalStore


def publish(store: LocalStore, records: Iterable[RunRecord], namespace: str = "local") -> list[str]:
    """Writes records and their cards; returns the repositories."""
    cells: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        cells[f"{namespace}/{record.repository()}"].append(record)
    for repository, cell in cells.items():
        finals, trials = ([r for r in cell if r.role == role] for role in ("final", "trial"))
        add = {r.path(): r.to_json().encode() for r in cell}
        add["README.md"] = render_card(repository, finals, trials).encode()
        store.commit(repository, add, parent=store.revision(repository), message="test")
    return list(cells)


def mixed_records() -> list[RunRecord]:
    """A table with every status: completed, partial, diverged, interrupted and missing."""
    rng = np.random.default_rng(0)
    grid = {
        (b, o): (1600 + 20 * i * j, 1610, 1590)
        for i, b in enumerate((*CNNS, *MODERN), 1)
        for j, o in enumerate(("sgdm", "adamw", "lamb"))
    }
    records = [
        make_record(b, o, seed=s, correct=rng.permutation(make_bits(k)))
        for (b, o), scores in grid.items()
        for s, k in enumerate(scores, 1)
    ]
    records += [make_record("tiny_resnet", "lars", seed=s, status="diverged") for s in (1, 2)]
    records += [make_record("tiny_vit", "lars", seed=1), make_record("tiny_vit", "lars", seed=2, status="diverged")]
    records.append(make_record("tiny_convnext", "lars", seed=1, status="interrupted"))
    records += [make_record("tiny_vit", "sgdm", role="trial", seed=0, lr=lr, val_top1=70) for lr in (0.03, 0.1, 0.3)]
    return records
