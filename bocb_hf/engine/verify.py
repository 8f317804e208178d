"""Measures the weights of a stored run again on the test split that its record names."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from bocb_hf.data.images import load_images
from bocb_hf.engine.evaluation import evaluate
from bocb_hf.engine.trained import load_backbone
from bocb_hf.errors import InputError
from bocb_hf.runs.config import DataConfig
from bocb_hf.runs.preprocessing import Preprocessing
from bocb_hf.runs.record import RunRecord
from bocb_hf.runs.tasks import CLASSIFICATION
from bocb_hf.runs.verification import Verification, check_tolerance, make_verification
from bocb_hf.tasks.task import refuse


def verify_run(repository: str, seed: int, tolerance: float, data: str | None = None) -> Verification:
    """Downloads a run, evaluates it at its precision, and compares the score with that of its record.

    Args:
        repository: ``namespace/name`` on the Hub, or the folder of a repository.
        seed: The seed of the run.
        tolerance: Largest difference in points that counts as the same score; on other hardware, a few images are
            classified otherwise.
        data: Name or folder of the data set, where the name in the record is not one of the Hub; its content must be
            the same.

    Raises:
        InputError: There is no such run, the data here are not those of the record, or the scores differ by more than
            the tolerance.
    """
    from bocb_hf.engine.evaluate_metrics import score  # imported only here, because the import takes seconds

    check_tolerance(tolerance)
    model = load_backbone(repository, seed=seed)
    record = model.record
    if record.identity.task.name != CLASSIFICATION:
        raise refuse("bocb verify", record.identity.task.name)
    then = record.identity.data
    checkpoint = None
    if then.normalization == "checkpoint":  # the record holds the preprocessing that its starting weights asked for
        checkpoint = Preprocessing(then.mean, then.std, then.interpolation)
    images = load_images(_data_config(record, data), trial=False, checkpoint=checkpoint)
    now = images.identity
    if now != then:
        changed = sorted(k for k in type(now).model_fields if getattr(now, k) != getattr(then, k))
        raise InputError(f"{repository}: the data are not those of the record; they differ in {', '.join(changed)}")
    precision = record.identity.training.precision
    try:
        accelerator = Accelerator(mixed_precision="no" if precision == "fp32" else precision)
        mean, std = (torch.tensor(v, device=accelerator.device).view(3, 1, 1) for v in (then.mean, then.std))
        where = f"{accelerator.device.type}, {precision}, torch {torch.__version__}"
        found = evaluate(model.network.to(accelerator.device), images.test, mean, std, accelerator, score=score)
    finally:
        AcceleratorState._reset_state(reset_partial_state=False)  # the next run may be of another precision
    return make_verification(repository, record, found.correct.numpy(), tolerance, where, again=None)


def _data_config(record: RunRecord, name: str | None) -> DataConfig:
    data = record.identity.data
    return DataConfig(
        name=name or data.name,
        revision=data.revision,
        image_size=data.image_size,
        test_image_size=data.test_image_size,
        test_crop_ratio=data.test_crop_ratio,
        validation_fraction=data.validation_fraction,
        image_column=data.image_column,
        label_column=data.label_column,
        test_fraction=data.test_fraction,
        duplicates=data.duplicates,
        evaluation_split=data.asked_evaluation_split,
    )
