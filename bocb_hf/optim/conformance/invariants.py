"""Checks that need no reference: what every optimizer does, whatever its equations are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bocb_hf.optim.build import build_optimizer
from bocb_hf.optim.conformance import bench as cb
from bocb_hf.optim.conformance.bench import Bench, NotApplicable, make_bench, require, start
from bocb_hf.optim.param_groups import ParamGroups
from bocb_hf.optim.resolve import resolve_row
from bocb_hf.optim.row import OptimizerRow

NOISE_STEPS = 200
# share of the stated shrinkage; a momentum of 0.95 that takes in the decay needs 20 steps to fill
DECAY_TOLERANCE = 0.3
GROWTH_STEPS = 500
SIZE_STEPS = 100
LARGEST_GROWTH = 10.0  # largest ratio of the last steps' size to that of the first steps, at a constant learning rate


def _fixed(bench: Bench, towards: float = 0.0) -> Callable[[], None]:
    """Returns a function that sets gradients of noise, plus ``towards`` times the first values of the parameters.

    The gradients do not depend on where the parameters are, so two runs with different decay see the same gradients.
    """
    first = start({name: tuple(p.shape) for name, p in bench.parameters.items()})

    def fill() -> None:
        for i, (name, p) in enumerate(bench.parameters.items()):
            # the gradient has the memory layout of the parameter, as autograd leaves it
            p.grad = torch.empty_like(p).copy_(cb.noise(p.shape, bench.steps, i) + towards * first[name])

    return fill


def _distances(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float((after[name] - value).norm()) for name, value in before.items()}


def decay(row: OptimizerRow) -> str:
    """Weight decay makes weights smaller, and a decoupled one by as much as the row says."""
    sized = row.decay == "decoupled" and row.shrinkage is not None
    lr, first = row.centre("default").lr, start({"matrix": (4, 3), "convolution": (4, 3, 2, 2)})
    if not sized:
        with_decay, without = (make_bench(row, first, weight_decay=wd) for wd in (10.0, 0.0))
        for bench in (with_decay, without):
            for _ in range(50):
                bench.step(_fixed(bench))
        for name, value in with_decay.values().items():
            small, large = float(value.norm()), float(without.values()[name].norm())
            require(small < large, f"the {name} ends at norm {small:.4g} with decay and at {large:.4g} without")
        return "decay makes the weights smaller; how much depends on their gradients"
    share = row.shrinkage or 0.0
    weight_decay = 0.3 / (NOISE_STEPS * lr * share)
    with_decay, without = (make_bench(row, first, weight_decay=wd) for wd in (weight_decay, 0.0))
    expected = without.values()
    for _ in range(NOISE_STEPS):
        before = without.values()
        for bench in (with_decay, without):
            bench.step(_fixed(bench, towards=0.5))
        # the same steps are applied to weights that shrink as stated
        moved = {name: value - before[name] for name, value in without.values().items()}
        expected = {name: value * (1 - lr * weight_decay * share) + moved[name] for name, value in expected.items()}
    found: list[float] = []
    for name, value in with_decay.values().items():
        stated, seen = expected[name] - without.values()[name], value - without.values()[name]
        found.append(float((stated * seen).sum() / stated.square().sum()))
        require(
            abs(found[-1] - 1) <= DECAY_TOLERANCE,
            f"decay moves the {name} by {found[-1]:.2f} of what lr × weight decay × {share:g} a step would",
        )
    return f"decay shrinks weights by {min(found):.2f} to {max(found):.2f} of lr × weight decay × {share:g} a step"


def gradient_kept(row: OptimizerRow) -> str:
    """A step leaves the gradients as they were, for whoever looks at them afterwards."""
    if "closure" in row.needs:
        raise NotApplicable("its step takes another gradient")
    bench = make_bench(row, start(cb.SMALL), weight_decay=0.1)
    kept: dict[str, Tensor] = {}

    def fill() -> None:
        cb.fill_noise(bench)()
        kept.update({n: p.grad.clone() for n, p in bench.parameters.items() if p.grad is not None})

    optimizer: Any = bench.optimizer
    for _ in range(3):
        if "hessian" in row.needs:
            fill()
            optimizer.update_hessian(cb.BATCH_SIZE)
        fill()
        optimizer.step()
        bench.steps += 1
        for name, p in bench.parameters.items():
            same = p.grad is not None and torch.equal(p.grad, kept[name])
            require(same, f"the step changes the gradient of the {name}")
    return "gradients keep their bits"


def counter(row: OptimizerRow) -> str:
    """A count of steps in the state rises by one a step."""
    bench = make_bench(row, start(cb.SMALL))
    cb.run_noise(bench, 3)
    before = _counts(bench)
    cb.run_noise(bench, 7)
    after = _counts(bench)
    if not before:
        raise NotApplicable("it counts no steps")
    for where, value in before.items():
        require(after[where] - value == 7, f"{where} went from {value:g} to {after[where]:g} in 7 steps")
    return f"{', '.join(sorted({where.rpartition(' ')[2] for where in before}))}: one a step"


def _counts(bench: Bench) -> dict[str, float]:
    """Reads every single number that is called a step, in the state of a parameter or in a group."""
    found: dict[str, float] = {}
    for name, p in bench.parameters.items():
        state = bench.optimizer.state.get(p, {})
        found |= {f"{name} {key}": float(v) for key, v in state.items() if key in ("step", "steps", "k", "t")}
    for i, group in enumerate(bench.optimizer.param_groups):
        found |= {f"group {i} {key}": float(v) for key, v in group.items() if key in ("step", "steps")}
    return found


def every_step(row: OptimizerRow) -> str:
    """Every step moves every tensor; only the first may do no more than start the averages."""
    bench = make_bench(row, start(cb.SMALL), weight_decay=0.0)
    for step in range(1, 25):
        before = bench.values()
        bench.step(_fixed(bench, towards=1.0))
        for name, value in bench.values().items():
            require(step == 1 or not torch.equal(value, before[name]), f"step {step} does not move the {name}")
    return "24 steps, all of which move every tensor"


def growth(row: OptimizerRow) -> str:
    """Over many steps on noisy slopes that lead to zero, weights stay finite and the state does not grow."""
    tensors = start(cb.SMALL, torch.float32)
    bench = make_bench(row, tensors, weight_decay=0.0)
    cb.run_noise(bench, 3)
    numbers = _numbers(bench)
    largest = max(float(v.abs().max()) for v in cb.run_noise(bench, GROWTH_STEPS - 3).values())
    after = _numbers(bench)
    require(after == numbers, f"its state grows from {numbers} numbers after 3 steps to {after} after {GROWTH_STEPS}")
    bound = 10 * max(float(v.abs().max()) for v in tensors.values())
    # this comparison fails for NaN too
    require(largest <= bound, f"weights grow to {largest:.2g} on slopes that lead to zero")
    return f"{GROWTH_STEPS} steps: weights up to {largest:.2g}, state constant"


def step_size(row: OptimizerRow) -> str:
    """At a constant learning rate and under noise, late steps are not many times as large as early ones."""
    bench = make_bench(row, start(cb.SMALL), weight_decay=0.0)
    fill, sizes = _fixed(bench), list[float]()
    for _ in range(SIZE_STEPS):
        before = bench.values()
        bench.step(fill)
        sizes.append(sum(_distances(before, bench.values()).values()))
    rate = sum(sizes[-5:]) / sum(sizes[:5])
    require(rate <= LARGEST_GROWTH, f"steps are {rate:.3g} times as large after {SIZE_STEPS} steps as at the start")
    return f"after {SIZE_STEPS} steps, steps are {rate:.2g} times those of the start"


def _numbers(bench: Bench) -> int:
    return sum(cb.state_numbers(bench.optimizer.state.get(p, {})) for p in bench.parameters.values())


def lr_scale(row: OptimizerRow) -> str:
    """Layer decay: a group at half the learning rate moves half as far."""
    if "training.layer_decay" in row.refuses:
        raise NotApplicable(f"training.layer_decay is refused: {row.refuses['training.layer_decay']}")
    tensors, scales = start(cb.SMALL), {"matrix": 0.5, "vector": 1.0, "convolution": 0.25}
    ends: list[dict[str, float]] = []
    for factors in ({}, scales):
        parameters = {name: nn.Parameter(t.clone()) for name, t in tensors.items()}
        wide = [(name, p) for name, p in parameters.items() if p.ndim > 1]
        narrow = [(name, p) for name, p in parameters.items() if p.ndim <= 1]
        groups = ParamGroups(wide, narrow, frozenset(name for name, _ in wide), factors)
        resolved = resolve_row(row, "default", weight_decay=0.0, total_steps=cb.RUN_STEPS)
        bench = Bench(row, parameters, build_optimizer(resolved, groups))
        for _ in range(6):
            bench.step(_fixed(bench))
        ends.append(_distances(tensors, bench.values()))
    for name, scale in scales.items():
        share = ends[1][name] / ends[0][name]
        require(abs(share / scale - 1) <= 0.1, f"at {scale:g} of the rate the {name} moves {share:.3g} as far")
    return "a group at a half or a quarter of the rate moves a half or a quarter as far"


def independent(row: OptimizerRow) -> str:
    """Tensors of one shape have a state each: a tensor moves beside another as it moves alone."""
    first = start({"one": (4, 3), "other": (4, 3)})
    both, alone = make_bench(row, first, weight_decay=0.1), make_bench(row, {"one": first["one"]}, weight_decay=0.1)
    for bench in (both, alone):
        for _ in range(6):
            bench.step(_fixed(bench))
    require(torch.equal(both.values()["one"], alone.values()["one"]), "another tensor of its shape changes its steps")
    return "a tensor moves beside another of its shape as it moves alone"


def deterministic(row: OptimizerRow) -> str:
    """Equal gradients give equal bits, whatever else has drawn random numbers."""
    ends: list[dict[str, Tensor]] = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        ends.append(cb.run_noise(make_bench(row, start(cb.SMALL), weight_decay=0.1), 12))
    for name, value in ends[0].items():
        require(torch.equal(value, ends[1][name]), f"two runs over the same gradients differ in the {name}")
    return "two runs over the same gradients give the same bits"


def layout(row: OptimizerRow) -> str:
    """A convolution that lies in memory with its channels last takes the same steps."""
    first = start(cb.SMALL)["convolution"]
    ends: list[Tensor] = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        bench = make_bench(row, {"convolution": first}, weight_decay=0.1)
        parameter = bench.parameters["convolution"]
        parameter.data = parameter.data.to(memory_format=memory_format)
        for _ in range(12):
            bench.step(_fixed(bench))
        ends.append(parameter.detach().clone())
    away = float((ends[0] - ends[1]).abs().max() / (ends[0] - first).abs().max())
    require(away <= 1e-6, f"channels last ends {away:.2g} of the distance moved away")
    return f"channels last ends within {away:.1e} of the distance moved"
