"""What a shell completes: commands, options and rows, in the three shells, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bocb_hf import cli
from bocb_hf.commands import COMMANDS
from bocb_hf.data import DATASETS
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.resources import config_files

Capture = pytest.CaptureFixture[str]
ADAM = [name for name in OPTIMIZERS.names() if name.startswith("adam")]


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, capsys: Capture):
    """Asks as bash does, for the last of the words."""

    def ask(*words: str) -> list[str]:
        monkeypatch.setenv("_BOCB_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(["bocb", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        assert cli.main() == 0
        return capsys.readouterr().out.split()

    return ask


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([""], [f"plain,{name}" for name in COMMANDS]),
        (["re"], [f"plain,{name}" for name in COMMANDS if name.startswith("re")]),
        (["--plu"], ["plain,--plugin"]),
        (["aggregate", "--dr"], ["plain,--draws"]),
        (["list", "s"], ["plain,settings", "plain,sweeps"]),
        (["check-optimizer", "adam"], [f"plain,{name}" for name in ADAM]),
        (["recommend", "tiny_vi"], ["plain,tiny_vit"]),
        (["recommend", "tiny_vit", "--config", "fashion_mnist_subset/d"], ["plain,fashion_mnist_subset/demo"]),
        (
            ["train", "--config", "cifar100/"],
            [f"plain,{n}" for n in config_files("recipes/configs") if "cifar100/" in n],
        ),
        (["train", "--config", "./my"], ["file,./my"]),
        (["sweep", "dem"], ["plain,demo"]),
        (["collect", "--dataset", ""], [f"plain,{name}" for name in DATASETS.names()]),
        (["collect", "--setting", "dei"], ["plain,deit"]),
        (["figures", "--source", "paper:c"], [f"plain,paper:{n}" for n in ("cifar100", "coco_pose", "coco_detection")]),
        (["render", "--store", "out"], ["dir,out"]),
        (["aggregate", "--out", ""], ["dir,"]),
        (["train", "--config", "x", "opt"], ["plain,optimizer.name="]),
        # bash parts words at the sign, and takes back what follows it
        (["train", "--config", "x", "optimizer.name", "=", "adam"], [f"plain,{name}" for name in ADAM]),
        (["train", "--config", "x", "seed=1", "data.name", "="], [f"plain,{name}" for name in DATASETS.names()]),
        (["sweep", "demo", "backbone.name=tiny_vi"], ["plain,backbone.name=tiny_vit"]),
    ],
    ids=" ".join,
)
def test_what_bash_is_offered(words: list[str], expected: list[str], complete) -> None:
    assert complete(*words) == expected


def test_zsh_and_fish_get_the_whole_word(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("COMP_WORDS", "bocb train optimizer.name=adamw")
    monkeypatch.setenv("COMP_CWORD", "2")
    monkeypatch.setenv("_BOCB_COMPLETE", "zsh_complete")
    assert cli.main() == 0
    assert "optimizer.name=adamw" in capsys.readouterr().out.split("\n")
    monkeypatch.setenv("COMP_CWORD", "optimizer.name=adamw")
    monkeypatch.setenv("_BOCB_COMPLETE", "fish_complete")
    assert cli.main() == 0
    assert "optimizer.name=adamw" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script_and_the_guide_says_how(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("_BOCB_COMPLETE", f"{shell}_source")
    assert cli.main() == 0
    script = capsys.readouterr().out
    assert f"_BOCB_COMPLETE={shell}_complete" in script
    guide = (Path(__file__).resolve().parents[2] / "docs/install.md").read_text(encoding="utf-8")
    assert f"_BOCB_COMPLETE={shell}_source bocb" in guide


def test_rows_of_a_named_plugin_are_offered(complete, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "short.yaml").write_text("{}\n")
    (tmp_path / "offering.py").write_text(
        "from pathlib import Path\nfrom bocb_hf.resources import register_setting\n"
        "register_setting('my_data/short', Path(__file__).with_name('short.yaml'))\n"
    )
    monkeypatch.setattr("bocb_hf.resources._SETTINGS", {})
    assert complete("--plugin", "offering", "train", "--config", "my_") == ["plain,my_data/short"]
    assert complete("--plugin", "not_there", "train", "--config", "fashion_mnist_subset/d") == [
        "plain,fashion_mnist_subset/demo"
    ]
    del sys.modules["offering"]


def test_help_and_completion_import_only_what_they_need(tmp_path: Path) -> None:
    code = """
import os, sys
from bocb_hf.cli import main
assert main(["--help"]) == 0
early = [n for n in sys.modules if n.startswith("bocb_hf.commands.") or n in ("pydantic", "numpy", "yaml")]
print(early, file=sys.stderr)
os.environ |= {"_BOCB_COMPLETE": "bash_complete", "COMP_WORDS": "bocb train optimizer.name = adamw", "COMP_CWORD": "4"}
assert main() == 0
slow = [n for n in ("torch", "timm", "accelerate", "transformers", "datasets", "pandas") if n in sys.modules]
print(slow, file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines() == ["['bocb_hf.commands.command']", "[]"]
    assert ended.stdout.endswith("plain,adamw\n")
