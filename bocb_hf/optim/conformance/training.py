"""Checks of training: problems that must go down, accelerate against the plain loop, the weights that are evaluated."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from torch import Tensor, nn
from torch.nn import functional

from bocb_hf.optim.conformance import bench as cb
from bocb_hf.optim.conformance.bench import Bench, NotApplicable, make_bench, make_optimizer, require
from bocb_hf.optim.protocols import AveragingOptimizer, evaluation_weights, sampled_label_loss
from bocb_hf.optim.row import OptimizerRow

# A grid's centre is meant for networks; on a toy the rate may be off by orders of magnitude.
_FACTORS = (1.0, 10.0, 0.1, 100.0, 0.01, 0.001)


def _goes_down(row: OptimizerRow, first: Tensor, loss_of: Callable[[Tensor], Tensor], steps: int) -> str:
    """Minimises a function of one matrix to half of its value at some learning rate within the factors."""
    before = float(loss_of(first))
    best = before
    for factor in _FACTORS:
        bench = make_bench(row, {"matrix": first}, weight_decay=0.0, lr=row.centre("default").lr * factor)
        matrix = bench.parameters["matrix"]

        def fill(matrix: nn.Parameter = matrix) -> None:
            matrix.grad = None
            with torch.enable_grad():
                loss_of(matrix).backward()

        for _ in range(steps):
            bench.step(fill)
        if "train_eval" in row.needs:
            cast(Any, bench.optimizer).eval()
        after = float(loss_of(matrix.detach()))
        if after < 0.5 * before:
            return f"from {before:.3g} to {after:.3g} in {steps} steps at {factor:g} times the grid's centre"
        best = min(best, after)
    raise cb.NonConformance(f"from {before:.3g} to {best:.3g} at best in {steps} steps at any learning rate")


def quadratic(row: OptimizerRow) -> str:
    """An ill-conditioned quadratic halves."""
    curvature = torch.logspace(-1, 0.5, 12, dtype=torch.float64).view(4, 3)
    first = cb.start({"matrix": (4, 3)})["matrix"] + 2
    return _goes_down(row, first, lambda w: (curvature * (w - 1).square()).sum() / 2, 60)


def rosenbrock(row: OptimizerRow) -> str:
    """Rosenbrock's function over four pairs halves."""
    first = torch.tensor([[-1.2, 1.0]] * 4, dtype=torch.float64) + 0.1 * cb.start({"matrix": (4, 2)})["matrix"]
    return _goes_down(
        row, first, lambda w: (100 * (w[:, 1] - w[:, 0] ** 2).square() + (1 - w[:, 0]).square()).sum(), 60
    )


class _Net(nn.Module):
    """A convolution, batch norm and two linear layers; ``norm=False`` leaves batch norm out, for micro-batches."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(1, 8, 3, stride=2)
        self.norm = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.hidden = nn.Linear(72, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (B, 1, 8, 8) to logits (B, 10)."""
        return self.head(self.hidden(self.norm(self.convolution(images)).relu().flatten(1)).relu())


def _digits() -> tuple[Tensor, Tensor]:
    """Returns the 1,797 handwritten digits that come with scikit-learn: (N, 1, 8, 8) in 0..1, and labels (N,)."""
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    return torch.from_numpy(data.images).float()[:, None] / 16, torch.from_numpy(data.target)


def network(row: OptimizerRow) -> str:
    """A small network on real digits learns."""
    images, labels = _digits()
    best = float("inf")
    for factor in _FACTORS[:4]:
        net = _Net(norm=True)
        optimizer = make_optimizer(row, dict(net.named_parameters()), lr=row.centre("default").lr * factor)
        bench = Bench(row, dict(net.named_parameters()), optimizer)
        losses: list[float] = []

        def fill_hessian(net: _Net = net, bench: Bench = bench) -> None:
            part = slice(64 * (bench.steps % 28), 64 * (bench.steps % 28) + 64)
            draws = torch.rand(64, generator=torch.Generator().manual_seed(bench.steps))
            sampled_label_loss(net(images[part]), draws).backward()

        def fill(net: _Net = net, bench: Bench = bench, losses: list[float] = losses) -> None:
            part = slice(64 * (bench.steps % 28), 64 * (bench.steps % 28) + 64)
            net.zero_grad()
            with torch.enable_grad():
                loss = functional.cross_entropy(net(images[part]), labels[part])
                loss.backward()
            losses.append(float(loss.detach()))

        for _ in range(40):
            bench.step(fill, fill_hessian)
        before, after = losses[0], sum(losses[-5:]) / 5
        if after < 0.8 * before:
            return f"loss from {before:.2f} to {after:.2f} in 40 steps at {factor:g} times the grid's centre"
        best = min(best, after)
    raise cb.NonConformance(f"the loss goes from {before:.2f} to {best:.2f} at best in 40 steps")


