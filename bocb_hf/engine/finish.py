"""Ends a run: evaluates the test split, exports the weights, makes the record, and writes it into the store."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn

from bocb_hf.backbones.build import starting_weights
from bocb_hf.engine.checkpoint import writing
from bocb_hf.engine.environment import describe_environment
from bocb_hf.engine.export import export_model
from bocb_hf.engine.features import whole_network
from bocb_hf.engine.loop import Trainer
from bocb_hf.engine.out_of_memory import memory_facts
from bocb_hf.engine.prepare import PreparedRun
from bocb_hf.engine.processes import all_finite
from bocb_hf.engine.sharding import is_sharded
from bocb_hf.patterns.measure import weight_patterns
from bocb_hf.runs.measurements import Correctness, Cost, Measurement, Metrics
from bocb_hf.runs.patterns import Inspection, WeightPatterns
from bocb_hf.runs.record import RunRecord, Status, parse_record
from bocb_hf.schema import utc_now
from bocb_hf.store import Store
from bocb_hf.store.push import push_after_training
from bocb_hf.store.write import find_place, write_run
from bocb_hf.tasks.task import Evaluated


def finish_run(
    prepared: PreparedRun, store: Store, trainer: Trainer, flops: int | None, feature_seconds: float | None = None
) -> RunRecord:
    """Evaluates the test split of a completed final run, makes the record, and writes it from the main process.

    Args:
        prepared: The run.
        store: Store of the record.
        trainer: The trainer after its last step.
        flops: FLOPs of one image in a forward pass.
        feature_seconds: Time in which features were computed; None where the run trained on images.
    """
    with trainer.evaluation_weights():
        return _publish(prepared, store, trainer, flops, feature_seconds)


def _publish(
    prepared: PreparedRun, store: Store, trainer: Trainer, flops: int | None, feature_seconds: float | None
) -> RunRecord:
    config, progress, accelerator = prepared.config, trainer.progress, trainer.accelerator
    status: Status = "completed"
    if progress.diverged_at is not None:
        status = "diverged"
    elif progress.step < trainer.plan.total_steps:
        status = "interrupted"
        progress.reason = f"stopped by a signal at step {progress.step}; run it again to continue"
    elif not all_finite(accelerator, trainer.evaluation_model):  # averages may overflow by themselves
        status, progress.diverged_at = "diverged", progress.step
        progress.reason = f"a weight was not finite at step {progress.step}"
    test = None
    if status == "completed" and config.role == "final":
        from bocb_hf.engine.evaluate_metrics import score  # imported only here, because the import takes seconds

        test = trainer.evaluate(prepared.data.test, score)
        if not torch.isfinite(torch.tensor(test.loss)):
            status, progress.diverged_at = "diverged", progress.step
            progress.reason, test = f"the test loss was {test.loss} with the last weights", None

    model = _whole_model(prepared, trainer) if test is not None else whole_network(trainer.evaluation_model)

    def publish() -> RunRecord:
        weights = weights_sha256 = patterns = None
        if test is not None:
            weights = prepared.state_dir / "export"  # if a crash leaves it behind, it is deleted with the resume state
            with writing(weights):
                export_model(model, prepared.identity, prepared.data.class_names, weights)
                with (weights / "model.safetensors").open("rb") as file:
                    weights_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            patterns = weight_patterns(
                {name: t.detach().float().cpu().numpy() for name, t in model.state_dict().items()}
            )
        record = _make_record(prepared, trainer, status, test, flops, weights_sha256, patterns, feature_seconds)
        record = write_run(store, config.runtime.namespace, record, weights, config.runtime.supersede)
        if status != "interrupted":
            shutil.rmtree(prepared.state_dir, ignore_errors=True)
            repository = find_place(store, config.runtime.namespace, prepared.identity)
            push_after_training(store, config.runtime, repository, record.path())
        return record

    record = from_main(accelerator, publish)
    assert record is not None
    return record


def _whole_model(prepared: PreparedRun, trainer: Trainer) -> nn.Module:
    """Returns the network that is saved. Shards of FSDP are put together in a fresh network."""
    if not is_sharded(trainer.accelerator):
        # safetensors takes no other memory format, and training is over
        whole = whole_network(trainer.evaluation_model)
        return whole.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload] - torch's stubs lack it
    state = trainer.accelerator.get_state_dict(trainer.network)
    model = prepared.build_model()
    if trainer.accelerator.is_main_process:
        model.load_state_dict(state)
    return model


def from_main(accelerator: Accelerator, get: Callable[[], RunRecord | None]) -> RunRecord | None:
    """Returns on every process what ``get`` returns on the main one, since only that reads and writes the store."""
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
    test: Evaluated | None,
    flops: int | None,
    weights_sha256: str | None,
    patterns: WeightPatterns | None,
    feature_seconds: float | None,
) -> RunRecord:
    config, identity, progress = prepared.config, prepared.identity, trainer.progress
    on_gpu = trainer.accelerator.device.type == "cuda"
    images = progress.step * identity.training.batch_size
    stopped = None if status == "completed" else progress.diverged_at or progress.step
    metrics: dict[str, Measurement | None] = {"train_loss": progress.train_measurement(len(prepared.data.train))}
    metrics |= progress.validation_measurements()
    details: dict[str, float] = {}
    if test is not None:
        metrics["test_loss"] = Measurement(unit=progress.loss_unit, n=test.n, last=test.loss)
        name = "test_top1" if progress.score is None else "test_score"
        metrics[name] = Measurement(unit="percent", n=test.n, last=test.score)
        if progress.score is not None:
            details = dict(test.details)
        elif (top5 := test.details.get("top-5")) is not None:
            metrics["test_top5"] = Measurement(unit="percent", n=test.n, last=top5)
    bits = None if test is None or test.correct is None else np.asarray(test.correct)
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
        category=prepared.optimizer.row.category,
        stopped_step=stopped,
        reason=None if status == "completed" else progress.reason,
        total_steps=trainer.plan.total_steps,
        metrics=Metrics(**metrics, score=progress.score, test_details=details),
        reference_loss=trainer.rule.reference,
        test_split=identity.data.evaluation_split if test is not None else None,
        correctness=None if bits is None else Correctness.from_bits(bits),
        # the choice is among trials; a final run would carry as many bytes again that nothing reads
        val_correctness=progress.validation_correctness() if (config.role, status) == ("trial", "completed") else None,
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
            feature_seconds=None if feature_seconds is None else round(feature_seconds, 3),
            energy_source=None if progress.energy_joules is None else trainer.costs.energy_source,
        ),
        environment=describe_environment(
            trainer.accelerator.device, trainer.accelerator.num_processes, trainer.plan.micro_batch, config.runtime
        ).model_copy(update=memory_facts(prepared, whole_network(trainer.bare_model))),
        curve=progress.curve(),
        patterns=patterns,
        inspections=tuple(Inspection.model_validate(given) for given in progress.inspections),
        starting_weights=starting_weights(whole_network(trainer.bare_model)),
        data_notes=prepared.data.notes,
        tuned=config.tuned,
        supersedes=None,
        grid=config.optimizer.grid,
        finished_at=utc_now(),
    )
