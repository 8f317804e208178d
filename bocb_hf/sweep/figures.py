"""The committed figures of a plan: the results of its runs, and the SHA-256 of the weights that they ended with.

They lie beside the plan, as ``recipes/sweeps/<plan>.json``. ``benchmarks/demo.py`` writes the figures of the demo, and
fills in from them every other place that states them. The command ::

    python -m bocb_hf.sweep.figures demo --store outputs/demo/store

says how many of the committed weights a store holds bit for bit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from bocb_hf.errors import InputError
from bocb_hf.resources import find_config, resource
from bocb_hf.runs.record import RunRecord
from bocb_hf.schema import DEFAULT_STORE, ConfigHash, Count, Document, Frozen, Seed, Sha256, Slug, parse_document
from bocb_hf.store import Store, open_store
from bocb_hf.store.read import read_repository
from bocb_hf.sweep.cells import plan_cells
from bocb_hf.sweep.plan import load_plan

_MAX_BYTES = 1_000_000


class FinalWeights(Frozen):
    """Score and final weights of one final run."""

    backbone: str
    optimizer: str
    seed: Seed
    lr: float
    config_hash: ConfigHash
    sha256: Sha256

    def __str__(self) -> str:
        return f"{self.backbone} × {self.optimizer} seed {self.seed}"


class CellFigures(Frozen):
    """The result of one cell: mean test top-1 in percent over n seeds, with its 95 % interval (None without one)."""

    backbone: str
    optimizer: str
    config_hash: ConfigHash
    n: Count
    mean: float | None
    low: float | None
    high: float | None


class PlanFigures(Document):
    """All figures of one plan, each stated once.

    Attributes:
        seconds: Time from the start of the first run to the end of the last.
        workers: Number of processes that trained at a time.
        processor: Kind of processor.
        cpu_capability: Instruction set that torch computed with.
        threads: Number of threads of each process.
        versions: Versions of the libraries that decide the weights.
        runs: Number of runs by ``<role> <status>``.
        extensions: Number of trials beyond the grids of the plan.
        table: The table of ``bocb aggregate``, line by line.
        contrast: The primary contrast in sentences.
        below_floor: Cells whose mean lies below logistic regression on pixels.
        spread: Difference in points between the best and the worst optimizer of each backbone.
    """

    plan: Slug
    data_revision: str
    seconds: Count
    workers: Count
    processor: str
    cpu_capability: str
    threads: Count
    versions: dict[str, str]
    runs: dict[str, Count]
    extensions: Count
    table: list[str] = Field(min_length=1)
    contrast: list[str] = Field(min_length=1)
    below_floor: Count
    spread: dict[str, float]
    cells: list[CellFigures]
    weights: list[FinalWeights]


@dataclass(frozen=True)
class Comparison:
    """The comparison of the final weights in a store with the committed ones.

    Attributes:
        same: Runs whose weights are the same, bit for bit.
        other: All other runs, each with the difference.
        place: Recorded differences between this machine and that of the committed figures; empty when there is none.
    """

    same: list[str]
    other: list[str]
    place: list[str]

    def text(self) -> str:
        """The comparison in sentences."""
        total = len(self.same) + len(self.other)
        first = f"{len(self.same)} of {total} final weights are bit-identical to the committed ones"
        if not self.other:
            return f"{first}."
        why = (
            "; ".join(self.place)
            if self.place
            else "versions and instructions are the same, so the code may be another"
        )
        return "\n".join([f"{first}. Where the others may come from: {why}.", *(f"  {line}" for line in self.other)])


def figures_path(plan: str) -> Path:
    """Path of the committed figures of a shipped plan."""
    return resource("recipes/sweeps") / f"{plan}.json"


def read_figures(path: Path) -> PlanFigures:
    """Reads committed figures.

    Raises:
        InputError: There are no figures at the path, or they are not valid.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: the plan has no committed figures ({error.strerror})") from error
    return parse_document(PlanFigures, content, str(path), "file of figures", _MAX_BYTES)


def finals_of(plan_path: Path, store: Store, namespace: str = "local") -> list[RunRecord]:
    """Records of a plan's final runs that have ended and are in a store, in the order of the plan."""
    plan, found = load_plan(plan_path), []
    for cell in plan_cells(plan, plan.overrides):
        finals = read_repository(store, f"{namespace}/{cell.repository(cell.config())}").finals
        found += [finals[seed] for seed in plan.final_seeds if seed in finals]
    return [record for record in found if record.status != "interrupted"]


def weights_of(record: RunRecord) -> FinalWeights | None:
    """Score and final weights of a final run; None if it diverged."""
    identity = record.identity
    if record.weights_sha256 is None:
        return None
    return FinalWeights(
        backbone=identity.backbone.name,
        optimizer=identity.optimizer.name,
        seed=record.seed,
        lr=identity.optimizer.lr,
        config_hash=record.config_hash,
        sha256=record.weights_sha256,
    )


def compare(figures: PlanFigures, finals: Sequence[RunRecord]) -> Comparison:
    """Compares final runs with the committed weights.

    Args:
        figures: Committed figures of the plan.
        finals: Records of final runs, from ``finals_of``.
    """
    here = {str(weights): weights for weights in map(weights_of, finals) if weights is not None}
    same, other = [], []
    for then in figures.weights:
        now = here.get(str(then))
        if now is None:
            other.append(f"{then}: there is no completed run")
        elif now.sha256 == then.sha256:
            same.append(str(then))
        elif now.lr != then.lr:
            other.append(f"{then}: tuning chose the learning rate {now.lr:g} here, {then.lr:g} there")
        elif now.config_hash != then.config_hash:
            other.append(f"{then}: another configuration, {now.config_hash} here and {then.config_hash} there")
        else:
            other.append(f"{then}: the same configuration, other weights")
    return Comparison(same, other, _places(figures, finals))


def _places(figures: PlanFigures, finals: Sequence[RunRecord]) -> list[str]:
    """Differences between these runs and the committed ones that are known to change the last bits."""
    found: dict[str, None] = {}
    for record in finals:
        place = record.environment
        pairs = [
            ("instructions", place.cpu_capability or "unknown", figures.cpu_capability),
            ("threads", str(place.threads), str(figures.threads)),
            *((name, place.libraries.get(name, "none"), then) for name, then in figures.versions.items()),
        ]
        found |= {f"{name} {now} here, {then} there": None for name, now, then in pairs if now != then}
    return list(found)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints how a store compares with the committed figures of a plan; other weights are no error."""
    parser = argparse.ArgumentParser(prog="python -m bocb_hf.sweep.figures", description=main.__doc__)
    parser.add_argument("plan", help="a shipped plan, such as demo")
    parser.add_argument("--store", default=DEFAULT_STORE, help=f"folder of the repositories (default: {DEFAULT_STORE})")
    arguments = parser.parse_args(argv)
    try:
        figures = read_figures(figures_path(arguments.plan))
        plan = find_config(arguments.plan, "recipes/sweeps")
        print(compare(figures, finals_of(plan, open_store(arguments.store))).text())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
