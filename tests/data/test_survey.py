"""The survey of a data set, and runs on what it proposes."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from image_folders import draw_files, encode, write_split
from PIL import Image

from bocb_hf.data.images import load_images
from bocb_hf.data.survey import survey
from bocb_hf.errors import InputError
from bocb_hf.runs.config import DataConfig
from bocb_hf.runs.facts import DataFacts
from bocb_hf.runs.load_config import apply_overrides, write_override

ODD = 'it\'s #1: cats, "dogs" & {so on}'  # YAML and shells would read much into it


def reencode(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.open(source).convert("RGB").save(target, quality=85)


def config_of(facts: DataFacts, **changes: Any) -> DataConfig:
    """The section ``data`` that the overrides of a survey make."""
    sections: dict[str, Any] = {}
    assert apply_overrides(sections, facts.overrides) == []
    return DataConfig(**({"image_size": 16} | sections["data"] | changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with 20 images each, in which some images have copies, one of them in another class."""
    folder = tmp_path_factory.mktemp("photos") / ODD
    for place, name in enumerate(("cat", "d'og", "émû")):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            (folder / f"{name}/{i}.png").write_bytes(encode(100 * place + i, 32, 32))
    for i in range(6):
        reencode(folder / f"cat/{i}.png", folder / f"cat/again {i}.jpg")
    shutil.copy(folder / "d'og/0.png", folder / "d'og/copy of 0.png")
    shutil.copy(folder / "émû/3.png", folder / "d'og/zzz.png")
    return folder


@pytest.fixture(scope="module")
def facts(folder: Path) -> DataFacts:
    return survey(str(folder))


def test_what_the_survey_finds(facts: DataFacts, folder: Path) -> None:
    assert facts.classes == ("cat", "d'og", "émû")
    assert facts.given == ("train",)
    assert facts.train + facts.validation + facts.test == 68
    assert sum(facts.counts) == facts.train + facts.validation
    assert (facts.height, facts.width, facts.one_size, facts.grey) == (32, 32, True, False)
    found = facts.duplicates
    assert (found.images, found.exact, found.encoded, found.mirrored) == (68, 2, 6, 0)
    assert (found.groups, found.conflicting, found.across) == (8, 1, 0)
    assert ("cat/0.png", "cat/again 0.jpg") in found.examples
    assert found.conflicts == (("d'og/zzz.png", "émû/3.png"),)
    assert facts.revision and facts.name == str(folder)


def test_what_the_survey_says(facts: DataFacts) -> None:
    said = "\n".join(facts.sentences())
    assert "Images: 68 colour images of 3 classes, 32 × 32 px." in said
    assert "8 of 68 images are copies of another one (2 exact, 6 re-encoded or resized, 0 mirrored)" in said
    assert "'cat/0.png' = 'cat/again 0.jpg'" in said
    assert "1 image(s) have copies in several classes" in said
    assert "validation and test are drawn from train by class, the same for every run" in said


def test_a_run_gets_the_splits_that_the_survey_counted(facts: DataFacts) -> None:
    tuned, final = (load_images(config_of(facts), trial) for trial in (True, False))
    assert tuned.validation is not None
    assert (len(tuned.train), len(tuned.validation), len(tuned.test)) == (facts.train, facts.validation, facts.test)
    assert len(final.train) == facts.train + facts.validation
    assert tuned.identity == final.identity
    assert final.identity.duplicates == "group"
    assert "copies of an image were drawn together" in final.identity.split_rule
    assert final.notes is not None and final.notes.duplicate_images == 8
    plain = load_images(config_of(facts, duplicates="ignore"), trial=False)
    assert "duplicates" not in plain.identity.model_dump(mode="json"), "older identities keep their bytes"
    assert plain.identity.test_indices_sha256 != final.identity.test_indices_sha256


def test_no_copy_lies_on_another_side(facts: DataFacts) -> None:
    """By the pixels of what a trial gets: of the two copies of an image that was saved again, both are on one side."""
    data = load_images(config_of(facts), trial=True)
    sides: list[np.ndarray] = []
    for images in (data.train, data.validation, data.test):
        assert images is not None
        # its type allows None, which it is not here
        sides.append(images.pixels.numpy().reshape(len(images), -1).astype(np.float64))  # type: ignore[union-attr]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        apart = np.abs(sides[one][:, None] - sides[other][None]).mean(axis=2)
        assert apart.min() > 15, "levels between the nearest images of two sides; copies are some 3 apart"


def test_names_that_yaml_would_read_otherwise() -> None:
    for value in (ODD, "1e3", "true", "a: b", "[x]", "plain/path.d", "null", " spaced", 3, None, 0.25):
        sections: dict[str, Any] = {}
        assert apply_overrides(sections, [write_override("data.name", value)]) == []
        assert sections["data"]["name"] == value


