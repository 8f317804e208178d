"""``bocb compare`` from a folder of pictures to the answer, and what it says when it cannot."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from boards import summary_inside
from image_folders import encode

from bocb_hf.cli import main
from bocb_hf.compare import run as compare_run
from bocb_hf.store.contents import read_store
from bocb_hf.store.local import LocalStore
from bocb_hf.sweep.executors.protocol import Executor, Task
from bocb_hf.sweep.executors.work import Context, perform
from bocb_hf.sweep.plan import load_plan


class Here(Executor):
    """Does work at once in this process, which has the stack already; ``LocalExecutor`` has tests of its own."""

    name = "here"

    def __init__(self, workers: int, threads: int, **more: Any) -> None:
        del more
        self.workers, self.threads = workers, threads

    def start(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(perform(function, arguments, Context(lambda: False, lambda step, total: None)))
        except Exception as error:  # as a worker hands it on
            future.set_exception(error)
        return future

    def tasks(self) -> list[Task]:
        return []

    def stop(self) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing runs."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 pictures of each of 3 classes, in class folders without splits; one of them is there twice."""
    folder = tmp_path_factory.mktemp("pictures") / "my photos"
    for number in range(90):
        name = ("cat", "dog", "<b>owl</b>"[1:4])[number % 3]
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / f"{number}.png").write_bytes(encode(number, 16, 16))
    (folder / "cat" / "again.png").write_bytes(encode(0, 16, 16))
    return folder


def test_from_a_folder_to_the_answer_and_on(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare_run, "LocalExecutor", Here)
    out = tmp_path / "out"
    words = ["compare", str(pictures), "--backbone", "tiny_resnet", "--time", "2h", "--out", str(out)]
    words += ["--optimizers", "adamw,sgdm", "--epochs", "1", "--rates", "1", "--seeds", "2", "--workers", "2"]
    assert main(words) == 0
    first = capsys.readouterr().out
    assert "1 exact" in first and "Optimizers adamw, sgdm: as asked for." in first
    said = (out / "answer.txt").read_text()
    assert said in first
    assert re.match(r"(AdamW|SGD-M)( at [\d.e-]+: \d+\.\d %|( and (AdamW|SGD-M) cannot be told apart))", said), said
    assert "chance, 3 classes: 33.3" in said and "bocb push --store" in said
    plan, contents = load_plan(out / "plan.yaml"), read_store(LocalStore(out / "store"))
    assert contents.quarantined == [] and {floor.kind for floor in contents.floors} >= {"frozen_backbone"}
    counted = Counter((r.identity.optimizer.name, r.role) for r in contents.records)
    assert counted == {(name, role): n for name in plan.optimizers for role, n in (("trial", 1), ("final", 2))}
    assert {r.identity.data.name for r in contents.records} == {"local/my-photos"}
    checkpoint = re.search(r"Checkpoint .*: (.+)", said)
    assert checkpoint is not None
    config = json.loads((Path(checkpoint[1].strip()) / "config.json").read_text())
    assert sorted(config["label_names"]) == ["b>o", "cat", "dog"]
    shown = summary_inside((out / "answer.html").read_text())
    assert " ".join(shown["lead"]["sentence"].split()) in " ".join(said.split())
    assert shown["tables"][0]["id"] == shown["open"] == shown["lead"]["table"]
    assert {row["optimizer"] for row in shown["lead"]["rows"]} == {"adamw", "sgdm"}
    assert main(words) == 0
    assert "continuing after" in capsys.readouterr().out
    assert len(read_store(LocalStore(out / "store")).records) == len(contents.records)  # nothing was left to do
    assert main([*words, "--image-size", "48"]) == 2
    said = capsys.readouterr().err
    assert "--image-size" in said and "give --out another folder" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--backbone", "tiny_resnet", "--time", "soon"], "--time: 'soon' is no time"),
        (["--backbone", "tiny_resnet", "--time", "5s"], "must lie between"),
        (["--backbone", "tiny_resnett"], "tiny_resnet"),
        (["--backbone", "tiny_resnet", "--backbone", "tiny_resnet"], "names one twice"),
        (["--backbone", "resnet18.a1_in1k"], "--scratch trains without weights"),
        (["--backbone", "tiny_resnet", "--optimizers", "adamw"], "at least 2"),
        (["--backbone", "tiny_resnet", "--optimizers", "adamw,admw"], "did you mean"),
        (["--backbone", "tiny_resnet", "--setting", "finetune"], "names none"),
    ],
)
def test_what_is_wrong_is_said_before_any_worker_starts(
    words: list[str], said: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(pictures), "--out", str(tmp_path / "out"), *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path / "photos"), "--backbone", "tiny_resnet", "--out", str(tmp_path / "out")]) == 2
    assert "photos" in capsys.readouterr().err
