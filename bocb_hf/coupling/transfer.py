"""The three-way table pre-training optimizer × fine-tuning optimizer × backbone, from records of fine-tuned runs.

Runs stand in one table when they were fine-tuned alike (data, training, augmentation) from weights that were
pre-trained alike (data, setting, epochs), so that the two optimizers are all that differs. The names of settings do not
matter: a plan gives each level of its axis ``pretrained`` a setting of its own name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bocb_hf.backbones import CNN_FAMILIES
from bocb_hf.coupling.depth import Floats
from bocb_hf.coupling.rank_transfer import RankTransfer, rank_transfer
from bocb_hf.coupling.row import Cell, Row, score_of
from bocb_hf.coupling.split_plot import Matching, SplitPlot, Spread, interaction_spread, matching_gain, split_plot
from bocb_hf.coupling.table import choose
from bocb_hf.coupling.tuning import tuning_of
from bocb_hf.coupling.tuning_noise import tuning_noise
from bocb_hf.runs.record import RunRecord
from bocb_hf.schema import canonical_json


@dataclass(frozen=True, eq=False)
class TransferTable:
    """Scores of fine-tuned runs; B backbones, P pre-trainings, F fine-tuning optimizers, K checkpoints, S seeds.

    Attributes:
        dataset: The data of fine-tuning, with ``revision`` and ``setting``.
        pretrained_on: The data of pre-training.
        pretraining_setting: The setting of pre-training.
        pretrainings: The levels of the pre-training, by the id of their optimizer.
        pretraining_optimizers: The optimizer of each level.
        epochs: Epochs of pre-training of each level.
        optimizers: The optimizers of fine-tuning.
        values: Scores in points, shape (B, P, F, K, S), NaN where there is no score. A cell that is not complete has
            none, so that nobody ranks survivors.
        status: ``completed``, ``partial``, ``diverged``, ``interrupted`` or ``missing``, shape (B, P, F).
        checkpoint_seeds: Pre-training seeds of the checkpoints, by (backbone, pre-training).
        fine_tuning_seeds: All seeds of fine-tuning.
        pretraining_scores: Test score of each pre-training run in points, shape (B, P, K), NaN where its record is not
            at hand.
        config_hashes: Configuration of the shown runs, shape (B, P, F), an empty string where there are none.
        tuning: What tuning adds to the variance of each cell mean, shape (B, P, F), with its degrees of freedom; None
            where every statement is given the tuned rates.
        single: Whether a value is the mean of several runs whose spread is not known, as in a published table.
        notes: What a reader must know.
    """

    source: str
    dataset: str
    setting: str
    revision: str
    metric: str
    pretrained_on: str
    pretraining_setting: str
    backbones: tuple[str, ...]
    pretrainings: tuple[str, ...]
    pretraining_optimizers: tuple[str, ...]
    epochs: tuple[int, ...]
    optimizers: tuple[str, ...]
    values: Floats
    status: NDArray[np.str_]
    checkpoint_seeds: Mapping[tuple[str, str], tuple[int, ...]]
    fine_tuning_seeds: tuple[int, ...]
    pretraining_scores: Floats
    config_hashes: NDArray[np.str_]
    tuning: tuple[Floats, float] | None = None
    single: bool = False
    notes: tuple[str, ...] = ()

    @property
    def matches(self) -> NDArray[np.bool_]:
        """Whether pre-training and fine-tuning have the same optimizer, shape (P, F)."""
        return np.array([[p == f for f in self.optimizers] for p in self.pretraining_optimizers], np.bool_)

    @property
    def runs(self) -> NDArray[np.int64]:
        """Number of scores of each cell, shape (B, P, F)."""
        return np.isfinite(self.values).sum(axis=(3, 4))


@dataclass(frozen=True, eq=False)
class Transfer:
    """What is said of a three-way table.

    Attributes:
        table: The table.
        plots: The parts of each backbone; None where a cell of it has no score.
        spread: The spread of the interaction of the two optimizers, over the complete backbones; None without any.
        shares: Percent of the variance of cell means within a backbone that are (pre-training, fine-tuning,
            interaction), with the noise removed; None where nothing is left.
        matching: What the same optimizer in both roles gains; None where there is no such contrast.
        ranking: The rank correlation of pre-training and fine-tuning; None where fewer than three have both scores.
    """

    table: TransferTable
    plots: tuple[SplitPlot | None, ...]
    spread: Spread | None
    shares: tuple[float, float, float] | None
    matching: Matching | None
    ranking: RankTransfer | None

    @property
    def complete(self) -> list[SplitPlot]:
        """The parts of the backbones that count."""
        return [plot for plot in self.plots if plot is not None]

    @property
    def given(self) -> bool:
        """Whether all is given these checkpoints, since each pre-training has one seed."""
        return any(plot.given for plot in self.complete)


def analyse_transfer(table: TransferTable, draws: int = 2000) -> Transfer:
    """Computes what is said of a table; ``docs/transfer.md`` defines each part.

    Args:
        table: The table.
        draws: Tables that the bootstrap of the rank correlation draws.
    """
    plots = tuple(split_plot(values) for values in table.values)
    if table.tuning is not None:
        parts, df = table.tuning
        plots = tuple(
            None if plot is None else replace(plot, tuning=parts[b], tuning_df=df) for b, plot in enumerate(plots)
        )
    complete = [plot for plot in plots if plot is not None]
    sums = np.array([plot.variances() for plot in complete]).reshape(-1, 3).sum(axis=0)
    total = float(sums.sum())
    fine = _mean(_mean(table.values, 4), 2)  # (B, P, K): of a checkpoint, over fine-tuning optimizers
    pairs = [(table.pretraining_scores[b], fine[b]) for b, plot in enumerate(plots) if plot is not None]
    one, two, three = (100 * sums / total).tolist() if total > 1e-9 else (0.0, 0.0, 0.0)
    return Transfer(
        table,
        plots,
        interaction_spread(complete) if complete else None,
        (one, two, three) if total > 1e-9 else None,
        matching_gain(complete, table.matches),
        rank_transfer(pairs, draws),
    )


def transfer_tables(records: Iterable[RunRecord], source: str = "records") -> list[TransferTable]:
    """Builds the three-way tables of some records, that with most runs first; pre-training runs may be among them.

    A table needs two optimizers in each role.
    """
    known = list(records)
    groups: dict[str, list[RunRecord]] = {}
    for record in known:
        if (key := _alike(record)) is not None:
            groups.setdefault(key, []).append(record)
    made = {
        (r.config_hash, r.seed): score.top1 for r in known if r.role == "final" and (score := score_of(r)) is not None
    }
    tables = [_build(group, made, source) for _, group in sorted(groups.items())]
    found = [table for table in tables if table is not None]
    return sorted(found, key=lambda table: -int(table.runs.sum()))


def _alike(record: RunRecord) -> str | None:
    """The key of what all runs of a table share; None where no run of this project made the starting weights."""
    identity = record.identity
    made = identity.backbone.pretraining
    if made is None:
        return None
    # mean and standard deviation follow from the checkpoint
    data = identity.data.model_dump(mode="json", exclude={"mean", "std", "interpolation"})
    parts = (
        *(identity.random_scheme, data, identity.task.model_dump(mode="json")),
        identity.training.model_dump(mode="json"),
        *(identity.augmentation.model_dump(mode="json"), made.dataset, made.data_revision, made.setting, made.epochs),
    )
    return canonical_json(parts)


def _build(records: Sequence[RunRecord], made: Mapping[tuple[str, int], float], source: str) -> TransferTable | None:
    cells: dict[tuple[str, str, str], list[RunRecord]] = {}
    families: dict[str, str] = {}
    for record in records:
        backbone = record.identity.backbone
        assert backbone.pretraining is not None
        families[backbone.name] = record.family
        key = (backbone.name, backbone.pretraining.optimizer, record.identity.optimizer.name)
        cells.setdefault(key, []).append(record)
    backbones = tuple(sorted(families, key=lambda b: (families[b] not in CNN_FAMILIES, b)))
    pretrainings = tuple(sorted({key[1] for key in cells}))
    optimizers = tuple(sorted({key[2] for key in cells}))
    if min(len(pretrainings), len(optimizers)) < 2:
        return None
    chosen = _one_pretraining(cells)
    shown = {key: _shown([r for r in runs if _made(r) == chosen[key[:2]]]) for key, runs in cells.items()}
    levels = {
        level: sorted({_seed(r) for key, runs in shown.items() if key[:2] == level for r in runs}) for level in chosen
    }
    most = max((len(seeds) for seeds in levels.values()), default=0)
    deepest = max((_deepest(runs) for runs in shown.values()), default=0)
    shape = (len(backbones), len(pretrainings), len(optimizers))
    values = np.full((*shape, max(most, 1), max(deepest, 1)), np.nan)
    status, hashes = np.full(shape, "missing", "U11"), np.full(shape, "", "U12")
    scores = np.full((*shape[:2], max(most, 1)), np.nan)
    for b, backbone in enumerate(backbones):
        for p, level in enumerate(pretrainings):
            seeds = levels.get((backbone, level), [])
            for k, seed in enumerate(seeds):
                scores[b, p, k] = made.get((chosen[backbone, level], seed), np.nan)
            for f, optimizer in enumerate(optimizers):
                runs = shown.get((backbone, level, optimizer), [])
                status[b, p, f] = _status(runs)
                hashes[b, p, f] = runs[0].config_hash if runs else ""
                if status[b, p, f] == "completed":
                    _fill(values[b, p, f], runs, seeds)
    first = records[0].identity
    pretraining = first.backbone.pretraining
    assert pretraining is not None
    others = sum(len({_made(r) for r in runs}) > 1 for runs in cells.values())
    return TransferTable(
        source=source,
        dataset=first.data.name,
        setting=_common_setting(records),
        revision=first.data.revision,
        metric=records[0].metrics.name,
        pretrained_on=pretraining.dataset,
        pretraining_setting=pretraining.setting,
        backbones=backbones,
        pretrainings=pretrainings,
        pretraining_optimizers=pretrainings,
        epochs=(pretraining.epochs,) * len(pretrainings),
        optimizers=optimizers,
        values=values,
        status=status,
        checkpoint_seeds={level: tuple(seeds) for level, seeds in levels.items()},
        fine_tuning_seeds=tuple(sorted({r.seed for runs in shown.values() for r in runs})),
        pretraining_scores=scores,
        config_hashes=hashes,
        tuning=_tuning(cells, shown, backbones, pretrainings, optimizers),
        notes=(f"{others} cell(s) hold runs of further pre-training configurations, which are not shown.",)
        * (others > 0),
    )


def _tuning(
    cells: Mapping[tuple[str, str, str], Sequence[RunRecord]],
    shown: Mapping[tuple[str, str, str], Sequence[RunRecord]],
    backbones: Sequence[str],
    pretrainings: Sequence[str],
    optimizers: Sequence[str],
) -> tuple[Floats, float] | None:
    """What tuning adds to the variance of each cell mean, shape (B, P, F), and its degrees of freedom."""

    def row(key: tuple[str, str, str]) -> Row:
        finals = tuple(shown.get(key, ()))
        trials = tuple(r for r in cells.get(key, ()) if r.role == "trial" and finals and _made(r) == _made(finals[0]))
        selection = "validation" if finals else None
        where = Cell("", "", key[0], key[2])
        return Row(where, "", finals[0].config_hash if finals else None, True, selection, "", "", finals, trials)

    keys = [[(b, p, f) for f in optimizers] for b in backbones for p in pretrainings]
    rows = [[row(key) for key in line] for line in keys]
    needed = np.array([[each.ranked for each in line] for line in rows], np.bool_)
    part = tuning_noise(tuning_of(rows), needed)
    return None if part is None else (part.variance.reshape(len(backbones), len(pretrainings), -1), part.df)


def _made(record: RunRecord) -> str:
    assert record.identity.backbone.pretraining is not None
    return record.identity.backbone.pretraining.config_hash


def _seed(record: RunRecord) -> int:
    assert record.identity.backbone.pretraining is not None
    return record.identity.backbone.pretraining.seed


def _one_pretraining(cells: Mapping[tuple[str, str, str], Sequence[RunRecord]]) -> dict[tuple[str, str], str]:
    """The pre-training configuration that counts for each backbone and optimizer: that of most completed runs."""
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for (backbone, level, _), runs in cells.items():
        known = counts.setdefault((backbone, level), {})
        for run in runs:
            known[_made(run)] = known.get(_made(run), 0) + (run.role == "final" and run.status == "completed")
    return {level: min(known, key=lambda h: (-known[h], h)) for level, known in counts.items()}


def _shown(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The final runs of the configuration that validation chose."""
    finals: dict[str, list[RunRecord]] = {}
    for run in sorted(runs, key=lambda r: r.seed):
        if run.role == "final":
            finals.setdefault(run.config_hash, []).append(run)
    if not finals:
        return []
    order, _ = choose(finals, [run for run in runs if run.role == "trial"])
    return finals[order[0]]


