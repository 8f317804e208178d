"""The command line: help that names every command, listings, and errors without a traceback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from builders import make_record

import bocb_hf
from bocb_hf import cli
from bocb_hf.backbones import BACKBONES
from bocb_hf.commands import COMMANDS as LINES
from bocb_hf.commands import list as listing
from bocb_hf.commands import sweep
from bocb_hf.commands import train as training
from bocb_hf.data import DATASETS
from bocb_hf.optim import CATEGORIES, OPTIMIZERS
from bocb_hf.resources import config_files
from bocb_hf.store.local import LocalStore
from bocb_hf.store.write import write_run

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    *(
        "list",
        "train",
        "sweep",
        "compare",
        "status",
        "aggregate",
        "figures",
        "analyze",
        "explain",
        "recommend",
        "pull",
        "leaderboard",
        "check-optimizer",
        "render",
    ),
    *("push", "publish", "collect", "submit", "validate", "verify", "reproduce", "retract"),
)
# in no example of the help
UNSHOWN = ("analyze", "explain", "render", "check-optimizer", "publish", "collect", "verify", "reproduce", "retract")
REPOSITORY = "me/bocb-fashion_mnist_subset-demo-tiny_resnet-sgdm"

Capture = pytest.CaptureFixture[str]


def exit_of(*arguments: str) -> Any:
    """The exit status, which is returned and never raised."""
    return cli.main(arguments)


def error_of(capsys: Capture, *arguments: str) -> str:
    assert exit_of(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err


def bocb(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The installed command in a process of its own."""
    code = "import sys; from bocb_hf.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=cwd, timeout=300, check=False
    )


# help


def test_help_names_each_command_and_an_example(capsys: Capture) -> None:
    assert exit_of("--help") == 0
    text = capsys.readouterr().out
    for command in COMMANDS:
        assert re.search(rf"^  {command}\s", text, re.MULTILINE)
        assert f"  bocb {command} " in text or command in UNSHOWN
    assert text.startswith("Usage: bocb")
    assert max(len(line) for line in text.splitlines()) <= 120


def test_every_command_of_the_parser_is_tested_and_does_something() -> None:
    context = click.Context(cli.bocb)
    assert tuple(cli.bocb.list_commands(context)) == COMMANDS
    for name in COMMANDS:
        command = cli.bocb.get_command(context, name)
        assert command is not None and command.name == name and command.callback is not None
        assert command.get_short_help_str(200) == LINES[name]


@pytest.mark.parametrize("command", ["list", "sweep", "aggregate", "figures", "recommend", "render"])
def test_each_command_explains_its_arguments(command: str, capsys: Capture) -> None:
    assert exit_of(command, "--help") == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: bocb {command}")
    assert command == "list" or "--store" in text


def test_the_version_is_that_of_the_package(capsys: Capture) -> None:
    assert exit_of("--version") == 0
    assert capsys.readouterr().out == f"bocb-hf {bocb_hf.__version__}\n"
    assert f'version = "{bocb_hf.__version__}"' in (ROOT / "pyproject.toml").read_text()


# listings


@pytest.mark.parametrize(
    ("what", "ids"),
    [
        ("backbones", BACKBONES.names()),
        ("optimizers", OPTIMIZERS.names()),
        ("datasets", DATASETS.names()),
    ],
)
def test_a_listing_has_a_line_for_each_row(what: str, ids: list[str], capsys: Capture) -> None:
    assert exit_of("list", what) == 0
    out, err = capsys.readouterr()
    header, *lines = out.split("\n\n")[0].splitlines()
    assert err == ""
    assert header.split()[0] == "id"
    assert [line.split()[0] for line in lines] == ids
    # columns start below their titles
    assert all(line == line.rstrip() for line in lines)
    second = header.index(header.split()[1])
    assert all(line[second - 2 : second] == "  " for line in lines)


@pytest.mark.parametrize(
    ("what", "name", "keys"),
    [
        ("settings", "fashion_mnist_subset/demo", ["purpose", "published", "measured", "cost"]),
        ("sweeps", "demo", ["purpose", "measured", "cost"]),
    ],
)
def test_shipped_files_are_listed_with_their_headline(what: str, name: str, keys: list[str], capsys: Capture) -> None:
    assert exit_of("list", what) == 0
    blocks = capsys.readouterr().out.split("\n\n")
    (block,) = [block.splitlines() for block in blocks if block.splitlines()[0] == name]
    found = [line.split(":")[0].strip() for line in block[1:] if not line.startswith("    ")]
    assert found == keys


def test_the_listings_show_what_one_needs_to_choose(capsys: Capture) -> None:
    exit_of("list", "optimizers")
    text = capsys.readouterr().out
    for key, meaning in CATEGORIES.items():
        assert f"({key}) {meaning}" in text
    exit_of("list", "settings")
    assert "the demo grid" in capsys.readouterr().out
    exit_of("list", "datasets")
    assert "zalando-datasets/fashion_mnist" in capsys.readouterr().out


# errors


def test_an_unknown_command_names_the_known_ones(capsys: Capture) -> None:
    error = error_of(capsys, "trian")
    assert "there is no command 'trian'; did you mean 'train'?" in error
    for command in COMMANDS:
        assert command in error


@pytest.mark.parametrize(
    "arguments",
    [(), ("list",), ("list", "planets"), ("sweep",), ("render", "--stor"), ("sweep", "demo", "--workers=0")],
)
def test_wrong_arguments_exit_with_2_and_the_usage(arguments: tuple[str, ...], capsys: Capture) -> None:
    assert "Usage: bocb" in error_of(capsys, *arguments)


