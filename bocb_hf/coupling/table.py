"""The coupling table: records grouped into cells, with what may be said about each.

A number is shown only for runs that completed. Runs of different configurations are never pooled: a cell shows the
configuration that validation chose, the others stand beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean

import numpy as np

from bocb_hf.backbones import CNN_FAMILIES
from bocb_hf.coupling.cells import CellNoise, moderate
from bocb_hf.coupling.rare import RareLosses
from bocb_hf.coupling.reading import Reading, reading_of
from bocb_hf.coupling.row import Cell, Row, Selection
from bocb_hf.coupling.selection import chosen_configuration
from bocb_hf.coupling.starts import by_start
from bocb_hf.coupling.statistics import Interval, Prior
from bocb_hf.coupling.tuning import Tuning, tuning_of
from bocb_hf.coupling.tuning_noise import tuning_noise
from bocb_hf.runs.record import FloorRecord, RunRecord, wilson_interval
from bocb_hf.runs.tasks import CLASSIFICATION


@dataclass(frozen=True)
class Table:
    """All cells of one data set, setting, data revision and evaluation split.

    Where a backbone was trained from several starting weights, those have a table each.

    Attributes:
        start: The weights that runs started from, where other tables hold runs from other weights; else empty.
        split: The split that scores are read on.
        backbones: Columns: CNN families first, then by name.
        optimizers: Rows: by category, then by name.
        rows: Every configuration of every cell of backbones × optimizers; missing cells included.
        prior: Prior of the variance over seeds from all shown cells, in points².
        rare: Runs that lost far more than the noise of the table; None when it shows none.
        tuning: The trials among which the shown configurations were chosen.
    """

    dataset: str
    setting: str
    revision: str
    split: str
    backbones: tuple[str, ...]
    optimizers: tuple[str, ...]
    rows: tuple[Row, ...]
    prior: Prior | None
    start: str = ""
    rare: RareLosses | None = None
    tuning: Tuning | None = field(default=None, compare=False)  # it follows from the rows

    def shown(self, backbone: str, optimizer: str) -> Row:
        """The row that the table shows for a cell.

        Raises:
            KeyError: No such backbone or optimizer in this table.
        """
        return self._shown[backbone, optimizer]

    @cached_property
    def _shown(self) -> Mapping[tuple[str, str], Row]:
        return {(row.cell.backbone, row.cell.optimizer): row for row in self.rows if row.shown}

    @cached_property
    def reading(self) -> Reading:
        """What the intervals of the table are over."""
        ranked = [[self.shown(b, o).ranked for o in self.optimizers] for b in self.backbones]
        return reading_of(self.tuning, np.array(ranked, np.bool_))

    def column(self, backbone: str) -> list[Row]:
        """The shown rows of a backbone, in the order of ``optimizers``."""
        return [self.shown(backbone, optimizer) for optimizer in self.optimizers]

    @property
    def split_label(self) -> str:
        """The split that counts as test: mostly ``test``, but ImageNet has no public labels for its own."""
        return "test" if self.split == "test" else f"test (the split '{self.split}' counts as test)"

    @property
    def metric(self) -> str:
        """What a score of the table is called, such as ``top-1`` or ``AP``."""
        names = {run.metrics.name for row in self.rows for run in row.runs}
        return " / ".join(sorted(names)) or "top-1"

    @property
    def loss_unit(self) -> str | None:
        """The unit of its losses; None where these are those of a task, which have no common unit."""
        tasks = {run.identity.task.name for row in self.rows for run in row.runs}
        return "nats" if tasks <= {CLASSIFICATION} else None

    @property
    def records(self) -> list[RunRecord]:
        """Final runs of all rows."""
        return [record for row in self.rows for record in row.finals]


@dataclass(frozen=True)
class Floor:
    """A score that needs no trained network, shown in a row below every table.

    Attributes:
        name: Description of the floor in words.
        backbone: The backbone whose column it is the floor of; None for all columns.
        top1: Test top-1 of the floor in points.
        n: Number of test images behind ``top1``; None when nothing was measured.
        interval: 95 % Wilson interval over images; None when nothing was measured.
    """

    name: str
    top1: float
    n: int | None = None
    interval: Interval | None = None
    backbone: str | None = None


def build_tables(records: Iterable[RunRecord]) -> list[Table]:
    """Groups records into tables, the one with most completed final runs first.

    Args:
        records: Valid records of both roles, each run once.
    """
    groups: dict[tuple[str, str, str, str, str], list[RunRecord]] = {}
    for record in records:
        data = record.identity.data
        # two tasks on one data set would be scored by different metrics
        task = record.identity.task.name
        split = data.evaluation_split
        key = (data.name, record.identity.setting, data.revision, split, task)
        groups.setdefault(key, []).append(record)
    tables = [
        replace(_build_table(key[:4], some), start=start)
        for key, group in sorted(groups.items())
        for start, some in sorted(by_start(group).items())
    ]
    return sorted(tables, key=lambda t: -sum(r.status == "completed" for r in t.records))


def floors(table: Table, records: Sequence[FloorRecord]) -> list[Floor]:
    """Returns chance, and the floors of the same data set, revision and split rule as the table's final runs."""
    data = [record.identity.data for row in table.rows for record in (*row.finals, *row.trials)]
    rules = {(d.name, d.revision, d.split_rule) for d in data}
    guessed = {r.identity.data.num_classes for row in table.rows for r in row.runs if r.metrics.score is None}
    found = [Floor(f"chance, {k} classes", 100 / k) for k in sorted(guessed)]
    for record in sorted(records, key=lambda b: (b.kind != "logistic_regression", b.to_json())):
        if (record.data.name, record.data.revision, record.data.split_rule) not in rules:
            continue
        k, n = record.correctness.k, record.correctness.n
        name, backbone = "logistic regression on pixels", None
        if record.backbone is not None:
            backbone = record.backbone.name
            if backbone not in table.backbones:
                continue
            name = f"{backbone}, frozen with random weights (seed {record.seed}), and a linear head"
            if record.backbone.pretrained is not None:  # no floor of a column, whose cells may be from scratch
                name = f"{backbone}, frozen with its pretrained weights, and a linear head"
                backbone = None
        if record.converged is False:
            name += " (stopped before it converged)"
        found.append(Floor(name, 100 * k / n, n, Interval(*wilson_interval(k, n)), backbone))
    return found


