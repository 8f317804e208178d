"""One run from configuration to published record."""

from __future__ import annotations

import datetime
import hashlib
import importlib.util
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, broadcast_object_list
from filelock import FileLock, Timeout
from torch import nn
from torch.optim import Optimizer

from bocb_hf.backbones.build import BackboneSource, build_backbone, resolve_backbone
from bocb_hf.config import RunConfig
from bocb_hf.data.batches import open_source
from bocb_hf.data.images import ImageData, load_images
from bocb_hf.data.sampling import init_seed
from bocb_hf.data.source import Order, TrainSource
from bocb_hf.engine.checkpoint import writing
from bocb_hf.engine.environment import count_flops, describe_environment, set_numerics
from bocb_hf.engine.evaluation import Evaluation
from bocb_hf.engine.export import export_model
from bocb_hf.engine.interrupt import StopSignal
from bocb_hf.engine.loop import OnStep, Trainer
from bocb_hf.errors import InputError, missing_extra
from bocb_hf.identity import RANDOM_SCHEME, Identity, flatten
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.build import build_optimizer, resolve_optimizer
from bocb_hf.optim.param_groups import freeze_backbone, split_parameters, train_mode
from bocb_hf.record import (
    Correctness,
    Cost,
    Measurement,
    Metrics,
    RunRecord,
    Status,
    make_run_id,
    parse_record,
    repository_name,
)
from bocb_hf.store import SCHEME, Store, open_training_store
from bocb_hf.store.local import LocalStore
from bocb_hf.store.publish import check_free, find_run, publish_run
from bocb_hf.store.push import push_after_training

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedRun:
    """A run with everything resolved and loaded, before anything is built or trained."""

    config: RunConfig
    identity: Identity
    source: BackboneSource
    data: ImageData

    @property
    def run_id(self) -> str:
        """Configuration hash and seed."""
        return make_run_id(self.identity.config_hash(), self.config.seed)

    @property
    def repository(self) -> str:
        """``namespace/name`` of the cell."""
        return f"{self.config.runtime.namespace}/{repository_name(*self.identity.cell())}"

    @property
    def state_dir(self) -> Path:
        """Folder of the resume state; a trial and a final run of one id do not share it."""
        return Path(self.config.runtime.state_dir) / self.config.runtime.namespace / f"{self.run_id}-{self.config.role}"

    def build_model(self) -> nn.Module:
        """The network with initial weights that depend on (seed, backbone) only."""
        data = self.identity.data
        seed = init_seed(self.config.seed, self.identity.backbone.name)
        model = build_backbone(self.source, data.num_classes, data.image_size, seed, data.test_image_size)
        if self.identity.training.linear_probe:
            freeze_backbone(model)
            train_mode(model)
        return model

    def build_optimizer(self, model: nn.Module) -> Optimizer:
        """The optimizer over the model's parameter groups."""
        training = self.identity.training
        return build_optimizer(
            self.identity.optimizer, split_parameters(model, training.no_decay, training.layer_decay)
        )

    def train_source(self, accelerator: Accelerator) -> TrainSource:
        """The training images of this process."""
        order = Order(
            len(self.data.train),
            self.identity.training.batch_size,
            self.config.seed,
            self.identity.augmentation.repeats,
            accelerator.process_index,
            accelerator.num_processes,
            self.config.runtime.accumulation,
        )
        pin = accelerator.device.type == "cuda"
        return open_source(self.data.train, order, self.config.runtime.workers, pin)


def prepare_run(config: RunConfig) -> PreparedRun:
    """Resolves names and defaults and loads the data.

    Raises:
        InputError: Anything about the configuration, the data or the starting weights is wrong.
    """
    source = resolve_backbone(config.backbone, config.training.drop_path, config.data.image_size)
    data = load_images(config.data, config.role == "trial", config.augmentation, config.runtime)
    identity = Identity(
        random_scheme=RANDOM_SCHEME,
        setting=config.setting,
        backbone=source.identity,
        optimizer=resolve_optimizer(config.optimizer, config.setting),
        training=config.training,
        augmentation=config.augmentation,
        data=data.identity,
    )
    return PreparedRun(config, identity, source, data)