def test_given_splits_with_copies_are_counted_and_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train = [encode(i, 32, 32) for i in range(40)]
    again = io.BytesIO()
    Image.open(io.BytesIO(train[5])).save(again, format="JPEG", quality=80)
    write_split(tmp_path, "train", train)
    write_split(tmp_path, "test", [encode(100 + i, 32, 32) for i in range(9)] + [train[3], again.getvalue()])
    facts = survey(str(tmp_path))
    assert facts.given == ("train", "test")
    assert (facts.train, facts.validation, facts.test) == (36, 4, 11)
    assert facts.duplicates.across == 2
    assert "2 images of the given test split are copies of training images" in "\n".join(facts.sentences())
    assert not any(override.startswith("data.test_fraction") for override in facts.overrides)
    notes = load_images(config_of(facts), trial=False).notes
    assert notes is not None and (notes.shared_test_images, notes.similar_test_images) == (1, 1)
    assert "1 of 11 images of split 'test'" in caplog.text and "encoded, resized or mirrored anew" in caplog.text


def test_all_splits_given_draw_nothing(tmp_path: Path) -> None:
    for first, split in enumerate(("train", "validation", "test")):
        write_split(tmp_path, split, [encode(100 * first + i, 8, 8) for i in range(12)])
    facts = survey(str(tmp_path))
    assert (facts.train, facts.validation, facts.test) == (12, 12, 12)
    assert "all are the data set's own" in "\n".join(facts.sentences())
    assert load_images(config_of(facts), trial=False).identity.duplicates == "ignore"
    with pytest.raises(InputError, match=r"data.validation_fraction: .* has a validation split of its own"):
        survey(str(tmp_path), validation_fraction=0.1)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["cat/1.png", "cat/2.png"], r"data.label_column: the images of .* have no labels"),
        (["cat/1.png", "dog/1.png"], r"data.test_fraction: cannot draw 0.2 of 2 images .* only one has 'cat', 'dog'"),
        ([f"cat/{i}.png" for i in range(9)] + ["dog/1.png"], r"a class needs 2 images.* only one has 'dog'"),
        ([f"{a}/{b}/{i}.png" for a in "xy" for b in "cd" for i in range(5)] + ["x/1.png"], r"lies at another depth"),
    ],
)
def test_layouts_that_cannot_be_meant(tmp_path: Path, files: list[str], message: str) -> None:
    draw_files(tmp_path, files)
    with pytest.raises(InputError, match=message):
        survey(str(tmp_path))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    draw_files(tmp_path, [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(8)])
    (tmp_path / "dog" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(InputError, match=r"broken\.png"):
        survey(str(tmp_path))


def test_mixed_modes_sizes_links_and_empty_folders(tmp_path: Path) -> None:
    target = draw_files(tmp_path / "elsewhere", ["linked.png"], first=900)
    folder = draw_files(tmp_path / "mixed", [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(8)])
    Image.open(io.BytesIO(encode(500, 50, 30))).convert("L").save(folder / "cat/grey.jpg")
    Image.open(io.BytesIO(encode(501, 20, 70))).convert("RGBA").save(folder / "dog/clear.png")
    Image.open(io.BytesIO(encode(502, 16, 16))).convert("P").save(folder / "dog/palette.gif")
    (folder / "cat/link.png").symlink_to(target / "linked.png")
    (folder / "empty").mkdir()
    facts = survey(str(folder))
    assert facts.classes == ("cat", "dog")
    assert facts.train + facts.validation + facts.test == 20
    assert (facts.height, facts.width, facts.one_size) == (8, 8, False)


def test_many_copies_of_one_image(tmp_path: Path) -> None:
    write_split(tmp_path, "train", [encode(i % 3, 8, 8) for i in range(240)] + [encode(9 + i, 8, 8) for i in range(60)])
    facts = survey(str(tmp_path))
    assert facts.duplicates.exact == 237
    assert facts.test == 12, "a fifth of the images that are no copies"
    assert facts.train + facts.validation == 288


def labelled(tmp_path: Path, labels: list[Any]) -> Path:
    pictures = [{"bytes": encode(i, 8, 8), "path": None} for i in range(len(labels))]
    kind = datasets.Value("string" if isinstance(labels[0], str) else "int64")
    features = datasets.Features({"image": datasets.Image(), "kind": kind})
    datasets.Dataset.from_dict({"image": pictures, "kind": labels}, features=features).to_parquet(
        tmp_path / "train-00000-of-00001.parquet"
    )
    return tmp_path


def test_labels_as_numbers(tmp_path: Path) -> None:
    facts = survey(str(labelled(tmp_path, [0, 1] * 20)), label_column="kind")
    assert facts.classes == ("0", "1")
    assert "data.label_column=kind" in facts.overrides


def test_labels_as_texts(tmp_path: Path) -> None:
    facts = survey(str(labelled(tmp_path, ["dog", "cat"] * 20)), label_column="kind")
    assert facts.classes == ("cat", "dog")
    data = load_images(config_of(facts), trial=True)
    assert data.class_names == ("cat", "dog")
    assert set(data.train.labels.tolist()) == {0, 1}  # type: ignore[union-attr] - not None here


def test_an_id_on_the_hub_needs_the_hub() -> None:
    with pytest.raises(InputError, match=r"data.name: 'nobody/nothing' is no folder here, and the Hub cannot be asked"):
        survey("nobody/nothing")
