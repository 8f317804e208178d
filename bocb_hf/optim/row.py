"""Defines what a row of the optimizer registry says. This module needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict

from bocb_hf.schema import Scalar

# The study's four categories (Section 3.2).
CATEGORIES = {
    "a": "fixed learning rate, momentum",
    "b": "adaptive learning rate, momentum",
    "c": "estimated learning rate, momentum",
    "d": "adaptive learning rate, current gradient",
}

# The study tunes over five consecutive values around a centre chosen by hand and prints neither values nor spacing.
GRID_POINTS = 5
LR_FACTOR = 3.0
DECAY_FACTOR = 3.0
SMALLEST_DECAY = 1e-5  # the first positive weight decay of a grid whose centre is no decay

# ``ours`` tunes every optimizer around values that act alike; ``released`` around the study's own, 0 for many decays.
Grid = Literal["ours", "released"]

# What a setting makes of the default learning rates, which are for random weights. Weights that are given are changed
# less: for SGD the best rate falls from 0.1 to about 0.01 (arXiv 1805.08974, A.5). Optimizers that choose their own
# rate (``scaling`` is ``none``) are left alone.
SETTING_FACTORS: Mapping[str, float] = {"generic_finetune": 0.1}

# Images of a batch in each shipped configuration, where a centre holds as it stands (a test compares them).
SHIPPED_BATCHES: Mapping[str, int] = {
    "cifar100/convnext": 100,
    "cifar100/convnext_224": 100,
    "cifar100/deit": 100,
    "cifar100/pytorch": 100,
    "cifar100/pytorch_224": 100,
    "cifar100/rsb_a2": 100,
    "fashion_mnist/laptop": 64,
    "fashion_mnist/laptop_study": 32,
    "fashion_mnist_subset/demo": 64,
    "fashion_mnist_subset/laptop": 64,
    "imagenet1k/deit": 1024,
    "imagenet1k/pytorch": 256,
    "imagenet1k/rsb_a1": 2048,
    "imagenet1k/rsb_a2": 2048,
    "imagenet1k/rsb_a3": 2048,
}
STUDY_BATCH = 100  # images of a batch in the study's released code for CIFAR-100

# How the learning rate follows the batch: linear for SGD (Goyal et al., arXiv 1706.02677), the square root for adaptive
# optimizers (Malladi et al., arXiv 2205.10287; You et al., arXiv 1904.00962), not at all where it is a mere factor.
Scaling = Literal["none", "linear", "sqrt"]
_EXPONENTS: Mapping[Scaling, float] = {"none": 0.0, "linear": 1.0, "sqrt": 0.5}

Need = Literal["closure", "hessian", "train_eval", "matrix_split", "run_length"]
NEEDS: Mapping[Need, str] = {
    "closure": "a second gradient at other weights in every step",
    "hessian": "now and then a gradient of the loss with labels sampled from the model",
    "train_eval": "a switch between the weights that are trained and those that are evaluated and saved",
    "matrix_split": "to know which parameters are hidden matrices",
    "run_length": "to know how many steps the run takes",
}


class Hyperparameters(BaseModel):
    """Holds what an optimizer takes beside learning rate and weight decay. Unknown names raise; nothing is dropped."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Centre:
    """Centre of a tuning grid, and where it comes from.

    Attributes:
        lr: Learning rate.
        weight_decay: Weight decay.
        source: ``released`` by the study, ``authors`` for the paper or its authors' vision recipe, ``library`` for the
            implementation's default, or ``ours``. Where the two values differ in this, the weaker source is named.
    """

    lr: float
    weight_decay: float
    source: Literal["released", "authors", "library", "ours"]


