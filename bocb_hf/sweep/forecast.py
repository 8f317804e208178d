"""What a sweep would still do, take and cost: ``bocb sweep --dry-run``.

What is left follows from the plan, the records in the store, and those in the file of ``--done``. Seconds and memory
come from records of the plan's own cells, by kind of device; a backbone without any is timed on this machine for a few
steps.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from bocb_hf.errors import InputError
from bocb_hf.runs.record import RunRecord
from bocb_hf.schema import HUB_SCHEME
from bocb_hf.sweep.cells import Cell
from bocb_hf.sweep.compiling import choices_path, read_choices
from bocb_hf.sweep.done import done_records
from bocb_hf.sweep.left import Left, find_left
from bocb_hf.sweep.plan import SweepPlan
from bocb_hf.sweep.timing import Timed, time_backbone

_RECORD_BYTES = 40_000  # a record with its part of the card and, of a final run, its configuration files
_BEYOND_TRAINING = 1.35  # evaluation and saving, where seconds come from timed steps


@dataclass(frozen=True)
class Cost:
    """What one run of a backbone takes on one kind of device.

    Attributes:
        seconds: Wall time.
        steps: Optimizer steps.
        memory: Largest memory of the process in bytes.
        parameters: Number of parameters, which decides about the size of a checkpoint.
    """

    seconds: float
    steps: int
    memory: int
    parameters: int


@dataclass
class Forecast:
    """The forecast of a plan.

    Attributes:
        measured: What runs take, by kind of device and backbone, from the records of the store.
        timed: The same for the backbones that no record tells of, timed on this machine.
        device: Kind of this machine's device.
    """

    plan: SweepPlan
    cells: list[Left]
    workers: int
    measured: dict[str, dict[str, Cost]]
    timed: dict[str, Timed] = field(default_factory=dict[str, Timed])
    device: str = ""

    def seconds(self, extensions: bool = False) -> dict[str, float]:
        """Device-seconds of all that is left, by kind of device; only kinds that every backbone left is known for.

        Args:
            extensions: Whether every grid is extended as often as it may be.
        """
        found: dict[str, float] = {}
        own = [self.device] if self.timed and self.device not in self.measured else []
        for device in [*self.measured, *own]:
            costs = self._costs(device)
            if all(left.cell.place.backbone in costs for left in self.cells if left.runs):
                found[device] = sum(
                    costs[left.cell.place.backbone].seconds * (left.runs + (left.extensions if extensions else 0))
                    for left in self.cells
                    if left.runs
                )
        if self.device in found:
            left_over = {left.cell.place.backbone for left in self.cells if left.runs}
            found[self.device] += sum(timed.once for name, timed in self.timed.items() if name in left_over)
        return found

    def steps(self) -> int:
        """Optimizer steps of all that is left, without extensions."""
        return sum(self._any(left.cell.place.backbone).steps * left.runs for left in self.cells if left.runs)

    def memory(self) -> int:
        """Bytes of the largest run on this machine's kind of device, or on any where there is no record of it."""
        backbones = {left.cell.place.backbone for left in self.cells if left.runs}
        known = self._costs(self.device) or {name: self._any(name) for name in backbones}
        return max((cost.memory for cost in known.values()), default=0)

    def disk(self) -> int:
        """Bytes that the checkpoints and records of all that is left take, without extensions."""
        needed = [left for left in self.cells if left.finals]
        weights = sum(4 * self._any(left.cell.place.backbone).parameters * left.finals for left in needed)
        return weights + _RECORD_BYTES * sum(left.runs for left in self.cells)

    def _costs(self, device: str) -> dict[str, Cost]:
        own = dict(self.measured.get(device, {}))
        if device == self.device:
            own = {name: timed_cost(timed) for name, timed in self.timed.items()} | own
        return own

    def _any(self, backbone: str) -> Cost:
        if backbone in self.timed:
            return timed_cost(self.timed[backbone])
        return next(costs[backbone] for costs in self.measured.values() if backbone in costs)


def timed_cost(timed: Timed) -> Cost:
    """What a run takes, from timed steps."""
    return Cost(_BEYOND_TRAINING * timed.seconds * timed.steps, timed.steps, timed.memory, timed.parameters)


def forecast(plan: SweepPlan, cells: Sequence[Cell], workers: int, device: str, done: Path | None = None) -> Forecast:
    """Reads the store and times what it does not tell.

    Args:
        plan: The plan.
        cells: Its cells, with all overrides.
        workers: Number of workers.
        device: Kind of this machine's device, as records name it.
        done: A Parquet file of records of runs that need not be run again, see ``sweep.done``.

    Raises:
        InputError: The store, the file or the data cannot be read, or a run could not be prepared.
    """
    elsewhere = done_records(done, {cell.names() for cell in cells}) if done is not None else {}
    left = [find_left(cell, elsewhere.get(cell.names(), ())) for cell in cells]
    measured = measure(record for each in left for record in each.records)
    found = Forecast(plan, left, workers, measured, device=device)
    for each in left:
        name = each.cell.place.backbone
        known = name in measured.get(device, {}) or (name in found.timed)
        if each.runs and not known:
            found.timed[name] = time_backbone(each.cell.config())
    return found


