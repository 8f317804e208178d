"""Local folders: which files count, what lies in the way, and that splits hold different images."""

from __future__ import annotations

import logging
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from datasets import config as settings
from image_folders import draw_files, encode, write_split

from bocb_hf.data import DATASETS, content_revision, first_revision
from bocb_hf.data.images import ImageData, load_images
from bocb_hf.data.load import open_data
from bocb_hf.errors import InputError
from bocb_hf.runs.config import DataConfig

FILES = [f"{split}/{name}/{i}.png" for split in ("train", "test") for name in ("cat", "dog") for i in range(4)]
# what releases before the rule "only what is read counts" made of these files
REVISION = "397e3112ae16e81b83515c1460486c4407fb54b4"


def load(folder: Path, /, trial: Any = False, **changes: object) -> ImageData:
    # a parametrized word, one of those that the type lists
    return load_images(DataConfig(**({"name": str(folder), "image_size": 8} | changes)), trial)  # type: ignore[arg-type]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return draw_files(tmp_path / "photos", FILES)


def test_a_clean_folder_keeps_its_revision(photos: Path) -> None:
    assert content_revision(photos) == first_revision(photos) == open_data(str(photos), None, False).revision
    assert content_revision(photos) == REVISION
    (photos / "README.md").write_text("what this is")
    (photos / "LICENSE").write_text("MIT")
    assert open_data(str(photos) + "/", None, False).revision == REVISION


def test_the_embedded_images_keep_their_revision_whatever_a_system_leaves_there(tmp_path: Path) -> None:
    row = DATASETS.get("fashion_mnist_subset")
    assert row.embedded is not None
    shutil.copytree(row.embedded, tmp_path / "copy")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._test-00000-of-00001.parquet"):
        (tmp_path / "copy" / name).write_bytes(b"\0")
    (tmp_path / "copy" / "__pycache__").mkdir()
    (tmp_path / "copy" / "__pycache__" / "x.pyc").write_bytes(b"\0")
    assert content_revision(tmp_path / "copy") == row.revision


LEFTOVERS = [
    *(".DS_Store", "train/cat/.DS_Store", "Thumbs.db", "train/cat/Thumbs.db", "desktop.ini", "train/dog/._0.png"),
    *("__MACOSX/train/cat/0.png", ".cache/huggingface/download/x.lock", ".git/config", "train/cat/0.png~", "a.txt"),
    *("train/cat/.0.png.swp", "notes.md", "LICENSE.txt", "extra/9.png", "__pycache__/a.pyc", ".hidden/train/cat/1.png"),
]


def test_files_that_are_no_data_do_not_count(photos: Path) -> None:
    for number, leftover in enumerate(LEFTOVERS):
        (photos / leftover).parent.mkdir(parents=True, exist_ok=True)
        (photos / leftover).write_bytes(encode(200 + number, 4, 4))
    data = load(photos)
    assert data.identity.revision == REVISION
    assert len(data.train) == 8


def test_a_linked_folder_is_not_followed_and_a_linked_file_is(photos: Path) -> None:
    (photos / "train" / "cat" / "loop").symlink_to("..")
    (photos / "again").symlink_to("train")
    (photos / "train" / "cat" / "gone.png").symlink_to("/nonexistent.png")
    assert load(photos).identity.revision == REVISION
    outside = photos.parent / "outside.png"
    (photos / "train" / "cat" / "0.png").rename(outside)
    (photos / "train" / "cat" / "0.png").symlink_to(outside)
    open_data.cache_clear()
    assert load(photos).identity.revision == REVISION