def find_finished(prepared: PreparedRun, store: Store) -> RunRecord | None:
    """The stored record of exactly this run if it is finished and must not be run again.

    Raises:
        InputError: The run's place in the store is taken by another configuration.
    """
    config = prepared.config
    try:
        existing = find_run(store, prepared.repository, (config.role, prepared.run_id, config.seed))
    except InputError as error:
        if config.runtime.supersede:
            return None
        raise InputError(f"{error}; delete the file or pass runtime.supersede=true to run it again") from error
    finished = existing is not None and existing.run_id == prepared.run_id and existing.status != "interrupted"
    if finished and not config.runtime.supersede:
        return existing
    check_free(existing, prepared.run_id, config.runtime.supersede)
    return None


def train_run(config: RunConfig, stop: StopSignal | None = None, on_step: OnStep | None = None) -> RunRecord:
    """Trains one run to the end, to divergence or to a stop, and publishes it. Continues from saved state.

    Args:
        config: The run.
        stop: Set by signal handlers; without one, nothing stops the run.
        on_step: Called after every step on the main process.

    Returns:
        The record; that of an earlier session when the run is finished already.

    Raises:
        InputError: Bad configuration or data, a place that is taken, a full disk, or the run is in progress elsewhere.
    """
    prepared = prepare_run(config)
    store, hub = open_training_store(config.runtime.store, config.runtime.local_store)
    if config.runtime.threads is not None:
        torch.set_num_threads(config.runtime.threads)
    precision = {"fp32": "no"}.get(config.training.precision, config.training.precision)
    check_runtime(config)
    set_numerics(config.runtime)
    try:
        accelerator = Accelerator(
            mixed_precision=precision,
            gradient_accumulation_steps=config.runtime.accumulation,
            log_with=None if config.runtime.tracker == "none" else config.runtime.tracker,
            project_dir=prepared.state_dir.parent / "trackers",
        )
        with _locked(prepared, accelerator):
            finished = _from_main(accelerator, lambda: _find_anywhere(prepared, store, hub))
            if finished is None:
                return _train(prepared, store, accelerator, stop or StopSignal(), on_step)
            log.info("run %s is %s already", finished.run_id, finished.status)
            if accelerator.is_main_process:
                shutil.rmtree(prepared.state_dir, ignore_errors=True)
            return finished
    finally:
        # a warm worker makes an Accelerator for every run; its shared state must not outlive the run
        AcceleratorState._reset_state(reset_partial_state=False)


def _find_anywhere(prepared: PreparedRun, store: Store, hub: Store | None) -> RunRecord | None:
    """The finished run here, or else on the Hub."""
    finished = find_finished(prepared, store)
    return finished if finished is not None or hub is None else find_finished(prepared, hub)


def check_runtime(config: RunConfig) -> None:
    """Refuses what this machine or installation cannot do.

    Raises:
        InputError: A memory format that crashes, or a tracker that is not installed.
    """
    runtime = config.runtime
    if runtime.channels_last and config.training.precision == "fp32" and not torch.cuda.is_available():
        raise InputError(
            "runtime.channels_last: in fp32 on a CPU torch's strided 1×1 convolutions crash in this memory format; "
            "take training.precision=bf16, or leave it off"
        )
    if runtime.tracker != "none" and importlib.util.find_spec(runtime.tracker) is None:
        raise missing_extra(runtime.tracker, "trackers")


@contextmanager
def _locked(prepared: PreparedRun, accelerator: Accelerator) -> Iterator[None]:
    """Keeps a second process from the same run; the other ranks share the lock of the main process.

    Raises:
        InputError: The run is in progress elsewhere, or the folder cannot be written.
    """
    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()
        yield
        return
    lock = FileLock(prepared.state_dir.with_suffix(".lock"))
    try:
        prepared.state_dir.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"run {prepared.run_id} is in progress in another process; wait for it to end") from None
    except OSError as error:
        raise InputError(f"runtime.state_dir: cannot write {prepared.state_dir.parent}: {error.strerror}") from error
    try:
        accelerator.wait_for_everyone()
        yield
    finally:
        lock.release()


