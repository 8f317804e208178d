"""The scores of backbones × optimizers × seeds, as every analysis takes them: from records, or from a published table.

A cell without a score is never a number: ``values`` is NaN there and ``status`` says why. Survivors of a partial
failure keep their values, and ``means`` leaves them out, so that nobody ranks them by accident.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bocb_hf.backbones import BACKBONES
from bocb_hf.coupling.reading import Reading, reading_of
from bocb_hf.coupling.row import RowStatus, score_of
from bocb_hf.coupling.table import Table
from bocb_hf.coupling.tuning import Tuning
from bocb_hf.coupling.units import Unit, check_unit
from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.runs.record import RunRecord

Scale = Literal["points", "logit"]
Floats = NDArray[np.float64]

# Backbones that share all but one part count as one cluster where clusters are compared; each other one stands alone.
SIBLINGS: Mapping[str, str] = {
    f"{name}_s12": "metaformer_s12"
    for name in ("identityformer", "poolformerv2", "convformer", "attentionformer", "caformer")
}


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Scores of one data set and setting, in points (percent); B backbones, O optimizers, S seeds.

    Attributes:
        source: Where the scores come from, for people.
        metric: What a score is: ``top-1``, ``mAP``, ``AP50``.
        families: Family of each backbone.
        clusters: Cluster of siblings of each backbone; its own id where it has none.
        categories: Category of each optimizer.
        seeds: Seeds along the last axis of ``values``: cells share what stands in one place of it. A seed has one place
            for each random scheme. (0,) for a table that does not tell its seeds.
        values: Scores in points, shape (B, O, S), read-only; NaN where there is no score.
        status: Status of each cell, shape (B, O): ``completed``, ``partial``, ``diverged``, ``interrupted`` or
            ``missing``.
        diverged: Number of runs of each cell that diverged, shape (B, O).
        config_hashes: Configuration hash of each cell, shape (B, O); an empty string where there is none.
        n_test: Test images behind each score; None when unknown, or not the same for all, or no proportion of images.
        num_classes: Number of classes; None when guessing has no known score.
        packed: Correctness bits of the test images, shape (B, O, S, ⌈n_test/8⌉) as ``numpy.packbits`` gives them, zeros
            where there is no score; None when any score lacks them.
        trials_per_value: Runs that the source has averaged in each value; their spread is unknown when above 1.
        notes: What a reader must know about the source.
        start: The weights that runs started from, where the source has tables of other starting weights too; else
            empty.
        tuning: The trials among which the configuration of each cell was chosen; None where the source does not tell,
            and where statements are to be given the chosen ones.
    """

    source: str
    dataset: str
    setting: str
    revision: str
    metric: str
    backbones: tuple[str, ...]
    families: tuple[str, ...]
    clusters: tuple[str, ...]
    optimizers: tuple[str, ...]
    categories: tuple[str, ...]
    seeds: tuple[int, ...]
    values: Floats
    status: NDArray[np.str_]
    diverged: NDArray[np.int64]
    config_hashes: NDArray[np.str_]
    n_test: int | None = None
    num_classes: int | None = None
    packed: NDArray[np.uint8] | None = None
    trials_per_value: int = 1
    notes: tuple[str, ...] = ()
    start: str = ""
    tuning: Tuning | None = None

    def __post_init__(self) -> None:
        shape = (len(self.backbones), len(self.optimizers))
        for name in ("values", "status", "diverged", "config_hashes", "packed"):
            array = getattr(self, name)
            if array is None:
                continue
            array.setflags(write=False)
            expected = (*shape, len(self.seeds)) if name in ("values", "packed") else shape
            if array.shape[: len(expected)] != expected:
                raise InputError(f"scores.{name}: shape {array.shape} does not begin with {expected}")
        if 0 in shape or not self.seeds:
            raise InputError("scores: a table needs at least one backbone, one optimizer and one seed")
        for names, what in ((self.backbones, "backbone"), (self.optimizers, "optimizer")):
            if len(set(names)) < len(names):
                raise InputError(f"scores: a {what} is named twice; give every {what} once")
        if not {len(self.families), len(self.clusters)} == {shape[0]} or len(self.categories) != shape[1]:
            raise InputError("scores: give one family and cluster for each backbone, one category for each optimizer")
        finite = np.isfinite(self.values)
        if np.isinf(self.values).any() or (self.values[finite] < 0).any() or (self.values[finite] > 100).any():
            raise InputError("scores: a score lies outside 0 to 100 points; a diverged run has a status, not a score")
        unknown = set(np.unique(self.status).tolist()) - set(get_args(RowStatus))
        scored = np.isin(self.status, ("completed", "partial"))
        if unknown or not np.array_equal(scored, finite.any(axis=2)):
            raise InputError("scores: exactly the cells that are completed or partial must hold a score")

    @cached_property
    def given(self) -> ScoreTable:
        """The table without its trials, which gives every interval and test *given the tuned rates*."""
        return self if self.tuning is None else replace(self, tuning=None)

    @property
    def reading(self) -> Reading:
        """What intervals and tests of the table are over."""
        return reading_of(self.tuning, self.ranked & (self.diverged == 0))

    @property
    def n(self) -> NDArray[np.int64]:
        """Scores of each cell, shape (B, O)."""
        return np.isfinite(self.values).sum(axis=2)

    @property
    def ranked(self) -> NDArray[np.bool_]:
        """Cells whose mean may be compared, shape (B, O)."""
        return self.status == "completed"

    @property
    def single(self) -> bool:
        """Whether no cell has two scores, so that noise cannot be separated from anything."""
        return bool(self.n.max() < 2)

    @property
    def chance(self) -> float | None:
        """Score of guessing, in points."""
        return None if self.num_classes is None else 100 / self.num_classes

    @property
    def means(self) -> Floats:
        """Cell means ȳ in points, shape (B, O); NaN where the cell is not ``ranked``."""
        return self.cell_means("points")

    def on(self, scale: Scale) -> Floats:
        """Returns the scores on a scale, shape (B, O, S): points, or logits log((k + ½)/(N − k + ½)).

        Raises:
            InputError: Logits are asked of scores that are not a share of a known number of images.
        """
        if scale == "points":
            return self.values
        if self.n_test is None:
            raise InputError(f"scores: the logit of {self.metric} needs the number of test images; analyse points only")
        k = self.values / 100 * self.n_test
        return np.log((k + 0.5) / (self.n_test - k + 0.5))

    def cell_means(self, scale: Scale) -> Floats:
        """Mean over the seeds of each cell on a scale, shape (B, O); NaN where the cell is not ``ranked``."""
        values, finite = self.on(scale), np.isfinite(self.values)
        total = np.where(finite, values, 0.0).sum(axis=2)
        return np.where(self.ranked, total / np.maximum(finite.sum(axis=2), 1), np.nan)

    def select(self, backbones: Sequence[str] | None = None, optimizers: Sequence[str] | None = None) -> ScoreTable:
        """Returns the table of some backbones and optimizers, in the order given.

        Raises:
            InputError: The table has no such backbone or optimizer.
        """
        rows = _places("backbone", self.backbones, backbones)
        columns = _places("optimizer", self.optimizers, optimizers)
        grid = np.ix_(rows, columns)
        return replace(
            self,
            backbones=tuple(self.backbones[i] for i in rows),
            families=tuple(self.families[i] for i in rows),
            clusters=tuple(self.clusters[i] for i in rows),
            optimizers=tuple(self.optimizers[i] for i in columns),
            categories=tuple(self.categories[i] for i in columns),
            values=self.values[grid],
            status=self.status[grid],
            diverged=self.diverged[grid],
            config_hashes=self.config_hashes[grid],
            packed=None if self.packed is None else self.packed[grid],
            tuning=None if self.tuning is None else self.tuning.select(rows, columns),
        )

    def without(self, optimizers: Sequence[str]) -> ScoreTable:
        """Returns the table without some optimizers.

        Raises:
            InputError: The table has no such optimizer, or none would be left.
        """
        _places("optimizer", self.optimizers, optimizers)
        return self.select(optimizers=[o for o in self.optimizers if o not in optimizers])


