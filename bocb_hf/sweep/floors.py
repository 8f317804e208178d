"""Computes the floors of a data set: linear classifiers on raw pixels and on the features of an untrained network."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from bocb_hf.data.augment import normalize
from bocb_hf.data.images import ImageData, load_images
from bocb_hf.data.splits import Images, TestImages, TrainImages
from bocb_hf.engine.environment import describe_environment
from bocb_hf.engine.prepare import prepare_run
from bocb_hf.errors import InputError
from bocb_hf.optim.param_groups import classifier_layers
from bocb_hf.runs.config import DataConfig, RunConfig
from bocb_hf.runs.identity import BackboneIdentity
from bocb_hf.runs.measurements import Correctness
from bocb_hf.runs.naming import floor_path
from bocb_hf.runs.naming import floor_repository_name as name_repository
from bocb_hf.runs.record import FloorRecord, parse_record, wilson_interval
from bocb_hf.schema import utc_now
from bocb_hf.store import Store
from bocb_hf.store.commits import commit_with_retry

log = logging.getLogger(__name__)

# C was chosen among 0.01, 0.1 and 1 on the validation split of the embedded set (81.5, 83.3 and 82.2 %, on pixels).
# On that set, 236 iterations are enough for its pixels and 73 to 190 for the features of the demo's four networks.
_C, _MAX_ITERATIONS = 0.1, 2000
_BATCH = 250  # images in a forward pass


def store_logistic_regression(config: DataConfig, store: Store, namespace: str) -> FloorRecord:
    """Fits multinomial logistic regression on the pixels of train, scores the test split, and stores the record.

    A stored record of the same data is returned instead of fitting again.

    Raises:
        InputError: The data cannot be loaded, or the store cannot be written.
    """
    data = load_images(config, trial=False)
    repository = f"{namespace}/{name_repository(data.identity.name)}"

    def fit() -> FloorRecord:
        train, test = _decoded(data.train), _decoded(data.test)
        return _fit(data, _pixels(train), _pixels(test))

    return _store(store, repository, floor_path("logistic_regression", data.identity), fit)


def store_frozen_backbone(config: RunConfig, store: Store, pretrained: bool = False) -> FloorRecord:
    """Fits logistic regression on the features of the untrained network, scores the test split, and stores the record.

    The network is the one that a run of this configuration would start from, without pretrained weights. It is in
    evaluation mode, in which untrained batch norm passes its input on. Its features are the inputs of its classifier,
    standardised over train.

    Args:
        config: Configuration of a run.
        store: The store.
        pretrained: Whether the network keeps the weights that the configuration names, and their normalisation; its
            record names them.

    Raises:
        InputError: A run of this configuration could not be prepared, or the store cannot be written.
    """
    backbone = config.backbone if pretrained else config.backbone.model_copy(update={"pretrained": None})
    training = config.training.model_copy(update={"linear_probe": False, "layer_decay": None, "cached_features": False})
    # without a checkpoint there is no checkpoint's normalisation
    own = config.data if pretrained else config.data.model_copy(update={"normalization": None})
    changes = {"backbone": backbone, "training": training, "data": own, "role": "final"}
    prepared = prepare_run(config.model_copy(update=changes))
    data, identity = cast(ImageData, prepared.data), prepared.identity.backbone
    repository = f"{config.runtime.namespace}/{name_repository(data.identity.name)}"

    def fit() -> FloorRecord:
        model = prepared.build_model()
        train, test = (_features(model, _decoded(images), data) for images in (data.train, data.test))
        return _fit(data, train, test, identity, config.seed)

    path = floor_path("frozen_backbone", data.identity, identity, config.seed)
    return _store(store, repository, path, fit)


def _store(store: Store, repository: str, path: str, fit: Callable[[], FloorRecord]) -> FloorRecord:
    fitted: list[FloorRecord] = []  # fitted once, however often others commit meanwhile

    def attempt() -> FloorRecord:
        parent = store.revision(repository)
        if path in store.files(repository):
            return parse_record(store.read(repository, path), f"{repository}/{path}", FloorRecord)
        if not fitted:
            fitted.append(parse_record(fit().to_json().encode(), path, FloorRecord))
        record = fitted[0]
        files: dict[str, bytes] = {path: record.to_json().encode()}
        others = [p for p in store.files(repository) if p.startswith("baselines/")]
        known = [parse_record(store.read(repository, p), f"{repository}/{p}", FloorRecord) for p in others]
        files["README.md"] = _readme([*known, record]).encode()
        store.commit(repository, files, parent=parent, message=record.kind.replace("_", " "))
        return record

    return commit_with_retry(attempt, f"store: {repository}")


def _fit(
    data: ImageData,
    train: NDArray[np.float32],
    test: NDArray[np.float32],
    backbone: BackboneIdentity | None = None,
    seed: int | None = None,
) -> FloorRecord:
    """Fits logistic regression on features (N, D) of train and scores it on test; a network's are standardised."""
    labels, references = _decoded(data.train).labels.numpy(), _decoded(data.test).labels.numpy()
    started = time.perf_counter()
    # the strength of the L2 penalty is 1/C; the solver is lbfgs, scikit-learn's default
    regression = LogisticRegression(C=_C, max_iter=_MAX_ITERATIONS)
    model = regression if backbone is None else make_pipeline(StandardScaler(), regression)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # the record says whether it converged
        model.fit(train, labels)
    converged = bool(regression.n_iter_.max() < _MAX_ITERATIONS)
    if not converged:
        log.warning("logistic regression stopped after %d iterations before it converged", _MAX_ITERATIONS)
    seconds = time.perf_counter() - started
    return FloorRecord(
        schema_version=1,
        kind="logistic_regression" if backbone is None else "frozen_backbone",
        data=data.identity,
        backbone=backbone,
        seed=seed,
        hyperparameters={"C": _C, "max_iter": _MAX_ITERATIONS, "solver": "lbfgs"},
        train_top1=100 * float(model.score(train, labels)),
        correctness=Correctness.from_bits(np.asarray(model.predict(test) == references, dtype=np.bool_)),
        test_split=data.identity.evaluation_split,
        seconds=round(seconds, 3),
        converged=converged,
        environment=describe_environment(torch.device("cpu"), processes=1, micro_batch=len(labels)),
        finished_at=utc_now(),
    )


