"""Opens the leaderboard's file: tables and cells at once, cost fronts and runs when somebody asks for them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from bocb_hf.coupling.marks import BEST, NEAR, RULE, MarkRule, Marks
from bocb_hf.coupling.pareto import Axis, Front
from bocb_hf.coupling.reading import GIVEN
from bocb_hf.coupling.robustness import Robustness
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.trials import TrialCurve
from bocb_hf.errors import InputError
from bocb_hf.leaderboard.layout import LEVELS, SCHEMA, VERSION, VERSION_KEY, CellInfo, RunInfo, TableInfo
from bocb_hf.recommend.evidence import Evidence, Tried
from bocb_hf.runs.patterns import WeightPatterns

_LIGHT = [name for name in SCHEMA.names if name != "payload"]
_FRONTS = TypeAdapter(list[Front])
_ROBUSTNESS = TypeAdapter(Robustness)
_TRIALS = TypeAdapter(list[TrialCurve])


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
    _runs: Mapping[str, Sequence[int]]

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

    @cached_property
    def robustness(self) -> Robustness | None:
        """Tuning distances; None without trials."""
        if self.info.robustness is None:
            return None
        left_out = {(b, o): why for b, o, why in self.info.robustness["left_out"]}
        found = _ROBUSTNESS.validate_python({**self.info.robustness, "left_out": {}})
        return Robustness(found.offsets, found.by_backbone, found.by_optimizer, left_out, found.decay_tuned)

    @cached_property
    def trial_curves(self) -> list[TrialCurve]:
        """Expected best of k trials."""
        return _TRIALS.validate_python(self.info.trial_curves)

    def cell_info(self, cell: CellRow) -> CellInfo:
        """What the page of a cell adds."""
        return CellInfo.model_validate_json(self._file.payload(cell.place))

    def front(self, backbone: str, axis: Axis) -> Front | None:
        """Accuracy against cost of a backbone; None where no cell has a place."""
        place = self._fronts.get(backbone)
        fronts = _FRONTS.validate_json(self._file.payload(place)) if place is not None else []
        return next((front for front in fronts if front.axis == axis), None)

    def patterns(self, backbone: str, optimizers: Sequence[str]) -> dict[str, list[WeightPatterns]]:
        """Weight patterns of the completed runs of the shown configurations, by optimizer; those without are absent."""
        found: dict[str, list[WeightPatterns]] = {}
        for run in self.runs(backbone):
            shown = run.optimizer in optimizers and run.config_hash == self.cells[backbone, run.optimizer].config_hash
            if shown and run.info.patterns is not None and run.info.patterns.layers:
                found.setdefault(run.optimizer, []).append(run.info.patterns)
        return {o: found[o] for o in optimizers if o in found}

    def runs(self, backbone: str, optimizer: str | None = None) -> list[RunRow]:
        """Final runs of a backbone, all configurations, by optimizer and seed."""
        rows = [self._file.run(place) for place in self._runs.get(backbone, ())]
        return [row for row in rows if optimizer is None or row.optimizer == optimizer]


class LeaderboardFile:
    """The open file. Safe to use from several threads.

    Attributes:
        boards: By id, own tables first.

    Raises:
        InputError: It is no leaderboard, is of another version, or holds something malformed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._file = pq.ParquetFile(path)
            metadata = self._file.schema_arrow.metadata or {}
            version = metadata.get(VERSION_KEY)
            if version is None:
                raise InputError(f"{path} is no leaderboard; make one with `bocb leaderboard --write`")
            if version != str(VERSION).encode():
                raise InputError(
                    f"{path}: layout {version.decode(errors='replace')[:9]} of the leaderboard, but this bocb-hf reads "
                    f"{VERSION}; upgrade it, or make the file anew"
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

    def run(self, place: int) -> RunRow:
        """A final run."""
        row = self._light.slice(place, 1).to_pylist()[0]
        columns = {f.name: row[f.name] for f in fields(RunRow) if f.name != "info"}
        return RunRow(**columns, info=RunInfo.model_validate_json(self.payload(place)))

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
            fronts = {backbones[at]: at for at in places.get("front", [])}
            boards[name] = Board(info, by_key, self, fronts, runs)
        return boards

    def _first_payload(self, place: int) -> str:
        group = int(np.searchsorted(self._starts, place, side="right")) - 1
        return self._read_group(group)[place - int(self._starts[group])].as_py()


def _cell(row: Mapping[str, Any], place: int) -> CellRow:
    columns = {f.name: row[f.name] for f in fields(CellRow) if f.name not in ("place", "seeds", "scores")}
    if row["level"] not in (None, *LEVELS):
        raise ValueError(f"unknown level {str(row['level'])[:40]!r}")
    return CellRow(place, **columns, seeds=tuple(row["seeds"]), scores=tuple(row["scores"]))
