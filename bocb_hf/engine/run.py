"""Trains one run, from its configuration to the record in the store."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import parse_flag_from_env
from timm.layers.norm_act import convert_sync_batchnorm
from torch import nn

from bocb_hf.engine.environment import count_flops, set_numerics
from bocb_hf.engine.features import probe_features
from bocb_hf.engine.finish import finish_run, from_main
from bocb_hf.engine.inspection import Inspector
from bocb_hf.engine.interrupt import StopSignal
from bocb_hf.engine.loop import OnStep, Trainer
from bocb_hf.engine.out_of_memory import within_memory
from bocb_hf.engine.portable import check_limited
from bocb_hf.engine.prepare import PreparedRun, prepare_run
from bocb_hf.errors import InputError, missing_extra
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.identity import Identity, check_start, flatten
from bocb_hf.runs.record import RunRecord
from bocb_hf.runs.runtime_config import RuntimeConfig
from bocb_hf.store import Store, open_training_store
from bocb_hf.store.lease import Lease, run_lease
from bocb_hf.store.local import LocalStore
from bocb_hf.store.write import check_free, find_place, find_run

log = logging.getLogger(__name__)


def find_finished(prepared: PreparedRun, store: Store) -> RunRecord | None:
    """Finds the stored record of exactly this run, if the run is finished and must not be trained again.

    Raises:
        InputError: The run's place in the store is taken by another configuration.
    """
    config = prepared.config
    try:
        repository = find_place(store, config.runtime.namespace, prepared.identity)
        existing = find_run(store, repository, (config.role, prepared.run_id, config.seed))
    except InputError as error:
        if config.runtime.supersede:
            return None
        raise InputError(f"{error}; delete the file or pass runtime.supersede=true to run it again") from error
    finished = existing is not None and existing.run_id == prepared.run_id and existing.status != "interrupted"
    if existing is not None and finished and not config.runtime.supersede:
        check_start(config.seed, existing.identity, prepared.identity)
        return existing
    check_free(existing, prepared.run_id, config.runtime.supersede, prepared.identity)
    return None


def train_run(config: RunConfig, stop: StopSignal | None = None, on_step: OnStep | None = None) -> RunRecord:
    """Trains one run to the end, to divergence or to a stop, and writes it into the store. Continues from saved state.

    Args:
        config: Configuration of the run.
        stop: Flag that signal handlers set; without one, nothing stops the run.
        on_step: Function that the main process calls after every step.

    Returns:
        The record; it is that of an earlier session when the run is finished already.

    Raises:
        InputError: The configuration or the data are wrong, the run's place in the store is taken, the disk is full, or
            the run is in progress elsewhere.
    """
    prepared = prepare_run(config)
    store, hub = open_training_store(config.runtime.store, config.runtime.local_store)
    if config.runtime.threads is not None:
        torch.set_num_threads(config.runtime.threads)
    precision = {"fp32": "no"}.get(config.training.precision, config.training.precision)
    check_runtime(config)
    set_numerics(config.runtime)
    trackers = prepared.state_dir.parent / "trackers"
    os.environ.setdefault("TRACKIO_DIR", str(trackers / "trackio"))  # read when trackio is imported
    try:
        accelerator = Accelerator(
            mixed_precision=precision,
            gradient_accumulation_steps=config.runtime.accumulation,
            log_with=choose_tracker(config.runtime),
            project_dir=trackers,
        )
        with _locked(prepared, store, accelerator):
            finished = from_main(accelerator, lambda: _find_anywhere(prepared, store, hub))
            if finished is None:
                signals = stop or StopSignal()
                return within_memory(
                    prepared, accelerator, lambda fitted: _train(fitted, store, accelerator, signals, on_step)
                )
            log.info("run %s is %s already", finished.run_id, finished.status)
            if accelerator.is_main_process:
                shutil.rmtree(prepared.state_dir, ignore_errors=True)
            return finished
    finally:
        # a warm worker makes an Accelerator for every run; its shared state must not outlive the run
        AcceleratorState._reset_state(reset_partial_state=False)


def _find_anywhere(prepared: PreparedRun, store: Store, hub: Store | None) -> RunRecord | None:
    """Finds the record of the finished run in the local store, or else on the Hub."""
    finished = find_finished(prepared, store)
    return finished if finished is not None or hub is None else find_finished(prepared, hub)


def choose_tracker(runtime: RuntimeConfig) -> str | None:
    """The tracker that ``Accelerator`` is to use; by default trackio, which works without a network or an account."""
    if runtime.tracker == "auto":
        return "trackio" if importlib.util.find_spec("trackio") is not None else None
    return None if runtime.tracker == "none" else runtime.tracker


def check_runtime(config: RunConfig) -> None:
    """Refuses what this machine or installation cannot do.

    Raises:
        InputError: The precision would be ignored, the memory format would crash, the instructions are not limited as
            they should be, or the tracker is not installed.
    """
    runtime, on_gpu = config.runtime, torch.cuda.is_available() and not parse_flag_from_env("ACCELERATE_USE_CPU")
    if config.training.precision == "fp16" and not on_gpu:
        raise InputError(
            "training.precision: fp16 needs a GPU; on a CPU accelerate would train in fp32 without a word: take "
            "training.precision=bf16 or fp32"
        )
    if runtime.channels_last and config.training.precision == "fp32" and not on_gpu:
        raise InputError(
            "runtime.channels_last: in fp32 on a CPU torch's strided 1×1 convolutions crash in this memory format; "
            "take training.precision=bf16, or leave it off"
        )
    if runtime.portable and not on_gpu:
        check_limited()
    if runtime.tracker not in ("auto", "none") and importlib.util.find_spec(runtime.tracker) is None:
        raise missing_extra(runtime.tracker, "trackers")


@contextmanager
def _locked(prepared: PreparedRun, store: Store, accelerator: Accelerator) -> Iterator[None]:
    """Keeps another launch from the same run; all processes of this one share the leases of the main process.

    One lease lies beside the resume state. Another lies in a store that is a folder, so that machines that share the
    store, but no folder of states, share the work.

    Raises:
        LeaseHeldError: The run is in progress elsewhere.
        InputError: A folder cannot be written.
    """
    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()
        yield
        return
    leases = [("runtime.state_dir", Lease(prepared.state_dir.with_suffix(".lease"), f"run {prepared.run_id}"))]
    if isinstance(store, LocalStore):
        lease = run_lease(store.root, prepared.repository, prepared.run_id, prepared.config.role)
        leases.append(("runtime.store", lease))
    with ExitStack() as held:
        for name, lease in leases:
            try:
                held.enter_context(lease)
            except OSError as error:
                raise InputError(f"{name}: cannot write {lease.path.parent}: {error.strerror}") from error
        accelerator.wait_for_everyone()
        yield


def _train(
    prepared: PreparedRun, store: Store, accelerator: Accelerator, stop: StopSignal, on_step: OnStep | None
) -> RunRecord:
    """Builds the network and the optimizer, trains, and finishes the run."""
    model = prepared.build_model()
    flops = _count_flops(model, prepared.identity)
    synchronized = accelerator.num_processes > 1 and accelerator.device.type == "cuda"
    if synchronized:  # torch has no synchronised batch norm on a CPU
        model = convert_sync_batchnorm(model)
    optimizer, network, feature_seconds = prepared.build_optimizer(model), model, None
    if prepared.identity.training.cached_features:
        probe = probe_features(prepared, model, accelerator)
        prepared, network, feature_seconds = probe.prepared, probe.head, probe.seconds
    trainer = Trainer(
        model=network,
        optimizer=optimizer,
        row=prepared.optimizer.row,
        identity=prepared.identity,
        seed=prepared.config.seed,
        runtime=prepared.config.runtime,
        accelerator=accelerator,
        source=prepared.train_source(accelerator),
        validation=prepared.data.validation,
        state_dir=prepared.state_dir,
        rule=prepared.divergence_rule(),
        task=prepared.task,
    )
    inspected = prepared.config.runtime.inspect_at
    if inspected and prepared.config.role == "final":
        trainer.inspector = Inspector(
            accelerator,
            trainer.bare_model,
            trainer.feed,
            trainer.source,
            trainer.progress,
            trainer.plan.total_steps,
            prepared.identity.training,
            inspected,
        )
    if "train_eval" in trainer.needs and prepared.identity.training.schedule != "constant":
        log.warning(
            "%s averages in place of a schedule: its authors keep the learning rate constant after the warm-up "
            "(training.schedule=constant)",
            prepared.identity.optimizer.name,
        )
    seen = trainer.plan.micro_batch * (accelerator.num_processes if synchronized else 1)
    batch = prepared.identity.training.batch_size
    if seen < batch and any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        log.warning(
            "batch norm sees %d of %d images at once: the result differs from that of one process without accumulation",
            seen,
            batch,
        )
    _start_tracker(prepared, accelerator)
    try:
        trainer.run(stop, on_step if accelerator.is_main_process else None)
    finally:
        trainer.source.close()
    for tracker in accelerator.trackers:  # end_training() would part the processes before the test
        tracker.finish()
    record = finish_run(prepared, store, trainer, flops, feature_seconds)
    accelerator.free_memory()
    return record


def _start_tracker(prepared: PreparedRun, accelerator: Accelerator) -> None:
    """Opens the tracker under the run's id, with its identity as configuration."""
    if accelerator.log_with:
        name = prepared.run_id
        accelerator.init_trackers(
            "bocb_hf",
            config={key: str(value) for key, value in flatten(prepared.identity.model_dump(mode="json")).items()},
            init_kwargs={"trackio": {"name": name}, "wandb": {"name": name, "id": name, "resume": "allow"}},
        )


def _count_flops(model: nn.Module, identity: Identity) -> int | None:
    """FLOPs of one image, a square unless the task has a width; None with a warning where torch cannot count them."""
    try:
        return count_flops(model, identity.data.image_size, identity.task.options.get("width"))
    except (RuntimeError, NotImplementedError, TypeError) as error:
        log.warning("torch cannot count the FLOPs of this backbone: %s", error)
        return None
