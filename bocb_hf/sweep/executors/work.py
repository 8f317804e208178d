"""What a worker does: it warms up once, then trains runs, computes floors, times steps, and keeps the log of each."""

from __future__ import annotations

import faulthandler
import gc
import hashlib
import logging
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bocb_hf.engine.portable import limit_instructions
from bocb_hf.errors import InputError
from bocb_hf.plugins import load_plugins
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.record import RunRecord
from bocb_hf.runs.tasks import CLASSIFICATION
from bocb_hf.sweep.compile_times import CompileTimes
from bocb_hf.terminal import make_streams_readable

Floor = Literal["logistic_regression", "frozen_backbone", "pretrained_backbone"]


class WorkFailedError(Exception):
    """The work raised an error.

    Args:
        message: The error in words.
        log: File with everything that the work has logged, and the traceback; None where none could be kept.
    """

    def __init__(self, message: str, log: str | None) -> None:
        super().__init__(message, log)
        self.message, self.log = message, log

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Context:
    """What a worker gives to its work.

    Attributes:
        stopped: Function that says whether the work is to save its state and end.
        on_step: Function that is told (steps done, steps in all).
    """

    stopped: Callable[[], bool]
    on_step: Callable[[int, int], None]


def warm_up(threads: int, plugins: Sequence[str], devices: str | None, portable: bool) -> None:
    """Prepares a worker process: imports libraries and plug-ins, and sets threads and devices.

    Args:
        threads: CPU threads of this process.
        plugins: Names of modules to import, for the rows that they add.
        devices: GPUs that the process sees, as in ``CUDA_VISIBLE_DEVICES``; "" hides all, None changes nothing.
        portable: Whether the CPU is limited to the instructions of AVX2.
    """
    if devices is not None:  # torch and accelerate read the variables when they start
        os.environ["CUDA_VISIBLE_DEVICES"] = devices
    if devices == "":
        os.environ["ACCELERATE_USE_CPU"] = "true"
    make_streams_readable()
    if portable:
        limit_instructions()
    import torch

    import bocb_hf.engine.run  # noqa: F401 - imported here, before the first run

    torch.set_num_threads(threads)
    import datasets

    datasets.disable_progress_bars()
    load_plugins(plugins)
    # accelerate lets the collector look at every object after each run, which takes 0.3 s for what was imported
    gc.collect()
    gc.freeze()


def perform(function: Callable[..., Any], arguments: Sequence[Any], context: Context) -> Any:
    """Does work and keeps its log while it runs; a log is kept for longer only when the work fails.

    Raises:
        LeaseHeldError: Somebody else does the same work now.
        WorkFailedError: The work raised any other error.
    """
    from bocb_hf.store.lease import LeaseHeldError

    config = next((each for each in arguments if isinstance(each, RunConfig)), None)
    path = log_path(config) if config is not None else None
    with _logging_to(path) as kept:
        try:
            return function(context, *arguments)
        except LeaseHeldError:
            raise
        except Exception as error:  # whatever it is, the worker goes on, and the sweep lists it at the end
            if kept is not None:
                with kept.open("a", encoding="utf-8") as file:
                    traceback.print_exc(file=file)
            kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
            raise WorkFailedError(f"{kind}{error}", str(kept) if kept is not None else None) from None


def log_path(config: RunConfig) -> Path:
    """The file of the log of a run: below the folder of the resume state, named after the configuration."""
    digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:8]
    name = f"{config.backbone.name}-{config.optimizer.name}-{config.role}-{config.seed}-{digest}.log"
    return Path(config.runtime.state_dir) / "logs" / name.replace("/", "_")


@contextmanager
def _logging_to(path: Path | None) -> Iterator[Path | None]:
    """Inside, the log and a fatal signal of this process are also written to a file; yields None where that cannot be.

    The file is removed when the block ends without an error, or with one that says that somebody else does the work.
    """
    from bocb_hf.store.lease import LeaseHeldError

    if path is None:
        yield None
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", encoding="utf-8")
    except OSError:  # a full or read-only disk: the work itself will say so
        yield None
        return
    handler = logging.StreamHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    faulthandler.enable(file)
    try:
        yield path
    except LeaseHeldError:
        path.unlink(missing_ok=True)
        raise
    else:
        path.unlink(missing_ok=True)
    finally:
        faulthandler.disable()
        root.removeHandler(handler)
        with suppress(OSError):  # the disk is full
            file.close()


def train(context: Context, config: RunConfig, done: str | None = None) -> RunRecord:
    """Trains a run, or finds it finished.

    Args:
        context: Of the worker.
        config: Configuration of the run.
        done: A Parquet file of records, as ``bocb publish`` writes it. A run that it holds, of the same configuration,
            seed and role, is not trained; its record is returned and nothing is stored.

    Raises:
        InputError: See ``train_run``; or the file is not of that kind.
    """
    from bocb_hf.engine.interrupt import StopSignal
    from bocb_hf.engine.run import train_run

    class _Stop(StopSignal):
        @property
        def requested(self) -> bool:
            return super().requested or context.stopped()

    if done is not None:
        from bocb_hf.engine.prepare import prepare_run
        from bocb_hf.sweep.done import find_done

        found = find_done(Path(done), config.role, prepare_run(config).run_id)
        if found is not None:
            return found
    with _Stop((signal.SIGTERM,)) as stop:
        return train_run(config, stop, context.on_step)


def compute_floor(context: Context, config: RunConfig, floor: Floor) -> None:
    """Computes and stores a floor of the run's data set, unless the store has it."""
    from bocb_hf.store import open_training_store
    from bocb_hf.store.push import push_after_training
    from bocb_hf.sweep.floors import store_frozen_backbone, store_logistic_regression
    from bocb_hf.tasks.task import refuse

    del context
    if config.task.name != CLASSIFICATION:
        raise refuse("a floor", config.task.name)
    runtime = config.runtime
    store, _ = open_training_store(runtime.store, runtime.local_store)
    if floor in ("frozen_backbone", "pretrained_backbone"):
        record = store_frozen_backbone(config, store, pretrained=floor == "pretrained_backbone")
    else:
        record = store_logistic_regression(config.data, store, runtime.namespace)
    push_after_training(store, runtime, f"{runtime.namespace}/{record.repository()}", record.path())


def time_step(context: Context, config: RunConfig) -> tuple[float, int]:
    """Times a few steps of a run; returns (median seconds of a step, steps of the run)."""
    from bocb_hf.engine.dry_run import first_batch, time_steps
    from bocb_hf.engine.plan import make_plan
    from bocb_hf.engine.prepare import prepare_run

    del context
    prepared = prepare_run(config)
    model = prepared.build_model()
    plan = make_plan(prepared.identity, prepared.optimizer.row, config.runtime, len(prepared.data.train), 1)
    optimizer = prepared.build_optimizer(model)
    size, needs = config.data.image_size, prepared.optimizer.row.needs
    timed = first_batch(prepared, plan.micro_batch)
    seconds, _ = time_steps(model, optimizer, plan.micro_batch, size, needs, timed=timed)
    return seconds * config.runtime.accumulation, plan.total_steps


def time_compiled(context: Context, config: RunConfig) -> CompileTimes:
    """Times a few steps of a run without and with a compiled network, and how long compiling takes."""
    from bocb_hf.sweep.timing import time_compiled as measure

    del context
    return measure(config)


def sleep(context: Context, seconds: float) -> float:
    """Sleeps, and returns for how long; work that measures an executor and nothing else."""
    del context
    time.sleep(seconds)
    return seconds
