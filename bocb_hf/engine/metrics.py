"""Metrics as ``evaluate.Metric`` subclasses, defined here so that nothing is downloaded to compute them."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np


class TopKAccuracy(evaluate.Metric):
    """Share of examples whose label is among the k highest logits, in percent.

    ``predictions`` are class indices in falling order of their logit, at least k for each example.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Top-k accuracy in percent.",
            citation="",
            inputs_description="predictions: ranked class indices of each example; references: labels; k: at least 1",
            features=datasets.Features(
                {"predictions": datasets.Sequence(datasets.Value("int64")), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, *, predictions: Any, references: Any, k: int = 1) -> dict[str, float]:
        ranked = np.asarray(predictions)[:, :k]  # (N, k)
        hits = (ranked == np.asarray(references)[:, None]).any(axis=1)
        return {f"top{k}": 100 * int(hits.sum()) / len(hits)}


class MeanLoss(evaluate.Metric):
    """Mean of the losses of single examples, in nats. ``references`` are their labels, which only fix the count."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Mean cross-entropy in nats.",
            citation="",
            inputs_description="predictions: the loss of each example; references: labels",
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, *, predictions: Any, references: Any) -> dict[str, float]:
        losses = np.asarray(predictions, dtype=np.float64)
        return {"loss": float(losses.mean())}
