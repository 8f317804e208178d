"""Parts of a plan, records that others have published, and the views and the status of a sweep."""

from __future__ import annotations

import io
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import make_record
from rich.console import Console
from runs import make

from bocb_hf.cli import main
from bocb_hf.engine.run import train_run
from bocb_hf.errors import InputError
from bocb_hf.results.dataset import records_parquet
from bocb_hf.store.lease import run_lease
from bocb_hf.sweep.done import check_done, find_done
from bocb_hf.sweep.executors import work
from bocb_hf.sweep.executors.protocol import Executor, Task
from bocb_hf.sweep.executors.work import Context
from bocb_hf.sweep.plan import load_plan
from bocb_hf.sweep.run import Sweep
from bocb_hf.sweep.shard import Shard
from bocb_hf.sweep.status import read_status
from bocb_hf.sweep.view import LineView, Progress, draw, open_view

IDLE = Context(lambda: False, lambda step, total: None)


def test_each_cell_lies_in_exactly_one_part_whatever_else_there_is() -> None:
    cells = [("data", "setting", f"backbone{b}", f"optimizer{o}") for b in range(20) for o in range(12)]
    for count in (1, 2, 16):
        parts = [Shard(number, count) for number in range(1, count + 1)]
        held = [[part.number for part in parts if part.holds(*cell)] for cell in cells]
        assert all(len(each) == 1 for each in held)
        sizes = [sum(number in each for each in held) for number in range(1, count + 1)]
        assert min(sizes) > 0.3 * len(cells) / count, "the parts are of about the same size"
    # pinned: a part that was begun before an update of the package must hold the same cells after it
    assert [k for k in range(1, 17) if Shard(k, 16).holds("cifar100", "deit", "resnet50", "adamw")] == [12]
    assert str(Shard.parse("3/16")) == "3/16"


@pytest.mark.parametrize("text", ["3", "0/4", "5/4", "3/0", "a/b", "-1/4", "1/4/2", ""])
def test_a_part_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--shard"):
        Shard.parse(text)