def _decoded(images: TrainImages | TestImages) -> Images:
    if not isinstance(images, Images):
        raise InputError(
            "runtime.memory_budget_gb: a floor needs the decoded images at once, and they do not fit; "
            "choose a smaller data.image_size or leave the floor out"
        )
    return images


@torch.inference_mode()
def _features(model: nn.Module, images: Images, data: ImageData) -> NDArray[np.float32]:
    """Features of an untrained network: the inputs of its classifier, (N, D)."""
    model.eval()
    (layer,) = classifier_layers(model)
    seen: list[Tensor] = []
    hook = model.get_submodule(layer).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(1)))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (data.identity.mean, data.identity.std))
    for indices in torch.arange(len(images)).split(_BATCH):
        model(normalize(images.gather(indices), mean, std))
    hook.remove()
    return torch.cat(seen).float().numpy()


def _pixels(images: Images) -> NDArray[np.float32]:
    """Pixels in 0..1, shape (N, C·S·S); the three equal channels of a grey image count once."""
    pixels = images.pixels.numpy()
    grey = bool((pixels[:, 0] == pixels[:, 1]).all() and (pixels[:, 0] == pixels[:, 2]).all())
    chosen = pixels[:, :1] if grey else pixels
    return chosen.reshape(len(chosen), -1).astype(np.float32) / np.float32(255)


def _readme(records: list[FloorRecord]) -> str:
    lines: list[str] = []
    for record in sorted(records, key=lambda r: r.path()):
        low, high = wilson_interval(record.correctness.k, record.correctness.n)
        top1 = 100 * record.correctness.k / record.correctness.n
        what = "on pixels"
        if record.backbone is not None:
            weights = (
                "random weights" if record.backbone.pretrained is None else f"weights `{record.backbone.pretrained}`"
            )
            what = f"on the features of `{record.backbone.name}` with frozen {weights} (seed {record.seed})"
        if record.converged is False:
            what += " (it stopped before it converged, so this floor may be too low)"
        lines.append(
            f"- Multinomial logistic regression {what}, {record.data.image_size} px: top-1 {top1:.2f} % of "
            f"{record.correctness.n} images of the split `{record.test_split}`, 95 % Wilson interval "
            f"{low:.2f} – {high:.2f}; data revision `{record.data.revision}`; `{record.path()}`"
        )
    return (
        "---\nlicense: apache-2.0\ntags:\n- bocb\n- bocb-baselines\n---\n"
        f"# Floors of {records[0].data.name}\n\nWhat a table of backbones has to beat.\n\n" + "\n".join(lines) + "\n"
    )