def measure(records: Iterable[RunRecord]) -> dict[str, dict[str, Cost]]:
    """What completed runs took, by kind of device and backbone: means, but of memory the largest."""
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        if record.status == "completed":
            groups.setdefault((record.environment.device, record.identity.backbone.name), []).append(record)
    found: dict[str, dict[str, Cost]] = {}
    for (device, backbone), group in sorted(groups.items()):
        found.setdefault(device, {})[backbone] = Cost(
            seconds=fmean(r.cost.wall_seconds for r in group),
            steps=max(r.total_steps for r in group),
            memory=max(r.cost.peak_memory_bytes for r in group),
            parameters=group[0].cost.parameters,
        )
    return found


def describe(found: Forecast, price_per_hour: float | None, free_memory: int, store: str) -> str:
    """The forecast in lines.

    Args:
        found: The forecast.
        price_per_hour: Price of one device for an hour; None leaves the price out.
        free_memory: Bytes that are free on this machine's device.
        store: The store of the runs.
    """
    plan, tuning, cells = found.plan, found.plan.tuning, found.cells
    planned = sum(plan.trials(left.cell.place.optimizer) for left in cells), len(cells) * len(plan.final_seeds)
    trials, finals = sum(left.trials for left in cells), sum(left.finals for left in cells)
    seconds, most = found.seconds(), found.seconds(extensions=True)
    extensions = sum(left.extensions for left in cells)
    others = sum(left.done_trials for left in cells), sum(left.done_finals for left in cells)
    stored = planned[0] - trials - others[0], planned[1] - finals - others[1]
    how = f"tuning: {tuning.protocol}, seeds {', '.join(map(str, tuning.seeds))}, {tuning.selection}"
    if plan.kept is not None:
        how = f"no tuning: the rates of setting {plan.kept.setting} in {plan.kept.source} are kept"
    lines = [
        f"plan           {plan.name}: {len(cells)} cells, {len(plan.backbones)} backbones × {len(plan.optimizers)} "
        f"optimizers; {how}",
        f"in the store   {stored[0]} of {planned[0]} trials, {stored[1]} of {planned[1]} final runs",
        *([f"elsewhere      {others[0]} trials, {others[1]} final runs in the file of --done"] if any(others) else []),
        f"to do          {trials} trials (at most {extensions} more where a grid must be extended), {finals} final "
        f"runs; {found.steps():,} steps",
    ]
    for device in seconds:
        source = "timed steps of this machine" if device not in found.measured else "records of the store"
        span = f"{seconds[device] / 3600:.2f} to {most[device] / 3600:.2f} device-hours, from {source}"
        if device == found.device:
            span += f"; about {seconds[device] / found.workers / 60:.0f} min on {found.workers} worker(s)"
        lines.append(f"time           {device}: {span}")
        if price_per_hour is not None:
            low, high = (hours[device] / 3600 * price_per_hour for hours in (seconds, most))
            lines.append(f"price          {low:.2f} to {high:.2f} at {price_per_hour:g} a device-hour")
    memory = found.memory()
    lines += [
        f"memory         {_gb(memory)} a worker, {_gb(memory * found.workers)} for {found.workers}; {_gb(free_memory)} "
        "are free here",
        f"disk           {_gb(found.disk())} in {store}"
        + ("" if store.startswith(HUB_SCHEME) else f"; {_gb(free_disk(store))} are free there"),
    ]
    if plan.compile == "auto":
        known = read_choices(choices_path(cells[0].cell.config(), plan.name))
        lines += [f"compile        {choice}" for choice in known]
        if not known:
            lines.append("compile        auto: decided before the first run by timing, which takes minutes")
    if plan.edition == 1 and plan.kept is None:
        lines.append("edition        1; `edition: 2` tunes on two seeds, which chooses better for as many trials")
    return "\n".join([*lines, "nothing was trained"])


def check_fits(found: Forecast, free_memory: int, store: str) -> None:
    """Refuses what cannot fit.

    Raises:
        InputError: Memory or disk do not suffice; the message says what would.
    """
    if not sum(left.runs for left in found.cells):
        return
    memory, workers = found.memory(), found.workers
    if memory * workers > free_memory:
        fitting = free_memory // memory
        advice = f"take --workers {fitting}" if fitting else _smaller(found, free_memory)
        raise InputError(
            f"--workers: {workers} worker(s) need {_gb(memory * workers)} of memory, but {_gb(free_memory)} are free; "
            f"{advice}"
        )
    disk = found.disk()
    if not store.startswith(HUB_SCHEME) and disk > free_disk(store):
        seeds = len(found.plan.final_seeds)
        raise InputError(
            f"--store: the runs need {_gb(disk)}, but {_gb(free_disk(store))} are free in {store}; name a store on a "
            f"larger disk, or fewer than {seeds} final_seeds, whose checkpoints take most of it"
        )


def _smaller(found: Forecast, free_memory: int) -> str:
    """What would let one worker fit: parts of the batch, where the timed steps tell what activations take."""
    largest = max(found.timed.values(), key=lambda timed: timed.memory, default=None)
    rest = largest.memory - largest.activations if largest is not None else free_memory
    if largest is None or rest >= free_memory:
        return "use a machine with more memory, or a smaller backbone, batch (training.batch_size) or image"
    parts = 2 ** math.ceil(math.log2(largest.activations / (free_memory - rest)))
    need = _gb(rest + largest.activations // parts)
    return f"runtime.accumulation={parts} takes the batch in {parts} parts and would need {need}"


def free_disk(store: str) -> int:
    """Bytes that are free where a local store lies, or would lie."""
    folder = Path(store).absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"