def _build_table(key: tuple[str, str, str, str], records: list[RunRecord]) -> Table:
    dataset, setting, revision, split = key
    families = {r.identity.backbone.name: r.family for r in records}
    categories = {r.identity.optimizer.name: r.category for r in records}
    cells: dict[Cell, list[RunRecord]] = {}
    for record in records:
        cells.setdefault(Cell(*record.identity.cell().names), []).append(record)
    backbones = sorted(families, key=lambda b: (families[b] not in CNN_FAMILIES, families[b] == "unknown", b))
    optimizers = sorted(categories, key=lambda o: (categories[o], o))
    rows = [
        row
        for backbone in backbones
        for optimizer in optimizers
        for cell in [Cell(dataset, setting, backbone, optimizer)]
        for row in _cell_rows(cell, revision, cells.get(cell, []), families[backbone], categories[optimizer])
    ]
    rows, noise = _with_estimates(rows)
    shown = {(row.cell.backbone, row.cell.optimizer): row for row in rows if row.shown}
    tuning = tuning_of([[shown[b, o] for o in optimizers] for b in backbones])
    rows = _with_tuning(rows, tuning, backbones, optimizers)
    names = tuple(backbones), tuple(optimizers)
    return Table(dataset, setting, revision, split, *names, tuple(rows), noise.prior, rare=noise.rare, tuning=tuning)


def _cell_rows(cell: Cell, revision: str, records: list[RunRecord], family: str, category: str) -> list[Row]:
    """Makes the rows of one cell, the shown one first."""
    trials = tuple(sorted((r for r in records if r.role == "trial"), key=lambda r: (r.identity.optimizer.lr, r.run_id)))
    finals: dict[str, list[RunRecord]] = {}
    for record in sorted(records, key=lambda r: r.seed):
        if record.role == "final":
            finals.setdefault(record.config_hash, []).append(record)
    if not finals:
        return [Row(cell, revision, None, True, None, family, category, (), trials)]
    order, selection = choose(finals, trials)
    rows = [Row(cell, revision, h, False, None, family, category, tuple(finals[h]), trials) for h in order]
    return [replace(rows[0], shown=True, selection=selection), *rows[1:]]