def _status(runs: Sequence[RunRecord]) -> str:
    found = {run.status for run in runs}
    if "completed" in found:
        return "partial" if "diverged" in found else "completed"
    return "diverged" if "diverged" in found else "interrupted" if found else "missing"


def _deepest(runs: Sequence[RunRecord]) -> int:
    """The most final runs of a checkpoint."""
    seeds = [_seed(run) for run in runs]
    return max((seeds.count(seed) for seed in set(seeds)), default=0)


def _fill(cell: Floats, runs: Sequence[RunRecord], seeds: Sequence[int]) -> None:
    """Puts scores into a cell, shape (K, S), the fine-tuning seeds of a checkpoint in rising order."""
    for k, seed in enumerate(seeds):
        own = [score for r in runs if _seed(r) == seed and (score := score_of(r)) is not None]
        for s, score in enumerate(own):
            cell[k, s] = score.top1


def _common_setting(records: Sequence[RunRecord]) -> str:
    """The name of the setting without what a plan adds for each pre-training."""
    names: set[str] = set()
    for record in records:
        made = record.identity.backbone.pretraining
        assert made is not None
        names.add(record.identity.setting.removesuffix(f"_{made.optimizer}"))
    return ", ".join(sorted(names))


def _mean(values: Floats, axis: int) -> Floats:
    """Mean over an axis of what is finite; NaN where nothing is."""
    known = np.isfinite(values)
    counts = known.sum(axis=axis)
    return np.where(known, values, 0.0).sum(axis=axis) / np.where(counts > 0, counts, np.nan)
