"""A sweep's plan as data, and the tuning rule as pure functions of finished trials. Importing this needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationError, field_validator

from bocb_hf.coupling.primary import PrimaryStatistic
from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.row import Grid
from bocb_hf.runs import strict_yaml
from bocb_hf.runs.record import RunRecord
from bocb_hf.schema import Frozen, Seed, Slug, describe_errors, parse_strict


class Tuning(Frozen):
    """Settings by which the learning rate of a cell is tuned, by last-epoch validation top-1.

    Attributes:
        points: Number of learning rates in the grid, an odd number around the registry's centre.
        factor: Ratio of two neighbouring learning rates.
        seed: Seed of every trial; the seeds of final runs are other ones.
        max_extensions: How often a winner at the edge of the grid adds one more point beyond it.
        grid: Which centres the grid has: those of ``ours`` let weight decay act alike for all optimizers, those of
            ``released`` are of the study's released code.
    """

    points: int = Field(default=3, ge=1, le=9)
    factor: float = Field(default=3.0, gt=1, le=100)
    seed: Seed = 0
    max_extensions: int = Field(default=2, ge=0, le=10)
    grid: Grid = "ours"

    @field_validator("points")
    @classmethod
    def _odd(cls, points: int) -> int:
        if points % 2 == 0:
            raise ValueError("must be odd, so that the centre is one of the points")
        return points


class SweepPlan(Frozen):
    """The plan of a sweep: which cells are run, committed before any of them is run.

    Attributes:
        config: Name of a shipped setting or path of a YAML file; one setting for all cells.
        overrides: Pairs ``section.key=value`` for all runs.
        device: ``cpu`` hides GPUs from the workers, so that a plan gives the same result everywhere.
        baselines: Whether the floor rows of the data set are computed too.
        primary: The one statistic that the report leads with, named before any run (``bocb aggregate --plan``); None
            leaves the default of reports.
    """

    name: Slug
    config: str
    backbones: Annotated[list[str], Field(min_length=1)]
    optimizers: Annotated[list[str], Field(min_length=1)]
    tuning: Tuning = Tuning()
    final_seeds: Annotated[list[Seed], Field(min_length=1)]
    overrides: list[str] = Field(default_factory=list[str])
    device: Literal["cpu", "any"] = "any"
    baselines: bool = True
    primary: PrimaryStatistic | None = None

    @field_validator("optimizers")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            OPTIMIZERS.get(name)
        return names

    @field_validator("backbones", "optimizers", "final_seeds")
    @classmethod
    def _unique(cls, values: list[Any]) -> list[Any]:
        if len(set(values)) != len(values):
            raise ValueError("holds a value twice")
        return values

    @field_validator("final_seeds")
    @classmethod
    def _fresh(cls, seeds: list[int], info: Any) -> list[int]:
        tuning = info.data.get("tuning")
        if isinstance(tuning, Tuning) and tuning.seed in seeds:
            raise ValueError(f"holds the tuning seed {tuning.seed}; the result needs fresh seeds")
        return seeds


def load_plan(path: Path) -> SweepPlan:
    """Reads a plan.

    Raises:
        InputError: The file has problems; the message names all of them.
    """
    data = strict_yaml.parse_file(path)
    try:
        return cast(SweepPlan, parse_strict(SweepPlan, data))
    except ValidationError as error:
        problems = describe_errors(error, SweepPlan)
        raise InputError(f"{path} has {len(problems)} problem(s):\n" + "\n".join(f"  {p}" for p in problems)) from None


@dataclass(frozen=True)
class Trial:
    """One tried learning rate; ``val_top1`` (percent) and ``val_loss`` (nats) are None unless the trial completed."""

    lr: float
    val_top1: float | None
    val_loss: float | None

    @classmethod
    def from_record(cls, record: RunRecord) -> Trial:
        """Reads the last-epoch validation scores of a trial."""
        top1, loss = record.metrics.val_top1, record.metrics.val_loss
        done = record.status == "completed"
        return cls(
            lr=record.identity.optimizer.lr,
            val_top1=top1.last if done and top1 else None,
            val_loss=loss.last if done and loss else None,
        )


def grid(centre: float, tuning: Tuning) -> list[float]:
    """Learning rates of the grid in rising order, to 4 significant digits so that they read well."""
    half = tuning.points // 2
    return [_round(centre * tuning.factor**k) for k in range(-half, half + 1)]


def best_trial(trials: Sequence[Trial]) -> Trial:
    """Picks the winner: highest validation top-1, ties by lower validation loss, then by lower learning rate.

    A diverged trial loses to any other. If all diverged, the lowest rate wins, so that a grid extends downwards.
    """

    def order(trial: Trial) -> tuple[float, float, float]:
        if trial.val_top1 is None or trial.val_loss is None:
            return (float("inf"), float("inf"), trial.lr)
        return (-trial.val_top1, trial.val_loss, trial.lr)

    return min(trials, key=order)


def next_rates(centre: float, tuning: Tuning, trials: Sequence[Trial]) -> list[float]:
    """Learning rates that are still to be tried, given the finished trials of a cell; none when the cell is tuned.

    The grid comes first. Then, while the winner is at the edge of the tried rates, one point beyond it is added, at
    most ``max_extensions`` times.
    """
    tried = {trial.lr for trial in trials}
    missing = [lr for lr in grid(centre, tuning) if lr not in tried]
    if missing:
        return missing
    if len(tried) - tuning.points >= tuning.max_extensions:
        return []
    winner = best_trial(trials).lr
    if winner == min(tried):
        return [_round(winner / tuning.factor)]
    if winner == max(tried):
        return [_round(winner * tuning.factor)]
    return []


def _round(lr: float) -> float:
    return float(f"{lr:.4g}")
