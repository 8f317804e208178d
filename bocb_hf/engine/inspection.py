"""Looks at the weights while they are trained: patterns and sharpness at stated steps, without changing the run."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator, Iterable

from accelerate import Accelerator
from torch import Tensor, nn

from bocb_hf.data.augment import loss
from bocb_hf.data.source import TrainSource
from bocb_hf.engine.feed import Feed
from bocb_hf.engine.progress import Progress
from bocb_hf.engine.sharding import is_sharded
from bocb_hf.engine.sharpness import Part, measure_sharpness
from bocb_hf.errors import InputError
from bocb_hf.patterns.measure import weight_patterns
from bocb_hf.runs.patterns import Inspection
from bocb_hf.runs.training_config import TrainingConfig
from bocb_hf.schema import one_line

log = logging.getLogger(__name__)

EARLY = 0.1  # the share of training that is always among those inspected
IMAGES = 256  # most images of the fixed batch


def inspected_steps(total: int, shares: Iterable[float]) -> dict[int, float]:
    """The steps after which a run of so many steps is inspected, each with the smallest share that asks for it."""
    steps: dict[int, float] = {}
    for share in sorted({*shares, EARLY}):
        # the product of a share and a number of steps may be off by rounding: 0.1 of 30 steps is step 3
        steps.setdefault(min(total, max(1, math.ceil(round(share * total, 6)))), share)
    return steps


class Inspector:
    """Inspects the weights that are trained, in the main process alone.

    The fixed batch is what the first step of the run is trained on, as it was augmented then, and the loss is that of
    the setting. So it is the same for all optimizers of a seed, and after a resume.

    Args:
        accelerator: Device and processes.
        model: The network that is trained; not an average of it.
        feed: Gives the inputs of a batch.
        source: Training images.
        progress: Where the inspections are kept, so that a resumed run has those from before.
        total_steps: Steps of the run.
        training: The setting, for its loss.
        shares: ``runtime.inspect_at``.

    Raises:
        InputError: The weights lie in shards over several processes.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        feed: Feed,
        source: TrainSource,
        progress: Progress,
        total_steps: int,
        training: TrainingConfig,
        shares: tuple[float, ...],
    ) -> None:
        if is_sharded(accelerator):
            raise InputError(
                "runtime.inspect_at: the weights of FSDP lie in shards; leave it out, or train without FSDP"
            )
        self._main, self._device = accelerator.is_main_process, accelerator.device
        self._model, self._feed, self._source, self._progress = model, feed, source, progress
        self._training, self._steps = training, inspected_steps(total_steps, shares)
        self._parts: list[Part] = []

    def begin(self) -> None:
        """Reads the fixed batch, before the loop reads its own, unless there is nothing left to inspect."""
        if not self._main or self._progress.step >= max(self._steps):
            return
        waited, left = self._source.waited_seconds, IMAGES
        steps = self._source.steps(0, 0)
        for batch in next(steps):
            if left > 0:
                inputs, targets = self._feed.inputs(batch, 0)
                self._parts.append((inputs[:left], targets[:left]))
                left -= len(inputs)
        if isinstance(steps, Generator):
            steps.close()  # ends the workers that a generator of batches may have
        self._source.waited_seconds = waited  # waiting for these images does not count as waiting in training

    def after_step(self) -> None:
        """Inspects the weights, if this step is one of those asked for."""
        progress = self._progress
        if not self._main or progress.step not in self._steps or not self._parts:
            return
        started = time.perf_counter()
        state = self._model.state_dict()
        patterns = weight_patterns({name: t.detach().float().cpu().numpy() for name, t in state.items()})
        between = time.perf_counter()
        sharpness = reason = None
        try:
            sharpness = measure_sharpness(self._model, self._parts, self._loss)
        except InputError as error:
            reason = one_line(str(error), 300)
            log.warning("no sharpness after step %d: %s", progress.step, reason)
        ended = time.perf_counter()
        found = Inspection(
            step=progress.step,
            share=self._steps[progress.step],
            patterns=patterns,
            sharpness=sharpness,
            reason=reason,
            pattern_seconds=round(between - started, 3),
            sharpness_seconds=round(ended - between, 3),
        )
        progress.inspections.append(found.model_dump())

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return loss(logits, targets, self._training)