def test_what_looks_like_data_and_is_not_read_is_warned_of(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    draw_files(photos, ["extra/cat/9.png"], first=90)
    (photos / "labels.txt").write_text("cat\ndog\n")
    load(photos)
    (record,) = [r for r in caplog.records if "are not read" in r.message]
    assert record.levelno == logging.WARNING
    assert "are not read: labels.txt, extra/cat/9.png" in record.message


def test_every_file_that_is_read_counts(photos: Path) -> None:
    seen = {open_data(str(photos), None, False).revision}
    for change in ("train/cat/NEW.PNG", "test/dog/new.jpeg", "train/cat/0.png"):
        (photos / change).write_bytes(encode(500 + len(seen), 4, 4))
        open_data.cache_clear()
        seen.add(open_data(str(photos), None, False).revision)
    (photos / "train/cat/1.png").rename(photos / "train/cat/one.png")
    open_data.cache_clear()
    seen.add(open_data(str(photos), None, False).revision)
    assert len(seen) == 5


def test_the_revision_of_an_older_record_is_still_accepted(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (photos / "notes.txt").write_text("counted once")
    old = first_revision(photos)
    assert old != REVISION
    assert load(photos, revision=old).identity.revision == old
    assert load(photos).identity.revision == load(photos, revision=REVISION).identity.revision == REVISION
    with pytest.raises(InputError, match=f"data.revision: the content of .* is {REVISION}, not {'0' * 40}"):
        load(photos, revision="0" * 40)
    assert "are not read: notes.txt" in caplog.text


def test_where_class_folders_lie_wrong_the_message_says_what_was_expected(tmp_path: Path) -> None:
    stray = draw_files(tmp_path / "stray", [*FILES, "train/000.png"])
    with pytest.raises(
        InputError,
        match=r"data.label_column: .* Expected is .*stray/train/<class>/<image> and .*stray/test/<class>/<image>, all "
        r"at one depth; but train/000.png lies at another depth than t.*; move or remove it",
    ):
        load(stray)
    nested = draw_files(tmp_path / "nested", [*FILES, "train/wild/lynx/1.png"])
    with pytest.raises(InputError, match=r"but train/wild/lynx/1.png lies at another depth"):
        load(nested)
    keys: list[dict[str, object]] = [{}, {"label_column": "label"}]
    for key in keys:
        with pytest.raises(InputError, match=r"image\(s\) lie in the folder itself; a classifier needs at least 2"):
            load(draw_files(tmp_path / "loose", ["1.png", "2.png"]), **key | {"test_fraction": 0.2})
    with pytest.raises(InputError, match=r"image\(s\) lie in one folder, 'cat'"):
        load(draw_files(tmp_path / "single", ["train/cat/1.png", "test/cat/2.png"]))
    table = draw_files(tmp_path / "table", FILES)
    (table / "train" / "metadata.csv").write_text("file_name,kind\ncat/0.png,cat\ndog/0.png,dog\n")
    (table / "test" / "metadata.csv").write_text("file_name,kind\ncat/0.png,cat\n")
    with pytest.raises(InputError, match=r"but test/metadata.csv describes the images .*\(columns: kind\)"):
        load(table)


def test_a_class_that_is_called_like_a_split_is_explained(tmp_path: Path) -> None:
    traffic = draw_files(
        tmp_path / "traffic", [f"{name}/{i}.png" for name in ("bus", "car", "train") for i in range(3)]
    )
    with pytest.raises(
        InputError,
        match=r"lie in one folder, 'train'; a folder of that name is taken for a split, .*Not read are: bus/0.png, "
        r"bus/1.png, bus/2.png and 3 more; put the class folders into .*traffic/train and .*traffic/test",
    ):
        load(traffic, test_fraction=0.3)
    inside = draw_files(tmp_path / "inside", [*FILES, "train/test tube/1.png"])
    with pytest.raises(
        InputError,
        match=r"inside/train/test tube/1.png would be read for two splits, 'train' and 'test': .*; rename the class",
    ):
        load(inside)
    half = draw_files(tmp_path / "half", ["cat/1.png", "dog/1.png", "test/cat/2.png", "test/dog/2.png"])
    with pytest.raises(InputError, match=r"has no split 'train'; it has: test; of this folder are not read: cat/1.png"):
        load(half)
    upper = draw_files(tmp_path / "upper", [path.replace("train", "Train").replace("test", "TEST") for path in FILES])
    with pytest.raises(InputError, match=r"the folder 'T(rain|EST)' .* lower case only.*; rename it to 't(rain|est)'"):
        load(upper, test_fraction=0.2)


@pytest.mark.parametrize("word", ["val", "valid", "dev", "validation"])
@pytest.mark.parametrize("test", ["testing", "eval"])
def test_other_names_of_splits_are_known(tmp_path: Path, word: str, test: str) -> None:
    names = {"train": "training", "test": test, "validation": word}
    files = [f"{name}/{kind}/{i}.png" for name in names.values() for kind in ("a", "b") for i in range(3)]
    data = load(draw_files(tmp_path / "named", files))
    assert data.identity.evaluation_split == "test"
    assert data.validation is not None
    assert len(data.validation) == 6


def test_splits_of_the_same_images_are_refused(photos: Path, tmp_path: Path) -> None:
    shutil.rmtree(photos / "test")
    shutil.copytree(photos / "train", photos / "test")
    with pytest.raises(
        InputError,
        match=r"data.evaluation_split: the splits 'train' and 'test' of .* hold the same images, .*data.test_fraction=",
    ):
        load(photos)
    images = [encode(i, 8, 8) for i in range(12)]
    twice = tmp_path / "twice"  # encoded in other files, in other shards
    write_split(twice, "train", images)
    write_split(twice, "test", images, shards=3)
    with pytest.raises(InputError, match=r"the splits 'train' and 'test' .* hold the same images"):
        load(twice)
    tuned = tmp_path / "tuned"
    for split, first in (("train", 0), ("validation", 100), ("test", 100)):
        write_split(tuned, split, [encode(first + i, 8, 8) for i in range(12)])
    with pytest.raises(InputError, match=r"data.evaluation_split: the splits 'validation' and 'test'"):
        load(tuned)
    drawn = tmp_path / "drawn"
    for split, first in (("train", 0), ("validation", 0), ("test", 100)):
        write_split(drawn, split, [encode(first + i, 8, 8) for i in range(12)])
    with pytest.raises(InputError, match=r"data.name: the splits 'train' and 'validation' .* draws validation images"):
        load(drawn)


def test_two_splits_of_one_file_are_refused(photos: Path) -> None:
    (photos / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: train/**\n"
        "  - split: held_out\n    path: train/**\n---\n"
    )
    with pytest.raises(InputError, match=r"would be read for two splits, 'train' and 'held_out'"):
        load(photos, evaluation_split="held_out")


def test_test_images_that_are_trained_on_are_counted_and_noted(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load(photos).notes is None
    shutil.copy(photos / "train/cat/1.png", photos / "test/dog/copy.png")
    open_data.cache_clear()
    notes = load(photos).notes
    assert notes is not None
    assert notes.shared_test_images == 1
    assert "1 of 9 images of split 'test'" in caplog.text


def test_a_class_without_images_is_named_in_log_and_notes(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    draw_files(photos, ["train/emu/1.png", "train/emu/2.png", "test/yak/1.png"], first=300)
    caplog.set_level(logging.WARNING)
    data = load(photos)
    assert data.class_names == ("cat", "dog", "emu", "yak")
    assert data.notes is not None
    assert data.notes.untrained_classes == ("yak",)
    assert data.notes.untested_classes == ("emu",)
    assert "have no training images and cannot be learnt: 'yak'" in caplog.text
    assert "have no test images: 'emu'" in caplog.text


@pytest.mark.parametrize("form", ["case", "accent"])
def test_one_class_under_two_spellings_is_refused(photos: Path, form: str) -> None:
    one, other = ("Emu", "emu") if form == "case" else (unicodedata.normalize(n, "élan") for n in ("NFC", "NFD"))
    draw_files(photos, [f"train/{one}/1.png", f"train/{one}/2.png", f"test/{other}/1.png"], first=300)
    with pytest.raises(InputError, match=r"are counted as two, and .* has no t.* images; if one class is meant"):
        load(photos)


def test_classes_that_differ_in_case_and_have_images_are_two(photos: Path) -> None:
    draw_files(
        photos, [f"{split}/{name}/1.png" for split in ("train", "test") for name in ("Cat", "a" * 200)], first=300
    )
    data = load(photos)
    assert data.class_names == ("Cat", "a" * 200, "cat", "dog")
    assert data.notes is None


def test_the_cache_of_hugging_face_is_named_where_it_cannot_be_written(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(settings, "HF_DATASETS_CACHE", str(tmp_path / "file" / "datasets"))
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    with pytest.raises(InputError, match=r"^HF_HOME: .* cannot write its cache in .*file/datasets \(Not a directory"):
        load(photos)


def test_what_datasets_cannot_load_is_said_with_its_cause(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        InputError, match=r"cannot load .*; give a folder of Parquet files, or of <split>/<class>/<image>"
    ):
        load(tmp_path / "empty")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "train.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match=r"cannot load .*torn.*Parquet"):
        load(tmp_path / "torn")
