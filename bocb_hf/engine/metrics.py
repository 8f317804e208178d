"""The scores of an evaluation as functions of numpy arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Scores(NamedTuple):
    """Scores of one split: accuracies in percent, loss in nats an image; ``top5`` is None with fewer than 6 classes."""

    top1: float
    top5: float | None
    loss: float


def score(ranked: NDArray[Any], losses: NDArray[Any], labels: NDArray[Any], classes: int) -> Scores:
    """Computes all scores of a split.

    Args:
        ranked: Class indices in falling order of their logit, (N, at least 5), or (N, K) with fewer than 5 classes.
        losses: Losses of single examples, (N,).
        labels: Labels of the examples, (N,).
        classes: Number of classes K of the data; with fewer than 6, a top-5 accuracy would say nothing.
    """
    top5 = top_k_accuracy(ranked, labels, 5) if classes > 5 else None
    return Scores(top_k_accuracy(ranked, labels), top5, mean_loss(losses))


def top_k_accuracy(ranked: NDArray[Any], labels: NDArray[Any], k: int = 1) -> float:
    """Share of examples whose label is among the k highest logits, in percent.

    Args:
        ranked: Class indices in falling order of their logit, (N, at least k).
        labels: Labels of the examples, (N,).
        k: Number of highest logits that count, at least 1.
    """
    hits = (ranked[:, :k] == labels[:, None]).any(axis=1)
    return 100 * int(hits.sum()) / len(hits)


def mean_loss(losses: NDArray[Any]) -> float:
    """Mean of the losses (N,) of single examples, in float64."""
    return float(losses.astype(np.float64).mean())
