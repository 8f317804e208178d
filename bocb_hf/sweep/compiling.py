"""``compile: auto`` of a plan: which networks ``torch.compile`` compiles, decided once before the first run.

Compiling takes 10 to 100 s in every worker, and what a compiled step saves differs between networks from nothing to
half. So a step is timed without and with it, once for each network as a setting and variant train it, and the network
is compiled where all its runs in the plan save clearly more than the workers spend. The choice lies in
``<runtime.state_dir>/plans/<name of the plan>.compile.json``, where a sweep that continues, and every part of a plan
that shares the folder, finds it: compiled and other numbers differ in their last bits, so a cell keeps its choice. Each
record says what was compiled (``environment.compiled``). Importing this needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from bocb_hf.errors import InputError
from bocb_hf.files import write_atomically
from bocb_hf.runs.config import RunConfig
from bocb_hf.schema import Document, Frozen, UtcTime, parse_document, utc_now
from bocb_hf.store.lease import Lease
from bocb_hf.sweep.cells import Cell
from bocb_hf.sweep.compile_times import CompileTimes
from bocb_hf.sweep.executors import work
from bocb_hf.sweep.executors.protocol import Executor, NoWorkersError, WorkerDiedError
from bocb_hf.sweep.executors.work import WorkFailedError

SWITCH = "runtime.compile_model"
SHORTEST = 10.0  # seconds in which hardly any network is compiled
CLEARLY = 1.5  # saved over spent seconds from which compiling pays: five timed steps are known to a few tenths
_MAX_BYTES = 10_000_000
_PATIENCE = 3600.0  # seconds that a part of a plan waits for another one to decide


class Choice(Frozen):
    """Whether a network is compiled as one setting and variant train it.

    Attributes:
        config: Name or path of the setting.
        variant: Name of the variant; empty without one.
        backbone: Name of the backbone.
        compiled: Whether it is compiled.
        reason: Why, in words.
        runs: Number of its runs in the plan, without extensions of a grid.
        workers: Number of workers, each of which compiles by itself.
        step_seconds: Seconds of a step without compiling; None where nothing was timed, as with the next two.
        compiled_step_seconds: Seconds of a compiled step.
        compile_seconds: Seconds that compiling takes in one worker.
    """

    config: str
    variant: str
    backbone: str
    compiled: bool
    reason: str
    runs: int
    workers: int
    step_seconds: float | None = None
    compiled_step_seconds: float | None = None
    compile_seconds: float | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """Setting, variant and backbone."""
        return self.config, self.variant, self.backbone

    def __str__(self) -> str:
        name = " ".join(filter(None, (self.backbone, self.variant)))
        return f"{name} {'is' if self.compiled else 'is not'} compiled: {self.reason}"


class Choices(Document):
    """The choices of a plan, as they are kept beside the states of its runs."""

    schema_version: Literal[1] = 1
    plan: str
    decided_at: UtcTime
    choices: list[Choice]


def decide(cell: Cell, times: CompileTimes, runs: int, workers: int) -> Choice:
    """Decides for one network from what was timed: the runs must save ``CLEARLY`` more than the workers spend."""
    saved = (times.plain - times.compiled) * times.steps * runs
    spent = times.compiling * min(workers, runs)
    pays = saved > CLEARLY * spent
    reason = (
        f"a step takes {1000 * times.compiled:.3g} ms instead of {1000 * times.plain:.3g}, which saves "
        f"{max(0.0, saved):.0f} s over {runs} runs of {times.steps} steps, and compiling takes {spent:.0f} s"
    )
    place = cell.place
    return Choice(
        config=place.config,
        variant=place.variant,
        backbone=place.backbone,
        compiled=pays,
        reason=reason,
        runs=runs,
        workers=workers,
        step_seconds=times.plain,
        compiled_step_seconds=times.compiled,
        compile_seconds=times.compiling,
    )


def choices_path(config: RunConfig, plan: str) -> Path:
    """The file in which the choices of a plan are kept."""
    return Path(config.runtime.state_dir) / "plans" / f"{plan}.compile.json"


def read_choices(path: Path) -> list[Choice]:
    """Reads the choices of a plan; none where the file is not there.

    Raises:
        InputError: The file is not valid.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    try:
        return parse_document(Choices, content, str(path), "file of what is compiled", _MAX_BYTES).choices
    except InputError as error:
        raise InputError(f"{error}; delete the file, and the next sweep decides anew") from None


