"""FSDP2, run by two processes on the CPU, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from accelerate.utils import DistributedType
from runs import make, weights_of
from warm import run_group, variables_of_launch

from bocb_hf.engine.prepare import prepare_run
from bocb_hf.engine.run import train_run
from bocb_hf.engine.sharding import check_sharding
from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.record import RunRecord, parse_record
from bocb_hf.runs.training_config import TrainingConfig

ROOT = Path(__file__).resolve().parents[2]
TWO = ["--num_processes", "2", "--main_process_port", "0"]
SHARDS = ["--config_file", str(ROOT / "recipes/accelerate/fsdp.yaml"), "--fsdp_min_num_params", "1000"]
SMOOTH = ["optimizer.name=sgdm", "optimizer.lr=0.02", "training.batch_size=20", "training.clip_grad_norm=1"]
SHARDED = [row.id for row in OPTIMIZERS if row.elementwise and not row.needs - {"run_length"}]

Run = tuple[list[str], int | None]  # overrides, and when to stop


def launch(sections: dict[str, Any], runs: list[Run], options: list[str]) -> None:
    """Two processes that train one run after another, with what accelerate makes of the options."""
    config = Path(sections["runtime"]["store"]).parent / "setting.yaml"
    config.write_text(yaml.safe_dump(sections))
    script, variables = ROOT / "tests" / "sharded_process.py", variables_of_launch([*TWO, *options])
    assert variables["ACCELERATE_USE_FSDP"] == "true"
    processes = run_group(script, [str(config), json.dumps(runs)], processes=2, **variables)
    for process in processes:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors


def result(config: RunConfig) -> tuple[RunRecord, dict[str, torch.Tensor]]:
    """What the processes published."""
    prepared = prepare_run(config)
    name = prepared.repository.rpartition("/")[2]
    folder = Path(config.runtime.store) / "models" / config.runtime.namespace / name
    path = folder / "seeds" / str(config.seed) / "record.json"
    record = parse_record(path.read_bytes(), str(path))
    return record, weights_of(config, record)


def first_step(record: RunRecord) -> tuple[float | None, float | None]:
    """Gradient norm, and the step's size relative to the weights."""
    curve = record.curve
    assert curve.grad_norm and curve.update_ratio
    return curve.grad_norm[0], curve.update_ratio[0]


def difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def test_two_shards_stopped_and_continued_give_the_run_of_one_process(sections: dict[str, Any]) -> None:
    """With the file that is shipped: shards, clipping, uneven evaluation, saved states, and the whole weights."""
    one = make(sections, *SMOOTH, "runtime.namespace=one")
    reference = train_run(one)
    two = ["runtime.namespace=two", "runtime.accumulation=2"]
    launch(sections, [([*SMOOTH, *two], 7), ([*SMOOTH, *two], None)], SHARDS)
    record, weights = result(make(sections, *SMOOTH, *two))
    assert (record.status, record.environment.processes, record.cost.resumed) == ("completed", 2, 1)
    assert record.run_id == reference.run_id
    assert difference(weights_of(one, reference), weights) < 1e-6
    assert record.correctness == reference.correctness
    assert record.curve.grad_norm == pytest.approx(reference.curve.grad_norm, rel=1e-4)
    assert record.curve.update_ratio == pytest.approx(reference.curve.update_ratio, rel=1e-4)
    assert record.curve.val_loss == pytest.approx(reference.curve.val_loss, rel=1e-5)


@pytest.mark.slow
def test_shards_saved_as_shards_continue_bit_for_bit(sections: dict[str, Any]) -> None:
    whole, parts = ([*SMOOTH, f"runtime.namespace={name}"] for name in ("whole", "parts"))
    options = [*SHARDS, "--fsdp_state_dict_type", "SHARDED_STATE_DICT"]
    launch(sections, [(whole, None), (parts, 7), (parts, None)], options)
    (first, a), (second, b) = (result(make(sections, *overrides)) for overrides in (whole, parts))
    assert second.cost.resumed == 1
    assert difference(a, b) == 0
    assert first.curve == second.curve


@pytest.mark.slow
def test_bf16_means_the_same_with_shards_and_without(sections: dict[str, Any]) -> None:
    half = [*SMOOTH, "training.precision=bf16", "training.epochs=1"]
    shards, copies = ([*half, f"runtime.namespace={name}"] for name in ("shards", "copies"))
    launch(sections, [(shards, None)], SHARDS)
    config = Path(sections["runtime"]["store"]).parent / "setting.yaml"
    launch_copies = [sys.executable, "-m", "accelerate.commands.launch", *TWO, "--multi_gpu"]
    command = [*launch_copies, str(ROOT / "recipes/train.py"), "--config", str(config), *copies]
    subprocess.run(command, check=True, env={**os.environ, "ACCELERATE_USE_CPU": "true"}, timeout=600)
    (first, a), (second, b) = (result(make(sections, *overrides)) for overrides in (shards, copies))
    assert first.curve.train_loss == pytest.approx(second.curve.train_loss, rel=1e-3)
    assert difference(a, b) < 1e-4  # gradients are summed in another order; rounded weights would differ by 1e-3


@pytest.mark.slow
def test_every_optimizer_that_may_be_sharded_takes_the_steps_of_one_process(sections: dict[str, Any]) -> None:
    """One epoch; signs and ratios of rounding errors grow, so that a weight may differ by several learning rates."""
    short = ["training.epochs=1", "training.batch_size=20"]
    runs = {name: [f"optimizer.name={name}", *short] for name in SHARDED}
    launch(sections, [([*overrides, "runtime.namespace=two"], None) for overrides in runs.values()], SHARDS)
    for name, overrides in runs.items():
        one = make(sections, *overrides, "runtime.namespace=one")
        reference = train_run(one)
        record, weights = result(make(sections, *overrides, "runtime.namespace=two"))
        assert first_step(record) == pytest.approx(first_step(reference), rel=1e-3), name
        assert difference(weights_of(one, reference), weights) < 16 * reference.identity.optimizer.lr, name


@pytest.mark.parametrize("row", OPTIMIZERS, ids=lambda row: row.id)
def test_sharded_parameters_are_for_element_wise_optimizers(row: Any) -> None:
    """Every row: under FSDP an optimizer sees a part of each parameter."""
    accelerator: Any = SimpleNamespace(distributed_type=DistributedType.FSDP, is_fsdp2=True)
    training = TrainingConfig(epochs=1, batch_size=1)
    if row.id in SHARDED:
        check_sharding(accelerator, row, training)
        with pytest.raises(InputError, match="averaged weights"):
            check_sharding(accelerator, row, training.model_copy(update={"ema_decay": 0.9}))
        with pytest.raises(InputError, match="version 1"):
            # stand-ins with what it reads of an accelerator
            # a stand-in with what is read of an accelerator
            check_sharding(SimpleNamespace(distributed_type=DistributedType.FSDP, is_fsdp2=False), row, training)  # type: ignore[arg-type]
    else:
        with pytest.raises(InputError, match=f"{row.id} needs whole tensors"):
            check_sharding(accelerator, row, training)
    # a stand-in with what is read of an accelerator
    check_sharding(SimpleNamespace(distributed_type=DistributedType.MULTI_GPU), row, training)  # type: ignore[arg-type]