@dataclass(frozen=True)
class OptimizerRow:
    """One optimizer.

    Attributes:
        id: Lowercase, without separators.
        short: Its name in a table row.
        category: Category a to d of the study; for later optimizers, by the study's definition.
        paper: The paper that the update comes from.
        implementation: The class that is built.
        variant: Which variant of the paper's update it is, and how the implementation deviates from the paper.
        why: Why this implementation and path and no other.
        decay: ``coupled`` (L2 added to the gradient) or ``decoupled``, as in the study unless ``variant`` says so.
        centres: Centre of the tuning grid by setting, or by ``data set/setting``; ``default`` serves every setting
            without its own. The learning rates of ``demo`` come from a pilot on the validation split with seed 90,
            before any other seed was run; those of ``laptop_study`` from the grid of ``benchmarks/compare.txt``, which
            was run on a tenth of its images, and from the first trials of two backbones (``docs/study.md``).
        hyperparameters: The typed hyper-parameters with their defaults.
        build: Function that builds it, as ``module:function``, so that a row needs no torch. It is called with the
            parameter groups (dictionaries with ``params`` and ``weight_decay``, and ``matrix`` if the row needs
            ``matrix_split``), the learning rate and the hyper-parameters, and names every argument that it passes on.
        state_floats: Numbers of optimizer state for each parameter of a 64 × 64 matrix, measured by a test.
        released: Centres of the grid ``released``, by setting; empty where all are those of ``centres``.
        scaling: How the learning rate of a centre follows the batch size where a run takes another one.
        source_batch: Images of a batch at which the default centre holds; a shipped setting has its own.
        shrinkage: Part of a weight that one step's decay takes in the long run, in units of learning rate × weight
            decay. None where gradients decide it: decay inside a normalised gradient, or under a trust ratio.
        needs: What the training loop must offer the optimizer beside gradients.
        refuses: Keys of a configuration (``training.layer_decay``), or keys with a value (``training.precision=fp16``),
            that this optimizer cannot honour, each with its reason. ``refusals`` adds what follows from ``needs``;
            ``compiles`` decides about ``runtime.compile_optimizer``.
        elementwise: Whether the update of a number depends on its own history only, not on the rest of its tensor or
            of the network; such an optimizer may step on shards of parameters.
        compiles: Whether ``torch.compile`` takes its step (``runtime.compile_optimizer``). The others run fused kernels
            or look at numbers on the way.
        plain_decay: Whether its decay takes lr·λ·θ off the weights and the rest of its step does not depend on that.
            Such an optimizer has one hyper-parameter more, ``cautious_decay``.
        exceptions: Checks of the conformance suite that do not apply, each with its reason.
        reference: For a plug-in, its update in numpy (``bocb_hf.optim.conformance.reference``) as
            ``module:function``. Those of the rows of this package are in ``bocb_hf.optim.references``.
        tolerance: Tolerance of the comparison with that reference, as a share of the largest distance moved.
        checked_with: Hyper-parameters other than the defaults that the conformance suite uses, so that what acts every
            hundredth step acts within its two dozen steps.
    """

    id: str
    short: str
    category: Literal["a", "b", "c", "d"]
    paper: str
    implementation: str
    variant: str
    why: str
    decay: Literal["coupled", "decoupled"]
    centres: Mapping[str, Centre]
    hyperparameters: type[Hyperparameters]
    build: str
    state_floats: float
    released: Mapping[str, Centre] = field(default_factory=dict[str, Centre])
    scaling: Scaling = "none"
    source_batch: int = STUDY_BATCH
    shrinkage: float | None = 1.0
    needs: frozenset[Need] = frozenset()
    refuses: Mapping[str, str] = field(default_factory=dict[str, str])
    elementwise: bool = False
    compiles: bool = False
    plain_decay: bool = False
    exceptions: Mapping[str, str] = field(default_factory=dict[str, str])
    reference: str | None = None
    tolerance: float = 1e-10
    checked_with: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])

    def centre(
        self, setting: str, data: str | None = None, batch_size: int | None = None, grid: Grid = "ours"
    ) -> Centre:
        """Returns where tuning under a setting starts.

        Args:
            setting: Name of the setting.
            data: The data set, for a setting that has centres for each.
            batch_size: Images of a batch, to which the learning rate is scaled by the row's rule. None leaves it as
                it stands, and so does the grid ``released``, which is what the study ran.
            grid: The grid whose centres are taken.
        """
        names = [f"{data}/{setting}", setting, "default"]
        table = self.released if grid == "released" and self.released else self.centres
        name = next(name for name in names if name in table)
        found = table[name]
        if name == "default" and grid == "ours" and self.scaling != "none" and setting in SETTING_FACTORS:
            found = replace(found, lr=_round(found.lr * SETTING_FACTORS[setting]))
        if batch_size is None or grid == "released":
            return found
        factor = (batch_size / self._reference_batch(setting, data, batch_size)) ** _EXPONENTS[self.scaling]
        return found if factor == 1 else replace(found, lr=_round(found.lr * factor))

    def refusals(self) -> dict[str, str]:
        """Returns all options that this optimizer cannot honour, each with its reason and what to do instead."""
        found = dict(self.refuses)
        if self.needs & {"closure", "hessian"}:
            found.setdefault(
                "training.precision=fp16",
                "it takes several gradients a step, which fp16 cannot; choose bf16",
            )
        return found

    def _reference_batch(self, setting: str, data: str | None, batch_size: int) -> int:
        """Returns the batch at which the centre holds: that of the shipped configuration, else of the row's source.

        On other data, a setting that is shipped with several batches holds for everything between them.
        """
        if f"{data}/{setting}" in SHIPPED_BATCHES:
            return SHIPPED_BATCHES[f"{data}/{setting}"]
        same = [batch for name, batch in SHIPPED_BATCHES.items() if name.partition("/")[2] == setting]
        return min(max(batch_size, min(same)), max(same)) if same else self.source_batch

    def lr_grid(self, setting: str, data: str | None = None, grid: Grid = "ours") -> list[float]:
        """Returns five learning rates in rising order, ``LR_FACTOR`` apart, around the centre."""
        return _around(self.centre(setting, data, grid=grid).lr, LR_FACTOR)

    def decay_grid(self, setting: str, data: str | None = None, grid: Grid = "ours") -> list[float]:
        """Returns five rising weight decays, ``DECAY_FACTOR`` apart around the centre, or from 0 up where that is 0."""
        centre = self.centre(setting, data, grid=grid).weight_decay
        if centre == 0:
            return [0.0] + [_round(SMALLEST_DECAY * DECAY_FACTOR**k) for k in range(GRID_POINTS - 1)]
        return _around(centre, DECAY_FACTOR)


def _around(centre: float, factor: float) -> list[float]:
    half = GRID_POINTS // 2
    return [_round(centre * factor**k) for k in range(-half, half + 1)]


def _round(value: float) -> float:
    return float(f"{value:.4g}")
