"""Annotations in COCO's format: what is read, mended, dropped and refused, always with the image that it is about."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_scenes import CATEGORIES, write_document, write_split
from PIL import Image

from bocb_hf.errors import InputError
from bocb_hf.tasks.annotations import CocoSplit, write_ground_truth
from bocb_hf.tasks.coco import read_folder

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "train"


@pytest.fixture
def document(folder: Path) -> dict[str, Any]:
    return write_split(folder, 3)


def read(folder: Path, document: dict[str, Any]) -> CocoSplit:
    write_document(folder, document)
    return read_folder(folder)


def refused(folder: Path, document: Any) -> str:
    write_document(folder, document)
    with pytest.raises(InputError) as raised:
        read_folder(folder)
    return str(raised.value)


def test_good_annotations_are_read_as_they_are(folder: Path, document: dict[str, Any]) -> None:
    split = read(folder, document)
    assert [p.id for p in split.photographs] == [10, 11, 12]
    assert (split.report.mended, split.report.dropped) == ([], [])
    first = document["annotations"][0]
    left, top, width, height = first["bbox"]
    one = split.photographs[0].annotations[0]
    assert one.box == (left, top, left + width, top + height)
    assert split.categories[one.label].id == first["category_id"]
    truth = write_ground_truth(split)
    assert [a["bbox"] for a in truth["annotations"]] == [a["bbox"] for a in document["annotations"]]
    assert [c["name"] for c in truth["categories"]] == ["red", "blue"]


DROPPED = {
    "zero width": ([5, 5, 0, 10], "has no area"),
    "negative height": ([5, 5, 10, -3], "has no area"),
    "outside": ([100, 100, 5, 5], "lies outside of the image of 64 × 48"),
    "NaN": ([NAN, 5, 10, 10], "is not four finite numbers"),
    "infinity": ([5, 5, INF, 10], "is not four finite numbers"),
    "three numbers": ([5, 5, 10], "is not four finite numbers"),
    "nothing": (None, "is not four finite numbers"),
    "words": (["a", "b", "c", "d"], "is not four finite numbers"),
}


@pytest.mark.parametrize("case", DROPPED)
def test_a_box_that_cannot_be_meant_is_dropped(folder: Path, document: dict[str, Any], case: str) -> None:
    box, reason = DROPPED[case]
    document["annotations"][2]["bbox"] = box
    split = read(folder, document)
    assert len(split.photographs[1].annotations) == 1
    (line,) = split.report.dropped
    assert line.startswith("image 11: box ") and line.endswith(reason)


MENDED: dict[str, tuple[dict[str, Any], str]] = {
    "text": ({"bbox": ["5.5", "5", "10", "10"]}, "is written as text"),
    "over the edge": ({"bbox": [50, 40, 30, 30]}, "is cut off at the edge of the image"),
    "left of the edge": ({"bbox": [-5.5, 3, 20, 10]}, "is cut off at the edge of the image"),
}


@pytest.mark.parametrize("case", MENDED)
def test_a_box_with_one_meaning_is_mended(folder: Path, document: dict[str, Any], case: str) -> None:
    change, reason = MENDED[case]
    document["annotations"][0] |= change
    split = read(folder, document)
    (line,) = split.report.mended
    assert line.startswith("image 10: box ") and line.endswith(reason)
    left, top, right, bottom = split.photographs[0].annotations[0].box
    assert 0 <= left < right <= 64 and 0 <= top < bottom <= 48


def test_a_box_that_touches_the_edge_by_rounding_is_not_worth_a_line(folder: Path, document: dict[str, Any]) -> None:
    document["annotations"][0]["bbox"] = [54, 40, 10.0000001, 8]
    split = read(folder, document)
    assert split.report.mended == []
    assert split.photographs[0].annotations[0].box[2] == 64


def test_ids_as_text_and_as_floats_are_those_numbers(folder: Path, document: dict[str, Any]) -> None:
    plain = read(folder, copy.deepcopy(document))
    for image in document["images"]:
        image["id"] = str(image["id"])
    for annotation in document["annotations"]:
        annotation["image_id"] = float(annotation["image_id"])
        annotation["category_id"] = str(annotation["category_id"])
    again = read(folder, document)
    assert [p.id for p in again.photographs] == [p.id for p in plain.photographs]
    assert write_ground_truth(again) == write_ground_truth(plain)


def test_a_repeated_annotation_counts_once_and_a_repeated_id_says_nothing(
    folder: Path, document: dict[str, Any]
) -> None:
    before = len(document["annotations"])
    document["annotations"].append(dict(document["annotations"][0]))
    document["annotations"][1]["id"] = document["annotations"][0]["id"]
    split = read(folder, document)
    assert sum(len(p.annotations) for p in split.photographs) == before
    (line,) = split.report.dropped
    assert line.startswith("image 10: box ") and line.endswith("stands there twice")


def test_an_annotation_of_an_unlisted_image_is_dropped(folder: Path, document: dict[str, Any]) -> None:
    document["annotations"][0]["image_id"] = 99
    assert read(folder, document).report.dropped == ["image 99: an annotation of an image that is not listed"]


def test_a_stated_size_that_lies_is_replaced_by_that_of_the_file(folder: Path, document: dict[str, Any]) -> None:
    document["images"][1] |= {"width": 640, "height": 480}
    split = read(folder, document)
    assert split.report.mended == ["image 11: its size is 64 × 48, not 640 × 480 as stated"]
    assert (split.photographs[1].width, split.photographs[1].height) == (64, 48)


def test_a_crowd_is_kept_apart(folder: Path, document: dict[str, Any]) -> None:
    document["annotations"][0]["iscrowd"] = 1
    split = read(folder, document)
    assert [one.crowd for one in split.photographs[0].annotations] == [True, False]
    assert write_ground_truth(split)["annotations"][0]["iscrowd"] == 1


def test_bad_keypoints_count_as_not_labelled(folder: Path, document: dict[str, Any]) -> None:
    place, one = next((k, a) for k, a in enumerate(document["annotations"]) if "keypoints" in a)
    one["keypoints"][0] = NAN
    one["keypoints"][3:6] = [500, 5, 2]
    split = read(folder, document)
    image = split.photographs[one["image_id"] - 10]
    points = next(a for a in image.annotations if a.keypoints is not None).keypoints
    assert points is not None and points[:2].tolist() == [[0, 0, 0]] * 2 and (points[2:, 2] == 2).all()
    what = f"image {one['image_id']}: keypoint"
    assert split.report.mended == [
        f"{what} 'left_top' is no finite number",
        f"{what} 'right_top' lies outside of the image",
    ]
    assert place >= 0


def change(path: str, value: Any) -> Any:
    def apply(document: dict[str, Any]) -> None:
        *way, last = path.split(".")
        node: Any = document
        for part in way:
            node = node[int(part) if part.isdigit() else part]
        node[int(last) if last.isdigit() else last] = value

    return apply


REFUSED = {
    "no lists": (change("annotations", None), "not in COCO's format"),
    "no image": (change("images", []), "there is no image in it"),
    "unknown category": (change("annotations.2.category_id", 9), "image 11 has an annotation of category 9"),
    "category as nothing": (change("annotations.2.category_id", None), "image 11 has the id None"),
    "two images of one id": (change("images.1.id", 10), "two images have the id 10"),
    "two categories of one id": (change("categories", [CATEGORIES[0], CATEGORIES[0]]), "two categories have the id 3"),
    "a true id": (change("images.1.id", True), "has the id True"),
    "a broken id": (change("images.1.id", 1.5), "has the id 1.5"),
    "no name": (change("categories.1.name", ""), "category 7 has no name"),
    "missing file": (change("images.1.file_name", "gone.png"), "image 11: 'gone.png' cannot be read: no such file"),
    "a way out": (change("images.1.file_name", "../test/0.png"), "leads out of the folder"),
    "no file": (change("images.1.file_name", None), "image 11 has no file_name"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_nobody_can_mean_is_refused(folder: Path, document: dict[str, Any], case: str) -> None:
    spoil, message = REFUSED[case]
    spoil(document)
    assert message in refused(folder, document)


def test_keypoints_must_be_those_of_the_category(folder: Path, document: dict[str, Any]) -> None:
    one = next(a for a in document["annotations"] if "keypoints" in a)
    one["keypoints"] = one["keypoints"][:9]
    assert f"image {one['image_id']} has 9 numbers of keypoints" in refused(folder, document)


def test_a_file_that_is_no_image_is_refused(folder: Path, document: dict[str, Any]) -> None:
    (folder / "1.png").write_bytes(b"no picture")
    assert "image 11: '1.png' cannot be read: it is of no image format" in refused(folder, document)


def test_an_image_that_exif_turns_is_refused_where_its_size_is_that_before(
    folder: Path, document: dict[str, Any]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(folder / "0.png") as picture:
        picture.save(folder / "0.jpg", exif=exif)
    document["images"][0]["file_name"] = "0.jpg"
    assert "image 10: Exif turns '0.jpg' on its side" in refused(folder, document)
    document["images"][0] |= {"width": 48, "height": 64}
    assert (read(folder, document).photographs[0].width, read(folder, document).photographs[0].height) == (48, 64)


def test_a_file_of_which_most_is_dropped_is_refused(folder: Path, document: dict[str, Any]) -> None:
    for annotation in document["annotations"][:4]:
        annotation["bbox"] = [0, 0, 0, 0]
    assert "4 of 6 annotations cannot be used, first: image 10: box [0, 0, 0, 0] has no area" in refused(
        folder, document
    )


def test_no_json_is_refused(folder: Path, document: dict[str, Any]) -> None:
    (folder / "annotations.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        read_folder(folder)
    (folder / "annotations.json").unlink()
    with pytest.raises(InputError, match=r"holds no annotations\.json"):
        read_folder(folder)


def test_images_may_lie_in_a_folder_of_their_own(folder: Path, document: dict[str, Any]) -> None:
    (folder / "images").mkdir()
    for path in folder.glob("*.png"):
        path.rename(folder / "images" / path.name)
    assert len(read(folder, document)) == 3


def test_an_area_that_is_missing_is_that_of_the_box(folder: Path, document: dict[str, Any]) -> None:
    del document["annotations"][0]["area"]
    one = read(folder, document).photographs[0].annotations[0]
    assert one.area == pytest.approx((one.box[2] - one.box[0]) * (one.box[3] - one.box[1]))
    assert np.isfinite(one.area)
