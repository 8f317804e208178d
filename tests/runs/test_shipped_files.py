"""Settings and plans that are shipped: their headers, their commands, how they are found."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from bocb_hf.commands.list import list_rows
from bocb_hf.errors import InputError
from bocb_hf.resources import find_config
from bocb_hf.runs.load_config import load_run_config
from bocb_hf.sweep.plan import load_plan

ROOT = Path(__file__).resolve().parents[2]
HEADER = ["Purpose", "Command", "Published", "Measured", "Cost"]
NAMES = ["backbone.name=tiny_resnet", "optimizer.name=adamw"]


def header(path: Path) -> dict[str, str]:
    """The comment at the top: title to text."""
    found: dict[str, str] = {}
    title = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        first, colon, rest = line[1:].strip().partition(":")
        if colon and first in HEADER:
            title, line = first, rest
        found[title] = f"{found.get(title, '')} {line.strip('# ')}".strip()
    return found


CONFIGS = sorted((ROOT / "recipes/configs").rglob("*.yaml"))
SWEEPS = sorted((ROOT / "recipes/sweeps").rglob("*.yaml"))


def test_all_shipped_files_are_collected_and_listed() -> None:
    assert CONFIGS
    assert SWEEPS
    for what, paths in (("settings", CONFIGS), ("sweeps", SWEEPS)):
        names = [line for line in list_rows(what).splitlines() if line and not line.startswith(" ")]
        folder = CONFIGS[0].parent.parent if what == "settings" else SWEEPS[0].parent
        assert names == [str(path.relative_to(folder).with_suffix("")) for path in paths]
    # a file with another ending would be shipped, but neither listed nor tested
    others = [p for p in (ROOT / "recipes").rglob("*.y*ml") if p not in CONFIGS + SWEEPS]
    assert {p.name for p in others if p.parent.name == "accelerate"} == {"cpu.yaml", "multi_gpu.yaml", "fsdp.yaml"}
    assert len(others) == 3


@pytest.mark.parametrize("path", CONFIGS + SWEEPS, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_shipped_file_begins_with_its_headline(path: Path) -> None:
    found = header(path)
    assert list(found) == [key for key in HEADER if key != "Published" or path in CONFIGS]
    assert all(found.values())
    measured = found["Measured"]
    assert measured == "not measured" or any(character.isdigit() for character in measured)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_shipped_setting_parses_and_its_command_runs_it(path: Path) -> None:
    generic = path.parent.name == "generic"  # which leaves data and image size to the user
    assert load_run_config(path, [*NAMES, *(["data.name=mine", "data.image_size=32"] if generic else [])]).setting
    words = shlex.split(header(path)["Command"].replace("\\", " "))
    task = load_run_config(path, words[5:]).task.name
    recipe = "train" if task == "classification" else task
    assert words[:3] == ["accelerate", "launch", f"recipes/{recipe}.py"]
    assert (ROOT / words[2]).is_file()
    assert words[3] == "--config"
    assert find_config(words[4], "recipes/configs") == path
    assert load_run_config(path, words[5:])


@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_shipped_sweep_parses_and_its_command_runs_it(path: Path) -> None:
    plan = load_plan(path)
    words = shlex.split(header(path)["Command"].replace("\\", " "))
    assert words[:2] == ["bocb", "sweep"]
    assert find_config(words[2], "recipes/sweeps") == path
    configs = [find_config(name, "recipes/configs") for name in plan.configs]
    assert set(configs) <= set(CONFIGS)
    checked = 0
    for config in configs:
        for backbone in plan.backbones:
            for optimizer in plan.optimizers:
                load_run_config(config, [f"backbone.name={backbone}", f"optimizer.name={optimizer}", *plan.overrides])
                checked += 1
    assert checked == len(configs) * len(plan.backbones) * len(plan.optimizers) > 0


def test_a_configuration_is_found_by_path_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = CONFIGS[0]
    name = str(shipped.relative_to(ROOT / "recipes/configs").with_suffix(""))
    for given in (name, f"{name}.yaml", f"recipes/configs/{name}.yaml", str(shipped)):
        assert find_config(given, "recipes/configs").samefile(shipped)
    with pytest.raises(InputError, match="no configuration file 'nope'; give a path to a YAML file or one of: ") as no:
        find_config("nope", "recipes/configs")
    assert name in str(no.value)
