"""Builds valid records without training anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from bocb_hf.backbones import BACKBONES, OWN_ARCHITECTURES, Family
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.runs.config import AugmentationConfig
from bocb_hf.runs.identity import BackboneIdentity, DataIdentity, Identity, OptimizerIdentity
from bocb_hf.runs.measurements import Correctness, Cost, Curve, Environment, Measurement, Metrics
from bocb_hf.runs.naming import make_run_id
from bocb_hf.runs.patterns import Inspection, LayerPattern, Sharpness, TailFit, WeightPatterns
from bocb_hf.runs.record import FloorRecord, RunRecord, Status
from bocb_hf.runs.training_config import TrainingConfig
from bocb_hf.runs.tuned import Tuned
from bocb_hf.schema import Role, Scalar

IMAGES = 2000
CNNS = ("tiny_resnet", "tiny_mobilenet")
MODERN = ("tiny_convnext", "tiny_vit")

ENVIRONMENT = Environment(
    device="Test CPU",
    processes=1,
    micro_batch=64,
    threads=1,
    deterministic=True,
    python="3.11.7",
    platform="Linux-x86_64",
    libraries={"torch": "2.9.0", "timm": "1.0.27"},
    code_version="0.1.0",
    code_commit=None,
)


def make_bits(correct: int, images: int = IMAGES) -> np.ndarray:
    """Shape (images,), of which the first ``correct`` are right."""
    return np.arange(images) < correct


def make_data(dataset: str = "fashion_mnist_subset", revision: str = "2337f0b", **changes: Any) -> DataIdentity:
    """The identity of a data set with ten classes."""
    fields: dict[str, Any] = {
        "name": dataset,
        "revision": revision,
        "image_column": "image",
        "label_column": "label",
        "image_size": 32,
        "num_classes": 10,
        "validation_fraction": None,
        "validation_indices_sha256": None,
        "evaluation_split": "test",
        "mean": (0.3, 0.3, 0.3),
        "std": (0.35, 0.35, 0.35),
    }
    return DataIdentity(**(fields | changes))


def make_record(
    backbone: str = "tiny_resnet",
    optimizer: str = "sgdm",
    *,
    seed: int = 1,
    role: Role = "final",
    status: Status = "completed",
    correct: int | Sequence[bool] | np.ndarray = 1600,
    lr: float = 0.1,
    weight_decay: float = 1e-4,
    val_top1: float = 80.0,
    val_loss: float = 0.5,
    val_correct: Sequence[bool] | np.ndarray | None = None,
    family: Family | None = None,
    category: Literal["a", "b", "c", "d"] | None = None,
    setting: str = "demo",
    data: DataIdentity | None = None,
    epochs: int = 4,
    wall_seconds: float = 20.0,
    supersedes: str | None = None,
    tuned: Tuned | None = None,
) -> RunRecord:
    """One valid record.

    Args:
        correct: Number of correct test images, of 2,000, or which ones; used by a completed final run.
        val_top1: Last validation top-1 in percent; used by a completed trial.
        val_correct: Which validation images are right, in place of ``val_top1``; used by a completed trial.
        family: Taken from the registry when None, ``unknown`` where it has no row.
        category: Taken from the registry when None, ``a`` where it has no row.
    """
    if family is None:
        family = BACKBONES.get(backbone).family if backbone in BACKBONES else "unknown"
    if category is None:
        category = OPTIMIZERS.get(optimizer).category if optimizer in OPTIMIZERS else "a"
    hyperparameters: dict[str, Scalar] = {"momentum": 0.9} if category in "ac" else {"beta1": 0.9}
    identity = Identity(
        random_scheme=1,
        setting=setting,
        backbone=BackboneIdentity(
            name=backbone, architecture=backbone, args={}, pretrained=None, pretrained_sha256=None
        ),
        optimizer=OptimizerIdentity(name=optimizer, lr=lr, weight_decay=weight_decay, hyperparameters=hyperparameters),
        training=TrainingConfig(epochs=epochs, batch_size=64),
        augmentation=AugmentationConfig(),
        data=data or make_data(),
    )
    bits = make_bits(correct) if isinstance(correct, int) else np.asarray(correct, np.bool_)
    done, final = status == "completed", role == "final"
    right = Correctness.from_bits(bits)
    tested, validated = done and final, done and not final
    val = Correctness.from_bits(np.asarray(val_correct, np.bool_)) if val_correct is not None and validated else None
    val_n = 1000
    if val is not None:
        val_n, val_top1 = val.n, 100 * val.k / val.n
    return RunRecord(
        schema_version=1,
        run_id=make_run_id(identity.config_hash(), seed),
        role=role,
        status=status,
        seed=seed,
        config_hash=identity.config_hash(),
        identity=identity,
        requires="bocb_hf" if identity.backbone.architecture in OWN_ARCHITECTURES else None,
        family=family,
        category=category,
        stopped_step=None if done else 17,
        reason=None if done else "the loss was not finite",
        total_steps=100,
        metrics=Metrics(
            train_loss=Measurement(unit="nats", n=64, last=0.6),
            val_loss=Measurement(unit="nats", n=val_n, last=val_loss) if validated else None,
            val_top1=Measurement(unit="percent", n=val_n, last=val_top1) if validated else None,
            test_loss=Measurement(unit="nats", n=right.n, last=0.55) if tested else None,
            test_top1=Measurement(unit="percent", n=right.n, last=100 * right.k / right.n) if tested else None,
        ),
        test_split=identity.data.evaluation_split if tested else None,
        correctness=right if tested else None,
        val_correctness=val,
        weights_sha256="0" * 64 if tested else None,
        cost=Cost(
            wall_seconds=wall_seconds,
            train_seconds=15.0,
            evaluation_seconds=2.0,
            images_per_second=1000.0,
            peak_memory_bytes=10**9,
            memory_kind="process_rss",
            parameters=123_456,
            flops_per_image=None,
        ),
        environment=ENVIRONMENT,
        curve=Curve(
            step=[10, 20],
            lr=[lr, lr],
            train_loss=[2.0, 0.6],
            train_top1=[20.0, 70.0],
            val_step=[],
            val_loss=[],
            val_top1=[],
        ),
        tuned=tuned,
        supersedes=supersedes,
        finished_at="2026-01-02T03:04:05Z",
    )


def make_grid(
    scores: Mapping[tuple[str, str], Sequence[int]], images: int = IMAGES, setting: str = "demo"
) -> list[RunRecord]:
    """Completed final runs: for each (backbone, optimizer) one seed, from 1 on, for each number of correct images."""
    return [
        make_record(backbone, optimizer, seed=seed, correct=make_bits(k, images), setting=setting)
        for (backbone, optimizer), correct in scores.items()
        for seed, k in enumerate(correct, start=1)
    ]


def make_floor(correct: int = 1640, data: DataIdentity | None = None, backbone: str | None = None) -> FloorRecord:
    """Logistic regression on pixels, or on the features of an untrained backbone."""
    data = data or make_data()
    identity = make_record(backbone).identity.backbone if backbone is not None else None
    return FloorRecord(
        schema_version=1,
        kind="logistic_regression" if backbone is None else "frozen_backbone",
        data=data,
        backbone=identity,
        seed=None if backbone is None else 0,
        hyperparameters={"C": 0.01},
        train_top1=88.0,
        correctness=Correctness.from_bits(make_bits(correct)),
        test_split=data.evaluation_split,
        seconds=3.0,
        environment=ENVIRONMENT,
        finished_at="2026-01-02T03:04:05Z",
    )


def with_patterns(record: RunRecord, layers: int = 3) -> RunRecord:
    """The same completed run with weight patterns of that many layers, which differ between optimizers and seeds."""
    shift = sum(map(ord, record.identity.optimizer.name)) % 7 / 10 + record.seed / 100
    found = [
        LayerPattern(name=f"layers.{i}.weight", entropy=4 + shift, norm=1 + i + shift, energy=0.5, alpha=3 + i + shift)
        for i in range(layers)
    ]
    found[-1] = found[-1].model_copy(update={"alpha": None})
    return record.model_copy(update={"patterns": WeightPatterns(layers=found)})


def with_inspections(record: RunRecord) -> RunRecord:
    """The same run with fitted patterns of three layers, at steps 10 and 50 and, of a completed run, at the end.

    The fit of the second layer is poor, and the third has too few eigenvalues; at step 50 there is no sharpness.
    """

    def patterns(shift: float) -> WeightPatterns:
        fits = [
            TailFit(status="ok", eigenvalues=64, exponent=3.25 + shift, tail=20, distance=0.05),
            TailFit(status="poor fit", eigenvalues=64, exponent=7.77, tail=20, distance=0.4),
            TailFit(status="too few eigenvalues", eigenvalues=5),
        ]
        layers = [
            LayerPattern(
                name=f"layers.{i}.weight",
                entropy=4 + shift,
                norm=1 + i + shift,
                energy=0.5,
                alpha=fit.exponent if fit.status == "ok" else None,
                stable_rank=2.0 + i,
                fit=fit,
            )
            for i, fit in enumerate(fits)
        ]
        return WeightPatterns(layers=layers)

    sharpness = Sharpness(value=12.5, iterations=20, converged=False, tolerance=0.01, images=256)
    inspections = (
        Inspection(
            step=10,
            share=0.1,
            patterns=patterns(0.1),
            sharpness=sharpness,
            pattern_seconds=0.1,
            sharpness_seconds=0.2,
        ),
        Inspection(
            step=50,
            share=0.5,
            patterns=patterns(0.2),
            reason="no second derivative here",
            pattern_seconds=0.1,
            sharpness_seconds=0.2,
        ),
    )
    last = patterns(0.3) if record.status == "completed" else None
    return record.model_copy(update={"patterns": last, "inspections": inspections})


def with_validation(record: RunRecord, values: Sequence[float]) -> RunRecord:
    """The same run with validation top-1 in percent after evenly spaced steps."""
    steps = [record.total_steps * (i + 1) // len(values) for i in range(len(values))]
    more = {"val_step": steps, "val_loss": [1.0] * len(values), "val_top1": list(values)}
    return record.model_copy(update={"curve": record.curve.model_copy(update=more)})
