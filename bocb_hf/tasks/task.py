"""What the one training loop asks of a task."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from bocb_hf.backbones.build import BackboneSource
from bocb_hf.data.source import Order, TrainSource
from bocb_hf.errors import InputError
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.identity import DataIdentity, Identity
from bocb_hf.runs.preprocessing import Preprocessing
from bocb_hf.runs.record import DataNotes
from bocb_hf.runs.runtime_config import RuntimeConfig
from bocb_hf.runs.tasks import TASKS

# Makes the inputs (B, 3, H, W) and the targets of a micro-batch: (pixels, labels, rows, step, cropped), see ``Batch``.
MakeInputs = Callable[[Any, Any, Tensor, int, bool], tuple[Tensor, Any]]


class TaskData(Protocol):
    """The splits of a run; what a split holds is the task's own affair, but it has a length.

    Attributes:
        identity: Identity of the data.
        class_names: Names of the classes, or of the keypoints.
        train: What the weights are fitted to.
        validation: What tuning reads; None where a final run trains on all of train.
        test: What a final run is scored on.
        notes: Facts that a reader of a score must know; None where there are none.
    """

    @property
    def identity(self) -> DataIdentity: ...
    @property
    def class_names(self) -> tuple[str, ...]: ...
    @property
    def train(self) -> Any: ...
    @property
    def validation(self) -> Any: ...
    @property
    def test(self) -> Any: ...
    @property
    def notes(self) -> DataNotes | None: ...


@dataclass(frozen=True)
class Splits:
    """The plain ``TaskData``."""

    identity: DataIdentity
    class_names: tuple[str, ...]
    train: Any
    validation: Any
    test: Any
    notes: DataNotes | None = None


@dataclass(frozen=True)
class Evaluated:
    """The scores of one split.

    Attributes:
        n: Number of images.
        score: The metric of the task in percent.
        loss: Mean loss.
        details: Further scores in percent, by name; one that the split does not determine is left out.
        correct: Which images are right, (N,) bool; None for a task that does not count right images.
    """

    n: int
    score: float
    loss: float
    details: Mapping[str, float] = field(default_factory=dict[str, float])
    correct: Tensor | NDArray[np.bool_] | None = None


class Task(Protocol):
    """The parts of one task, with the options of a run."""

    def load(self, config: RunConfig, checkpoint: Preprocessing | None) -> TaskData:
        """Loads, checks and splits the data of a run.

        Args:
            config: Configuration of the run.
            checkpoint: Preprocessing of the starting weights, which replaces that of the data; None keeps that.

        Raises:
            InputError: Something is wrong with the data.
        """
        ...

    def build(self, source: BackboneSource, data: DataIdentity, seed: int) -> nn.Module:
        """Builds the network on the CPU, with weights that depend on (seed, backbone, task) only.

        Raises:
            InputError: The backbone cannot do this task.
        """
        ...

    def open_source(self, images: Any, order: Order, runtime: RuntimeConfig, pin: bool) -> TrainSource:
        """Opens the training images of one process."""
        ...

    def make_inputs(self, identity: Identity, seed: int, device: torch.device) -> MakeInputs:
        """The function that turns the pixels and labels of a micro-batch into inputs and targets on the device."""
        ...

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Mean loss over the images of a micro-batch, a scalar."""
        ...

    def evaluate(
        self, model: nn.Module, images: Sized, identity: Identity, accelerator: Accelerator, runtime: RuntimeConfig
    ) -> Evaluated:
        """Scores a split, over all processes; the mode of the model is restored."""
        ...

    def reference_loss(self, data: TaskData) -> float | None:
        """Training loss of a predictor that sees no image; None where nobody can say it."""
        ...

    def predict(self, network: nn.Module, identity: Identity, images: Sequence[Image.Image], **more: Any) -> list[Any]:
        """Predictions for PIL images, by the preprocessing of the run."""
        ...


def open_task(name: str, options: Mapping[str, Any]) -> Task:
    """Makes a task.

    Args:
        name: A row of ``TASKS``.
        options: Its options; those that are left out have their defaults.

    Raises:
        InputError: There is no such task, or an option is wrong.
    """
    row = TASKS.get(name)
    module, _, function = row.build.partition(":")
    return getattr(importlib.import_module(module), function)(row.parse(dict(options)))


def write_description(network: nn.Module, identity: Identity, class_names: Sequence[str], folder: Path) -> None:
    """Writes ``model.safetensors`` and a ``config.json`` that says what the weights are of.

    The file names the task, so that nobody takes the weights for those of a classifier.
    """
    import json

    from safetensors.torch import save_model

    folder.mkdir(parents=True, exist_ok=True)
    save_model(network, str(folder / "model.safetensors"))
    described = {
        "task": identity.task.name,
        "architecture": identity.backbone.architecture,
        "backbone_args": identity.backbone.args,
        "options": identity.task.options,
        "label_names": list(class_names),
        "image_size": identity.data.image_size,
        "mean": identity.data.mean,
        "std": identity.data.std,
        "load_with": "bocb_hf.load_backbone",
    }
    text = json.dumps(described, indent=2, sort_keys=True) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")


def refuse(what: str, task: str) -> InputError:
    """The error for a feature of the project that works for classifiers only."""
    return InputError(f"{what} works for classifiers only, and this run is of the task {task!r}; leave it out")
