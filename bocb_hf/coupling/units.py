"""Checks that percent and fractions, which are easily mixed up, are what they are said to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bocb_hf.errors import InputError

Unit = Literal["percent", "fraction"]


def check_unit(values: NDArray[np.float64], unit: Unit, backbones: Sequence[str], optimizers: Sequence[str]) -> None:
    """Refuses scores that are not in the unit that they are said to be in.

    Args:
        values: Scores, shape (B, O, S), NaN where there is no score.
        unit: The unit that the scores are said to be in.
        backbones: Ids of the backbones, for the message.
        optimizers: Ids of the optimizers, for the message.

    Raises:
        InputError: Fractions are called percent, percent are called fractions, or one backbone's scores hold both.
    """
    found = values[np.isfinite(values)]
    if unit == "fraction":
        if (found > 1).any():
            raise InputError(f"scores: {found.max():g} is no fraction; say unit='percent', or divide by 100")
        return
    if found.size and 0 < found.max() <= 1:
        raise InputError(
            "scores: no score is above 1 percent, so they look like fractions; say unit='fraction', or checked=True "
            "if they are percent"
        )
    for b, scores in enumerate(values):
        others = scores[scores > 1]
        small = (scores > 0) & (scores <= 1)
        if others.size and small.any():
            mixed = small & (100 * scores >= others.min()) & (100 * scores <= others.max())
            if mixed.any():
                o = int(np.argwhere(mixed)[0][0])
                raise InputError(
                    f"scores: {backbones[b]} with {optimizers[o]} has {scores[mixed][0]:g} among scores like "
                    f"{np.median(others):g}, so fractions and percent look mixed; give all in percent, or say "
                    "checked=True if it is 1 percent or less"
                )
