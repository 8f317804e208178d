"""Says which optimizer a run has, with which hyper-parameters: the row is looked up here, once, and handed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from pydantic import ValidationError

from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.row import Grid, OptimizerRow
from bocb_hf.schema import Scalar, describe_errors

CAUTIOUS_DECAY = "cautious_decay"  # every row with plain decay has this hyper-parameter beside its own


@dataclass(frozen=True)
class ResolvedOptimizer:
    """An optimizer with every default filled in.

    Attributes:
        row: The row of the registry.
        lr: Learning rate after warm-up.
        weight_decay: Weight decay of the groups that are decayed.
        hyperparameters: All hyper-parameters of the row, by name; those that came after the first records are in it
            only where they differ from their default.
        total_steps: Steps of the run, for a row that needs ``run_length``; None where nobody knows them.
    """

    row: OptimizerRow
    lr: float
    weight_decay: float
    hyperparameters: dict[str, Scalar] = field(default_factory=dict)
    total_steps: int | None = None


def resolve_optimizer(
    name: str,
    setting: str,
    lr: float | None = None,
    weight_decay: float | None = None,
    hyperparameters: Mapping[str, Scalar] | None = None,
    *,
    data: str | None = None,
    batch_size: int | None = None,
    grid: Grid = "ours",
    total_steps: int | None = None,
) -> ResolvedOptimizer:
    """Looks up the row and fills in the centre of its grid for this setting, and its defaults.

    Args:
        name: A row of ``bocb list optimizers``.
        setting: The setting whose grid centre is taken; ``default`` where the row has none for it.
        lr: Learning rate; None takes the centre's, scaled to the batch size by the row's rule.
        weight_decay: Weight decay; None takes the centre's, which is never scaled.
        hyperparameters: Given hyper-parameters, which replace the defaults.
        data: The data set, for a setting that has a centre for each.
        batch_size: Images of a batch; None leaves the centre as it stands.
        grid: The grid whose centres are taken.
        total_steps: Steps of the run, where they are known.

    Raises:
        InputError: Unknown optimizer, or unknown or unusable hyper-parameters.
    """
    centre = OPTIMIZERS.get(name).centre(setting, data, batch_size, grid)
    resolved = resolve_row(OPTIMIZERS.get(name), setting, lr, weight_decay, hyperparameters, total_steps)
    return replace(
        resolved,
        lr=centre.lr if lr is None else resolved.lr,
        weight_decay=centre.weight_decay if weight_decay is None else resolved.weight_decay,
    )


def resolve_row(
    row: OptimizerRow,
    setting: str,
    lr: float | None = None,
    weight_decay: float | None = None,
    hyperparameters: Mapping[str, Scalar] | None = None,
    total_steps: int | None = None,
) -> ResolvedOptimizer:
    """Fills in the defaults as ``resolve_optimizer`` does, for a given row at the batch size of its centre."""
    centre = row.centre(setting)
    return ResolvedOptimizer(
        row,
        centre.lr if lr is None else float(lr),
        centre.weight_decay if weight_decay is None else float(weight_decay),
        resolve_hyperparameters(row, hyperparameters or {}),
        total_steps,
    )


def refuse_options(row: OptimizerRow, options: Mapping[str, object]) -> None:
    """Refuses a configuration that an optimizer cannot honour.

    Args:
        row: The row of the optimizer.
        options: Values by their key, such as ``training.layer_decay``; None and False mean that an option is not used.

    Raises:
        InputError: The row refuses a key that is used, or a value, as in ``training.precision=fp16``.
    """
    for key, value in options.items():
        reason = row.refusals().get(f"{key}={value}" if isinstance(value, str) else key)
        if reason is not None and value is not None and value is not False:
            raise InputError(f"{key}: {row.id} cannot honour {value!r}: {reason}")


def resolve_hyperparameters(row: OptimizerRow, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Fills in all hyper-parameters of an optimizer: the given ones over the row's defaults.

    Raises:
        InputError: A hyper-parameter that the row does not have, or that is out of range.
    """
    model, own = row.hyperparameters, dict(given)
    cautious = own.pop(CAUTIOUS_DECAY, False)
    if not isinstance(cautious, bool):
        raise InputError(f"{CAUTIOUS_DECAY}: must be true or false, not {cautious!r}")
    if cautious and not row.plain_decay:
        raise InputError(
            f"{CAUTIOUS_DECAY}: {row.id} has no decay that only takes lr·λ·θ off the weights, so that it cannot be "
            "cautious; leave it out, or choose an optimizer whose decay is plain (`bocb check-optimizer ID` says so)"
        )
    try:
        resolved = cast(dict[str, Scalar], model.model_validate(own).model_dump())
    except ValidationError as error:
        raise InputError("; ".join(describe_errors(error, model))) from None
    # like every option that came after the first records, it is written, and hashed, only when it is on
    return resolved | {CAUTIOUS_DECAY: True} if cautious else resolved