def _train(
    prepared: PreparedRun, store: Store, accelerator: Accelerator, stop: StopSignal, on_step: OnStep | None
) -> RunRecord:
    """Builds, trains and publishes."""
    model = prepared.build_model()
    flops = _count_flops(model, prepared.identity.data.image_size)
    trainer = Trainer(
        model=model,
        optimizer=prepared.build_optimizer(model),
        identity=prepared.identity,
        seed=prepared.config.seed,
        runtime=prepared.config.runtime,
        accelerator=accelerator,
        source=prepared.train_source(accelerator),
        validation=prepared.data.validation,
        state_dir=prepared.state_dir,
    )
    parts = trainer.plan.micro_batch < prepared.identity.training.batch_size
    if parts and any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        log.warning(
            "batch norm sees %d of %d images at once: the result differs from that of one process without accumulation",
            trainer.plan.micro_batch,
            prepared.identity.training.batch_size,
        )
    _start_tracker(prepared, accelerator)
    try:
        trainer.run(stop, on_step if accelerator.is_main_process else None)
    finally:
        trainer.source.close()
    if accelerator.trackers:
        accelerator.end_training()
    record = _finish(prepared, store, trainer, flops)
    accelerator.free_memory()
    return record


def _finish(prepared: PreparedRun, store: Store, trainer: Trainer, flops: int | None) -> RunRecord:
    """Reads the test split if the run completed, makes the record, and publishes it from the main process."""
    with trainer.evaluation_weights():
        return _publish(prepared, store, trainer, flops)


def _publish(prepared: PreparedRun, store: Store, trainer: Trainer, flops: int | None) -> RunRecord:
    config, progress, accelerator = prepared.config, trainer.progress, trainer.accelerator
    status: Status = "completed"
    if progress.diverged_at is not None:
        status = "diverged"
    elif progress.step < trainer.plan.total_steps:
        status = "interrupted"
        progress.reason = f"stopped by a signal at step {progress.step}; run it again to continue"
    test = None
    if status == "completed" and config.role == "final":
        test = trainer.evaluate(prepared.data.test)
        if not torch.isfinite(torch.tensor(test.loss)):
            status, progress.diverged_at = "diverged", progress.step
            progress.reason, test = f"the test loss was {test.loss} with the last weights", None

    model = _whole_model(prepared, trainer) if test is not None else trainer.evaluation_model

    def publish() -> RunRecord:
        weights = weights_sha256 = None
        if test is not None:
            weights = prepared.state_dir / "export"  # left behind by a crash, it goes with the resume state
            with writing(weights):
                export_model(model, prepared.identity, prepared.data.class_names, weights)
                with (weights / "model.safetensors").open("rb") as file:
                    weights_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        record = _make_record(prepared, trainer, status, test, flops, weights_sha256)
        record = publish_run(store, config.runtime.namespace, record, weights, config.runtime.supersede)
        if status != "interrupted":
            shutil.rmtree(prepared.state_dir, ignore_errors=True)
            if config.runtime.store.startswith(SCHEME) and isinstance(store, LocalStore):
                push_after_training(
                    store, config.runtime.store, prepared.repository, record.path(), config.runtime.supersede
                )
        return record

    record = _from_main(accelerator, publish)
    assert record is not None
    return record


def _whole_model(prepared: PreparedRun, trainer: Trainer) -> nn.Module:
    """The network that is saved; FSDP's shards are put together in a fresh one."""
    if trainer.accelerator.distributed_type != DistributedType.FSDP:
        return trainer.evaluation_model
    state = trainer.accelerator.get_state_dict(trainer.network)
    model = prepared.build_model()
    if trainer.accelerator.is_main_process:
        model.load_state_dict(state)
    return model


