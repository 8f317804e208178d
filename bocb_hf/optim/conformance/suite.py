"""The conformance suite: what every optimizer of the registry must satisfy, plug-ins included.

A check takes a row and returns what it found, or raises ``NonConformance``. It raises ``NotApplicable`` where it asks
for something that the optimizer does not have, and a row may except itself from a check with a reason.
``bocb check-optimizer`` runs them all; ``tests/optim/test_conformance.py`` runs each for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from bocb_hf.errors import InputError
from bocb_hf.optim.conformance import paths, training, update
from bocb_hf.optim.conformance.bench import NonConformance, NotApplicable
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
    """How one check ended, and what it found or why it does not apply."""

    check: str
    status: Literal["pass", "fail", "not applicable"]
    detail: str


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
        return Outcome(name, "not applicable", row.exceptions[name])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            return Outcome(name, "pass", CHECKS[name](row))
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