def make_scores(
    values: ArrayLike,
    backbones: Sequence[str],
    optimizers: Sequence[str],
    *,
    unit: Unit,
    source: str = "scores",
    dataset: str = "",
    setting: str = "",
    revision: str = "",
    metric: str = "top-1",
    families: Sequence[str] | None = None,
    clusters: Sequence[str] | None = None,
    categories: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    status: ArrayLike | None = None,
    n_test: int | None = None,
    num_classes: int | None = None,
    trials_per_value: int = 1,
    notes: Sequence[str] = (),
    checked: bool = False,
) -> ScoreTable:
    """Builds a table from plain arrays.

    Args:
        values: Scores, shape (B, O) or (B, O, S); NaN where there is no score.
        unit: Unit of ``values``; a table that looks like the other unit, or like both, is refused.
        families: Family of each backbone; None takes those of the registry, and ``unknown`` where it has no row.
            ``categories`` of optimizers work alike.
        status: Status of each cell, shape (B, O); None takes ``completed`` for cells with a score and ``missing`` for
            others.
        checked: Whether the unit is known to be right, so that it is not checked: for scores that truly are at most 1
            percent.

    Raises:
        InputError: Shapes do not fit, scores are out of range, or units look mixed up.
    """
    array = np.array(values, np.float64)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3:
        raise InputError(f"scores.values: shape {array.shape}; give backbones × optimizers (× seeds)")
    if not checked:
        check_unit(array, unit, backbones, optimizers)
    if unit == "fraction":
        array = array * 100
    shape = array.shape[:2]
    scored = np.isfinite(array).any(axis=2)
    states = np.where(scored, "completed", "missing") if status is None else np.array(status, np.str_)
    return ScoreTable(
        source=source,
        dataset=dataset,
        setting=setting,
        revision=revision,
        metric=metric,
        backbones=tuple(backbones),
        families=tuple(families) if families is not None else tuple(map(family_of, backbones)),
        clusters=tuple(clusters) if clusters is not None else tuple(SIBLINGS.get(b, b) for b in backbones),
        optimizers=tuple(optimizers),
        categories=tuple(categories) if categories is not None else tuple(map(category_of, optimizers)),
        seeds=tuple(seeds) if seeds is not None else tuple(range(array.shape[2])),
        values=array,
        status=states,
        diverged=(states == "diverged").astype(np.int64),
        config_hashes=np.full(shape, "", np.str_),
        n_test=n_test,
        num_classes=num_classes,
        trials_per_value=trials_per_value,
        notes=tuple(notes),
    )


