"""The training loop, which is the only one of the project."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bocb_hf.data.augment import Augmenter, Unaugmented, loss
from bocb_hf.data.sampling import hessian_uniforms, seed_forward
from bocb_hf.data.source import Batch, TrainSource
from bocb_hf.data.splits import Features, TestImages
from bocb_hf.engine import checkpoint
from bocb_hf.engine.compiled_network import check_graphs, compile_network
from bocb_hf.engine.costs import Costs
from bocb_hf.engine.divergence import DivergenceRule
from bocb_hf.engine.environment import peak_memory
from bocb_hf.engine.evaluation import ScoreFunction, evaluate
from bocb_hf.engine.features import HeadOnFeatures, whole_network
from bocb_hf.engine.feed import Feed
from bocb_hf.engine.inspection import Inspector
from bocb_hf.engine.interrupt import StopSignal
from bocb_hf.engine.memory import keep_freed_memory
from bocb_hf.engine.metrics import score
from bocb_hf.engine.plan import make_plan
from bocb_hf.engine.processes import agree_to_stop, all_finite, share_buffers
from bocb_hf.engine.progress import Progress
from bocb_hf.engine.schedule import learning_rate
from bocb_hf.engine.sharding import check_sharding, fit_to_shards, is_sharded
from bocb_hf.engine.step import RECALIBRATION_BATCHES, batch_gradient
from bocb_hf.engine.watch import StepWatch
from bocb_hf.optim.compiled import compile_step, set_lr
from bocb_hf.optim.param_groups import train_mode
from bocb_hf.optim.protocols import evaluation_weights, sampled_label_loss
from bocb_hf.optim.row import OptimizerRow
from bocb_hf.runs.identity import Identity
from bocb_hf.runs.runtime_config import RuntimeConfig
from bocb_hf.runs.tasks import CLASSIFICATION, TASKS
from bocb_hf.tasks.task import Evaluated, Task, refuse

log = logging.getLogger(__name__)

OnStep = Callable[[int, int], None]  # (steps done, total steps)


class Trainer:
    """One run's network, optimizer and progress, and the loop over them.

    Args:
        model: The network on the CPU, with its initial weights, or its head, for which ``source`` and ``validation``
            hold features.
        optimizer: The optimizer over the model's parameters.
        identity: Identity of the run.
        seed: Seed of the run.
        runtime: Runtime configuration: logging, saving and accumulation.
        accelerator: Device, precision and processes.
        source: Training images.
        validation: Validation images, or None.
        state_dir: Folder of this run's resume state.
        rule: Rule that says when the run has diverged.
        task: The task; None is classification, whose loss and hits the loop computes from the setting.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        row: OptimizerRow,
        identity: Identity,
        seed: int,
        runtime: RuntimeConfig,
        accelerator: Accelerator,
        source: TrainSource,
        validation: TestImages | None,
        state_dir: Path,
        rule: DivergenceRule,
        task: Task | None = None,
    ) -> None:
        self._task = None if identity.task.name == CLASSIFICATION else task
        self.identity, self.seed, self.runtime, self.accelerator = identity, seed, runtime, accelerator
        self.source, self.validation, self.state_dir, self.rule = source, validation, state_dir, rule
        if self._task is not None and is_sharded(accelerator):
            raise refuse("FSDP", identity.task.name)
        training, data, device = identity.training, identity.data, accelerator.device
        self.plan = make_plan(identity, row, runtime, source.count, accelerator.num_processes)
        check_sharding(accelerator, row, training)
        self.needs = row.needs
        on_features = isinstance(model, HeadOnFeatures)
        channels_last = runtime.channels_last and not on_features
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        # the bare network is kept, because accelerate's unwrap_model would take mixed precision off the network that
        # trains
        self.bare_model = model.to(memory_format=self.format)  # type: ignore[call-overload] - torch's stubs lack it
        self.ema = None
        if training.ema_decay is not None:  # copied before prepare binds the forward pass to this module
            averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(training.ema_decay), use_buffers=True)
            self.ema = averaged.to(device)
        check_graphs(runtime, accelerator, row)
        if runtime.compile_model:
            compile_network(model, runtime.cuda_graphs)
        if runtime.compile_optimizer:
            compile_step(optimizer, row)
        fit_to_shards(accelerator, optimizer)
        self.network, self.optimizer = accelerator.prepare(model, optimizer)
        self.augmenter = (Unaugmented if on_features else Augmenter)(
            identity.augmentation, training, data.image_size, data.num_classes, data.mean, data.std, seed, device
        )
        inputs = self.augmenter if self._task is None else self._task.make_inputs(identity, seed, device)
        self.feed = Feed(
            source, inputs, self.plan.steps_per_epoch, self.plan.micro_batch * runtime.accumulation, self.format
        )
        self._evaluating = False
        metric = None if self._task is None else TASKS.get(identity.task.name).metric
        self.progress = Progress(validation_n=len(validation) if validation is not None else 0, score=metric)
        accelerator.register_for_checkpointing(self.progress)
        if self.ema is not None:
            accelerator.register_for_checkpointing(self.ema)
        self._unread: list[Tensor] = []  # (2,) tensors of loss and hits, still on the device
        self.costs = Costs(accelerator, source, self.progress)
        self._watch: StepWatch | None = None
        self.inspector: Inspector | None = None  # of a run that asks for one

    @property
    def evaluation_model(self) -> nn.Module:
        """The network with the weights to evaluate: averaged ones if the setting averages, else the last ones."""
        return self.ema.module if self.ema is not None else self.bare_model

    def evaluation_weights(self) -> AbstractContextManager[None]:
        """Inside this context, ``evaluation_model`` holds the weights to evaluate; it does not change the training.

        The context changes something only for optimizers that evaluate at other weights than they train at. With
        ``ema_decay``, the average over steps is evaluated, which is taken of the weights that are trained.
        """
        if "train_eval" not in self.needs or self.ema is not None or self._evaluating:
            return nullcontext()
        return self._switched()

    def run(self, stop: StopSignal, on_step: OnStep | None = None) -> None:
        """Trains to the end, to divergence or to a stop, continuing from saved state if there is some.

        ``progress`` says how the run ended: ``diverged_at`` is set after divergence, and ``step`` is less than the
        plan's total after a stop.

        Raises:
            InputError: The resume state cannot be written.
        """
        progress, plan = self.progress, self.plan
        if self.accelerator.device.type == "cpu":
            keep_freed_memory()
        if checkpoint.load_newest(self.accelerator, self.state_dir):
            progress.resumed += 1
            # accelerate counts micro-batches; the count starts anew, since states are saved between steps and the
            # number of micro-batches in a step may have changed
            self.accelerator.step = 0
        session_start, wall_before = time.perf_counter(), progress.wall_seconds
        if progress.step == 0 and self.validation is not None:
            self._validate()
        self.network.train()
        train_mode(self.bare_model)
        if progress.step % plan.steps_per_epoch and not self.source.exact_resume:
            progress.replayed_epochs += 1
            epoch = progress.step // plan.steps_per_epoch
            log.warning("the order of a stream cannot be taken up midway: epoch %d begins anew", epoch + 1)
        if self.inspector is not None:
            self.inspector.begin()
        batches = self.feed.steps(progress.step)
        while progress.step < plan.total_steps and progress.diverged_at is None:
            started = time.perf_counter()
            logs = (progress.step + 1) % self.runtime.log_every == 0 or progress.step + 1 == plan.total_steps
            lr, size = self._step(next(batches), watched=logs)
            progress.step += 1
            ends_epoch = progress.step % plan.steps_per_epoch == 0
            saves = progress.step % plan.save_every == 0 or progress.step == plan.total_steps
            stops = agree_to_stop(stop, self.accelerator, at_sync=logs)
            if logs or saves or ends_epoch or stops:
                self._read_losses()
                if size is not None and progress.diverged_at is None:
                    progress.log_point(lr, *size)
                    self._track()
            progress.train_seconds += time.perf_counter() - started
            if self.inspector is not None and progress.diverged_at is None:
                self.inspector.after_step()
            if ends_epoch and progress.diverged_at is None:
                progress.end_epoch(self.rule, last=progress.step == plan.total_steps)
                self._check_weights()
                if self.validation is not None and progress.diverged_at is None:
                    self._validate()
            progress.wall_seconds = wall_before + time.perf_counter() - session_start
            progress.peak_memory_bytes = max(progress.peak_memory_bytes, peak_memory(self.accelerator.device))
            if (saves or stops) and progress.diverged_at is None:
                self.costs.collect()
                checkpoint.save(self.accelerator, self.state_dir, progress.step)
            if on_step is not None:
                on_step(progress.step, plan.total_steps)
            if stops:
                break
        self.costs.collect()
        self.costs.say_waited()

    def evaluate(self, images: Any, score: ScoreFunction = score) -> Evaluated:
        """Evaluates a split at the weights to evaluate, after every process took the buffers of the first.

        Args:
            images: Images of the split.
            score: Function that computes the scores, see ``evaluation.evaluate``.
        """
        share_buffers(self.accelerator, self.evaluation_model)
        started, model = time.perf_counter(), self.evaluation_model
        if not isinstance(images, Features):
            model = whole_network(model).to(self.accelerator.device)
        with self.evaluation_weights():
            if self._task is not None:
                result = self._task.evaluate(model, images, self.identity, self.accelerator, self.runtime)
            else:
                result = self._classify(model, images, score)
        self.progress.evaluation_seconds += time.perf_counter() - started
        return result

    def _classify(self, model: nn.Module, images: TestImages, score: ScoreFunction) -> Evaluated:
        mean, std, accelerator = self.augmenter.mean, self.augmenter.std, self.accelerator
        found = evaluate(model, images, mean, std, accelerator, self.runtime.workers, self.format, score)
        details = {} if found.top5 is None else {"top-5": found.top5}
        return Evaluated(found.n, found.top1, found.loss, details, found.correct)

    def _step(self, batches: list[Batch], watched: bool) -> tuple[float, tuple[float, float] | None]:
        """One optimizer step on the next global batch.

        Returns:
            The learning rate of the step and, if the step is watched, the norm of its gradient and the norm of its
            change over that of the weights.
        """
        progress, plan, training = self.progress, self.plan, self.identity.training
        accelerator, timer = self.accelerator, self.costs.timer
        timer.start()
        lr = learning_rate(progress.step, plan.total_steps, plan.steps_per_epoch, self.identity.optimizer.lr, training)
        for group in self.optimizer.param_groups:
            set_lr(group, lr, self.runtime.compile_optimizer)
        if "hessian" in self.needs and progress.step % self.optimizer.optimizer.hessian_interval == 0:
            self._estimate_hessian(batches)
        self._seed_forward()
        self._watch = StepWatch(accelerator, self.bare_model) if watched else None
        if self._watch is not None:
            self._watch.before()
        timer.lap("other")

        def second_pass() -> Tensor:
            self.optimizer.zero_grad()
            self._seed_forward()  # the same dropout, so that the same function is taken at other weights
            batch_gradient(accelerator, self.network, batches, lambda batch: self._loss(batch)[0])
            self._clip()
            return totals[0]

        totals = torch.zeros(2, device=accelerator.device)
        for batch in batches:
            with accelerator.accumulate(self.network):
                inputs, targets = self.feed.inputs(batch, self.progress.step)
                timer.lap("data")
                with accelerator.autocast():  # accelerate's wrapper of the forward pass does not reach into shards
                    outputs = self.network(inputs)
                mean_loss = self._mean_loss(outputs, targets)
                accelerator.backward(mean_loss)
                timer.lap("forward_backward")
                if accelerator.sync_gradients:
                    self._clip()
                self._update(second_pass if "closure" in self.needs else None)
                timer.lap("optimizer")
            with torch.no_grad():
                totals += torch.stack((mean_loss.detach() * len(batch.rows), self._hits(outputs, targets)))
        self._unread.append(totals)
        if self.ema is not None:
            self.ema.update_parameters(self.bare_model)
        size = self._watch.after() if self._watch is not None else None
        self._watch = None
        timer.lap("other")
        return lr, size

    def _update(self, closure: Callable[[], Tensor] | None) -> None:
        """Changes the weights if the gradient is complete, and then clears the gradient."""
        accelerator = self.accelerator
        if accelerator.scaler is not None:
            self.optimizer.step(closure)
            self.optimizer.zero_grad()
        elif accelerator.sync_gradients:
            # accelerate's wrapper does the same, but searches the disk for an optional package twice a step: 0.4 ms
            self.optimizer.optimizer.step(closure)
            self.optimizer.optimizer.zero_grad()

    def _loss(self, batch: Batch) -> tuple[Tensor, Any]:
        """Mean loss of a micro-batch, and its outputs."""
        inputs, targets = self.feed.inputs(batch, self.progress.step)
        outputs = self.network(inputs)
        return self._mean_loss(outputs, targets), outputs

    def _mean_loss(self, outputs: Any, targets: Any) -> Tensor:
        """Mean loss of a micro-batch, a scalar."""
        if self._task is not None:
            return self._task.loss(outputs, targets)
        return loss(outputs.float(), targets, self.identity.training)

    def _hits(self, outputs: Any, targets: Any) -> Tensor:
        """Number of images of a micro-batch that are classified correctly; 0 for another task."""
        if self._task is not None:
            return torch.zeros((), device=self.accelerator.device)
        labels = targets if targets.ndim == 1 else targets.argmax(dim=1)
        return (outputs.argmax(dim=1) == labels).sum()

    def _clip(self) -> None:
        """Clips the gradients if the setting does; the watch gets their norm before the first clipping of the step."""
        largest, watch = self.identity.training.clip_grad_norm, self._watch
        if watch is not None and watch.grad_norm is not None:
            watch = None
        norm = None
        if largest is not None:
            norm = self.accelerator.clip_grad_norm_(self.network.parameters(), largest)
        elif watch is not None:
            norm = watch.gradients()
        if watch is not None:
            watch.grad_norm = norm

    def _seed_forward(self) -> None:
        seed_forward(self.seed, self.progress.step, self.accelerator.process_index, self.accelerator.device)

    def _estimate_hessian(self, batches: list[Batch]) -> None:
        """Gives the optimizer a gradient with sampled labels."""
        size, kind = self.identity.training.batch_size, self.identity.training.loss
        classes = self.identity.data.num_classes if kind == "bce" else None
        draws = hessian_uniforms(size, self.seed, self.progress.step, classes)
        self._seed_forward()

        def loss_of(batch: Batch) -> Tensor:
            logits = self.network(self.feed.inputs(batch, self.progress.step)[0]).float()
            return sampled_label_loss(logits, draws[batch.rows].to(logits.device), kind)

        batch_gradient(self.accelerator, self.network, batches, loss_of)
        optimizer: Any = self.optimizer.optimizer
        optimizer.update_hessian(size)
        optimizer.zero_grad()

    @contextmanager
    def _switched(self) -> Iterator[None]:
        def batches() -> Iterator[Tensor]:
            self._seed_forward()
            for step in islice(self.source.steps(0, 0), RECALIBRATION_BATCHES):
                for batch in step:
                    yield self.feed.inputs(batch, self.progress.step)[0]

        self._evaluating, waited = True, self.source.waited_seconds
        try:
            with evaluation_weights(self.optimizer, self.bare_model, batches):
                self.source.waited_seconds = waited  # waiting for these images does not count as waiting in training
                share_buffers(self.accelerator, self.evaluation_model)  # each process has seen its own images
                yield
        finally:
            self._evaluating = False

    def _read_losses(self) -> None:
        """Moves losses from the device to progress, summed over processes, and checks them for divergence."""
        if not self._unread:
            return
        sums = self.accelerator.reduce(torch.stack(self._unread), "sum")
        self._unread = []
        self.costs.timer.collect()
        rows = (sums / self.identity.training.batch_size).tolist()  # type: ignore[operator] - a tensor in, a tensor out
        if not self.progress.watch([loss for loss, _ in rows], self.rule):
            self.progress.window += [(loss, 100 * share) for loss, share in rows]

    def _check_weights(self) -> None:
        """Ends the run as diverged if the network holds a number that is not finite, even if the loss is finite."""
        if self.progress.diverged_at is None and not all_finite(self.accelerator, self.bare_model):
            self.progress.diverged_at = self.progress.step
            self.progress.reason = f"a weight was not finite at step {self.progress.step}"

    def _validate(self) -> None:
        """Evaluates the validation split and adds a point to the curve; a loss that is not finite is divergence."""
        assert self.validation is not None
        result, progress = self.evaluate(self.validation), self.progress
        if not torch.isfinite(torch.tensor(result.loss)):
            progress.diverged_at = progress.step
            progress.reason = f"the validation loss was {result.loss} at step {progress.step}"
            return
        correct = None if result.correct is None else np.asarray(result.correct)
        progress.validate(result.loss, result.score, result.details.get("top-5"), correct)
        if self.accelerator.trackers:
            name = "top1" if progress.score is None else progress.score
            self.accelerator.log({"val/loss": result.loss, f"val/{name}": result.score}, step=progress.step)

    def _track(self) -> None:
        """Sends the newest point of the curve to the tracker, if there is one."""
        if self.accelerator.trackers:
            progress = self.progress
            values = {"lr": progress.lr, "train/loss": progress.train_loss}
            values |= {"train/top1": progress.train_top1} if progress.score is None else {}
            values |= {"train/grad_norm": progress.grad_norm, "train/update_ratio": progress.update_ratio}
            self.accelerator.log({key: v[-1] for key, v in values.items() if v[-1] is not None}, step=progress.step)
