"""Which optimizer with which hyper-parameters: the row is looked up here, once, and handed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from pydantic import ValidationError

from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.row import OptimizerRow
from bocb_hf.schema import Scalar, describe_errors

CAUTIOUS_DECAY = "cautious_decay"  # a hyper-parameter of every row with plain decay, beside its own


@dataclass(frozen=True)
class ResolvedOptimizer:
    """An optimizer with every default filled in.

    Attributes:
        row: Its row of the registry.
        lr: Learning rate after warm-up.
        weight_decay: Of the groups that are decayed.
        hyperparameters: All of the row's, by name.
    """

    row: OptimizerRow
    lr: float
    weight_decay: float
    hyperparameters: dict[str, Scalar] = field(default_factory=dict)


def resolve_optimizer(
    name: str,
    setting: str,
    lr: float | None = None,
    weight_decay: float | None = None,
    hyperparameters: Mapping[str, Scalar] | None = None,
) -> ResolvedOptimizer:
    """Looks up the row and fills in the centre of its grid for this setting, and its defaults.

    Args:
        name: A row of ``bocb list optimizers``.
        setting: Whose grid centre serves; ``default`` where the row has none for it.
        lr: Learning rate; None takes the centre's.
        weight_decay: Likewise.
        hyperparameters: Given ones, over the defaults.

    Raises:
        InputError: Unknown optimizer, or unknown or unusable hyper-parameters.
    """
    row = OPTIMIZERS.get(name)
    return resolve_row(row, setting, lr, weight_decay, hyperparameters)


def resolve_row(
    row: OptimizerRow,
    setting: str,
    lr: float | None = None,
    weight_decay: float | None = None,
    hyperparameters: Mapping[str, Scalar] | None = None,
) -> ResolvedOptimizer:
    """``resolve_optimizer`` for a row that is at hand."""
    centre = row.centre(setting)
    return ResolvedOptimizer(
        row,
        centre.lr if lr is None else float(lr),
        centre.weight_decay if weight_decay is None else float(weight_decay),
        resolve_hyperparameters(row, hyperparameters or {}),
    )


def resolve_hyperparameters(row: OptimizerRow, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """All hyper-parameters of an optimizer: the given ones over the row's defaults.

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
    # as every option that came after the first records: written, and hashed, only when it is on
    return resolved | {CAUTIOUS_DECAY: True} if cautious else resolved
