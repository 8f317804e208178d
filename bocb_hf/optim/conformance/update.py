"""Checks of the arithmetic: the equations, the paths, the state, the groups, and gradients of every size."""

from __future__ import annotations

import copy
import importlib
import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from bocb_hf.errors import InputError
from bocb_hf.optim.conformance import bench as cb
from bocb_hf.optim.conformance.bench import Bench, NotApplicable, Unchecked, make_bench, require, run_noise, start
from bocb_hf.optim.conformance.reference import Array, Case, Gradient, Reference
from bocb_hf.optim.references import references
from bocb_hf.optim.resolve import resolve_hyperparameters
from bocb_hf.optim.row import OptimizerRow
from bocb_hf.schema import Scalar

STEPS = 24  # so many steps hold two estimates of a Hessian and two eigenbases


def update(row: OptimizerRow) -> str:
    """The update equals the reference that the row names, or that this package has for it."""
    if row.reference is not None:
        module, _, function = row.reference.partition(":")
        return compare_with_reference(row, getattr(importlib.import_module(module), function), row.tolerance, cb.SMALL)
    own = references().get(row.id)
    if own is None:
        raise Unchecked("the row names no reference, so that nothing says whether its equations are the paper's")
    return compare_with_reference(row, *own, cb.SMALL)


def compare_with_reference(
    row: OptimizerRow,
    reference: Reference,
    tolerance: float,
    shapes: Mapping[str, tuple[int, ...]],
    hyperparameters: Mapping[str, Scalar] | None = None,
) -> str:
    """Runs optimizer and reference over the same gradients, with and without decay, under a falling learning rate.

    Args:
        row: The row of the optimizer.
        reference: The independent update of that optimizer.
        tolerance: Largest deviation over the largest distance moved.
        shapes: Shapes of the tensors, by name.
        hyperparameters: Hyper-parameters that replace the row's defaults.

    Returns:
        The deviations that were found.

    Raises:
        NonConformance: A deviation above the tolerance.
    """
    lr, tensors, worst = row.centre("default").lr, start(shapes), 0.0

    def schedule(t: int) -> float:
        return lr * (1 - 0.5 * (t - 1) / STEPS)

    for decay, kind in ((0.0, "plain"), (0.1, "plain"), (0.1, "rows"), (0.1, "tensor")):
        bench = make_bench(row, tensors, weight_decay=decay, lr=lr, hyperparameters=hyperparameters)
        gradient, hessian_gradient = _gradient(kind, 0), _gradient(kind, 100)

        def fill(bench: Bench, gradient: Gradient) -> None:
            values = [p.detach().numpy() for p in bench.parameters.values()]
            for p, g in zip(bench.parameters.values(), gradient(values, bench.steps + 1), strict=True):
                p.grad = torch.from_numpy(g)

        for t in range(1, STEPS + 1):
            for group in bench.optimizer.param_groups:
                group["lr"] = schedule(t)
            bench.step(partial(fill, bench, gradient), partial(fill, bench, hessian_gradient))
        case = Case(
            start=[v.numpy() for v in tensors.values()],
            decays=[decay if v.ndim > 1 else 0.0 for v in tensors.values()],
            matrices=[v.ndim > 1 for v in tensors.values()],
            gradient=gradient,
            hessian_gradient=hessian_gradient,
            batch_size=cb.BATCH_SIZE,
            lr=schedule,
            base_lr=lr,
            steps=STEPS,
            h=row.hyperparameters(**{**row.checked_with, **(hyperparameters or {})}),
        )
        expected = reference(case)
        deviations = [_deviation(bench, expected.trained, case)]
        if expected.evaluated is not None:
            cast(Any, bench.optimizer).eval()
            deviations.append(_deviation(bench, expected.evaluated, case))
        for found in deviations:
            if not found <= tolerance:  # the comparison is negated so that NaN fails
                raise cb.NonConformance(
                    f"{kind} gradients with decay {decay}: deviates by {found:.2g} of the distance moved; stated is "
                    f"{tolerance:.0e}"
                )
        worst = max(worst, *deviations)
    return f"{STEPS} steps with and without decay within {worst:.1e} of the distance moved (stated: {tolerance:.0e})"