def _start_tracker(prepared: PreparedRun, accelerator: Accelerator) -> None:
    """Opens the tracker under the run's id, with its identity as configuration."""
    if accelerator.log_with:
        name = prepared.run_id
        accelerator.init_trackers(
            "bocb_hf",
            config={key: str(value) for key, value in flatten(prepared.identity.model_dump(mode="json")).items()},
            init_kwargs={"trackio": {"name": name}, "wandb": {"name": name, "id": name, "resume": "allow"}},
        )


def _from_main(accelerator: Accelerator, get: Callable[[], RunRecord | None]) -> RunRecord | None:
    """What the main process gets, on every process: only the main one reads and writes the store."""
    record = get() if accelerator.is_main_process else None
    if accelerator.num_processes == 1:
        return record
    message = [record.to_json() if record is not None else None]
    broadcast_object_list(message)
    return parse_record(message[0].encode(), "the record of the main process") if message[0] is not None else None


def _make_record(
    prepared: PreparedRun,
    trainer: Trainer,
    status: Status,
    test: Evaluation | None,
    flops: int | None,
    weights_sha256: str | None,
) -> RunRecord:
    config, identity, progress = prepared.config, prepared.identity, trainer.progress
    on_gpu = trainer.accelerator.device.type == "cuda"
    images = progress.step * identity.training.batch_size
    stopped = None if status == "completed" else progress.diverged_at or progress.step
    metrics: dict[str, Measurement | None] = {"train_loss": progress.train_measurement(len(prepared.data.train))}
    metrics |= progress.validation_measurements()
    if test is not None:
        metrics["test_loss"] = Measurement(unit="nats", n=test.n, last=test.loss)
        metrics["test_top1"] = Measurement(unit="percent", n=test.n, last=test.top1)
        metrics["test_top5"] = Measurement(unit="percent", n=test.n, last=test.top5) if test.top5 is not None else None
    return RunRecord(
        schema_version=1,
        run_id=prepared.run_id,
        role=config.role,
        status=status,
        seed=config.seed,
        config_hash=identity.config_hash(),
        identity=identity,
        requires=prepared.source.module,
        family=prepared.source.family,
        category=OPTIMIZERS.get(identity.optimizer.name).category,
        stopped_step=stopped,
        reason=None if status == "completed" else progress.reason,
        total_steps=trainer.plan.total_steps,
        metrics=Metrics(**metrics),
        test_split=identity.data.evaluation_split if test is not None else None,
        correctness=Correctness.from_bits(test.correct.numpy()) if test is not None else None,
        weights_sha256=weights_sha256,
        cost=Cost(
            wall_seconds=round(progress.wall_seconds, 3),
            train_seconds=round(progress.train_seconds, 3),
            evaluation_seconds=round(progress.evaluation_seconds, 3),
            images_per_second=round(images / progress.train_seconds, 2) if progress.train_seconds > 0 else 0.0,
            peak_memory_bytes=progress.peak_memory_bytes,
            memory_kind="device_allocated" if on_gpu else "process_rss",
            parameters=sum(p.numel() for p in trainer.bare_model.parameters() if p.requires_grad),
            flops_per_image=flops,
            resumed=progress.resumed,
            replayed_epochs=progress.replayed_epochs,
            data_seconds=round(progress.seconds.get("data", 0.0) + progress.waited_seconds, 3),
            forward_backward_seconds=round(progress.seconds.get("forward_backward", 0.0), 3),
            optimizer_seconds=round(progress.seconds.get("optimizer", 0.0), 3),
            waited_seconds=round(progress.waited_seconds, 3),
            energy_joules=None if progress.energy_joules is None else round(progress.energy_joules, 1),
            energy_source=None if progress.energy_joules is None else trainer.energy_source,
        ),
        environment=describe_environment(
            trainer.accelerator.device, trainer.accelerator.num_processes, trainer.plan.micro_batch, config.runtime
        ),
        curve=progress.curve(),
        supersedes=None,
        finished_at=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _count_flops(model: nn.Module, image_size: int) -> int | None:
    """FLOPs of one image, or None with a warning where torch cannot count them."""
    try:
        return count_flops(model, image_size)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        log.warning("torch cannot count the FLOPs of this backbone: %s", error)
        return None
