"""``bocb train`` without a setting, and the examples of docs/data.md."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from image_folders import draw_files

from bocb_hf.commands.generic import choose_generic, is_generic, wants_portable
from bocb_hf.commands.train import load_config
from bocb_hf.data.survey import survey
from bocb_hf.errors import InputError
from bocb_hf.resources import find_config, resource_root
from bocb_hf.runs.load_config import apply_overrides, load_run_config
from bocb_hf.sweep.plan import load_plan

TEXT = (resource_root() / "docs/data.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_files(tmp_path_factory.mktemp("own") / "photos", [f"{n}/{i}.png" for n in "ab" for i in range(20)])


def test_when_a_setting_is_chosen() -> None:
    assert is_generic("generic", [])
    assert is_generic(None, ["backbone.name=resnet18", "data.name=photos"])
    assert not is_generic(None, ["backbone.name=resnet18"])
    assert not is_generic("generic/finetune", ["data.name=photos"])
    assert wants_portable(["runtime.portable=true"])
    assert not wants_portable(["runtime.portable=false"]) and not wants_portable(["runtime=3"])


def test_the_choice_is_a_configuration_and_the_user_has_the_last_word(folder: Path) -> None:
    given = [f"data.name={folder}", "backbone.name=tiny_resnet", "optimizer.name=adamw"]
    setting, overrides, said = choose_generic(given)
    config = load_config(setting, None, overrides)
    assert (config.setting, config.data.name) == ("generic_scratch_small", str(folder))
    assert (config.data.image_size, config.data.test_fraction, config.data.duplicates) == (32, 0.2, "group")
    assert any("Duplicates: none among 40 images" in line for line in said)
    assert any(line.startswith("Batch 8") for line in said)
    more = ["data.image_size=48", "training.epochs=1", "data.test_fraction=0.4", "seed=7"]
    setting, overrides, said = choose_generic([*given, *more])
    config = load_config(setting, None, overrides)
    assert (config.data.image_size, config.training.epochs, config.seed) == (48, 1, 7)
    assert config.data.test_fraction == 0.4 and any("16 to test on" in line for line in said)


def test_weights_beside_a_name_are_fine_tuned_at_their_size(folder: Path) -> None:
    given = [f"data.name={folder}", "optimizer.name=adamw"]
    for names in (
        ["backbone.name=convnext_tiny.fb_in1k"],
        ["backbone.name=convnext_tiny", "backbone.pretrained=fb_in1k"],
    ):
        setting, overrides, _ = choose_generic([*given, *names])
        config = load_run_config(setting, overrides)
        assert setting == find_config("generic/finetune", "recipes/configs")
        assert (config.backbone.name, config.backbone.pretrained) == ("convnext_tiny", "fb_in1k")
        assert config.data.image_size == 224


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["backbone.name=tiny_resnet"], r"data.name: the setting follows from data and backbone"),
        (["data.name=x/y"], r"backbone.name: the setting follows from data and backbone"),
        (["data.name"], "not an override"),
        (
            ["data.name=x/y", "backbone.name=resnet18.nope"],
            r"timm knows no weights of that tag .* known tags: .*a1_in1k",
        ),
        (["data.name=x/y", "backbone.name=tiny_resnet", "runtime.workers=many"], "runtime.workers"),
        (["data.name=no_such_folder", "backbone.name=tiny_resnet"], "'no_such_folder' is no folder"),
    ],
)
def test_what_is_missing_or_wrong(given: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose_generic(given)


def test_the_layouts_of_the_page_are_read(tmp_path: Path) -> None:
    layouts = [block.split() for block in blocks("text")]
    assert len(layouts) == 2
    for place, files in enumerate(layouts):
        more = [f"{path.rpartition('/')[0]}/{i}.png" for path in files for i in range(3, 12)]
        draw_files(tmp_path / str(place), [*(path.rpartition(".")[0] + ".png" for path in files), *more])
        facts = survey(str(tmp_path / str(place) / "photos"))
        assert facts.classes == ("cat", "dog")
        assert facts.given == (("train",), ("train", "test"))[place]


def test_the_commands_of_the_page_hold_keys_that_exist(tmp_path: Path) -> None:
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("bocb ")]
    assert len(lines) == 3
    for line in lines:
        words = shlex.split(line.replace("<", "").replace(">", ""))
        assert words[:2] == ["bocb", "train"] and is_generic(None, words[2:])
        sections: dict[str, Any] = {}
        assert apply_overrides(sections, words[2:]) == []
        sections["data"].pop("revision", None)  # a placeholder
        rest = [f"{name}.{key}={value}" for name, section in sections.items() for key, value in section.items()]
        setting = find_config("generic/scratch_small", "recipes/configs")
        assert load_run_config(setting, [*rest, "data.image_size=32"]).setting == "generic_scratch_small"


def test_the_plan_of_the_page_is_a_plan(tmp_path: Path) -> None:
    (example,) = blocks("yaml")
    path = tmp_path / "plan.yaml"
    path.write_text(example, encoding="utf-8")
    plan = load_plan(path)
    setting = find_config(plan.configs[0], "recipes/configs")
    for cell in plan.cells():
        names = [f"backbone.name={cell.backbone}", f"optimizer.name={cell.optimizer}"]
        assert load_run_config(setting, [*names, *plan.overrides]).data.duplicates == "group"
