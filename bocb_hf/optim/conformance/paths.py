"""Checks of what lets an optimizer run elsewhere: on shards of its parameters, and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from bocb_hf.optim.compiled import compile_step, set_lr
from bocb_hf.optim.conformance import bench as cb
from bocb_hf.optim.conformance.bench import Bench, NotApplicable, make_bench, require, start
from bocb_hf.optim.row import OptimizerRow

# Largest deviations as shares of the distance moved, in float64 and in float32.
ROUNDING = 1e-10
COMPILED_TOLERANCE = 1e-4
MOST_GRAPHS = 4


def elementwise(row: OptimizerRow) -> str:
    """An optimizer that is called element-wise moves a part of the tensors as it moves that part among all of them."""
    whole = start(cb.WIDE)
    parts = {name: tensor[: len(tensor) // 2 + 1] for name, tensor in whole.items()}
    together, alone = (make_bench(row, tensors, weight_decay=0.1) for tensors in (whole, parts))

    def fill(bench: Bench, invariant: bool) -> Callable[[], None]:
        def gradients() -> None:
            for i, (name, parameter) in enumerate(bench.parameters.items()):
                # gradients have one sign on average, so that an optimizer which estimates distances sees a distance
                grad, value = cb.noise(whole[name].shape, bench.steps, i) + 1, whole[name]
                # a gradient as that of a scale-invariant weight, which some optimizers treat in their own way
                if invariant:
                    grad = grad - (grad * value).sum() / value.square().sum() * value
                parameter.grad = grad[: len(parameter)]

        return gradients

    for invariant in (False, True):
        for _ in range(5):
            for bench in (together, alone):
                bench.step(fill(bench, invariant))
    all_values = together.values()
    apart = max(float((all_values[n][: len(v)] - v).abs().max()) for n, v in alone.values().items())
    moved = max(float((value - whole[name]).abs().max()) for name, value in all_values.items())
    same = apart <= ROUNDING * moved
    if not row.elementwise:
        found = "no difference shows in these steps" if same else "parts of the tensors move in another way"
        return f"the row does not say that it is element-wise; {found}"
    require(same, f"the row says element-wise, but parts deviate by {apart / moved:.1g} of the distance moved")
    return f"parts of the tensors move as among the whole, within {apart / moved:.1e} of the distance moved"


def compiled(row: OptimizerRow) -> str:
    """A compiled step is the same step, and a new learning rate does not compile it anew."""
    if not row.compiles:
        raise NotApplicable("the row says that its step does not compile")
    graphs = 0

    def backend(graph: Any, _: Any) -> Any:
        nonlocal graphs
        graphs += 1
        return graph.forward

    torch.compiler.reset()
    plain, other = (make_bench(row, start(cb.SMALL, torch.float32), weight_decay=0.1) for _ in range(2))
    compile_step(other.optimizer, row, backend)
    early = 0
    for step in range(12):
        early = graphs if step == 7 else early
        for bench in (plain, other):
            for group in bench.optimizer.param_groups:
                set_lr(group, row.centre("default").lr * (1 - step / 20), compiled=bench is other)
            bench.step(cb.fill_noise(bench))
    torch.compiler.reset()
    pairs = [(v, other.values()[name]) for name, v in plain.values().items()]
    first = start(cb.SMALL, torch.float32)
    moved = max(float((v - first[name]).abs().max()) for name, v in plain.values().items())
    apart = max(float((a - b).abs().max()) for a, b in pairs)
    require(0 < graphs <= MOST_GRAPHS, f"{graphs} graphs; a step that is taken whole needs 1 to {MOST_GRAPHS}")
    require(graphs == early, f"{graphs - early} more graphs after the seventh step")
    require(apart <= COMPILED_TOLERANCE * moved, f"deviates by {apart / moved:.1g} of the distance moved")
    return f"{graphs} graphs, all by the seventh step; within {apart / moved:.1e} of the distance moved"
