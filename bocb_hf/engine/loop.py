"""The training loop: the only one of the project."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bocb_hf.config import RuntimeConfig
from bocb_hf.data.augment import COLUMNS, augment, normalize
from bocb_hf.data.images import Images
from bocb_hf.data.sampling import epoch_order, hessian_uniforms, seed_forward
from bocb_hf.engine import checkpoint
from bocb_hf.engine.environment import peak_memory
from bocb_hf.engine.evaluation import Evaluation, evaluate
from bocb_hf.engine.interrupt import StopSignal
from bocb_hf.engine.progress import Progress
from bocb_hf.engine.schedule import learning_rate
from bocb_hf.engine.step import (
    RECALIBRATION_BATCHES,
    batch_gradient,
    check_precision,
    evaluation_weights,
    sampled_label_loss,
)
from bocb_hf.errors import InputError
from bocb_hf.identity import Identity
from bocb_hf.optim import OPTIMIZERS

OnStep = Callable[[int, int], None]  # (steps done, total steps)


@dataclass(frozen=True)
class Plan:
    """Sizes of a run, derived from configuration, data and processes."""

    steps_per_epoch: int
    total_steps: int
    micro_batch: int
    save_every: int
    stretch: int


def make_plan(identity: Identity, runtime: RuntimeConfig, train_images: int, processes: int) -> Plan:
    """Derives the sizes; the last incomplete batch of an epoch is left out, and every epoch has another order.

    Raises:
        InputError: The batch is larger than the training split, or does not divide over processes and accumulation, or
            the optimizer cannot work at this precision.
    """
    check_precision(identity)
    training = identity.training
    batch, parts = training.batch_size, processes * runtime.accumulation
    if batch % parts:
        raise InputError(
            f"training.batch_size: {batch} does not divide over {processes} process(es) × accumulation "
            f"{runtime.accumulation}; change runtime.accumulation or the number of processes"
        )
    steps = train_images // batch
    if steps == 0:
        raise InputError(f"training.batch_size: {batch} is more than the {train_images} training images")
    stretch = max(10, round(training.divergence_epochs * steps))
    return Plan(steps, steps * training.epochs, batch // parts, runtime.save_every or steps, stretch)


class Trainer:
    """One run's network, optimizer and progress, and the loop over them.

    Args:
        model: On the CPU, with its initial weights.
        optimizer: Over the model's parameters.
        identity: What the run is.
        seed: Its seed.
        runtime: Logging, saving and accumulation.
        accelerator: Device, precision and processes.
        train: Training images.
        validation: Validation images, or None.
        state_dir: Folder of this run's resume state.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        identity: Identity,
        seed: int,
        runtime: RuntimeConfig,
        accelerator: Accelerator,
        train: Images,
        validation: Images | None,
        state_dir: Path,
    ) -> None:
        self.identity, self.seed, self.runtime, self.accelerator = identity, seed, runtime, accelerator
        self.train_images, self.validation, self.state_dir = train, validation, state_dir
        self.plan = make_plan(identity, runtime, len(train), accelerator.num_processes)
        # kept from here on: accelerate's unwrap_model would take mixed precision off the network that trains
        self.bare_model = model
        decay = identity.training.ema_decay
        self.ema = None
        if decay is not None:  # copied before prepare, which binds the forward pass to this very module
            averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
            self.ema = averaged.to(accelerator.device)
        self.network, self.optimizer = accelerator.prepare(model, optimizer)
        self.needs = OPTIMIZERS.get(identity.optimizer.name).needs
        self._evaluating = False
        self.progress = Progress(validation_n=len(validation) if validation else 0)
        accelerator.register_for_checkpointing(self.progress)
        if self.ema is not None:
            accelerator.register_for_checkpointing(self.ema)
        as_image = {"dtype": torch.float32, "device": accelerator.device}
        self.mean = torch.tensor(identity.data.mean, **as_image).view(3, 1, 1)
        self.std = torch.tensor(identity.data.std, **as_image).view(3, 1, 1)
        self._unread: list[Tensor] = []  # (2,) tensors of loss and hits, still on the device

    @property
    def evaluation_model(self) -> nn.Module:
        """The weights that count: averaged ones if the setting averages, else the last ones."""
        return self.ema.module if self.ema is not None else self.bare_model

    def evaluation_weights(self) -> AbstractContextManager[None]:
        """Inside this context, ``evaluation_model`` holds the weights that count; training continues as if never left.

        It does something only for optimizers that train at other weights. An average over steps (``ema_decay``) is
        taken of the training weights, and then counts in their stead.
        """
        if "train_eval" not in self.needs or self.ema is not None or self._evaluating:
            return nullcontext()
        return self._switched()

    def run(self, stop: StopSignal, on_step: OnStep | None = None) -> None:
        """Trains to the end, to divergence or to a stop, continuing from saved state if there is some.

        Progress says how it ended: ``diverged_at`` is set, or ``step`` is less than the plan's total.

        Raises:
            InputError: The resume state cannot be written.
        """
        progress, plan = self.progress, self.plan
        if checkpoint.load_newest(self.accelerator, self.state_dir):
            progress.resumed += 1
            # accelerate counts micro-batches; saves are between steps, and the number of parts may have changed
            self.accelerator.step = 0
        session_start, wall_before = time.perf_counter(), progress.wall_seconds
        if progress.step == 0 and self.validation is not None:
            self._validate()
        epoch, order, uniforms = -1, torch.empty(0), torch.empty(0)
        self.network.train()
        while progress.step < plan.total_steps and progress.diverged_at is None:
            started = time.perf_counter()
            if progress.step // plan.steps_per_epoch != epoch:
                epoch = progress.step // plan.steps_per_epoch
                order = epoch_order(len(self.train_images), self.seed, epoch)
                uniforms = epoch_uniforms(len(self.train_images), COLUMNS, self.seed, epoch)
            lr = self._step(order, uniforms)
            progress.step += 1
            ends_epoch = progress.step % plan.steps_per_epoch == 0
            logs = progress.step % self.runtime.log_every == 0 or progress.step == plan.total_steps
            saves = progress.step % plan.save_every == 0 or progress.step == plan.total_steps
            stops = self._stop_requested(stop, at_sync=logs)
            if logs or saves or ends_epoch or stops:
                self._read_losses()
                if logs and progress.diverged_at is None:
                    progress.log_point(lr)
            progress.train_seconds += time.perf_counter() - started
            if ends_epoch and progress.diverged_at is None:
                progress.end_epoch()
                if self.validation is not None:
                    self._validate()
            progress.wall_seconds = wall_before + time.perf_counter() - session_start
            progress.peak_memory_bytes = max(progress.peak_memory_bytes, peak_memory(self.accelerator.device))
            if (saves or stops) and progress.diverged_at is None:
                checkpoint.save(self.accelerator, self.state_dir, progress.step)
            if on_step is not None:
                on_step(progress.step, plan.total_steps)
            if stops:
                return

    def evaluate(self, images: Images) -> Evaluation:
        """Evaluates the weights that count, after bringing the buffers of all processes together."""
        if self.accelerator.num_processes > 1:
            # batch norm's running statistics differ between processes until the next forward pass
            for buffer in self.evaluation_model.buffers():
                buffer.copy_(broadcast(buffer))  # type: ignore[arg-type]
        started = time.perf_counter()
        with self.evaluation_weights():
            result = evaluate(self.evaluation_model, images, self.mean, self.std, self.accelerator)
        self.progress.evaluation_seconds += time.perf_counter() - started
        return result

    def _step(self, order: Tensor, uniforms: Tensor) -> float:
        """One optimizer step on the next global batch; returns its learning rate."""
        progress, plan, training = self.progress, self.plan, self.identity.training
        accelerator = self.accelerator
        lr = learning_rate(progress.step, plan.total_steps, plan.steps_per_epoch, self.identity.optimizer.lr, training)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        first = (progress.step % plan.steps_per_epoch) * training.batch_size
        mine = plan.micro_batch * self.runtime.accumulation
        start = first + accelerator.process_index * mine
        micro_batches = order[start : start + mine].split(plan.micro_batch)
        if "hessian" in self.needs and progress.step % self.optimizer.optimizer.hessian_interval == 0:
            self._estimate_hessian(micro_batches, uniforms, start - first)
        self._seed_forward()

        def second_pass() -> Tensor:
            self.optimizer.zero_grad()
            self._seed_forward()  # the same dropout: the same function, at other weights
            batch_gradient(accelerator, self.network, micro_batches, lambda indices: self._loss(indices, uniforms)[0])
            self._clip()
            return totals[0]

        totals = torch.zeros(2, device=accelerator.device)
        for indices in micro_batches:
            with accelerator.accumulate(self.network):
                loss, logits, labels = self._loss(indices, uniforms)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    self._clip()
                self.optimizer.step(second_pass if "closure" in self.needs else None)
                self.optimizer.zero_grad()
            with torch.no_grad():
                hits = (logits.argmax(dim=1) == labels).sum()
                totals += torch.stack((loss.detach() * len(indices), hits))
        self._unread.append(totals)
        if self.ema is not None:
            self.ema.update_parameters(self.bare_model)
        return lr

    def _inputs(self, indices: Tensor, uniforms: Tensor) -> Tensor:
        """Augmented and normalised images, (B, 3, H, W)."""
        device = self.accelerator.device
        pixels = self.train_images.pixels[indices].to(device, non_blocking=True)
        choices = uniforms[indices].to(device, non_blocking=True)
        return normalize(augment(pixels, choices, self.identity.augmentation), self.mean, self.std)

    def _loss(self, indices: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean loss of a micro-batch, its logits (B, K) and its labels (B,)."""
        labels = self.train_images.labels[indices].to(self.accelerator.device, non_blocking=True)
        logits = self.network(self._inputs(indices, uniforms))
        smoothing = self.identity.training.label_smoothing
        return functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing), logits, labels

    def _clip(self) -> None:
        if self.identity.training.clip_grad_norm is not None:
            self.accelerator.clip_grad_norm_(self.network.parameters(), self.identity.training.clip_grad_norm)

    def _seed_forward(self) -> None:
        seed_forward(self.seed, self.progress.step, self.accelerator.process_index)

    def _estimate_hessian(self, micro_batches: tuple[Tensor, ...], uniforms: Tensor, position: int) -> None:
        """Gives the optimizer a gradient with sampled labels; ``position``: of our first image in the global batch."""
        batch = self.identity.training.batch_size
        draws = hessian_uniforms(batch, self.seed, self.progress.step)[position:].to(self.accelerator.device)
        parts = list(zip(micro_batches, draws.split(self.plan.micro_batch), strict=False))
        self._seed_forward()

        def loss_of(part: tuple[Tensor, Tensor]) -> Tensor:
            return sampled_label_loss(self.network(self._inputs(part[0], uniforms)).float(), part[1])

        batch_gradient(self.accelerator, self.network, parts, loss_of)
        optimizer: Any = self.optimizer.optimizer
        optimizer.update_hessian(batch)
        optimizer.zero_grad()

    @contextmanager
    def _switched(self) -> Iterator[None]:
        def batches() -> Iterator[Tensor]:
            n = len(self.train_images)
            self._seed_forward()
            uniforms = epoch_uniforms(n, COLUMNS, self.seed, 0)
            size = self.identity.training.batch_size
            for indices in epoch_order(n, self.seed, 0)[: RECALIBRATION_BATCHES * size].split(size):
                yield self._inputs(indices, uniforms)

        self._evaluating = True
        try:
            with evaluation_weights(self.optimizer, self.bare_model, batches):
                yield
        finally:
            self._evaluating = False

    def _read_losses(self) -> None:
        """Moves losses from the device to progress, summed over processes, and checks them for divergence."""
        if not self._unread:
            return
        sums = self.accelerator.reduce(torch.stack(self._unread), "sum")
        self._unread = []
        rows = (sums / self.identity.training.batch_size).tolist()  # type: ignore[operator]
        if not self.progress.watch([loss for loss, _ in rows], self.plan.stretch):
            self.progress.window += [(loss, 100 * share) for loss, share in rows]

    def _validate(self) -> None:
        """Evaluates the validation split and adds a point to the curve; a loss that is not finite is divergence."""
        assert self.validation is not None
        result, progress = self.evaluate(self.validation), self.progress
        if not torch.isfinite(torch.tensor(result.loss)):
            progress.diverged_at = progress.step
            progress.reason = f"the validation loss was {result.loss} at step {progress.step}"
            return
        progress.val_step.append(progress.step)
        progress.val_loss.append(result.loss)
        progress.val_top1.append(result.top1)
        progress.val_top5.append(result.top5)

    def _stop_requested(self, stop: StopSignal, at_sync: bool) -> bool:
        """Whether to stop now. Several processes agree at logged steps, so that all of them stop at the same one."""
        asked = stop.requested
        if self.accelerator.num_processes == 1:
            return asked
        if not at_sync:
            return False
        flag = torch.tensor(int(asked), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum") > 0)  # type: ignore[operator]
