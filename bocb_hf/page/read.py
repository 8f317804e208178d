"""Opens the leaderboard's file: tables and cells at once, cost fronts and runs when somebody asks for them."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from bocb_hf.coupling.marks import BEST, NEAR, RULE, MarkRule, Marks
from bocb_hf.coupling.pareto import Front
from bocb_hf.coupling.reading import GIVEN
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.errors import InputError
from bocb_hf.page.ask import ANSWERED, answers_of
from bocb_hf.page.layout import (
    LEVELS,
    READABLE,
    SCHEMA,
    VERSION,
    VERSION_KEY,
    AnswerInfo,
    CellInfo,
    RunInfo,
    TableInfo,
)
from bocb_hf.recommend.evidence import Evidence, Tried

_LIGHT = [name for name in SCHEMA.names if name != "payload"]
_FRONTS = TypeAdapter(list[Front])


@dataclass(frozen=True)
class CellRow:
    """A cell as the file's columns have it; ``place`` is its row in the file."""

    place: int
    backbone: str
    family: str
    optimizer: str
    category: str
    config_hash: str | None
    namespace: str | None
    repository: str | None
    level: str | None
    status: str
    n: int
    diverged: int
    rank: int | None
    mean: float | None
    low: float | None
    high: float | None
    standard_error: float | None
    lr: float | None
    weight_decay: float | None
    trials: int | None
    wall_seconds: float | None
    memory_bytes: int | None
    test_loss: float | None
    train_loss: float | None
    near_best: bool
    candidate: bool | None
    failed: bool
    collapsed: bool
    residual: float | None
    residual_low: float | None
    residual_high: float | None
    seeds: tuple[int, ...]
    scores: tuple[float, ...]

    @property
    def key(self) -> tuple[str, str]:
        """(backbone, optimizer)."""
        return (self.backbone, self.optimizer)

    @property
    def sign(self) -> str:
        """``★``, ``☆`` or nothing, by the rule of ``coupling/marks.py`` as it was applied when the file was made."""
        return BEST if self.rank == 1 else NEAR if self.candidate else ""

    @property
    def reach(self) -> tuple[float, float] | None:
        """How far the interval reaches down and up from the mean, in points; None without one."""
        if self.mean is None or self.low is None or self.high is None:
            return None
        return self.mean - self.low, self.high - self.mean


@dataclass(frozen=True)
class RunRow:
    """A final run; ``info`` is what its page shows."""

    config_hash: str
    repository: str
    namespace: str
    level: str
    status: str
    run_id: str
    record_sha256: str
    seed: int
    mean: float | None
    optimizer: str
    info: RunInfo