def choose(finals: Mapping[str, list[RunRecord]], trials: Sequence[RunRecord]) -> tuple[list[str], Selection]:
    """Orders the configurations of a cell, the one to show first; test metrics play no part.

    Validation decides: what the rule that a final run states chooses (``RunRecord.tuned``). Where none states one: the
    highest last-epoch top-1 of a configuration's completed trials (their mean, where several seeds were tried), ties by
    lower validation loss. Without trials: most completed final runs. Last, the smaller hash.

    Args:
        finals: Final runs by configuration hash; not empty.
        trials: Trials of the cell.

    Returns:
        The hashes, and how the first one was chosen.
    """
    scores = {h: validation_score([r for r in trials if r.config_hash == h]) for h in {r.config_hash for r in trials}}

    def rank(config_hash: str) -> tuple[bool, float, float, int, str]:
        score = scores.get(config_hash)
        done = sum(r.status == "completed" for r in finals[config_hash])
        return (score is None, *(score or (0.0, 0.0)), -done, config_hash)

    order = sorted(finals, key=rank)
    for final in (record for config_hash in order for record in finals[config_hash] if record.tuned is not None):
        # what a stated rule chooses is shown, even where another configuration has the highest mean
        chosen = chosen_configuration(trials, final)
        if chosen is not None and chosen in finals:
            return [chosen, *(config_hash for config_hash in order if config_hash != chosen)], "validation"
    shown = scores.get(order[0])
    if shown is None:
        return order, "untuned"
    best = min(score for score in scores.values() if score is not None)
    return order, "not_best" if best < shown else "validation"


def validation_score(trials: Sequence[RunRecord]) -> tuple[float, float] | None:
    """Returns (−mean last val top-1, mean last val loss), so that smaller is better; None when no trial completed.

    A trial without a validation loss counts as infinite loss, which only matters in a tie.
    """
    done = [r.metrics for r in trials if r.status == "completed"]
    top1 = [m.val.last for m in done if m.val is not None and m.val.last is not None]
    loss = [m.val_loss.last for m in done if m.val_loss is not None and m.val_loss.last is not None]
    return (-fmean(top1), fmean(loss) if loss else float("inf")) if top1 else None


def _with_estimates(rows: Sequence[Row]) -> tuple[list[Row], CellNoise]:
    """Adds means and variances: the shown cells without a failure inform the prior, which moderates every row."""
    scored = [row for row in rows if row.n]
    most = max((row.n for row in scored), default=1)
    values = np.array([[*(s.top1 for s in row.scores), *[np.nan] * (most - len(row.scores))] for row in scored])
    names = {row.cell.backbone: place for place, row in reversed(list(enumerate(scored)))}
    places = np.unique([names[row.cell.backbone] for row in scored], return_inverse=True)[1]
    inform = np.array([row.shown and row.ranked for row in scored], np.bool_)
    steps = np.array([max(s.top1_step for s in row.scores) for row in scored])
    classes = {run.identity.data.num_classes for row in scored for run in row.runs if run.metrics.score is None}
    chance = 100 / classes.pop() if len(classes) == 1 else None
    noise = moderate(values.reshape(-1, most), places, inform, steps, chance)
    estimates = {id(row): noise.estimate(i, values[i][np.isfinite(values[i])]) for i, row in enumerate(scored)}
    return [replace(row, estimate=estimates.get(id(row))) for row in rows], noise


def _with_tuning(rows: Sequence[Row], tuning: Tuning, backbones: Sequence[str], optimizers: Sequence[str]) -> list[Row]:
    """Adds what tuning adds to the noise of the shown means, where that is known of every ranked cell."""
    places = {(b, o): (i, j) for i, b in enumerate(backbones) for j, o in enumerate(optimizers)}
    needed = np.zeros((len(backbones), len(optimizers)), np.bool_)
    for row in rows:
        if row.shown:
            needed[places[row.cell.backbone, row.cell.optimizer]] = row.ranked
    part = tuning_noise(tuning, needed)
    if part is None:
        return list(rows)
    variance = part.variance

    def add(row: Row) -> Row:
        if row.estimate is None or not (row.shown and row.ranked):
            return row
        own = float(variance[places[row.cell.backbone, row.cell.optimizer]])
        return replace(row, estimate=replace(row.estimate, tuning=(own, part.df)))

    return [add(row) for row in rows]