def _gradient(kind: str, purpose: int) -> Gradient:
    """Returns gradients of a slope and noise: ``plain``, or without their part along each row or all of a tensor.

    Gradients without such a part are those of scale-invariant weights, which some optimizers look for.
    """

    def at(values: Sequence[Array], t: int) -> list[Array]:
        grads: list[Array] = []
        for i, value in enumerate(values):
            grad = cb.noise(value.shape, t, purpose + i).numpy() + 0.5 * value
            if kind != "plain" and value.ndim > 1:
                rows = value.reshape(value.shape[0] if kind == "rows" else 1, -1)
                flat = grad.reshape(rows.shape)
                along = (flat * rows).sum(1, keepdims=True) / (rows * rows).sum(1, keepdims=True)
                grad = (flat - along * rows).reshape(value.shape)
            grads.append(grad)
        return grads

    return at


def _deviation(bench: Bench, expected: list[Any], case: Case) -> float:
    found = [p.detach().numpy() for p in bench.parameters.values()]
    away = max(np.abs(f - e).max() for f, e in zip(found, expected, strict=True))
    return float(away / max(np.abs(e - s).max() for e, s in zip(expected, case.start, strict=True)))


def hyperparameters(row: OptimizerRow) -> str:
    """Every hyper-parameter changes the update, and an unknown one raises."""
    # this holds hyper-parameters that are left out at their default, too
    defaults = dict(row.hyperparameters(**row.checked_with))
    tensors = start(cb.SMALL)

    def run(**changes: Scalar) -> dict[str, Tensor]:
        # half of the centre, so that leaving the learning rate out of a formula shows even where the centre is 1
        lr = row.centre("default").lr / 2
        bench = make_bench(row, tensors, weight_decay=0.1, lr=lr, hyperparameters=changes)

        def fill() -> None:
            cb.fill_noise(bench)()
            tensor = bench.parameters["convolution"]
            assert tensor.grad is not None
            # a gradient as that of a scale-invariant weight, which some optimizers treat in their own way
            tensor.grad -= (tensor.grad * tensor).sum() / tensor.square().sum() * tensor.detach()

        for _ in range(STEPS):
            with torch.no_grad():
                bench.step(fill)
        values = bench.values()
        if "train_eval" in row.needs:  # a hyper-parameter may change nothing but the weights that are evaluated
            cast(Any, bench.optimizer).eval()
            values |= {f"evaluated {name}": value for name, value in bench.values().items()}
        return values

    base = run()
    for name, value in defaults.items():
        changed = _other(value, row.hyperparameters.model_fields[name].annotation)
        result = run(**{name: changed})
        require(
            any(not torch.equal(result[k], base[k]) for k in base),
            f"{name}={changed} gives the update of {name}={value}",
        )
    try:
        resolve_hyperparameters(row, {"no_such_hyperparameter": 1.0})
    except InputError:
        return f"{len(defaults)} reach the update; an unknown one raises"
    raise cb.NonConformance("an unknown hyper-parameter was dropped in silence")


