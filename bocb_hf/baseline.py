"""The floor of a data set: what a linear classifier on raw pixels reaches."""

from __future__ import annotations

import datetime
import time

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from bocb_hf.config import DataConfig
from bocb_hf.data.images import load_images
from bocb_hf.data.splits import Images, TrainImages
from bocb_hf.engine.environment import describe_environment
from bocb_hf.errors import InputError
from bocb_hf.record import (
    BaselineRecord,
    Correctness,
    baseline_path,
    baseline_repository_name,
    parse_record,
    wilson_interval,
)
from bocb_hf.store import ConflictError, Store

# C was chosen among 0.01, 0.1 and 1 on the validation split of the embedded set (81.5, 83.3 and 82.2 %)
_C, _MAX_ITERATIONS = 0.1, 500


def publish_logistic_regression(config: DataConfig, store: Store, namespace: str) -> BaselineRecord:
    """Fits multinomial logistic regression on the train split, scores the test split, and stores the record.

    A stored record of the same data is returned instead of fitting again.

    Raises:
        InputError: The data cannot be loaded, or the store cannot be written.
    """
    data = load_images(config, trial=False)
    train, test = _decoded(data.train), _decoded(data.test)
    repository = f"{namespace}/{baseline_repository_name(data.identity.name)}"
    path = baseline_path("logistic_regression", data.identity)
    while True:
        parent = store.revision(repository)
        if path in store.files(repository):
            return parse_record(store.read(repository, path), f"{repository}/{path}", BaselineRecord)
        started = time.perf_counter()
        # L2 strength 1/C on pixels in 0..1; lbfgs is scikit-learn's default for it
        model = LogisticRegression(C=_C, max_iter=_MAX_ITERATIONS)
        model.fit(_features(train), train.labels.numpy())
        seconds = time.perf_counter() - started
        right = model.predict(_features(test)) == test.labels.numpy()
        record = BaselineRecord(
            schema_version=1,
            kind="logistic_regression",
            data=data.identity,
            hyperparameters={"C": _C, "max_iter": _MAX_ITERATIONS, "solver": "lbfgs"},
            train_top1=100 * float(model.score(_features(train), train.labels.numpy())),
            correctness=Correctness.from_bits(np.asarray(right, dtype=np.bool_)),
            test_split=data.identity.evaluation_split,
            seconds=round(seconds, 3),
            environment=describe_environment(torch.device("cpu"), processes=1, micro_batch=len(train)),
            finished_at=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        try:
            files: dict[str, bytes] = {path: record.to_json().encode(), "README.md": _readme(record).encode()}
            store.commit(repository, files, parent=parent, message="logistic regression")
        except ConflictError:
            continue
        return record


def _decoded(images: TrainImages) -> Images:
    if not isinstance(images, Images):
        raise InputError(
            "runtime.memory_budget_gb: the logistic regression needs the decoded images at once, and they do not fit; "
            "choose a smaller data.image_size or leave the baseline out"
        )
    return images


def _features(images: Images) -> NDArray[np.float32]:
    """Pixels in 0..1, shape (N, C·S·S); the three equal channels of a grey image count once."""
    pixels = images.pixels.numpy()
    grey = bool((pixels[:, 0] == pixels[:, 1]).all() and (pixels[:, 0] == pixels[:, 2]).all())
    chosen = pixels[:, :1] if grey else pixels
    return chosen.reshape(len(chosen), -1).astype(np.float32) / np.float32(255)


def _readme(record: BaselineRecord) -> str:
    low, high = wilson_interval(record.correctness.k, record.correctness.n)
    top1 = 100 * record.correctness.k / record.correctness.n
    return (
        "---\nlicense: apache-2.0\ntags:\n- bocb\n- bocb-baselines\n---\n"
        f"# Floors of {record.data.name}\n\n"
        f"Multinomial logistic regression on pixels ({record.data.image_size} px): top-1 {top1:.2f} % of "
        f"{record.correctness.n} images of the split `{record.test_split}`, 95 % Wilson interval "
        f"{low:.2f} – {high:.2f}; data revision `{record.data.revision}`. What a table of backbones has to beat.\n\n"
        f"`{record.path()}` is the full record.\n"
    )