def test_a_missing_plan_lists_the_shipped_ones(capsys: Capture) -> None:
    names = ", ".join(config_files("recipes/sweeps"))
    assert {"demo", "paper-cifar100-convnext", "transfer-pretrain"} <= set(names.split(", "))
    error = error_of(capsys, "sweep", "nope")
    assert error == f"error: no configuration file 'nope'; give a path to a YAML file or one of: {names}\n"


def test_a_wrong_plan_is_an_error_before_any_worker_starts(tmp_path: Path, capsys: Capture) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("name: x\nconfig: y\nbackbones: [a]\noptimizers: [adamww]\nfinal_seeds: [0]\n")
    error = error_of(capsys, "sweep", str(plan), "--workers", "1", "seed=1")
    assert "has 2 problem(s)" in error
    assert "unknown optimizer 'adamww'; did you mean 'adamw'?" in error


def test_overrides_of_a_sweep_may_stand_before_and_after_options() -> None:
    for arguments in (
        ["demo", "a=1", "b=2", "--workers", "3"],
        ["demo", "--workers", "3", "a=1", "b=2"],
        ["demo", "a=1", "--workers", "3", "b=2"],
        ["--workers", "3", "demo", "a=1", "b=2"],
    ):
        parsed = sweep.command.make_context("sweep", list(arguments)).params
        assert (parsed["plan"], parsed["workers"], parsed["overrides"]) == ("demo", 3, ("a=1", "b=2"))


def test_an_empty_store_is_named(tmp_path: Path, capsys: Capture) -> None:
    place = str(tmp_path / "nothing")
    assert error_of(capsys, "render", "--store", place).startswith(f"error: --store: {place} holds no repository")
    assert place in error_of(capsys, "aggregate", "--store", place, "--out", str(tmp_path / "out"))
    assert "'s3://x' is not supported" in error_of(capsys, "render", "--store", "s3://x")
    assert not list(tmp_path.iterdir())


def test_render_rebuilds_a_card_and_names_a_wrong_repository(tmp_path: Path, capsys: Capture) -> None:
    store = LocalStore(tmp_path)
    write_run(store, "me", make_record(status="diverged"), None, False)
    good = store.read(REPOSITORY, "README.md")
    (store.path(REPOSITORY) / "README.md").write_text("lost")
    assert exit_of("render", "--store", str(tmp_path)) == 0
    assert capsys.readouterr().out == f"rendered {REPOSITORY}\n"
    assert store.read(REPOSITORY, "README.md") == good
    assert "me/other holds no valid record" in error_of(capsys, "render", "me/other", "--store", str(tmp_path))
    assert "not a repository id: 'other'" in error_of(capsys, "render", "other", "--store", str(tmp_path))


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def stop(what: str) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(listing.command, "callback", stop)
    assert exit_of("list", "optimizers") == 130
    assert capsys.readouterr().err == "stopped; run the same command again to continue\n"


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    code = "import sys; from bocb_hf.cli import main; sys.exit(main(['list', 'optimizers']))"
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        ended = subprocess.run(
            [sys.executable, "-u", "-c", code], stdout=closed, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr == ""


# training


def test_training_with_wrong_names_reports_them_without_a_traceback(tmp_path: Path) -> None:
    """Through the launcher of accelerate, whose own traceback must not bury the message."""
    names = ["backbone.name=tiny_vti", "optimizer.name=adamww", "training.epoch=3"]
    ended = bocb("train", "--config", "fashion_mnist_subset/demo", *names, cwd=tmp_path)
    assert ended.returncode not in (0, None)
    assert "Traceback" not in ended.stderr
    assert "has 3 problem(s)" in ended.stderr
    for suggestion in ("did you mean 'tiny_vit'?", "did you mean 'adamw'?", "did you mean 'epochs'?"):
        assert suggestion in ended.stderr
    assert not list(tmp_path.iterdir())


def test_only_bocb_train_calls_the_launcher_and_hands_on_every_word(monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[list[str]] = []
    here: list[Any] = []
    monkeypatch.setattr(training, "_through_launcher", lambda: True)
    monkeypatch.setattr("bocb_hf.engine.launch.launch_recipe", lambda words: launched.append(words) or 5)
    monkeypatch.setattr(training, "train", lambda *given: here.append(given) or 0)
    words = ["optimizer.name=adamw", "--config", "fashion_mnist_subset/demo", "--compile-model", "seed=3"]
    assert cli.main(["--plugin", "json", "train", *words, "--plugin", "csv"]) == 5
    assert launched == [["--plugin", "json", "--plugin", "csv", *words, "--plugin", "csv"]]
    assert here == []
    assert training.main(words) == 0
    assert cli.main(["train", *words, "--dry-run"]) == 0
    assert len(launched) == 1
    overrides = ["optimizer.name=adamw", "seed=3", "runtime.compile_model=true"]
    assert [(given[2], given[3]) for given in here] == [(overrides, False), (overrides, True)]


def test_the_recipe_without_a_configuration_exits_with_2(capsys: Capture) -> None:
    for arguments in (["--config", "nope"], ["--config", "nope", "--dry-run"], ["--reproduce", "nope.json"]):
        assert training.main(arguments) == 2
        out, err = capsys.readouterr()
        assert err.startswith("error: ")
        assert "nope" in err
        assert "Traceback" not in err + out
