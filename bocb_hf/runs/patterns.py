"""Weight patterns in a record: what training left in each layer (the parameter patterns of the study).

``bocb_hf.patterns`` measures them. The study names the measures but neither the bins of the histogram, nor how many
components count, nor how a kernel becomes a matrix; all three are chosen here and stand in the record.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bocb_hf.schema import Frozen, Positive, Printable, later

BINS = 256  # bins of the histogram, from the smallest to the largest weight of the layer
TOP_SHARE = 0.1  # share of the principal components whose energy counts; at least one component does
MIN_TAIL = 10  # the fewest eigenvalues, of a spectrum and of its tail, that an exponent is stated of
OVERFIT, UNDERFIT = 2.0, 6.0  # exponents outside which the study, after WeightWatcher, sees a risk

FitStatus = Literal["ok", "too few eigenvalues", "poor fit"]
Kernels = Literal["rows", "slices"]

# what each way of reading a kernel means, for output of every kind
KERNELS: dict[Kernels, str] = {
    "rows": "a kernel is one matrix with a row for each output, (out, in × height × width)",
    "slices": "a kernel is height × width matrices (out, in) whose eigenvalues are pooled, as WeightWatcher has it",
}

_NonNegative = Annotated[float, Field(ge=0)]


class TailFit(Frozen):
    """The power law p(λ) ∝ λ^−α that was fitted to the tail of a spectrum.

    Attributes:
        status: ``too few eigenvalues`` where the spectrum, or the tail that fits best, holds fewer than ``MIN_TAIL``;
            ``poor fit`` where the tail is not that of a power law by Lilliefors' test at 5 %.
        eigenvalues: Number of eigenvalues of the spectrum.
        exponent: α of the tail that fits best, whatever the status; None where there is nothing to fit.
        tail: Number of eigenvalues of that tail.
        distance: Kolmogorov–Smirnov distance between that tail and its law.
    """

    status: FitStatus
    eigenvalues: Annotated[int, Field(ge=0)]
    exponent: Annotated[float, Field(gt=1)] | None = None
    tail: Positive | None = None
    distance: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> TailFit:
        if len({self.exponent is None, self.tail is None, self.distance is None}) > 1:
            raise ValueError("exponent, tail and distance go together")
        if self.exponent is None and self.status != "too few eigenvalues":
            raise ValueError(f"a fit that is {self.status!r} must say its exponent")
        if self.tail is not None and self.tail > self.eigenvalues:
            raise ValueError(f"a tail of {self.tail} is longer than its spectrum of {self.eigenvalues}")
        return self


class LayerPattern(Frozen):
    """The numbers of one weight matrix.

    Attributes:
        name: Name of the tensor.
        entropy: −Σ p log p of the histogram of its weights, in nats.
        norm: ‖w‖₂ over all its weights.
        energy: Share of the variance over rows that the first tenth of the principal components holds; None where the
            rows are all alike.
        alpha: Exponent of the power law that the tail of the spectrum of WᵀW follows. None unless the fit is ``ok``; in
            records that hold no fit, None with fewer than ten eigenvalues.
        stable_rank: Σλ / max λ of the spectrum of WᵀW; None where all weights are 0, and in older records.
        fit: The fit that ``alpha`` is of; None in older records.
    """

    name: Annotated[Printable, Field(min_length=1, max_length=300)]
    entropy: _NonNegative
    norm: _NonNegative
    energy: Annotated[float, Field(ge=0, le=1)] | None
    alpha: Annotated[float, Field(gt=1)] | None
    stable_rank: Annotated[float, Field(ge=1)] | None = later(None)
    fit: TailFit | None = later(None)

    @model_validator(mode="after")
    def _fitted(self) -> LayerPattern:
        if self.fit is not None and self.alpha != (self.fit.exponent if self.fit.status == "ok" else None):
            raise ValueError(f"{self.name}: alpha is {self.alpha}, which is not what its fit says")
        return self


class WeightPatterns(Frozen):
    """The patterns of a network's weights, layer by layer in the order of the network.

    Attributes:
        bins: Bins of the histogram of the entropy.
        top_share: Share of the principal components whose energy counts.
        kernels: How a convolution's kernel becomes a matrix: see ``KERNELS``.
        tail_rule: How the tail was chosen among those that begin at an eigenvalue. ``powerlaw``: the smallest
            max |F(λ_i) − i/n| over all tails of two or more, as the packages powerlaw and WeightWatcher have it.
            ``both_sides``: the smallest Kolmogorov–Smirnov distance over tails of ten or more, as in older records.
    """

    version: Literal[1] = 1
    bins: int = Field(default=BINS, ge=2)
    top_share: float = Field(default=TOP_SHARE, gt=0, le=1)
    kernels: Kernels = later("rows")
    tail_rule: Literal["both_sides", "powerlaw"] = later("both_sides")
    layers: Annotated[list[LayerPattern], Field(max_length=5000)]


class Sharpness(Frozen):
    """The largest eigenvalue of the Hessian of the training loss on a fixed batch.

    Attributes:
        value: The eigenvalue of largest absolute value that the power iteration ended at.
        iterations: Iterations, each of one product of the Hessian with a vector.
        converged: Whether the last iteration changed the value by no more than ``tolerance`` of it.
        tolerance: That share.
        images: Images of the batch: the first ones of the training split, without augmentation.
    """

    value: float
    iterations: Positive
    converged: bool
    tolerance: Annotated[float, Field(gt=0, lt=1)]
    images: Positive


class Inspection(Frozen):
    """What the weights were like at one step of training; measuring it does not change the run.

    Attributes:
        step: Steps that had been done.
        share: The share of training that was asked for, of which ``step`` is the first step at or after it.
        patterns: Patterns of the weights that are trained (not of an average of them).
        sharpness: None where the network's second derivative could not be taken; ``reason`` then says why.
        reason: Why there is no sharpness.
        pattern_seconds: Time that the patterns took, in seconds; like the next, it is not part of ``train_seconds``.
        sharpness_seconds: Time that the sharpness took, in seconds.
    """

    step: Positive
    share: Annotated[float, Field(gt=0, le=1)]
    patterns: WeightPatterns
    sharpness: Sharpness | None = None
    reason: Annotated[Printable, Field(max_length=300)] | None = None
    pattern_seconds: _NonNegative
    sharpness_seconds: _NonNegative

    @model_validator(mode="after")
    def _explained(self) -> Inspection:
        if (self.sharpness is None) != (self.reason is not None):
            raise ValueError("an inspection holds its sharpness, or the reason why there is none")
        return self
