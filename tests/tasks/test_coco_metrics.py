"""Average precision of faster-coco-eval against pycocotools on the same detections."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from coco_scenes import write_split

from bocb_hf.tasks.annotations import CocoSplit, write_ground_truth
from bocb_hf.tasks.coco import read_folder
from bocb_hf.tasks.coco_metrics import average_precision

pytest.importorskip("faster_coco_eval", reason="the evaluator is not installed: pip install 'bocb-hf[detection]'")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> CocoSplit:
    folder = tmp_path_factory.mktemp("scenes") / "test"
    write_split(folder, 12, seed=5, width=160, height=120)
    return read_folder(folder)


def noisy_boxes(truth: dict[str, Any], generator: np.random.Generator) -> list[dict[str, Any]]:
    """Detections near the boxes, some false ones, some missed ones, some of the wrong category."""
    found: list[dict[str, Any]] = []
    for one in truth["annotations"]:
        if generator.random() < 0.15:
            continue
        box = (np.array(one["bbox"]) + generator.normal(0, 3, 4)).clip(1).tolist()
        category = one["category_id"] if generator.random() < 0.9 else 3 - one["category_id"]
        found.append({"image_id": one["image_id"], "category_id": category, "bbox": box, "score": generator.random()})
    for _ in range(8):
        image = int(generator.integers(1, len(truth["images"]) + 1))
        box = generator.uniform(5, 40, 4).tolist()
        found.append({"image_id": image, "category_id": 1, "bbox": box, "score": generator.random()})
    return found


def noisy_points(truth: dict[str, Any], generator: np.random.Generator) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for one in truth["annotations"]:
        points = np.array(one["keypoints"]).reshape(-1, 3)
        points[:, :2] += generator.normal(0, 4, points[:, :2].shape)
        shared = {"image_id": one["image_id"], "category_id": one["category_id"]}
        found.append(shared | {"keypoints": points.ravel().tolist(), "score": generator.random()})
    return found


@pytest.mark.parametrize("kind", ["bbox", "keypoints"])
def test_both_evaluators_give_the_same_scores(split: CocoSplit, kind: Any) -> None:
    pytest.importorskip("pycocotools", reason="the reference is not installed: pip install pycocotools")
    generator = np.random.default_rng(0)
    truth = write_ground_truth(split, keypoints=kind == "keypoints")
    truth["annotations"][0]["iscrowd"] = 1
    found = (noisy_points if kind == "keypoints" else noisy_boxes)(truth, generator)
    sigmas = (0.05,) * 4 if kind == "keypoints" else None
    if kind == "keypoints":
        truth["categories"] = [c for c in truth["categories"] if c["keypoints"]]
    ours = average_precision(truth, found, kind, sigmas)
    theirs = average_precision(truth, found, kind, sigmas, library="pycocotools")
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert 5 < ours["AP"] < 95 and ours["AP50"] > ours["AP75"]


def test_perfect_detections_have_100_and_none_have_0(split: CocoSplit) -> None:
    truth = write_ground_truth(split)
    found = [
        {key: one[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9} for one in truth["annotations"]
    ]
    perfect = average_precision(truth, found, "bbox")
    assert perfect["AP"] == perfect["AP50"] == pytest.approx(100)
    nothing = average_precision(truth, [], "bbox")
    assert set(nothing) == set(perfect) and set(nothing.values()) == {0.0}
    assert "AP large" not in perfect  # no square is that large
