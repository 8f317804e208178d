"""Metrics and evaluation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from runs import make
from torch import nn
from torch.nn import functional

from bocb_hf.data.augment import normalize
from bocb_hf.data.images import Images
from bocb_hf.engine import evaluate_metrics, metrics
from bocb_hf.engine.evaluate_metrics import MeanLoss, TopKAccuracy
from bocb_hf.engine.evaluation import evaluate
from bocb_hf.engine.metrics import mean_loss, top_k_accuracy
from bocb_hf.engine.run import train_run


def test_metrics_against_numpy() -> None:
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((301, 12))
    labels = rng.integers(0, 12, 301)
    ranked = np.argsort(-logits, axis=1)[:, :5]
    for k in (1, 5):
        found = top_k_accuracy(ranked, labels, k)
        threshold = np.sort(logits, axis=1)[:, -k]
        expected = 100 * np.mean(logits[np.arange(301), labels] >= threshold)
        assert found == pytest.approx(expected)
        wrapped = TopKAccuracy(keep_in_memory=True).compute(predictions=ranked, references=labels, k=k)
        assert wrapped == {f"top{k}": found}
    losses = rng.random(301)
    assert mean_loss(losses) == pytest.approx(math.fsum(losses) / 301)
    assert MeanLoss(keep_in_memory=True).compute(predictions=losses, references=labels) == {"loss": mean_loss(losses)}
    single = losses.astype(np.float32)
    assert mean_loss(single) == pytest.approx(math.fsum(single) / 301, rel=1e-12)  # summed in float64


@pytest.mark.parametrize("classes", [3, 6, 12])
def test_evaluate_gives_the_same_scores_as_the_plain_functions(classes: int) -> None:
    rng = np.random.default_rng(classes)
    ranked = np.argsort(-rng.standard_normal((301, classes)), axis=1)[:, :5]
    losses, labels = rng.random(301).astype(np.float32), rng.integers(0, classes, 301)
    plain = metrics.score(ranked, losses, labels, classes)
    assert evaluate_metrics.score(ranked, losses, labels, classes) == plain
    assert (plain.top5 is None) == (classes < 6)
    assert plain.top1 == pytest.approx(100 * np.mean(ranked[:, 0] == labels))


@pytest.mark.parametrize(("role", "times"), [("final", 1), ("trial", 0)])
def test_only_the_test_split_is_scored_by_evaluate(
    sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch, role: str, times: int
) -> None:
    seen: list[int] = []
    plain = evaluate_metrics.score

    def score(ranked: Any, losses: Any, labels: Any, classes: int) -> metrics.Scores:
        seen.append(len(labels))
        return plain(ranked, losses, labels, classes)

    monkeypatch.setattr(evaluate_metrics, "score", score)
    record = train_run(make(sections, f"role={role}", "training.epochs=1"))
    assert record.status == "completed"
    assert seen == [101] * times


@pytest.mark.parametrize(("count", "classes"), [(9, 10), (251, 10), (10, 3)])
def test_evaluation_against_a_plain_forward_pass(count: int, classes: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, classes), nn.Dropout(0.5))
    pixels = torch.randint(0, 256, (count, 3, 4, 4), dtype=torch.uint8)
    labels = torch.randint(0, classes, (count,))
    mean, std = torch.full((3, 1, 1), 0.4), torch.full((3, 1, 1), 0.3)
    result = evaluate(model.train(), Images(pixels, labels), mean, std, Accelerator(cpu=True))
    assert model.training
    with torch.no_grad():
        logits = model.eval()(normalize(pixels, mean, std))
    assert result.n == count
    assert result.top1 == pytest.approx(100 * float((logits.argmax(1) == labels).double().mean()))
    assert result.loss == pytest.approx(float(functional.cross_entropy(logits, labels)), rel=1e-5)
    assert torch.equal(result.correct, logits.argmax(1) == labels)
    assert (result.top5 is None) == (classes <= 5)