def _train(row: OptimizerRow, parts: int, accelerated: bool) -> dict[str, Tensor]:
    """Takes twelve steps in float64 on batches of 32 digits, in so many micro-batches, with or without accelerate."""
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=parts) if accelerated else None
    try:
        return _train_with(row, parts, accelerator)
    finally:
        # the whole process shares the state of an Accelerator; runs before and after this one must not see it
        AcceleratorState._reset_state(reset_partial_state=False)
        GradientState._reset_state()


def _train_with(row: OptimizerRow, parts: int, accelerator: Accelerator | None) -> dict[str, Tensor]:
    images, labels = _digits()
    net = _Net(norm=False).double()
    optimizer: Any = make_optimizer(row, dict(net.named_parameters()))
    inner = optimizer
    network: nn.Module = net
    if accelerator is not None:
        network, optimizer = accelerator.prepare(net, optimizer)

    def backward(step: int, part: int) -> None:
        size = 32 // parts
        rows = slice(32 * step + part * size, 32 * step + (part + 1) * size)
        with torch.enable_grad():
            loss = functional.cross_entropy(network(images[rows].double()), labels[rows])
            if accelerator is None:
                (loss / parts).backward()
            else:
                accelerator.backward(loss)

    def whole(step: int) -> None:
        optimizer.zero_grad()
        for part in range(parts):
            backward(step, part)

    for step in range(12):
        if "hessian" in row.needs and step % inner.hessian_interval == 0:
            whole(step)
            inner.update_hessian(32)
            inner.zero_grad()
        for part in range(parts):
            with accelerator.accumulate(network) if accelerator else nullcontext():
                backward(step, part)
                if accelerator is not None or part == parts - 1:
                    optimizer.step(partial(whole, step) if "closure" in row.needs else None)
                    optimizer.zero_grad()
    return {name: p.detach().clone() for name, p in net.named_parameters()}


def accelerate(row: OptimizerRow) -> str:
    """An optimizer that accelerate has prepared gives the bits of the plain loop."""
    plain, prepared = _train(row, 1, False), _train(row, 1, True)
    for name, value in plain.items():
        require(torch.equal(value, prepared[name]), f"{name} differs once accelerate has prepared the optimizer")
    return "the plain loop's bits"


def accumulation(row: OptimizerRow) -> str:
    """Two micro-batches of accelerate give the step of the whole batch, up to rounding in float64."""
    plain, parts = _train(row, 1, False), _train(row, 2, True)
    away = max(float((parts[k] - v).abs().max() / v.abs().max()) for k, v in plain.items())
    require(away <= 1e-6, f"two micro-batches end {away:.2g} of the weights' size away from the whole batch")
    return f"two micro-batches end within {away:.1e} of the weights' size"


def evaluated_weights(row: OptimizerRow) -> str:
    """Evaluation sees other weights than training, and training goes on as if it had never been evaluated."""
    if "train_eval" not in row.needs:
        raise NotApplicable("it evaluates the weights that it trains")
    ends: list[dict[str, Tensor]] = []
    for evaluates in (False, True):
        net = _Net(norm=True)
        bench = Bench(row, dict(net.named_parameters()), make_optimizer(row, dict(net.named_parameters())))
        cb.run_noise(bench, 4)
        if evaluates:
            trained = bench.values()
            # the context asks for no more than these two switches
            with evaluation_weights(cast(AveragingOptimizer, bench.optimizer), net, lambda: [_digits()[0][:64]]):
                seen = bench.values()
            require(
                not torch.equal(seen["head.weight"], trained["head.weight"]), "evaluation sees the training weights"
            )
        ends.append(cb.run_noise(bench, 4))
    for name in ends[0]:
        require(torch.equal(ends[0][name], ends[1][name]), f"{name} depends on whether it was evaluated on the way")
    return "evaluation sees the average, and training does not notice"