def _other(value: Scalar, annotation: Any) -> Scalar:
    """Returns another value that the annotation of a hyper-parameter allows."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return 2 if value != 2 else 3
    if isinstance(value, str):
        return next(other for other in get_args(annotation) if other != value)
    return 0.25 if value == 0.5 else 0.5


def paths(row: OptimizerRow) -> str:
    """foreach and fused give what the single-tensor loop gives."""
    keys = make_bench(row, start(cb.SMALL)).optimizer.param_groups[0].keys()
    offered = [key for key in ("foreach", "fused") if key in keys]
    built_fused = any(g.get("fused") for g in make_bench(row, start(cb.SMALL)).optimizer.param_groups)
    if not built_fused:
        offered = [key for key in offered if key != "fused"]
    if not offered:
        raise NotApplicable("the implementation has one path only")
    results: dict[str, dict[str, Tensor]] = {}
    for path in ("loop", *offered):
        bench = make_bench(row, start(cb.SMALL), weight_decay=0.1)
        for group in bench.optimizer.param_groups:
            group |= {key: key == path for key in ("foreach", "fused") if key in group}
        results[path] = run_noise(bench, STEPS)
    worst = max(
        float((results[path][k] - results["loop"][k]).abs().max() / (results["loop"][k] - v).abs().max())
        for path in offered
        for k, v in start(cb.SMALL).items()
    )
    require(worst <= 1e-9, f"{' and '.join(offered)} deviate from the loop by {worst:.2g} of the distance moved")
    return f"{' and '.join(offered)} within {worst:.1e} of the loop"


def resume(row: OptimizerRow) -> str:
    """A state dictionary that was saved and loaded continues to the same bits."""
    tensors = start(cb.SMALL, torch.float32)
    whole = make_bench(row, tensors, weight_decay=0.1)
    for stop in (1, 7, 13):
        while whole.steps < stop:
            run_noise(whole, 1)
        buffer = io.BytesIO()
        torch.save(whole.optimizer.state_dict(), buffer)
        continued = make_bench(row, whole.values(), weight_decay=0.1)
        buffer.seek(0)
        continued.optimizer.load_state_dict(torch.load(buffer, weights_only=True))
        continued.steps = whole.steps
        reference = copy.deepcopy(whole.values())
        a, b = run_noise(continued, 3), run_noise(whole, 3)
        require(any(not torch.equal(reference[k], b[k]) for k in b), "nothing moved")
        for name in a:
            require(torch.equal(a[name], b[name]), f"{name} differs after a resume at step {stop}")
    return "bit-identical after resumes at steps 1, 7 and 13"


def group_decay(row: OptimizerRow) -> str:
    """Decay acts on its group and leaves the exempt one alone."""
    tensors = start(cb.SMALL)
    without, strong = (run_noise(make_bench(row, tensors, weight_decay=wd), 8, slope=0.0) for wd in (0.0, 0.3))
    for name in ("matrix", "convolution"):
        require(not torch.equal(without[name], strong[name]), f"weight decay leaves the {name} as it is")
    require(torch.equal(without["vector"], strong["vector"]), "weight decay reaches the exempt vector")
    return "decay moves its own group only"


def group_lr(row: OptimizerRow) -> str:
    """Each group has its own learning rate."""
    if "training.layer_decay" in row.refuses:
        raise NotApplicable("all groups have one learning rate, for training.layer_decay is refused")
    tensors = start(cb.SMALL)

    def run(factor: float) -> dict[str, Tensor]:
        bench = make_bench(row, tensors, weight_decay=0.0)
        narrow = {id(p) for p in bench.parameters.values() if p.ndim == 1}
        for group in bench.optimizer.param_groups:
            if any(id(p) in narrow for p in group["params"]):
                group["lr"] *= factor
        return run_noise(bench, 8, slope=0.0)

    plain, changed = run(1.0), run(3.0)
    require(not torch.equal(plain["vector"], changed["vector"]), "a group's own learning rate is not used")
    require(torch.equal(plain["matrix"], changed["matrix"]), "a group's learning rate acts on another group")
    return "each group moves by its own rate"


def lr_change(row: OptimizerRow) -> str:
    """A learning rate that changes between steps acts at once."""
    ends: list[dict[str, Tensor]] = []
    for factor in (1.0, 0.1):
        bench = make_bench(row, start(cb.SMALL), weight_decay=0.0)
        run_noise(bench, 5, slope=0.0)
        for group in bench.optimizer.param_groups:
            group["lr"] *= factor
        ends.append(run_noise(bench, 1, slope=0.0))
    require(all(not torch.equal(ends[0][k], ends[1][k]) for k in ends[0]), "a changed learning rate does not act")
    return "acts in the next step"


def add_group(row: OptimizerRow) -> str:
    """A group that is added later is trained."""
    if "matrix_split" in row.needs:
        raise NotApplicable("a later group would have to say whether it holds matrices")
    bench = make_bench(row, start(cb.SMALL), weight_decay=0.1)
    run_noise(bench, 2)
    late = nn.Parameter(torch.ones(3, dtype=torch.float64))
    bench.optimizer.add_param_group({"params": [late], "weight_decay": 0.0})
    bench.parameters["late"] = late
    run_noise(bench, 3)
    require(bool((late != 1).any()), "a group that is added later does not move")
    return "a later group moves"


def memory(row: OptimizerRow) -> str:
    """The state is as large as the row says."""
    bench = make_bench(row, {"matrix": torch.randn(64, 64)}, hyperparameters=dict(row.hyperparameters()))
    run_noise(bench, 2)
    found = cb.state_numbers(bench.optimizer.state[bench.parameters["matrix"]]) / 64**2
    require(
        found == row.state_floats,
        f"{found:g} numbers a parameter of a 64 × 64 matrix; the row says {row.state_floats:g}",
    )
    return f"{found:g} numbers a parameter"


def gradient_sizes(row: OptimizerRow) -> str:
    """Zero gradients move nothing, tiny ones stay finite, huge ones do not raise."""
    tensors = start(cb.SMALL, torch.float32)
    outcomes: list[str] = []
    for name, scale in (("zero", 0.0), ("tiny", 1e-30), ("huge", 1e30)):
        bench = make_bench(row, tensors, weight_decay=0.0)
        for _ in range(4):
            bench.step(cb.fill_noise(bench, scale=scale))
        values = bench.values()
        finite = all(bool(v.isfinite().all()) for v in values.values())
        if name == "zero":
            require(all(torch.equal(values[k], tensors[k]) for k in values), "a zero gradient moves parameters")
        elif name == "tiny":
            require(finite, "gradients of 1e-30 give values that are not finite")
        outcomes.append(f"{name} {'finite' if finite else 'not finite, visibly'}")
    return "; ".join(outcomes)


def gradient_nan(row: OptimizerRow) -> str:
    """A NaN shows in its own tensor or its state; other tensors go on as if it had not been, or show it too."""
    tensors = start(cb.SMALL, torch.float32)
    benches: list[Bench] = []
    for spoiled in (False, True):
        bench = make_bench(row, tensors, weight_decay=0.0)

        def fill(bench: Bench = bench, spoiled: bool = spoiled) -> None:
            cb.fill_noise(bench, slope=0.0)()
            grad = bench.parameters["matrix"].grad
            if spoiled and bench.steps == 2 and grad is not None:
                grad[1, 1] = torch.nan

        for _ in range(5):
            bench.step(fill)
        benches.append(bench)
    clean, found = (bench.values() for bench in benches)
    state = benches[1].optimizer.state[benches[1].parameters["matrix"]].values()
    where = "its tensor" if not found["matrix"].isfinite().all() else "the state of its tensor"
    if where != "its tensor":
        seen = any(isinstance(v, Tensor) and not v.isfinite().all() for v in state)
        require(seen, "a NaN in a gradient is swallowed: its own tensor and its state stay finite")
    for name in ("vector", "convolution"):
        same, shown = torch.equal(clean[name], found[name]), not found[name].isfinite().all()
        require(same or bool(shown), f"a NaN in the matrix's gradient changes the {name} to other finite values")
    return f"NaN shows in {where}; others are as without it or show it too"


def unused(row: OptimizerRow) -> str:
    """Parameters without a gradient keep their bits, decay or not."""
    bench = make_bench(row, start(cb.SMALL), weight_decay=0.1)
    before = bench.values()

    def fill() -> None:
        cb.fill_noise(bench)()
        bench.parameters["convolution"].grad = None

    for _ in range(4):
        bench.step(fill)
    after = bench.values()
    require(torch.equal(before["convolution"], after["convolution"]), "a parameter without a gradient was moved")
    require(not torch.equal(before["matrix"], after["matrix"]), "nothing moved")
    return "parameters without a gradient keep their bits"


def precision(row: OptimizerRow) -> str:
    """Parameters in bfloat16 train, stay bfloat16 and follow those in float32."""
    ends = {}
    for dtype in (torch.float32, torch.bfloat16):
        bench = make_bench(row, {k: v.bfloat16().to(dtype) for k, v in start(cb.SMALL).items()}, weight_decay=0.0)
        ends[dtype] = run_noise(bench, 6)
    low, full = ends[torch.bfloat16], ends[torch.float32]
    for name, value in low.items():
        require(value.dtype == torch.bfloat16, f"the {name} is {value.dtype} after training in bfloat16")
        require(bool(value.isfinite().all()), f"the {name} is not finite in bfloat16")
    away = max(float((low[k].float() - full[k]).abs().max() / full[k].abs().max()) for k in low)
    require(away <= 0.25, f"bfloat16 ends {away:.2g} of the weights' size away from float32")
    return f"bfloat16 ends within {away:.1e} of the weights' size from float32"