def settle(
    cells: Sequence[Cell], every: Sequence[Cell], executor: Executor, parts: int, say: Callable[[str], None]
) -> None:
    """Decides which networks are compiled, unless that was decided before, and makes it so in the cells.

    Args:
        cells: The cells that are run here.
        every: All cells of the plan, whose runs the time is spent for.
        executor: The executor, whose workers time the steps.
        parts: Number of parts of the plan, each with so many workers.
        say: Function that is told of each choice.

    Raises:
        InputError: The plan or the command decides about the switch itself, or the folder of states cannot be used.
        NoWorkersError: No worker can be started.
    """
    for cell in every:
        if any(pair.startswith(f"{SWITCH}=") for pair in cell.base):
            raise InputError(
                f"compile: auto decides what is compiled, so that {SWITCH}, and runtime.cuda_graphs, which needs it, "
                "cannot be given; leave out either these or compile"
            )
    first: dict[tuple[str, str, str], Cell] = {}
    for cell in cells:
        first.setdefault(_key(cell), cell)
    path = choices_path(cells[0].config(), cells[0].plan.name)
    lease = Lease(path.with_suffix(".lease"), f"the choice of what {cells[0].plan.name} compiles")
    try:
        lease.acquire(timeout=_PATIENCE)
    except OSError as error:
        raise InputError(f"runtime.state_dir: cannot write {path.parent}: {error.strerror}") from error
    try:
        known = {choice.key: choice for choice in read_choices(path)}
        missing = [cell for key, cell in first.items() if key not in known]
        if missing:
            runs = {key: _runs(cell for cell in every if _key(cell) == key) for key in first}
            made = _decide_all(missing, runs, executor, parts, say)
            known |= {choice.key: choice for choice in made}
            kept = Choices(plan=cells[0].plan.name, decided_at=utc_now(), choices=[known[key] for key in sorted(known)])
            write_atomically(path, kept.to_json().encode())
    finally:
        lease.release()
    for cell in cells:
        if known[_key(cell)].compiled:
            cell.base = (*cell.base, f"{SWITCH}=true")


def _decide_all(
    cells: Sequence[Cell],
    runs: dict[tuple[str, str, str], int],
    executor: Executor,
    parts: int,
    say: Callable[[str], None],
) -> list[Choice]:
    """Times what is worth timing, all of it at once, and decides for each of these cells' networks."""
    workers = executor.workers * parts
    made: list[Choice] = []
    waiting = []
    for cell in cells:
        count = runs[_key(cell)]
        if cell.config().runtime.portable:
            made.append(_off(cell, "compiled code is the host's, and runtime.portable is on", count, workers))
        else:
            waiting.append((cell, executor.time_step(cell.config())))
    if waiting:
        say("compile: auto times a step of each network without and with compiling; this takes minutes, once a plan")
    timed = []
    for cell, future in waiting:
        count = runs[_key(cell)]
        try:
            seconds, steps = future.result()
        except (WorkFailedError, WorkerDiedError) as error:
            made.append(_off(cell, f"its steps could not be timed: {error}", count, workers))
            continue
        whole = seconds * steps * count
        if whole < CLEARLY * SHORTEST * min(workers, count):
            made.append(_off(cell, f"its {count} runs take {whole:.0f} s in all, too little to win", count, workers))
        else:
            timed.append((cell, executor.start(work.time_compiled, cell.config())))
    for cell, future in timed:
        count = runs[_key(cell)]
        try:
            made.append(decide(cell, future.result(), count, workers))
        except NoWorkersError:
            raise
        except (WorkFailedError, WorkerDiedError) as error:
            made.append(_off(cell, f"it could not be compiled here: {error}", count, workers))
    for choice in made:
        say(str(choice))
    return made


def _off(cell: Cell, reason: str, runs: int, workers: int) -> Choice:
    place = cell.place
    return Choice(
        config=place.config,
        variant=place.variant,
        backbone=place.backbone,
        compiled=False,
        reason=reason,
        runs=runs,
        workers=workers,
    )


def _key(cell: Cell) -> tuple[str, str, str]:
    return cell.place.config, cell.place.variant, cell.place.backbone


def _runs(cells: Iterable[Cell]) -> int:
    """Number of runs of cells, without extensions of a grid."""
    return sum(cell.plan.trials(cell.place.optimizer) + len(cell.plan.final_seeds) for cell in cells)
