"""Floors against scikit-learn and a plain forward pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from builders import make_record
from plain_loop import decoded
from runs import make
from sklearn.linear_model import LogisticRegression

from bocb_hf.coupling.table import build_tables
from bocb_hf.coupling.table import floors as table_floors
from bocb_hf.data.augment import normalize
from bocb_hf.engine.prepare import prepare_run
from bocb_hf.runs.record import FloorRecord
from bocb_hf.store import open_store
from bocb_hf.sweep import floors
from bocb_hf.sweep.floors import store_frozen_backbone, store_logistic_regression


def test_a_fit_that_stops_at_its_limit_says_so_everywhere(
    sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(floors, "_MAX_ITERATIONS", 3)
    config = make(sections)
    store = open_store(config.runtime.store)
    record = store_logistic_regression(config.data, store, config.runtime.namespace)
    assert record.converged is False
    assert "stopped after 3 iterations" in caplog.text
    text = store.read(f"local/{record.repository()}", "README.md").decode()
    assert "(it stopped before it converged, so this floor may be too low), 32 px: top-1" in text
    run = make_record(data=record.data)
    (table,) = build_tables([run])
    assert [floor.name for floor in table_floors(table, [record])] == [
        "chance, 10 classes",
        "logistic regression on pixels (stopped before it converged)",
    ]
    older = FloorRecord.model_validate({**record.model_dump(), "converged": None})
    assert "converged" not in older.to_json()
    assert table_floors(table, [older])[1].name == "logistic regression on pixels"


def test_an_untrained_network_with_a_linear_head(sections: dict[str, Any]) -> None:
    config = make(sections)
    store = open_store(config.runtime.store)
    record = store_frozen_backbone(config, store)
    prepared = prepare_run(config)
    model: Any = prepared.build_model().eval()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (prepared.identity.data.mean, prepared.identity.data.std))
    with torch.no_grad():
        features = [
            model.forward_head(model.forward_features(normalize(decoded(images).pixels, mean, std)), pre_logits=True)
            for images in (prepared.data.train, prepared.data.test)
        ]
    train, test = (f.numpy() for f in features)
    centre, spread = train.mean(axis=0), train.std(axis=0)
    regression = LogisticRegression(C=0.1, max_iter=2000)
    regression.fit((train - centre) / spread, decoded(prepared.data.train).labels.numpy())
    right = regression.predict((test - centre) / spread) == decoded(prepared.data.test).labels.numpy()
    assert np.mean(record.correctness.bits() == right) > 0.98  # rounding turns over a close call
    assert record.converged is True
    assert record.backbone == prepared.identity.backbone
    assert record.seed == 1
    assert 15 < 100 * record.correctness.k / record.correctness.n < 90  # above chance

    # a second floor of the data set stands beside it, and both are found again
    pixels = store_logistic_regression(config.data, store, config.runtime.namespace)
    assert store_frozen_backbone(config, store) == record
    text = store.read(f"local/{record.repository()}", "README.md").decode()
    assert record.path() in text
    assert pixels.path() in text