@dataclass(eq=False)
class Board:
    """One table of the leaderboard.

    Attributes:
        info: Everything that is said about it as a whole.
        cells: By (backbone, optimizer); every pair is there.
    """

    info: TableInfo
    cells: Mapping[tuple[str, str], CellRow]
    _file: LeaderboardFile
    _fronts: Mapping[str, int]
    _runs: Mapping[str, list[int]]
    _answers: Mapping[str, int]

    @cached_property
    def namespaces(self) -> tuple[str, ...]:
        """Owners of its runs."""
        return tuple(sorted({n for c in self.cells.values() if c.namespace for n in c.namespace.split()}))

    @cached_property
    def single(self) -> bool:
        """Whether no cell has two scores, so that there is no interval."""
        return all(cell.n < 2 for cell in self.cells.values())

    @property
    def reading(self) -> str:
        """What intervals are over, in words. Older files do not say, and theirs are given the tuned rates."""
        return str(self.info.analysis.get("reading", GIVEN))

    @cached_property
    def best(self) -> Mapping[str, float]:
        """The highest mean of each backbone that has one, over all optimizers."""
        found: dict[str, float] = {}
        for cell in self.cells.values():
            if cell.mean is not None:
                found[cell.backbone] = max(cell.mean, found.get(cell.backbone, cell.mean))
        return found

    @cached_property
    def scores(self) -> ScoreTable:
        """As the figures take it."""
        info = self.info
        shape = (len(info.backbones), len(info.optimizers))
        values = np.full((*shape, len(info.seeds)), np.nan)
        status, diverged = np.empty(shape, "U11"), np.zeros(shape, np.int64)
        hashes = np.empty(shape, "U12")
        place = {seed: i for i, seed in enumerate(info.seeds)}
        for b, backbone in enumerate(info.backbones):
            for o, optimizer in enumerate(info.optimizers):
                cell = self.cells[backbone, optimizer]
                status[b, o], diverged[b, o], hashes[b, o] = cell.status, cell.diverged, cell.config_hash or ""
                for i, score in enumerate(cell.scores):
                    values[b, o, place[cell.seeds[i]] if cell.seeds else i] = score
        return ScoreTable(
            source=info.origin,
            dataset=info.dataset,
            setting=info.setting,
            revision=info.revision,
            metric=info.metric,
            backbones=tuple(info.backbones),
            families=tuple(info.families),
            clusters=tuple(info.clusters),
            optimizers=tuple(info.optimizers),
            categories=tuple(info.categories),
            seeds=tuple(info.seeds),
            values=values,
            status=status,
            diverged=diverged,
            config_hashes=hashes,
            n_test=info.n_test,
            num_classes=info.num_classes,
            trials_per_value=info.trials_per_value,
            notes=tuple(info.notes),
        )

    @cached_property
    def source(self) -> Evidence:
        """As the recommender takes it."""
        info = self.info
        if info.tried is None:
            return Evidence(f"published ({info.origin})", self.scores)
        errors = [[self.cells[b, o].standard_error for o in info.optimizers] for b in info.backbones]
        tried = [Tried(**row.model_dump()) for row in info.tried]
        return Evidence("the records of this table", self.scores, np.array(errors, np.float64), tried, info.fairness)

    @cached_property
    def marks(self) -> Marks:
        """Intervals and flags as they were computed when the file was made."""

        def grid(value: Any, kind: Any) -> Any:
            rows = [[value(self.cells[b, o]) for o in self.info.optimizers] for b in self.info.backbones]
            return np.array(rows, kind)

        down, up = np.moveaxis(grid(lambda c: c.reach or (np.nan, np.nan), np.float64), 2, 0)
        below = np.where(down - up > 1e-9, down - up, 0.0)
        signs = grid(lambda c: c.sign, np.str_)
        rule: MarkRule = "highest_mean" if all(c.candidate is None for c in self.cells.values()) else "hsu"
        failed = grid(lambda c: c.failed, np.bool_)
        return Marks(up, signs, rule, failed, RULE, below=below if below.any() else None, reading=self.reading)

    def cell_info(self, cell: CellRow) -> CellInfo:
        """What the page of a cell adds."""
        return CellInfo.model_validate_json(self._file.payload(cell.place))

    def fronts(self) -> Mapping[str, list[Front]]:
        """Score against cost of each backbone that has any, one front an axis."""
        return {b: _FRONTS.validate_json(self._file.payload(place)) for b, place in self._fronts.items()}

    def runs(self, backbone: str) -> list[RunRow]:
        """Final runs of a backbone, all configurations, by optimizer and seed."""
        return self._file.runs(self._runs.get(backbone, []))

    @cached_property
    def answers(self) -> tuple[Mapping[str, AnswerInfo], str | None]:
        """Answers of the recommender by key (``ask.py``), and why there are none.

        A file of an earlier layout holds none; they are computed from its scores then.
        """
        if self.info.told is None:
            return answers_of(self.source, ANSWERED, self.info.origin if self.info.source == "records" else None)
        found = {key: AnswerInfo.model_validate_json(self._file.payload(place)) for key, place in self._answers.items()}
        return found, self.info.unanswered


