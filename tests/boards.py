"""Leaderboard files of a known content: from records, large ones, and hostile ones."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from builders import make_record

from bocb_hf.coupling.scores import make_scores
from bocb_hf.page.layout import SCHEMA
from bocb_hf.page.write import leaderboard_parquet, score_rows, to_parquet
from bocb_hf.runs.record import RunRecord
from bocb_hf.store.contents import StoreContents

DEMO = Path(__file__).parent / "golden" / "demo.parquet"  # of `make demo`, written by `benchmarks/demo.py`
HOSTILE = (
    "a|b<img src=x onerror='window.pwned=1'>${window.pwned=2}{{window.pwned=3}}`\"</script>"
    "<script>window.pwned=4</script>"
)


def contents_of(records: Sequence[RunRecord], uri: str = "outputs/store", **levels: str) -> StoreContents:
    """A store that holds these records, in the namespace ``lab``."""
    contents = StoreContents(uri, records=list(records))
    contents.places = {(r.role, r.run_id): f"lab/{r.repository()}/{r.path()}" for r in records}
    contents.levels = levels
    return contents


def some_records() -> list[RunRecord]:
    """Three backbones × three optimizers: two seeds each, one cell diverged, one partly, one missing."""
    found: list[RunRecord] = []
    for b, backbone in enumerate(("tiny_resnet", "tiny_convnext", "tiny_vit")):
        for o, optimizer in enumerate(("sgdm", "adamw", "lars")):
            if (backbone, optimizer) == ("tiny_vit", "adamw"):
                continue
            for seed in (1, 2):
                lost = (backbone, optimizer) == ("tiny_vit", "lars") or (b, o, seed) == (1, 2, 2)
                status = "diverged" if lost else "completed"
                found.append(
                    make_record(backbone, optimizer, seed=seed, status=status, correct=1600 - 60 * b - 20 * o + seed)
                )
            found.append(make_record(backbone, optimizer, seed=0, role="trial"))
    return found


def write_board(path: Path, records: Sequence[RunRecord] | None = None, **options: Any) -> Path:
    """The file of records, by default ``some_records``."""
    path.write_bytes(leaderboard_parquet(contents_of(some_records() if records is None else records, **options), 200))
    return path


def write_large(path: Path, backbones: int, optimizers: int) -> Path:
    """One table of two seeds without records."""
    generator = np.random.default_rng(0)
    mean = 75 + 3 * generator.normal(size=(backbones, 1)) + generator.normal(size=(backbones, optimizers))
    values = mean[..., None] + 0.3 * generator.normal(size=(backbones, optimizers, 2))
    half = backbones // 2
    scores = make_scores(
        values,
        [f"b{i}" for i in range(backbones)],
        [f"o{i}" for i in range(optimizers)],
        unit="percent",
        dataset="large",
        setting="large",
        revision="seed 0",
        families=["classical_cnn"] * half + ["modern"] * (backbones - half),
        categories=[["a", "b", "c", "d"][4 * i // optimizers] for i in range(optimizers)],
    )
    path.write_bytes(to_parquet(score_rows("large", "A large table", "simulated", scores, 200)))
    return path


def poison(source: Path, path: Path) -> Path:
    """The same file with hostile text in every place that holds free text or a name."""
    table = pq.read_table(source)
    columns: dict[str, Any] = {}
    for name in table.column_names:
        values = table.column(name).to_pylist()
        if name in ("backbone", "optimizer"):
            values = [v and v.replace("tiny_vit", HOSTILE) for v in values]
        if name == "payload":
            values = [v.replace("tiny_vit", _json(HOSTILE)).replace("Test CPU", _json(HOSTILE)) for v in values]
            values = [v.replace("setting demo", "setting " + _json(HOSTILE)) for v in values]
        columns[name] = pa.array(values, SCHEMA.field(name).type)
    pq.write_table(pa.table(columns, schema=SCHEMA), path, row_group_size=64)
    return path


def summary_inside(html: str) -> dict[str, Any]:
    """The summary inside a page of one file."""
    match = re.search(r'id="bocb-summary">([A-Za-z0-9+/=]+)</script>', html)
    assert match is not None, "no page with its data inside"
    return json.loads(gzip.decompress(base64.b64decode(match[1])))


def _json(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
