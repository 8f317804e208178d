"""The recipes as users launch them: real processes, real launcher, real signals."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file
from warm import WarmProcess, run_group, run_warm, wait_until

from bocb_hf.runs.record import RunRecord, parse_record

ROOT = Path(__file__).resolve().parents[2]
TRAIN = str(ROOT / "recipes" / "train.py")
LAUNCH = ["-m", "accelerate.commands.launch"]


@pytest.fixture
def setting(sections: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "setting.yaml"
    path.write_text(yaml.safe_dump(sections))
    return path


def run_cold(command: list[str], **changes: str) -> subprocess.CompletedProcess[str]:
    """A process as a user starts it."""
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, **changes},
    )


def result(store: Path) -> tuple[RunRecord, dict[str, torch.Tensor]]:
    (path,) = store.glob("models/*/*/seeds/*/record.json")
    return parse_record(path.read_bytes(), str(path)), load_file(path.parent / "model.safetensors")


def start(setting: Path, store: Path, *more: str) -> WarmProcess:
    return WarmProcess([TRAIN, "--config", str(setting), f"runtime.store={store}", *more])


def start_cold(setting: Path, store: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, TRAIN, "--config", str(setting), f"runtime.store={store}", *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def steps(state: Path) -> list[int]:
    """Steps whose state was saved; ``os.walk`` passes over a folder that the run moves meanwhile, ``rglob`` fails."""
    return [int(name[5:]) for _, folders, _ in os.walk(state) for name in folders if name.startswith("step-")]


def saved(state: Path) -> int:
    """The newest step whose state was saved."""
    return max(steps(state), default=0)


def test_killed_at_several_points_and_continued_is_bit_identical(setting: Path, tmp_path: Path) -> None:
    """SIGKILL while starting, while training between saves, and again later; batch norm, augmentation and EMA on."""
    more = ("backbone.name=tiny_resnet", "training.epochs=20", "training.ema_decay=0.95", "runtime.save_every=30")
    assert start(setting, tmp_path / "whole", *more, f"runtime.state_dir={tmp_path / 'a'}").wait(timeout=300) == 0
    reference, weights = result(tmp_path / "whole")
    assert reference.total_steps == 160

    store, state = tmp_path / "parts", tmp_path / "b"
    rng = random.Random(0)
    killed_at = []
    for target in (0, 30, 60, 90):
        parts = [*more, f"runtime.state_dir={state}"]
        process = start(setting, store, *parts) if target else start_cold(setting, store, *parts)
        if target:
            wait_until(lambda target=target: saved(state) >= target, process)
            time.sleep(rng.uniform(0, 0.2))
        else:
            time.sleep(1.0)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
        killed_at.append(saved(state))
        assert not list(store.glob("models/*/*/seeds/*/record.json"))
    assert killed_at[1] >= 30 and killed_at[2] >= 60 and killed_at[3] >= 90
    assert killed_at == sorted(killed_at)
    assert start(setting, store, *more, f"runtime.state_dir={state}").wait(timeout=300) == 0
    record, again = result(store)
    assert record.cost.resumed == 3
    assert weights.keys() == again.keys()
    for name in weights:
        assert torch.equal(weights[name], again[name]), name
    assert record.curve == reference.curve
    assert record.metrics == reference.metrics
    assert record.correctness == reference.correctness


def test_sigterm_saves_reports_and_continues(setting: Path, tmp_path: Path) -> None:
    store, state = tmp_path / "store", tmp_path / "state"
    more = ("training.epochs=200", "runtime.save_every=10", f"runtime.state_dir={state}")
    process = start(setting, store, *more)
    wait_until(lambda: steps(state), process)
    process.terminate()
    assert process.wait(timeout=60) == 130
    (path,) = store.glob("models/*/*/seeds/*/record.json")
    record = parse_record(path.read_bytes(), str(path))
    assert record.status == "interrupted"
    assert record.metrics.test_top1 is None
    assert record.stopped_step in steps(state)
    process = start(setting, store, *more)
    assert record.stopped_step is not None
    later = (record.stopped_step // 10 + 1) * 10
    wait_until(lambda: later in steps(state), process)  # it continued from there
    process.kill()
    process.wait(timeout=60)


def test_accelerate_launch_without_any_configuration(setting: Path, tmp_path: Path) -> None:
    home = str(tmp_path / "no_accelerate_config_here")
    done = run_cold([*LAUNCH, TRAIN, "--config", str(setting)], HF_HOME=home, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    record, _ = result(tmp_path / "store")
    assert record.environment.processes == 1
    assert f"completed: run {record.run_id}" in done.stdout


# a second gradient, one with sampled labels, and other weights to evaluate; Sophia's ε is so large that it is no sign
PASSES = [
    [
        *("optimizer.name=sgdm", "augmentation.randaugment_magnitude=9", "augmentation.random_erasing=0.25"),
        *("augmentation.mixup_alpha=0.8", "augmentation.cutmix_alpha=1.0", "augmentation.repeats=3"),
    ],
    ["optimizer.name=sam", "runtime.accumulation=2"],
    ["optimizer.name=sophia", "optimizer.hyperparameters.eps=1.0", "optimizer.hyperparameters.rho=100.0"],
    ["optimizer.name=schedulefreesgd"],
]


def run_two(words: list[str], launched: bool) -> str:
    """Two processes to their end: of the launcher, anew, or warm with the variables that it sets."""
    if launched:
        done = run_warm([*LAUNCH, "--multi_gpu", "--num_processes", "2", *words], ACCELERATE_USE_CPU="true")
        assert done.returncode == 0, done.stderr
        return done.stdout
    script, *arguments = words
    processes = run_group(script, arguments, processes=2)
    found = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], found
    return "".join(out for out, _ in found)


@pytest.mark.parametrize(
    ("optimizer", "launched"),
    [(PASSES[0], False), *(pytest.param(p, True, marks=pytest.mark.slow) for p in PASSES)],
    ids=lambda o: o[0][15:] if isinstance(o, list) else "launched" if o else "warm",
)
def test_two_cpu_processes_are_two_and_give_the_result_of_one(
    setting: Path, tmp_path: Path, optimizer: list[str], launched: bool
) -> None:
    """A network without batch norm under SGD: data, order, augmentation and updates agree up to rounding.

    101 test images on two processes are uneven; every image is counted once.
    """
    common = [TRAIN, "--config", str(setting), *optimizer, "optimizer.lr=0.02", "training.batch_size=20"]
    one = run_warm([*common, f"runtime.store={tmp_path / 'one'}"])
    assert one.returncode == 0, one.stderr
    # with the tracker of the defaults, which must not part the processes before the test split is read
    several = ["runtime.tracker=auto", f"runtime.store={tmp_path / 'two'}"]
    assert run_two([*common, *several], launched).count("completed: run") == 1
    (first, a), (second, b) = result(tmp_path / "one"), result(tmp_path / "two")
    assert (first.environment.processes, second.environment.processes) == (1, 2)
    assert first.run_id == second.run_id
    assert second.correctness is not None and second.correctness.n == 101
    for name in a:
        assert torch.allclose(a[name], b[name], atol=1e-5), name
    assert first.curve.train_loss == pytest.approx(second.curve.train_loss, abs=1e-4)
    assert first.curve.val_loss == pytest.approx(second.curve.val_loss, abs=1e-4)


def test_two_processes_killed_inside_an_epoch_continue_bit_identically(setting: Path, tmp_path: Path) -> None:
    def start_two(folder: Path) -> list[WarmProcess]:
        places = [f"runtime.store={folder / 'store'}", f"runtime.state_dir={folder / 'state'}", "runtime.save_every=3"]
        sizes = ["training.batch_size=20", "optimizer.lr=0.01", *PASSES[0]]
        return run_group(TRAIN, ["--config", str(setting), *sizes, *places], processes=2)

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert [process.wait() for process in start_two(whole)] == [0, 0]
    processes = start_two(parts)
    wait_until(lambda: saved(parts / "state") >= 3, processes[0])
    for process in processes:
        process.kill()
    assert [process.wait() for process in processes] == [-signal.SIGKILL] * 2
    assert saved(parts / "state") < 20
    assert [process.wait() for process in start_two(parts)] == [0, 0]
    (first, a), (second, b) = result(whole / "store"), result(parts / "store")
    assert (first.environment.processes, second.environment.processes, second.cost.resumed) == (2, 2, 1)
    assert first.correctness == second.correctness
    for key, value in a.items():
        assert torch.equal(b[key], value), key


def test_dry_run_prints_everything_and_trains_nothing(setting: Path, tmp_path: Path) -> None:
    # what the encoding of the output lacks is written readably
    done = run_warm([TRAIN, "--config", str(setting), "--dry-run"], PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    for text in (
        "lr: 0.0005",  # AdamW's 0.001 at batch 100, times the root of 25/100
        "beta2: 0.999",
        "114,250 trainable",
        "16 = 2 epochs x 8",
        "no decay",
        "pos_embed",
        "MB",
        "min",
    ):
        assert text in done.stdout, text
    assert "nothing was trained" in done.stdout
    assert not (tmp_path / "store").exists() and not (tmp_path / "state").exists()


def test_a_record_reproduces_its_run(setting: Path, tmp_path: Path) -> None:
    """With what decides the last bits, such as micro-batches and threads, of the record and not of this machine."""
    other = ("training.min_lr=1e-6", "optimizer.weight_decay=0.1", "runtime.accumulation=5", "runtime.threads=1")
    first = run_warm([TRAIN, "--config", str(setting), *other])
    assert first.returncode == 0, first.stderr
    (path,) = (tmp_path / "store").glob("models/*/*/seeds/1/record.json")
    data = yaml.safe_load(setting.read_text())["data"]["name"]
    again = run_warm(
        [
            *(TRAIN, "--reproduce", str(path), f"data.name={data}"),
            *(f"runtime.store={tmp_path / 'again'}", f"runtime.state_dir={tmp_path / 'b'}", "runtime.log_every=3"),
        ]
    )
    assert again.returncode == 0, again.stderr
    (a, x), (b, y) = result(tmp_path / "store"), result(tmp_path / "again")
    assert a.run_id == b.run_id
    assert a.metrics == b.metrics
    assert (a.environment.threads, a.environment.micro_batch) == (b.environment.threads, b.environment.micro_batch)
    assert a.weights_sha256 == b.weights_sha256
    assert all(torch.equal(x[name], y[name]) for name in x)


def test_all_mistakes_are_reported_together_and_exit_is_2(setting: Path) -> None:
    done = run_warm(
        [
            *(TRAIN, "--config", str(setting), "backbone.name=tiny_vitt", "optimizer.name=admw"),
            *("training.epoch=3", "optimizer.lr=-1", "seeed=1"),
        ]
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for text in ("5 problem(s)", "'tiny_vit'", "'adamw'", "'epochs'", "optimizer.lr: ", "'seed'"):
        assert text in done.stderr, text


def test_full_disk_loses_nothing(setting: Path, tmp_path: Path) -> None:
    """A limit on the size of written files stands for the full disk: the second run fails, the first stays."""
    common = [TRAIN, "--config", str(setting)]
    assert run_warm(common).returncode == 0
    before, weights = result(tmp_path / "store")
    code = (
        "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000));"
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = run_warm(["-c", code, *common, "seed=2"])
    assert done.returncode == 2, done.stderr
    assert "error: " in done.stderr and "free some space" in done.stderr
    assert "Traceback" not in done.stderr
    after, again = result(tmp_path / "store")
    assert after == before
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_a_record_that_cannot_be_repeated_is_refused(setting: Path, small_data: Path, tmp_path: Path) -> None:
    """The record was made with other images: nothing is trained under the claim of running exactly that again."""
    first = run_warm([TRAIN, "--config", str(setting), "training.epochs=1"])
    assert first.returncode == 0, first.stderr
    (path,) = (tmp_path / "store").glob("models/*/*/seeds/1/record.json")
    done = run_warm([TRAIN, "--reproduce", str(path), f"data.name={ROOT / 'bocb_hf/data/embedded'}"])
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_dead_launcher_stops_its_run(setting: Path, tmp_path: Path) -> None:
    """accelerate's launcher does not pass SIGTERM on; the run notices, saves and ends."""
    state = tmp_path / "state"
    command = [*LAUNCH, TRAIN, "--config", str(setting), "training.epochs=2000", "runtime.save_every=10"]
    launcher = WarmProcess(command)
    wait_until(lambda: saved(state) >= 10, launcher)
    (child,) = psutil.Process(launcher.pid).children()
    launcher.terminate()
    launcher.wait(timeout=60)
    child.wait(timeout=60)
    (path,) = (tmp_path / "store").glob("models/*/*/seeds/1/record.json")
    assert parse_record(path.read_bytes(), str(path)).status == "interrupted"