class Instant(Executor):
    """Finishes every run at once and remembers it."""

    name, workers, threads = "instant", 1, 1

    def __init__(self) -> None:
        self.ran: list[str] = []

    def start(self, function: Any, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        config = arguments[0]
        if function is work.train:
            names = config.backbone.name, config.optimizer.name
            self.ran.append(f"{names} {config.role} {config.seed} {config.optimizer.lr}")
            future.set_result(make_record(*names, seed=config.seed, role=config.role, lr=config.optimizer.lr))
        else:
            self.ran.append(f"{arguments[1]} {config.backbone.name if arguments[1] == 'frozen_backbone' else ''}")
            future.set_result(None)
        return future

    def tasks(self) -> list[Task]:
        return []

    def stop(self) -> None:
        """Nothing runs."""

    close = stop


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    data = {
        "name": "parts",
        "config": "fashion_mnist_subset/demo",
        "backbones": ["tiny_resnet", "tiny_vit"],
        "optimizers": ["sgdm", "adamw", "lion"],
        "tuning": {"points": 3, "max_extensions": 0},
        "final_seeds": [1, 2],
    }
    path.write_text(yaml.safe_dump(data))
    return path


def test_cells_end_in_the_order_of_the_plan(plan: Path, tmp_path: Path) -> None:
    """A plan that is stopped leaves whole cells, those that it names first, and not the trials of all."""
    executor = Instant()
    Sweep(load_plan(plan), executor, [f"runtime.store={tmp_path}/store"]).run(LineView(io.StringIO()))
    ran = [line.rsplit(" ", 3)[0] for line in executor.ran if line.startswith("(")]
    cells = [str((b, o)) for b in ("tiny_resnet", "tiny_vit") for o in ("sgdm", "adamw", "lion")]
    assert sorted(set(ran), key=ran.index) == cells
    ends = [len(ran) - ran[::-1].index(cell) for cell in cells]
    # 5 runs a cell; no more than one of the next has begun, which the executor had already
    assert all(5 * (k + 1) <= end <= 5 * (k + 1) + 1 for k, end in enumerate(ends))


def test_the_parts_of_a_plan_make_up_the_plan(plan: Path, tmp_path: Path) -> None:
    loaded, overrides = load_plan(plan), [f"runtime.store={tmp_path}/store"]
    whole = Instant()
    assert Sweep(loaded, whole, overrides).run(LineView(io.StringIO())).statuses == {"completed": 30}
    ran, empty = list[str](), 0
    for number in range(1, 5):
        part = Instant()
        try:
            sweep = Sweep(loaded, part, overrides, Shard(number, 4))
        except InputError as error:
            assert f"no cell of parts lies in part {number}/4" in str(error)
            empty += 1
            continue
        sweep.run(LineView(io.StringIO()))
        ran += part.ran
    assert sorted(ran) == sorted(whole.ran) and len(ran) == 33, "floors included, each in one part"
    assert empty < 4


def test_runs_share_gpus_and_more_than_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from bocb_hf.commands import sweep as command
    from bocb_hf.sweep.executors import local

    monkeypatch.setattr(local, "visible_gpus", lambda: ["0", "2"])
    assert command._local(None, 4, (), cpu_only=False).workers == 8
    assert command._local(3, 4, (), cpu_only=False).workers == 3
    with pytest.raises(InputError, match=r"--workers: 5 runs do not fit on 2 GPU\(s\) with --per-gpu 2; give at most"):
        command._local(5, 2, (), cpu_only=False)
    assert command._local(None, 4, (), cpu_only=True)._devices == [""]


def test_gpus_are_named_as_this_process_may_see_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from bocb_hf.sweep.executors.local import visible_gpus

    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    assert visible_gpus() == ["GPU-a", "GPU-b"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_gpus() == ["0", "1"]


def test_the_address_of_a_cluster_needs_the_executor(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", str(plan), "--address", "auto"]) == 2
    assert "--address: is of --executor ray" in capsys.readouterr().err


def test_runs_that_others_have_published_are_not_repeated(sections: dict[str, Any], tmp_path: Path) -> None:
    """Only the same configuration, seed and role count, and an interrupted run does not."""
    config = make(sections, "training.epochs=1")
    record = train_run(config)
    cut = make_record(seed=3, status="interrupted")
    places = {(r.role, r.run_id): f"them/{r.repository()}/{r.path()}" for r in (record, cut)}
    path = tmp_path / "records.parquet"
    path.write_bytes(records_parquet([record, cut], places, {}))
    assert check_done(path) == 2
    assert find_done(path, "final", record.run_id) == record
    assert find_done(path, "trial", record.run_id) is None and find_done(path, "final", cut.run_id) is None

    fresh = f"runtime.store={tmp_path}/fresh"
    same = make(sections, "training.epochs=1", fresh)
    assert work.train(IDLE, same, str(path)) == record
    assert not (tmp_path / "fresh").exists(), "what others have is not copied"
    other = work.train(IDLE, make(sections, "training.epochs=1", "optimizer.lr=0.002", fresh), str(path))
    assert other.config_hash != record.config_hash and (tmp_path / "fresh").exists()


def test_a_file_that_holds_no_records_is_refused(tmp_path: Path) -> None:
    import pandas as pd

    wrong = tmp_path / "coupling.parquet"
    pd.DataFrame({"run_id": ["x"]}).to_parquet(wrong)
    with pytest.raises(InputError, match=r"--done: .*has no column role, record; give the data/records.parquet"):
        check_done(wrong)
    (tmp_path / "text.parquet").write_text("text")
    for name in ("text.parquet", "none.parquet"):
        with pytest.raises(InputError, match="--done: cannot read"):
            check_done(tmp_path / name)


def progress() -> Progress:
    made = Progress(planned=10)
    made._began -= 360
    made.add("tiny_vit", "adamw", make_record().model_copy(update={"finished_at": "2099-01-01T00:00:00Z"}))
    made.add("tiny_vit", "adamw", make_record().model_copy(update={"finished_at": "2020-01-01T00:00:00Z"}))
    made.add("tiny_vit", "sgdm", make_record(status="interrupted"))
    made.failed, made.running = 1, [("tiny_vit × sgdm seed 1", 30, 120)]
    return made


def test_progress_counts_runs_an_hour_of_this_session_alone() -> None:
    made = progress()
    assert made.done == 2 and made.per_hour() == pytest.approx(10, rel=0.02)
    assert made.line() == "2 of 10 runs done, 1 running, 1 failed, 10 runs an hour, about 42 min left"
    assert Progress(planned=3).line() == "0 of 3 runs done, 0 running, 0 failed"


def test_without_a_terminal_there_is_a_line_a_minute() -> None:
    stream = io.StringIO()
    view = open_view(stream)
    assert isinstance(view, LineView)
    with view:
        for _ in range(50):
            view.update(progress())
        view.say("failed: it")
    assert stream.getvalue().count("2 of 10 runs done") == 1 and "failed: it\n" in stream.getvalue()
    quick = io.StringIO()
    with LineView(quick, every=0.0) as view:
        view.update(Progress(planned=1))
        view.update(progress())
    assert len(quick.getvalue().splitlines()) == 2


def test_the_live_view_shows_what_runs_and_the_table_so_far() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    console = Console(file=io.StringIO(), width=100)
    console.print(draw(progress()))
    text = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO of the line above
    assert "2 of 10 runs done" in text and "tiny_vit × sgdm seed 1  step 30 of 120" in text
    assert "80.00 (2)" in text and "adamw" in text and "test top-1 so far" in text
    stream = Terminal()
    with open_view(stream) as view:
        view.update(progress())
        view.say("a [message] that stays")
        time.sleep(0.01)
    assert "a [message] that stays" in stream.getvalue() and "runs an hour, about 42 min left" in stream.getvalue()


def test_the_status_is_read_from_plan_and_store(
    plan: Path, sections: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for key in ("backbone", "optimizer", "seed"):
        del sections[key]
    (tmp_path / "setting.yaml").write_text(yaml.safe_dump(sections))
    data = yaml.safe_load(plan.read_text()) | {"config": str(tmp_path / "setting.yaml"), "backbones": ["tiny_vit"]}
    plan.write_text(yaml.safe_dump(data))
    store = str(tmp_path / "store")
    assert read_status(load_plan(plan), []).lines() == ["0 of 15 planned runs done; 0 running; 0 of 3 cells complete"]
    names = {"backbone": {"name": "tiny_vit"}, "optimizer": {"name": "adamw"}, "seed": 1}
    record = train_run(make(sections | names, "training.epochs=1"))
    repository = f"local/{record.repository()}"
    with run_lease(Path(store), repository, "abc-2", "final"):
        assert main(["status", str(plan), "--store", store]) == 0
    out = capsys.readouterr().out
    assert "sweep parts: 1 of 15 planned runs done; 1 running; 0 of 3 cells complete" in out
    assert "tiny_vit × adamw: 0 trials, 1 of 2 final runs; running: final abc-2" in out
    assert "| AdamW |" in out and "source: what the store holds so far" in out
