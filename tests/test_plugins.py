"""Rows of other packages: the example of CONTRIBUTING.md as it stands there, and plug-ins that are wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from warm import BOCB, run_warm

ROOT = Path(__file__).resolve().parent.parent


def bocb(folder: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    places = os.pathsep.join(p for p in (path, os.environ.get("PYTHONPATH", "")) if p)
    return run_warm(["-c", BOCB, *arguments], folder, PYTHONPATH=places)


@pytest.fixture
def example(tmp_path: Path, sections: dict[str, object]) -> Path:
    """The modules of CONTRIBUTING.md and a short setting beside them."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    modules = re.findall(r"<!-- example: (\S+) -->\n```python\n(.*?)```", text, re.DOTALL)
    assert [name for name, _ in modules] == ["my_plugin.py", "my_plugin_torch.py"]
    for name, code in modules:
        (tmp_path / name).write_text(code)
    for key in ("backbone", "optimizer"):
        del sections[key]
    (tmp_path / "short.yaml").write_text("# Purpose:  the example\n" + yaml.safe_dump(sections))
    return tmp_path


def test_the_example_is_listed_trained_and_loaded(example: Path) -> None:
    for what, name in (("optimizers", "signsgdm"), ("backbones", "my_perceptron"), ("settings", "my_data/short")):
        listed = bocb(example, "--plugin", "my_plugin", "list", what)
        assert listed.returncode == 0, listed.stderr
        assert any(line.split()[:1] == [name] for line in listed.stdout.splitlines())
    names = ["backbone.name=my_perceptron", "optimizer.name=signsgdm"]
    trained = bocb(example, "--plugin", "my_plugin", "train", "--config", "my_data/short", *names)
    assert trained.returncode == 0, trained.stderr
    assert "completed: run" in trained.stdout
    (folder,) = (example / "store").glob("models/*/*/seeds/1")
    record = json.loads((folder / "record.json").read_text())
    assert record["identity"]["optimizer"] == {
        "name": "signsgdm",
        "lr": 0.001,
        "weight_decay": 0.01,
        "hyperparameters": {"momentum": 0.9},
    }
    assert record["family"] == "modern" and record["category"] == "a"
    card = (folder.parents[1] / "README.md").read_text()
    assert "import my_plugin_torch  # registers the architecture my_perceptron" in card
    code = f"import my_plugin_torch, timm; timm.create_model('local-dir:{folder}', pretrained=True); print('loaded')"
    loaded = run_warm(["-c", code], example)
    assert loaded.stdout.strip() == "loaded", loaded.stderr
    # an aggregator without the plug-in reads the record all the same
    table = bocb(Path("/"), "aggregate", "--store", str(example / "store"), "--out", str(example / "report"))
    assert table.returncode == 0, table.stderr
    assert "signsgdm" in table.stdout and "my_perceptron" in table.stdout


def test_the_example_conforms(example: Path) -> None:
    checked = bocb(example, "--plugin", "my_plugin", "check-optimizer", "signsgdm")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    lines = checked.stdout.splitlines()
    assert lines[-1] == "conforms"
    assert any(line.startswith("PASS") and " update " in line for line in lines)  # against the equations of the example


def test_an_announced_plugin_is_loaded_without_being_named(example: Path) -> None:
    info = example / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bocb_hf.plugins]\nmy_plugin = my_plugin\n")
    listed = bocb(example, "list", "optimizers", path=str(example))
    assert listed.returncode == 0, listed.stderr
    assert "signsgdm" in listed.stdout


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise RuntimeError('no')", "plug-in 'wrong' cannot be imported (RuntimeError: no)"),
        (
            "from bocb_hf.optim import OPTIMIZERS\nOPTIMIZERS.add(OPTIMIZERS.get('adamw'))",
            "plug-in 'wrong': optimizer 'adamw' is registered already",
        ),
        (
            "from bocb_hf.backbones import BACKBONES\nBACKBONES.add(BACKBONES.get('tiny_vit'))",
            "plug-in 'wrong': backbone 'tiny_vit' is registered already",
        ),
        (
            "from bocb_hf.resources import register_setting\n"
            "from pathlib import Path\nregister_setting('fashion_mnist_subset/demo', Path(__file__))",
            "plug-in 'wrong': setting 'fashion_mnist_subset/demo' is registered already",
        ),
    ],
)
def test_a_wrong_plugin_is_named(tmp_path: Path, code: str, message: str) -> None:
    (tmp_path / "wrong.py").write_text(code)
    ended = bocb(tmp_path, "--plugin", "wrong", "list", "optimizers")
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_missing_plugin_is_named(tmp_path: Path) -> None:
    for command in (["list", "optimizers"], ["train", "--config", "fashion_mnist_subset/demo"]):
        ended = bocb(tmp_path, "--plugin", "not_there", *command)
        assert ended.returncode == 2
        assert "plug-in 'not_there' cannot be imported" in ended.stderr and "check --plugin" in ended.stderr
        assert "Traceback" not in ended.stderr
