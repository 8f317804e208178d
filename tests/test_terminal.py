"""Output on a terminal that lacks characters: readable, and never a traceback."""

from __future__ import annotations

import io
import logging
import sys
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from tqdm import tqdm

from bocb_hf import cli
from bocb_hf.commands import COMMANDS
from bocb_hf.commands import train as training
from bocb_hf.terminal import make_streams_readable

STRANGE = "é±中\udcff"  # accented, a sign, another script, and a byte that was no UTF-8


class Terminal:
    """Both streams of a process whose output has an encoding, strict as Python makes standard output."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self.streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]

    def __enter__(self) -> Terminal:
        self.swapped = ExitStack()
        self.swapped.enter_context(redirect_stdout(self.streams[0]))
        self.swapped.enter_context(redirect_stderr(self.streams[1]))
        return self

    def __exit__(self, *error: object) -> None:
        self.swapped.close()

    def text(self, number: int) -> str:
        stream = self.streams[number]
        stream.flush()
        buffer = stream.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode(self.encoding)

    @property
    def out(self) -> str:
        return self.text(0)

    @property
    def err(self) -> str:
        return self.text(1)


@pytest.fixture(params=["ascii", "latin-1", "cp1252", "utf-8"])
def terminal(request: pytest.FixtureRequest) -> Terminal:
    return Terminal(request.param)


EXPECTED = {
    "ascii": "80.0 +- 1.2, 3 x 4, -0.5, <= 2, ->, e, Muller, \\u4e2d, \\udcff",
    "latin-1": "80.0 ± 1.2, 3 × 4, -0.5, <= 2, ->, é, Müller, \\u4e2d, \\udcff",
    "cp1252": "80.0 ± 1.2, 3 × 4, -0.5, <= 2, ->, é, Müller, \\u4e2d, \\udcff",
    "utf-8": "80.0 ± 1.2, 3 × 4, −0.5, ≤ 2, →, é, Müller, 中, \\udcff",
}


def test_what_an_encoding_lacks_is_written_readably(terminal: Terminal) -> None:
    with terminal:
        make_streams_readable()
        for stream in (sys.stdout, sys.stderr):
            print("80.0 ± 1.2, 3 × 4, −0.5, ≤ 2, →, é, Müller, 中, \udcff", file=stream)
    assert terminal.out == terminal.err == EXPECTED[terminal.encoding] + "\n"


def test_a_stream_that_cannot_be_changed_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook has streams of its own, and a process without a console has none."""
    own = io.StringIO()
    monkeypatch.setattr(sys, "stdout", own)
    monkeypatch.setattr(sys, "stderr", None)
    assert cli.main(["list", "datasets"]) == 0
    assert own.getvalue().startswith("id ")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["list", "optimizers"], "parameter of a 64 {x} 64 matrix"),
        (["list", "backbones"], "M params"),
        (["list", "settings"], "purpose: "),
        (["recommend", "resnet101", "--source", "paper"], "Cost of being wrong"),
        (["aggregate", "--source", "paper", "--draws", "100"], "backbone(s) {x} 20 optimizer(s)"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_what_commands_print(
    words: list[str], expected: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with terminal:
        assert cli.main(words) == 0
    assert expected.format(x="x" if terminal.encoding == "ascii" else "×") in terminal.out
    assert terminal.err == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_name_what_was_typed(command: str) -> None:
    for encoding in ("ascii", "latin-1", "cp1252", "utf-8"):
        with Terminal(encoding) as terminal:
            assert cli.main([command, f"--{STRANGE}"]) == 2
            assert cli.main([command, "--help"]) == 0
        assert "\nerror: No such option" in terminal.err
        assert "\\udcff" in terminal.err
        assert terminal.out.startswith(f"Usage: bocb {command} ")


def test_the_recipe_and_unknown_commands(terminal: Terminal) -> None:
    with terminal:
        assert training.main(["--config", STRANGE]) == 2
        assert cli.main([STRANGE]) == 2
    assert terminal.err.startswith("error: no configuration file ")
    assert "\nerror: there is no command" in terminal.err


def test_progress_bars_and_log_lines(terminal: Terminal) -> None:
    with terminal:
        make_streams_readable()
        handler = logging.StreamHandler(sys.stderr)
        handler.emit(logging.LogRecord("bocb_hf", logging.INFO, "", 0, f"lr 1e-3 ± {STRANGE}", None, None))
        with tqdm(total=3, file=sys.stderr, desc=STRANGE) as bar:
            bar.update(3)
    assert "Traceback" not in terminal.err
    assert "lr 1e-3 " in terminal.err and "3/3" in terminal.err
