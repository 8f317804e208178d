"""Times a way to train on this machine: in all the workers that will train at once, as they slow each other down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean

from bocb_hf.compare.decide import FORWARD, Images, Speed, Way
from bocb_hf.errors import InputError
from bocb_hf.runs.config import RunConfig
from bocb_hf.sweep.executors.protocol import Executor, WorkerDiedError
from bocb_hf.sweep.executors.work import Context, WorkFailedError
from bocb_hf.sweep.timing import Timed, time_backbone

_FEW, _LARGE = 16, 96  # images that are timed at once, and from which side on
_HEAD = 0.004  # seconds of a step that trains a linear head on features
_AUGMENTED = 1.1  # a step on images takes so many times one on noise: gathering, augmentation, what is logged


def time_run(context: Context, config: RunConfig) -> Timed:
    """Times a few steps of a run in a worker."""
    del context
    return time_backbone(config)


@dataclass
class Stopwatch:
    """Times ways to train, each once.

    Attributes:
        executor: The executor that will train.
        config_of: Function that makes the configuration of a run of a way.
        images: Images of each split, by which features cost what they cost.
        memory: Largest memory of a worker so far, in bytes.
    """

    executor: Executor
    config_of: Callable[[Way], RunConfig]
    images: Images
    memory: int = 0
    _known: dict[tuple[str, int, int], Speed] = field(default_factory=dict[tuple[str, int, int], Speed])

    def __call__(self, way: Way) -> Speed:
        """The speed of a way; how many epochs it has does not matter.

        Raises:
            InputError: A run of this way cannot be prepared, or memory does not suffice.
        """
        key = (way.setting, way.image_size, way.batch_size)
        if key not in self._known:
            self._known[key] = self._of_probe(way) if way.probe else Speed(self._step(way, way.batch_size))
        return self._known[key]

    def _of_probe(self, way: Way) -> Speed:
        """A head's steps take next to nothing; what counts is the pass of the whole network over all images."""
        image = FORWARD * self._step(way, _FEW) / _FEW
        return Speed(_HEAD, image * (self.images.train + self.images.validation), image)

    def _step(self, way: Way, batch: int) -> float:
        """Seconds of a step of the whole network; of large images fewer are timed at once, since that takes long."""
        few = min(batch, _FEW) if way.image_size >= _LARGE else batch
        config = self.config_of(way)
        changes = {"batch_size": few, "linear_probe": False, "cached_features": False}
        return (
            self._time(config.model_copy(update={"training": config.training.model_copy(update=changes)})) * batch / few
        )

    def _time(self, config: RunConfig) -> float:
        futures = [self.executor.start(time_run, config) for _ in range(self.executor.workers)]
        try:
            timed = [future.result() for future in futures]
        except WorkFailedError as error:
            raise InputError(str(error)) from None
        except WorkerDiedError as error:
            raise InputError(
                f"while steps were timed, {error.reason}, most likely for lack of memory; give fewer --workers, a "
                "smaller --batch-size or a smaller --image-size"
            ) from error
        self.memory = max(self.memory, *(each.memory for each in timed))
        return _AUGMENTED * fmean(each.seconds for each in timed)
