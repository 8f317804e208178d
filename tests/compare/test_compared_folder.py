"""The folder of a comparison: what continues it, what does not, and how much time a session has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bocb_hf.compare.asked import Asked, parse_time
from bocb_hf.compare.design import Design, ladder
from bocb_hf.compare.folder import Folder, Known, Session, check_same, default_folder, time_for
from bocb_hf.errors import InputError
from bocb_hf.sweep.plan import SweepPlan

FULL = Design(("adamw", "sgdm", "lamb"))
ASKED = Asked("photos", "convnext_tiny.fb_in1k", 1800, image_size=96)
KNOWN = Known(
    *("/data/photos", "abc1234", "convnext_tiny.fb_in1k", False, {"image_size": 96}),
    *(["Setting finetune: there are weights.\nReally."], ["epochs: 2 instead of 8"], 12.5, [800, 80, 200], False),
    ["adamw", "sgdm", "lamb"],
    ["frozen_backbone"],
)


def plan(design: Design = FULL) -> SweepPlan:
    keys = design.keys()
    content = {"edition": 2, "name": "compare", "config": "generic/finetune", "backbones": ["convnext_tiny"], **keys}
    return SweepPlan.model_validate(content | {"overrides": ["data.name=/data/photos", "data.image_size=96"]})


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "new" / "one")
    assert folder.read() is None
    known = replace(KNOWN, sessions=[Session(1800, 12.0, "stopped")])
    folder.write(plan(), known, "bocb compare photos --backbone convnext_tiny.fb_in1k")
    assert folder.read() == (plan(), known)
    for design in ladder(FULL, emergency=True):
        folder.write(plan(design), known, "bocb compare")
        assert folder.read() == (plan(design), known)
    folder.write(plan(), known, "bocb compare photos --backbone convnext_tiny.fb_in1k")
    text = folder.plan_file.read_text()
    assert "# Command:  bocb compare photos" in text and "# Cut:      epochs: 2 instead of 8" in text
    assert "# Decided:  Setting finetune: there are weights. Really.\n" in text  # a line of YAML cannot be broken into


@pytest.mark.parametrize("content", ["", "{}", '{"format": 2}', '{"format": 1, "sessions": 3}', "[]"])
def test_a_damaged_folder_is_an_error_that_names_the_file(content: str, tmp_path: Path) -> None:
    (tmp_path / "compare.json").write_text(content)
    with pytest.raises(InputError, match=r"compare\.json"):
        Folder(tmp_path).read()


def test_only_the_same_comparison_is_continued(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    check_same(ASKED, KNOWN, "abc1234", folder)
    check_same(replace(ASKED, seconds=60, workers=1, seeds=5, image_size=None), KNOWN, "abc1234", folder)
    others = [
        (replace(ASKED, backbone="resnet18"), "abc1234", "--backbone"),
        (replace(ASKED, scratch=True), "abc1234", "--scratch"),
        (replace(ASKED, image_size=128), "abc1234", "--image-size"),
        (replace(ASKED, optimizers=("lion", "adamw")), "abc1234", "--optimizers"),
        (ASKED, "def", "has changed"),
    ]
    for asked, revision, named in others:
        with pytest.raises(InputError, match=named):
            check_same(asked, KNOWN, revision, folder)


def test_the_time_of_a_session() -> None:
    assert time_for(1800, []) == 1800
    assert time_for(1800, [Session(1800, 700, "stopped")]) == 1100
    assert time_for(1800, [Session(1800, 700, "stopped"), Session(1800, 200, "running")]) == 900
    assert time_for(1800, [Session(1800, 1790, "time")]) == 1800  # it was given again: it goes on with as much more
    assert time_for(600, [Session(1800, 700, "stopped")]) == 600
    assert time_for(1800, [Session(1800, 1790, "time"), Session(1800, 300, "stopped")]) == 1500
    assert time_for(1800, [Session(1800, 2000, "running")]) == 0


def test_times() -> None:
    assert [parse_time(text) for text in ("30m", "90s", "2h", "1h30m", "0.5h", " 45M ")] == [
        *(1800, 90, 7200, 5400, 1800, 2700)
    ]
    for text in ("", "30", "m", "30 min", "-5m", "5m5", "1e3s", "nan", "10s", "99d"):
        with pytest.raises(InputError, match="--time"):
            parse_time(text)


def test_default_folders(tmp_path: Path) -> None:
    photos = tmp_path / "My Photos!"
    photos.mkdir()
    names = [
        default_folder(Asked(str(photos), "convnext_tiny.fb_in1k", 60)).name,
        default_folder(Asked(f"{photos}/", "timm/resnet18.a1_in1k", 60, scratch=True)).name,
        default_folder(Asked("org/data", "tiny_vit", 60)).name,
    ]
    assert names == ["my-photos-convnext_tiny-fb_in1k", "my-photos-resnet18-a1_in1k-scratch", "org-data-tiny_vit"]
