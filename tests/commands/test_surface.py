"""The surface of the command line: a committed copy of it, and what all commands have in common."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from surface import SURFACE, surface

from bocb_hf import cli
from bocb_hf.commands import COMMANDS

Capture = pytest.CaptureFixture[str]
REPOSITORY = "me/bocb-fashion_mnist_subset-demo-tiny_resnet-sgdm"
RESULTS = "hf://datasets/lab/results"
# the fewest words that each command takes
WORDS: dict[str, list[str]] = {
    "list": ["optimizers"],
    "train": ["--config", "fashion_mnist_subset/demo"],
    "sweep": ["demo"],
    "compare": ["photos", "--backbone", "tiny_vit"],
    "status": ["demo"],
    "aggregate": [],
    "figures": [],
    "analyze": ["weights"],
    "explain": [],
    "recommend": ["resnet101"],
    "pull": ["tiny_vit"],
    "leaderboard": [],
    "check-optimizer": ["adamw"],
    "render": [],
    "push": ["--to", "hf://lab"],
    "publish": ["--to", RESULTS],
    "collect": ["--store", "hf://lab", "--dataset", "cifar100", "--setting", "deit"],
    "submit": [REPOSITORY, "--to", RESULTS],
    "validate": [RESULTS],
    "verify": [REPOSITORY, "--seed", "1"],
    "reproduce": [REPOSITORY, "--seed", "1"],
    "retract": [REPOSITORY, "--seed", "1", "--reason", "x"],
}


def commands() -> dict[str, click.Command]:
    found = {name: cli.bocb.get_command(click.Context(cli.bocb), name) for name in COMMANDS}
    return {name: command for name, command in found.items() if command is not None}


def options(name: str) -> dict[str, click.Option]:
    """The option of that name, by command."""
    return {
        command: parameter
        for command, found in commands().items()
        for parameter in found.params
        if isinstance(parameter, click.Option) and name in parameter.opts
    }


def error_of(capsys: Capture, *arguments: str) -> str:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err
    return err


def test_the_surface_is_the_committed_one() -> None:
    assert surface() == SURFACE.read_text(encoding="utf-8"), (
        "the command line has changed; if it shall, run `python tests/surface.py` and commit the file with the change"
    )


def test_the_help_can_be_read_in_every_encoding() -> None:
    """click writes help by its own stream, which does not substitute what an encoding lacks."""
    assert surface().isascii()


def test_each_command_has_its_file() -> None:
    folder = Path(cli.__file__).parent / "commands"
    shared = {"__init__", "command", "options", "completion", "submissions", "verifications", "generic"}
    assert {path.stem for path in folder.glob("*.py")} - shared == {name.replace("-", "_") for name in COMMANDS}


@pytest.mark.parametrize("name", ["--store", "--source", "--draws", "--out", "--offline", "--plugin"])
def test_a_shared_option_has_one_text(name: str) -> None:
    found = {
        command: option for command, option in options(name).items() if (name, command) != ("--source", "recommend")
    }
    assert len(found) > 1 or name == "--offline"
    texts = {(option.help or "").partition(";")[0] for option in found.values()}
    assert len(texts) == 1


@pytest.mark.parametrize("command", WORDS)
def test_a_plugin_may_be_named_before_and_after_every_command(command: str, capsys: Capture) -> None:
    """A module that is missing ends the command before it does anything, so that nothing is run here."""
    assert list(WORDS) == list(COMMANDS)
    for words in (
        ["--plugin", "not_there", command, *WORDS[command]],
        [command, "--plugin", "not_there", *WORDS[command]],
        [command, *WORDS[command], "--plugin", "not_there"],
    ):
        assert error_of(capsys, *words).startswith("error: plug-in 'not_there' cannot be imported")


def test_every_check_of_a_shared_option_is_made_by_every_command(capsys: Capture) -> None:
    for command in options("--draws"):
        error = error_of(capsys, command, *WORDS[command], "--draws", "99")
        assert error == "error: --draws: 99 is too few for a 95 % interval; use at least 100\n"
    for command in options("--store"):
        error = error_of(capsys, command, *WORDS[command], "--store", "s3://bucket")
        assert error.startswith("error: --store: 's3://bucket' is not supported; give ")
    for command in ("aggregate", "figures"):
        for wrong in ("papers", "store:cifar100", ""):
            error = error_of(capsys, command, "--source", wrong)
            assert (
                error == f"error: --source: {wrong!r} is neither 'store', 'paper', 'paper:TABLE' nor a .parquet file\n"
            )
    for option in ("--to", "--results", "--propose"):
        for command in options(option):
            if command == "push":
                continue  # whose --to is a namespace
            error = error_of(capsys, command, *WORDS[command], option, "hf://models/lab/x")
            assert error.startswith(f"error: {option}: 'hf://models/lab/x' is no data set of the Hub; write ")
    for command in options("--seed"):
        assert "is not in the range 0<=x<=2147483647" in error_of(capsys, command, *WORDS[command], "--seed", "-1")
    for command in options("--tolerance"):
        error = error_of(capsys, command, *WORDS[command], "--tolerance", "0")
        assert error == "error: --tolerance: 0 points must be above 0 and at most 5\n"


def test_stores_that_must_be_local_or_on_the_hub(capsys: Capture) -> None:
    assert "must be a local folder" in error_of(capsys, "push", "--to", "hf://lab", "--store", "hf://lab")
    error = error_of(capsys, "collect", "--store", "here", "--dataset", "cifar100", "--setting", "deit")
    assert error == "error: --store: 'here' must read hf://<user or organisation>\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["list", "optimizer"], "did you mean 'optimizers'?"),
        (["recommend", "resnet101", "--source", "papre"], "did you mean 'paper'?"),
        (["aggregat"], "did you mean 'aggregate'?"),
        (["aggregate", "--draw", "100"], "--draws"),
        (["train"], "one of --config and --reproduce is required"),
        (["train", "--config", "x", "--reproduce", "y"], "--config and --reproduce exclude each other"),
        (["retract", REPOSITORY, "--reason", "x"], "one of --seed and --trial is required"),
        (["retract", REPOSITORY, "--reason", "x", "--seed", "0", "--trial", "y"], "exclude each other"),
        (["render", "--eval-results", "x", "--no-eval-results"], "exclude each other"),
    ],
)
def test_wrong_words_are_answered_with_the_usage_and_the_fix(words: list[str], message: str, capsys: Capture) -> None:
    error = error_of(capsys, *words)
    assert error.startswith("Usage: bocb")
    assert message in error.partition("\nerror: ")[2]


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_text("")
    below = str(tmp_path / "file" / "out")
    commands = [["aggregate", "--source", "paper"], ["figures", "--source", "paper"], ["explain"], ["pull", "tiny_vit"]]
    for command in commands:
        assert cli.main([*command, "--out", below]) == 2
        assert capsys.readouterr().err.startswith(f"error: --out: cannot write {below}: Not a directory; choose ")
