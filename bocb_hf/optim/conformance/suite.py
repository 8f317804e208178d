"""The conformance suite: what every optimizer of the registry must satisfy, plug-ins included.

A check takes a row and returns what it found, or raises ``NonConformance``. It raises ``NotApplicable`` where it asks
for something that the optimizer does not have, and ``Unchecked`` where it could not be run. A row may except itself
from a check with a reason, and is then unchecked too. ``bocb check-optimizer`` runs them all and gives a verdict;
``tests/optim/test_conformance.py`` runs each for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from bocb_hf.errors import InputError
from bocb_hf.optim.conformance import invariants, paths, training, update
from bocb_hf.optim.conformance.bench import NonConformance, NotApplicable, Unchecked
from bocb_hf.optim.row import OptimizerRow

Check = Callable[[OptimizerRow], str]

CHECKS: Mapping[str, Check] = {
    "update": update.update,
    "hyperparameters": update.hyperparameters,
    "paths": update.paths,
    "resume": update.resume,
    "group_decay": update.group_decay,
    "group_lr": update.group_lr,
    "lr_change": update.lr_change,
    "add_group": update.add_group,
    "memory": update.memory,
    "gradient_sizes": update.gradient_sizes,
    "gradient_nan": update.gradient_nan,
    "unused": update.unused,
    "precision": update.precision,
    "decay": invariants.decay,
    "gradient_kept": invariants.gradient_kept,
    "counter": invariants.counter,
    "every_step": invariants.every_step,
    "growth": invariants.growth,
    "step_size": invariants.step_size,
    "lr_scale": invariants.lr_scale,
    "independent": invariants.independent,
    "deterministic": invariants.deterministic,
    "layout": invariants.layout,
    "elementwise": paths.elementwise,
    "compiled": paths.compiled,
    "quadratic": training.quadratic,
    "rosenbrock": training.rosenbrock,
    "network": training.network,
    "accelerate": training.accelerate,
    "accumulation": training.accumulation,
    "evaluated_weights": training.evaluated_weights,
}


@dataclass(frozen=True)
class Outcome:
    """Says how one check ended, and what it found or why it was not run."""

    check: str
    status: Literal["pass", "fail", "not applicable", "unchecked"]
    detail: str


@dataclass(frozen=True)
class Verdict:
    """The verdict over all checks, with the exit status of the command: 0, 1 if one fails, 3 if one was not run."""

    text: str
    exit_status: Literal[0, 1, 3]


def judge(outcomes: Sequence[Outcome]) -> Verdict:
    """Sums up the outcomes of all checks. An optimizer conforms only if everything that applies to it was checked."""
    failed = [o.check for o in outcomes if o.status == "fail"]
    unchecked = [o.check for o in outcomes if o.status == "unchecked"]
    if failed:
        return Verdict(f"{len(failed)} failed: {', '.join(failed)}", 1)
    if unchecked:
        held = sum(o.status == "pass" for o in outcomes)
        return Verdict(f"not shown to conform: {held} checks hold, but not checked: {', '.join(unchecked)}", 3)
    return Verdict("conforms", 0)


def run_check(row: OptimizerRow, name: str) -> Outcome:
    """Runs one check on one thread, so that sums have one order; the caller's generator state is kept.

    Raises:
        InputError: The row excepts itself from a check that does not exist, or its package is not installed.
    """
    unknown = set(row.exceptions) - set(CHECKS)
    if unknown:
        known = ", ".join(CHECKS)
        raise InputError(f"exceptions of {row.id}: no check {', '.join(sorted(unknown))}; there are {known}")
    if name in row.exceptions:
        return Outcome(name, "unchecked", row.exceptions[name])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            return Outcome(name, "pass", CHECKS[name](row))
    except Unchecked as reason:
        return Outcome(name, "unchecked", str(reason))
    except NotApplicable as reason:
        return Outcome(name, "not applicable", str(reason))
    except InputError:
        raise
    except NonConformance as failure:
        return Outcome(name, "fail", str(failure))
    except Exception as error:  # a check that crashes is a failed one; the others still run
        return Outcome(name, "fail", f"{type(error).__name__}: {error}")
    finally:
        torch.set_num_threads(threads)


def run_checks(row: OptimizerRow) -> Iterator[Outcome]:
    """Runs all checks, one after the other."""
    for name in CHECKS:
        yield run_check(row, name)
