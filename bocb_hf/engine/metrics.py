"""The scores of an evaluation as functions of numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def top_k_accuracy(ranked: NDArray[Any], labels: NDArray[Any], k: int = 1) -> float:
    """Share of examples whose label is among the k highest logits, in percent.

    Args:
        ranked: (N, at least k) class indices in falling order of their logit.
        labels: (N,).
        k: At least 1.
    """
    hits = (ranked[:, :k] == labels[:, None]).any(axis=1)
    return 100 * int(hits.sum()) / len(hits)


def mean_loss(losses: NDArray[Any]) -> float:
    """Mean of the losses (N,) of single examples, in float64."""
    return float(losses.astype(np.float64).mean())
