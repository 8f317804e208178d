"""Where COCO-format data lie: a folder of splits, COCO as it is downloaded, a data set of ``datasets``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_scenes import write_split

from bocb_hf.errors import InputError
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.load_config import build_run_config
from bocb_hf.tasks.annotations import write_ground_truth
from bocb_hf.tasks.data import load_coco, measure
from bocb_hf.tasks.samples import pad_stack


def config_of(folder: Path, task: str = "detection", **data: Any) -> RunConfig:
    sections = {
        "setting": "here",
        "backbone": {"name": "tiny_resnet"},
        "optimizer": {"name": "adamw"},
        "data": {"name": str(folder), "image_size": 48} | data,
        "training": {"epochs": 1, "batch_size": 2},
        "task": {"name": task},
    }
    return build_run_config(sections)


def test_a_folder_of_splits(scenes: Path) -> None:
    data = load_coco(config_of(scenes))
    assert (len(data.train), len(data.test), data.validation) == (8, 4, None)
    assert data.name == "local/scenes" and len(data.revision) == 40
    again = load_coco(config_of(scenes))
    assert (again.revision, again.indices_sha256) == (data.revision, data.indices_sha256)


def test_coco_as_it_is_downloaded(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 2)):
        document = write_split(tmp_path / f"{split}2017", count)
        (tmp_path / f"{split}2017/annotations.json").unlink()
        (tmp_path / "annotations").mkdir(exist_ok=True)
        for kind in ("instances", "person_keypoints", "captions"):
            text = json.dumps(document if kind != "captions" else {})
            (tmp_path / f"annotations/{kind}_{split}2017.json").write_text(text, encoding="utf-8")
    for task in ("detection", "pose"):
        data = load_coco(config_of(tmp_path, task, evaluation_split="validation"))
        assert (len(data.train), len(data.test), data.validation) == (3, 2, None)
        assert data.evaluation_split == "validation"
    first = load_coco(config_of(tmp_path, evaluation_split="validation")).revision
    (tmp_path / "annotations/captions_train2017.json").write_text("[]", encoding="utf-8")
    assert load_coco(config_of(tmp_path, evaluation_split="validation")).revision == first, "it is not read"


@pytest.mark.parametrize("box_format", ["xywh", "xyxy"])
def test_a_data_set_of_the_hub(scenes: Path, tmp_path: Path, box_format: str) -> None:
    """The same pictures and boxes from a table as from the folder."""
    import datasets

    for split in ("train", "test"):
        document = json.loads((scenes / split / "annotations.json").read_text(encoding="utf-8"))
        rows: list[dict[str, Any]] = []
        for image in document["images"]:
            own = [a for a in document["annotations"] if a["image_id"] == image["id"]]
            boxes = [[float(v) for v in a["bbox"]] for a in own]
            if box_format == "xyxy":
                boxes = [[x, y, x + w, y + h] for x, y, w, h in boxes]
            objects = {"bbox": boxes, "category": [0 if a["category_id"] == 3 else 1 for a in own]}
            path = str(scenes / split / image["file_name"])
            rows.append(
                {"image_id": image["id"], "image": path, "objects": objects | {"area": [a["area"] for a in own]}}
            )
        one = {
            "bbox": datasets.List(datasets.Value("float32"), length=4),
            "category": datasets.ClassLabel(names=["red", "blue"]),
            "area": datasets.Value("int64"),
        }
        features = datasets.Features(
            {"image_id": datasets.Value("int64"), "image": datasets.Image(), "objects": datasets.Sequence(one)}
        )
        (tmp_path / "table").mkdir(exist_ok=True)
        made = datasets.Dataset.from_list(rows, features=features)
        made.to_parquet(str(tmp_path / f"table/{split}-00000-of-00001.parquet"))
    table = load_coco(config_of(tmp_path / "table"), box_format)
    folder = load_coco(config_of(scenes))
    assert [c.name for c in table.train.categories] == ["red", "blue"]
    for ours, theirs in ((table.train, folder.train), (table.test, folder.test)):
        found, expected = write_ground_truth(ours), write_ground_truth(theirs)
        assert [a["bbox"] for a in found["annotations"]] == [a["bbox"] for a in expected["annotations"]]
        assert [a["category_id"] for a in found["annotations"]] == [a["category_id"] for a in expected["annotations"]]
        assert [p.id for p in ours.photographs] == [p.id for p in theirs.photographs]
    assert measure(table.train) == measure(folder.train)


def test_what_is_no_data_is_refused(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no <split>/annotations\.json"):
        load_coco(config_of(tmp_path / "empty"))
    shutil.copytree(scenes, tmp_path / "scenes")
    path = tmp_path / "scenes/test/annotations.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["categories"][0]["name"] = "green"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match="the categories of test are not those of train"):
        load_coco(config_of(tmp_path / "scenes"))
    shutil.rmtree(tmp_path / "scenes/train")
    with pytest.raises(InputError, match="has no split 'train'; it has: test"):
        load_coco(config_of(tmp_path / "scenes"))


def test_a_validation_split_of_ones_own_is_never_drawn_from(scenes: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes, tmp_path / "scenes")
    shutil.copytree(scenes / "test", tmp_path / "scenes/validation")
    data = load_coco(config_of(tmp_path / "scenes"))
    assert data.fraction is None and data.validation is not None and len(data.train) == 8
    with pytest.raises(InputError, match="has a validation split of its own"):
        load_coco(config_of(tmp_path / "scenes", validation_fraction=0.2))


def test_images_of_several_sizes_are_padded_below_and_to_the_right() -> None:
    images = [np.full((30, 40, 3), 7, np.uint8), np.full((33, 20, 3), 9, np.uint8)]
    stacked = pad_stack(images, 32)
    assert stacked.shape == (2, 3, 64, 64)
    assert (stacked[0, :, :30, :40] == 7).all() and int(stacked[0].sum()) == 7 * 3 * 30 * 40
    assert (stacked[1, :, :33, :20] == 9).all() and int(stacked[1].sum()) == 9 * 3 * 33 * 20
