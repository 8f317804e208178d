"""Detection and pose through the one loop: record, card, checkpoint, resume, workers, trials, tables."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from coco_scenes import write_document, write_folder
from PIL import Image
from runs import StopAfter, assert_identical, folder_of, make, weights_of

import bocb_hf
from bocb_hf.cli import main
from bocb_hf.coupling.scores import scores_of
from bocb_hf.coupling.table import build_tables
from bocb_hf.engine.dry_run import describe_run
from bocb_hf.engine.prepare import prepare_run
from bocb_hf.engine.repetition import sections_of
from bocb_hf.engine.reproduce import read_original
from bocb_hf.engine.run import train_run
from bocb_hf.engine.trained import TrainedTask
from bocb_hf.engine.verify import verify_run
from bocb_hf.errors import InputError
from bocb_hf.runs.card import parse_card
from bocb_hf.runs.load_config import build_run_config
from bocb_hf.runs.record import parse_record

pytest.importorskip("faster_coco_eval", reason="the evaluator is not installed: pip install 'bocb-hf[detection]'")


def test_a_detector_is_trained_stored_and_loaded(detection: dict[str, Any], scenes: Path) -> None:
    config = make(detection, "runtime.inspect_at=[]")
    record = train_run(config)
    assert (record.status, record.metrics.name, record.identity.task.name) == ("completed", "AP", "detection")
    assert record.identity.task.options["channels"] == 16 and record.identity.task.options["nms_threshold"] == 0.5
    assert record.identity.data.num_classes == 2 and record.reference_loss is None
    metrics = record.metrics
    assert metrics.test_score is not None and metrics.test_score.unit == "percent" and metrics.test_score.n == 4
    assert metrics.test_loss is not None and metrics.test_loss.unit == "loss"
    assert metrics.train_loss is not None and metrics.train_loss.last is not None
    assert {"AP50", "AP75"} <= set(metrics.test_details) and record.correctness is None
    assert parse_record(record.to_json().encode(), "again") == record
    assert record.curve.val_score == [] and len(record.curve.train_loss) == 4
    folder = folder_of(config, record)
    card = (folder / "README.md").read_text(encoding="utf-8")
    block = parse_card(card, "card")
    assert (block.task, block.metric, block.runs[0].value) == ("detection", "AP", metrics.test_score.last)
    assert "pipeline_tag: object-detection" in card and "| AP (%) |" in card and "top-1" not in card.lower()
    described = json.loads((folder / "seeds/1/config.json").read_text(encoding="utf-8"))
    assert described["task"] == "detection" and described["label_names"] == ["red", "blue"]

    # the two lines of the card
    model = bocb_hf.load_backbone(str(folder), seed=1)
    assert isinstance(model, TrainedTask)
    with Image.open(scenes / "test/0.png") as opened:
        picture = opened.convert("RGB")
    (found,) = model.predict([picture])
    assert found["boxes"].shape[1] == 4 and len(found["boxes"]) == len(found["scores"]) == len(found["labels"])
    assert (found["boxes"][:, 2] <= picture.width + 1e-3).all()
    assert_identical({k: v.cpu() for k, v in model.network.state_dict().items()}, weights_of(config, record))

    # what is for classifiers only says so
    for attempt in (lambda: verify_run(str(folder), 1, 1.0), lambda: read_original(str(folder), 1)):
        with pytest.raises(InputError, match="works for classifiers only, and this run is of the task 'detection'"):
            attempt()
    # the record leads to the same run again, which is finished already
    sections = sections_of(record) | {"runtime": detection["runtime"]}
    sections["data"]["name"] = detection["data"]["name"]
    assert train_run(build_run_config(sections)) == record


def test_keypoints_are_trained_stored_and_loaded(pose: dict[str, Any], scenes: Path) -> None:
    config = make(pose, "augmentation.horizontal_flip=true")
    record = train_run(config)
    assert (record.status, record.metrics.name) == ("completed", "OKS AP")
    assert record.identity.data.num_classes == 4 and record.identity.task.options["sigma"] == 2.0
    assert "AP50" in record.metrics.test_details
    model = bocb_hf.load_backbone(str(folder_of(config, record)), seed=1)
    assert isinstance(model, TrainedTask)
    with Image.open(scenes / "test/0.png") as opened:
        picture = opened.convert("RGB")
    (found,) = model.predict([picture], boxes=[(5.0, 5.0, 30.0, 30.0)])
    assert found["keypoints"].shape == (4, 2) and found["scores"].shape == (4,)
    with pytest.raises(InputError, match="boxes: 2 for 1 images"):
        model.predict([picture], boxes=[(0.0, 0.0, 1.0, 1.0)] * 2)
    card = (folder_of(config, record) / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag: keypoint-detection" in card and "boxes=" in card


@pytest.mark.parametrize("task", ["detection", "pose"])
def test_stopped_and_continued_is_the_run_without_a_stop(
    task: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    sections: dict[str, Any] = request.getfixturevalue(task)
    config = make(sections, "augmentation.horizontal_flip=true", "runtime.save_every=1")
    straight = weights_of(config, train_run(config))
    sections["runtime"] |= {"store": str(tmp_path / "again"), "state_dir": str(tmp_path / "state_again"), "workers": 1}
    stopped = make(sections, "augmentation.horizontal_flip=true", "runtime.save_every=1")
    assert train_run(stopped, StopAfter(3)).status == "interrupted"
    record = train_run(stopped)
    assert record.cost.resumed == 1
    assert_identical(straight, weights_of(stopped, record))


def test_accumulation_and_one_batch_give_the_same_gradient_direction(detection: dict[str, Any]) -> None:
    """The loss is a mean over images, so that two micro-batches of two make the step of one batch of four."""
    prepared = prepare_run(make(detection))
    order = prepared.train_source(accelerator_of(1))
    (whole,) = next(order.steps(0, 0))
    parts = next(prepared_with(detection, 2).train_source(accelerator_of(1)).steps(0, 0))
    network = prepared.build_model().eval()
    make_inputs = prepared.task.make_inputs(prepared.identity, 1, torch.device("cpu"))

    def loss_of(batch: Any) -> float:
        inputs, targets = make_inputs(batch.pixels, batch.labels, batch.rows, 0, True)
        return float(prepared.task.loss(network(inputs), targets).detach())

    assert len(parts) == 2
    assert sum(map(loss_of, parts)) / 2 == pytest.approx(loss_of(whole), rel=1e-4)


def accelerator_of(processes: int) -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(process_index=0, num_processes=processes, device=torch.device("cpu"))


def prepared_with(sections: dict[str, Any], accumulation: int) -> Any:
    return prepare_run(make(sections, f"runtime.accumulation={accumulation}"))


def test_a_trial_reads_its_own_validation_images_and_no_test(detection: dict[str, Any]) -> None:
    record = train_run(make(detection, "role=trial", "data.validation_fraction=0.25"))
    assert record.metrics.val is not None and record.metrics.val.n == 2 and record.metrics.test is None
    assert len(record.curve.validated) == len(record.curve.val_step) == 3
    identity = record.identity.data
    assert identity.validation_fraction == 0.25 and identity.validation_indices_sha256 is not None
    final = prepare_run(make(detection, "data.validation_fraction=0.25")).identity
    assert final.config_hash() == record.config_hash


def test_runs_of_a_task_make_a_table_that_names_its_metric(
    detection: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [train_run(make(detection, f"seed={seed}")) for seed in (1, 2)]
    (table,) = build_tables(records)
    assert table.metric == "AP" and table.shown("tiny_resnet", "adamw").n == 2
    means = [r.metrics.test.last for r in records if r.metrics.test is not None and r.metrics.test.last is not None]
    assert table.shown("tiny_resnet", "adamw").mean == pytest.approx(sum(means) / 2)
    scores = scores_of(table)
    assert (scores.metric, scores.n_test, scores.num_classes, scores.packed) == ("AP", None, None, None)
    store = detection["runtime"]["store"]
    assert main(["aggregate", "--store", store, "--out", str(tmp_path / "report"), "--full"]) == 0
    printed = capsys.readouterr().out
    assert "test AP" in printed and "top-1" not in printed


def test_a_dry_run_says_what_would_be_trained(detection: dict[str, Any]) -> None:
    text = describe_run(prepare_run(make(detection)), 1)
    assert "images         train 8, validation none (trained on), test 4" in text
    assert "steps          4 = 2 epochs × 2" in text and "forward FLOPs" in text


def test_mended_and_dropped_annotations_are_in_the_record(
    detection: dict[str, Any], scenes: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "scenes"
    shutil.copytree(scenes, folder)
    document = json.loads((folder / "train/annotations.json").read_text(encoding="utf-8"))
    document["annotations"][0]["bbox"] = [0, 0, 0, 0]
    document["annotations"][3]["bbox"] = [str(v) for v in document["annotations"][3]["bbox"]]
    write_document(folder / "train", document)
    detection["data"]["name"] = str(folder)
    notes = prepare_run(make(detection)).data.notes
    assert notes is not None and (notes.mended_annotations, notes.dropped_annotations) == (1, 1)


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "an unknown task": (("task.name=detectoin",), "unknown task 'detectoin'; did you mean 'detection'?"),
    "an unknown option": (("task.options.chanels=8",), "chanels: unknown key; did you mean 'channels'?"),
    "an option out of range": (("task.options.channels=0",), "greater than or equal to 8"),
    "options of another task": (("task.name=pose",), "long_side: unknown key"),
    "a key of classifiers": (("training.label_smoothing=0.1",), "detection cannot use training.label_smoothing"),
    "two of them": (
        ("augmentation.mixup_alpha=0.8", "training.linear_probe=true"),
        "cannot use augmentation.mixup_alpha, training.linear_probe",
    ),
    "inspection": (("runtime.inspect_at=[0.5]",), "cannot use runtime.inspect_at"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_configuration_is_refused(detection: dict[str, Any], case: str) -> None:
    overrides, message = WRONG[case]
    with pytest.raises(InputError) as raised:
        make(detection, *overrides)
    assert message in str(raised.value)


UNUSABLE: dict[str, tuple[str, tuple[str, ...], str]] = {
    "no such folder": ("detection", ("data.name=nowhere",), "data.name: 'nowhere' is no folder"),
    "a long side below the short": ("detection", ("task.options.long_side=40",), "task.options.long_side: 40 is less"),
    "no such split": ("detection", ("data.evaluation_split=dev",), "the split 'dev' of"),
    "the training split": ("detection", ("data.evaluation_split=train",), "holds the training images"),
    "a changed folder": ("detection", (f"data.revision={'a' * 40}",), "data.revision: the content of"),
    "an optimizer that samples labels": ("detection", ("optimizer.name=sophia",), "samples labels from the logits"),
    "a category without keypoints": ("pose", ("task.options.category=blue",), "no category 'blue' with keypoints"),
    "too few constants": ("pose", ("task.options.sigmas=[0.1]",), "sigmas: 1 numbers for 4 keypoints"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_what_cannot_be_trained_is_refused(case: str, request: pytest.FixtureRequest) -> None:
    task, overrides, message = UNUSABLE[case]
    sections = request.getfixturevalue(task)
    if case == "an optimizer that samples labels":
        del sections["optimizer"]["lr"]
    with pytest.raises(InputError) as raised:
        prepare_run(make(sections, *overrides))
    assert message in str(raised.value)


def test_weights_of_a_stranger_are_built_within_their_file(detection: dict[str, Any], tmp_path: Path) -> None:
    config = make(detection)
    record = train_run(config)
    folder = folder_of(config, record)
    data = json.loads((folder / "seeds/1/record.json").read_text(encoding="utf-8"))
    data["identity"]["task"]["options"]["channels"] = 1024
    from bocb_hf.runs.identity import Identity
    from bocb_hf.schema import canonical_json, parse_strict

    data["config_hash"] = parse_strict(Identity, data["identity"]).config_hash()
    data["run_id"] = f"{data['config_hash']}-1"
    (folder / "seeds/1/record.json").write_text(canonical_json(data) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"do not fit its record|than its weights can fill"):
        bocb_hf.load_backbone(str(folder), seed=1)


def test_images_are_mirrored_with_their_boxes(scenes: Path) -> None:
    from bocb_hf.data.augment.draws import COLUMNS, FLIP
    from bocb_hf.tasks.coco import read_folder
    from bocb_hf.tasks.detection import DetectionSamples

    samples = DetectionSamples(read_folder(scenes / "train"), 48, 64, flips=True)
    draws = np.full(COLUMNS, 0.9, np.float32)
    plain = samples.make(0, draws)
    draws[FLIP] = 0.1
    mirrored = samples.make(0, draws)
    assert np.array_equal(mirrored.pixels, plain.pixels[:, ::-1])
    for box, other in zip(plain.boxes, mirrored.boxes, strict=True):
        left, top, right, bottom = box.round().astype(int)
        left2, top2, right2, bottom2 = other.round().astype(int)
        cut, cut2 = plain.pixels[top:bottom, left:right], mirrored.pixels[top2:bottom2, left2:right2]
        assert np.array_equal(cut, cut2[:, ::-1])


def test_keypoints_of_scenes_that_were_not_seen_are_found(pose: dict[str, Any], tmp_path: Path) -> None:
    """Corners of squares: with seed 1 it had an OKS AP of 90, AP50 100."""
    pose["data"]["name"] = str(write_folder(tmp_path / "more", 48, 12))
    pose["training"] = {"epochs": 15, "batch_size": 8}
    pose["optimizer"]["lr"] = 3e-3
    pose["task"]["options"] |= {"channels": 32, "rotation": 0.0, "scale": 0.1}
    test = train_run(make(pose)).metrics.test
    assert test is not None and test.last is not None and test.last > 70


@pytest.mark.slow
def test_squares_of_scenes_that_were_not_seen_are_found(detection: dict[str, Any], tmp_path: Path) -> None:
    """With seed 1 it had an AP50 of 27 after 144 steps; a network that has learned nothing has 0."""
    detection["data"]["name"] = str(write_folder(tmp_path / "more", 48, 12))
    detection["training"] = {"epochs": 12, "batch_size": 4, "clip_grad_norm": 10.0, "warmup_epochs": 1}
    detection["optimizer"]["lr"] = 3e-3
    detection["task"]["options"] |= {"channels": 32, "anchor_scale": 2.0}
    record = train_run(make(detection, "augmentation.horizontal_flip=true"))
    assert record.metrics.test_details["AP50"] > 10
    loss = record.metrics.train_loss
    assert loss is not None and loss.last is not None and loss.initial is not None and loss.last < 0.6 * loss.initial