def scores_of(table: Table, source: str = "records") -> ScoreTable:
    """Takes the shown rows of a table built from records; other configurations are left out, never pooled.

    Equal seeds of different random schemes share neither initialisation nor data order, so they are not paired: each
    has a place of its own in the last axis, and a note says so.
    """
    rows = [[table.shown(b, o) for o in table.optimizers] for b in table.backbones]
    flat = [row for line in rows for row in line]
    drawn = sorted({_drawn_by(record) for row in flat for record in row.completed})
    seeds = tuple(seed for _, seed in drawn) or (0,)
    place = {key: i for i, key in enumerate(drawn)}
    schemes = sorted({scheme for scheme, _ in drawn})
    mixed = f"Runs of random schemes {' and '.join(map(str, schemes))} stand here; equal seeds of both are not paired."
    shape = (len(table.backbones), len(table.optimizers))
    values = np.full((*shape, len(seeds)), np.nan)
    sizes = {score.n for row in flat for score in row.scores}
    counted = all(record.correctness is not None for row in flat for record in row.completed)
    n_test = sizes.pop() if len(sizes) == 1 and counted else None
    packed = np.zeros((*shape, len(seeds), (n_test + 7) // 8), np.uint8) if n_test is not None else None
    for b, line in enumerate(rows):
        for o, row in enumerate(line):
            for record in row.completed:
                score = score_of(record)
                if score is None:
                    continue
                values[b, o, place[_drawn_by(record)]] = score.top1
                if packed is not None and record.correctness is not None:
                    packed[b, o, place[_drawn_by(record)]] = np.packbits(record.correctness.bits())
    # guessing has a known score only where right images are counted
    classes = {r.identity.data.num_classes for row in flat for r in row.runs if r.metrics.score is None}
    return ScoreTable(
        source=source,
        dataset=table.dataset,
        setting=table.setting,
        revision=table.revision,
        metric=table.metric,
        backbones=table.backbones,
        families=tuple(line[0].family for line in rows),
        clusters=tuple(SIBLINGS.get(b, b) for b in table.backbones),
        optimizers=table.optimizers,
        categories=tuple(row.category for row in rows[0]),
        seeds=seeds,
        values=values,
        status=np.array([[row.status for row in line] for line in rows], np.str_),
        diverged=np.array([[row.diverged for row in line] for line in rows], np.int64),
        config_hashes=np.array([[row.config_hash or "" for row in line] for line in rows], np.str_),
        n_test=n_test,
        num_classes=classes.pop() if len(classes) == 1 else None,
        packed=packed,
        notes=(mixed,) if len(schemes) > 1 else (),
        start=table.start,
        tuning=table.tuning,
    )


def _drawn_by(record: RunRecord) -> tuple[int, int]:
    """Returns the random scheme and the seed of a run, which decide everything that it draws."""
    return record.identity.random_scheme, record.seed


def resolution(scores: ScoreTable, scale: Scale) -> float | Floats:
    """Returns the points that one more correct image adds to a score: a number, or shape (B, O); 0 without images."""
    if scores.n_test is None:
        return 0.0
    if scale == "points":
        return 100 / scores.n_test
    k = np.nan_to_num(scores.means, nan=50.0) / 100 * scores.n_test
    return 1 / (k + 0.5) + 1 / (scores.n_test - k + 0.5)


def image_slope(scores: ScoreTable, scale: Scale) -> Floats | float:
    """Returns how much one point of a cell's mean is worth on a scale, shape (B, O) or one number for all."""
    if scale == "points":
        return 1.0
    assert scores.n_test is not None  # the logit scale needs the number of test images
    share = scores.means / 100
    return (1 / (share + 0.5 / scores.n_test) + 1 / (1 - share + 0.5 / scores.n_test)) / 100


def _places(what: str, known: Sequence[str], wanted: Sequence[str] | None) -> list[int]:
    """Returns the indices of names."""
    for name in wanted or ():
        if name not in known:
            raise InputError(f"{what}: the table has no {name!r}; it has {', '.join(known)}")
    return list(range(len(known))) if wanted is None else [known.index(name) for name in wanted]


def family_of(backbone: str) -> str:
    """Returns the family of a backbone, or ``unknown`` where it has no row."""
    row = BACKBONES.find(backbone)
    return "unknown" if row is None else row.family


def category_of(optimizer: str) -> str:
    """Returns the category of an optimizer, or ``unknown`` where it has no row."""
    row = OPTIMIZERS.find(optimizer)
    return "unknown" if row is None else row.category
