"""The scores as ``evaluate.Metric``, for pipelines that speak ``evaluate``; nothing is downloaded to compute them.

The final evaluation of a run and ``bocb verify`` go through these. Importing ``evaluate`` imports transformers'
pipelines, which takes three seconds, so this module is imported only where it is used. Every other evaluation uses the
functions of ``bocb_hf.engine.metrics``, which the metrics of this module call. Example::

    from bocb_hf.engine.evaluate_metrics import TopKAccuracy

    TopKAccuracy().compute(predictions=ranked, references=labels, k=5)  # {"top5": 91.2}
"""

from __future__ import annotations

import tempfile
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray

from bocb_hf.engine.metrics import Scores, mean_loss, top_k_accuracy


class TopKAccuracy(evaluate.Metric):
    """``top_k_accuracy`` as a metric; ``predictions`` hold at least k class indices in falling order of their logit."""

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
        return {f"top{k}": top_k_accuracy(np.asarray(predictions), np.asarray(references), k)}


class MeanLoss(evaluate.Metric):
    """``mean_loss`` as a metric; ``references`` are the labels, of which only the number is used."""

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
        return {"loss": mean_loss(np.asarray(predictions))}


def score(ranked: NDArray[Any], losses: NDArray[Any], labels: NDArray[Any], classes: int) -> Scores:
    """Computes the scores of ``bocb_hf.engine.metrics.score`` through ``evaluate``; the numbers are the same."""
    with tempfile.TemporaryDirectory() as folder:  # evaluate wants a folder even for what it keeps in memory
        top_k = TopKAccuracy(keep_in_memory=True, cache_dir=folder)
        found = _compute(top_k, ranked, labels, k=1)
        if classes > 5:
            found |= _compute(top_k, ranked, labels, k=5)
        found |= _compute(MeanLoss(keep_in_memory=True, cache_dir=folder), losses, labels)
    return Scores(found["top1"], found.get("top5"), found["loss"])


def _compute(metric: evaluate.Metric, predictions: Any, references: Any, **more: Any) -> dict[str, float]:
    found = metric.compute(predictions=predictions, references=references, **more)
    assert found is not None, "only a process that is not the first of several gets nothing"
    return found