class LeaderboardFile:
    """The open file. Safe to use from several threads.

    Args:
        path: The file, or where its bytes come from.
        content: The bytes of the file, where they are not read from there.

    Attributes:
        boards: By id, own tables first.

    Raises:
        InputError: It is no leaderboard, is of another version, or holds something malformed.
    """

    def __init__(self, path: Path | str, content: bytes | None = None) -> None:
        self._lock = threading.Lock()
        try:
            self._file = pq.ParquetFile(path if content is None else io.BytesIO(content))
            metadata = self._file.schema_arrow.metadata or {}
            version = metadata.get(VERSION_KEY)
            if version is None:
                raise InputError(f"{path} is no leaderboard; make one with `bocb leaderboard --write`")
            if version not in {str(known).encode() for known in READABLE}:
                raise InputError(
                    f"{path}: layout {version.decode(errors='replace')[:9]} of the leaderboard, but this bocb-hf reads "
                    f"{' and '.join(map(str, READABLE))}; upgrade it, or make the file anew"
                )
            if self._file.schema_arrow.names != SCHEMA.names or self._file.schema_arrow.types != SCHEMA.types:
                raise InputError(f"{path}: its columns are not those of a leaderboard of layout {VERSION}")
            self._starts = np.cumsum(
                [0, *(self._file.metadata.row_group(g).num_rows for g in range(self._file.num_row_groups))]
            )
            self._light = self._file.read(columns=_LIGHT)
            self.boards = self._boards()
        except (pa.ArrowException, OSError, ValidationError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: cannot be read as a leaderboard: {str(error)[:300]}") from None
        self._group = lru_cache(maxsize=64)(self._read_group)

    def payload(self, place: int) -> str:
        """The JSON of a row."""
        group = int(np.searchsorted(self._starts, place, side="right")) - 1
        return self._group(group)[place - int(self._starts[group])].as_py()

    def runs(self, places: list[int]) -> list[RunRow]:
        """Final runs in some rows."""
        names = [f.name for f in fields(RunRow) if f.name != "info"]
        rows = self._light.select(names).take(pa.array(places, pa.int64())).to_pylist()
        return [
            RunRow(**row, info=RunInfo.model_validate_json(self.payload(place)))
            for row, place in zip(rows, places, strict=True)
        ]

    def _read_group(self, group: int) -> pa.ChunkedArray:
        with self._lock:
            return self._file.read_row_group(group, columns=["payload"]).column(0)

    def _boards(self) -> dict[str, Board]:
        kinds = self._light.column("kind").to_pylist()
        names = self._light.column("table").to_pylist()
        groups: dict[str, dict[str, list[int]]] = {}
        for place, (kind, name) in enumerate(zip(kinds, names, strict=True)):
            groups.setdefault(name, {}).setdefault(kind, []).append(place)
        backbones = self._light.column("backbone").to_pylist()
        boards: dict[str, Board] = {}
        for name, places in groups.items():
            (place,) = places["table"]
            info = TableInfo.model_validate_json(self._first_payload(place))
            rows = self._light.take(pa.array(places.get("cell", []), pa.int64())).to_pylist()
            cells = [_cell(row, at) for row, at in zip(rows, places.get("cell", []), strict=True)]
            by_key = {cell.key: cell for cell in cells}
            missing = [(b, o) for b in info.backbones for o in info.optimizers if (b, o) not in by_key]
            if missing:
                raise ValueError(f"table {name!r} lacks the row of {len(missing)} cell(s)")
            runs: dict[str, list[int]] = {}
            for at in places.get("run", []):
                runs.setdefault(backbones[at], []).append(at)
            fronts, answers = ({backbones[at]: at for at in places.get(kind, [])} for kind in ("front", "answer"))
            boards[name] = Board(info, by_key, self, fronts, runs, answers)
        return boards

    def _first_payload(self, place: int) -> str:
        group = int(np.searchsorted(self._starts, place, side="right")) - 1
        return self._read_group(group)[place - int(self._starts[group])].as_py()


def _cell(row: Mapping[str, Any], place: int) -> CellRow:
    columns = {f.name: row[f.name] for f in fields(CellRow) if f.name not in ("place", "seeds", "scores")}
    if row["level"] not in (None, *LEVELS):
        raise ValueError(f"unknown level {str(row['level'])[:40]!r}")
    return CellRow(place, **columns, seeds=tuple(row["seeds"]), scores=tuple(row["scores"]))
