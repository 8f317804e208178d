"""Memory that runs out: the same steps on smaller micro-batches, what the record says of it, and where that ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from runs import assert_identical, make, weights_of
from torch import nn

from bocb_hf.coupling.table import build_tables
from bocb_hf.engine.out_of_memory import halved, is_out_of_memory
from bocb_hf.engine.prepare import PreparedRun, prepare_run
from bocb_hf.engine.run import train_run
from bocb_hf.errors import InputError


class Device:
    """A device that has room for so many images, of which so many forward passes pass first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int, free: int = 0) -> None:
        self.room, self.free, self.seen = room, free, list[int]()
        build = PreparedRun.build_model

        def built(prepared: PreparedRun) -> nn.Module:
            model = build(prepared)
            model.register_forward_pre_hook(self.forward)
            return model

        monkeypatch.setattr(PreparedRun, "build_model", built)

    def forward(self, model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if not model.training or len(inputs[0]) < 6:
            return
        self.seen.append(len(inputs[0]))
        if len(self.seen) > self.free and len(inputs[0]) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


def test_halved_micro_batches_train_the_same_weights_and_are_recorded(
    sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From the first step, after a resumed start, and in the middle of the run, where the saved state is continued."""
    overrides = ["training.batch_size=24", "runtime.save_every=3"]
    plain = make(sections, *overrides, "runtime.accumulation=4", f"runtime.store={tmp_path}/plain")
    expected = train_run(plain)
    assert expected.environment.micro_batch == 6
    assert "halv" not in expected.to_json(), "an ordinary record keeps its bytes"

    device = Device(monkeypatch, room=8)
    small = make(sections, *overrides)
    record = train_run(small)
    assert record.status == "completed" and device.seen[:3] == [24, 12, 6] and set(device.seen[2:]) == {6}
    assert (record.environment.micro_batch, record.environment.memory_halvings) == (6, 2)
    assert record.run_id == expected.run_id and not record.environment.batch_norm_halved
    assert_identical(weights_of(small, record), weights_of(plain, expected))

    device.free, device.seen = 5, []  # steps 1 to 5 fit, the sixth does not; the state after step 3 is taken up
    later = make(sections, *overrides, f"runtime.store={tmp_path}/later", "seed=2")
    record = train_run(later)
    assert device.seen[:6] == [24] * 6 and record.environment.memory_halvings == 2 and record.cost.resumed >= 1


def test_batch_norm_makes_it_another_network_and_the_table_says_so(
    sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    Device(monkeypatch, room=12)
    record = train_run(make(sections, "training.batch_size=24", "training.epochs=1", "backbone.name=tiny_resnet"))
    assert record.environment.batch_norm_halved and record.environment.memory_halvings == 1
    (table,) = build_tables([record])
    assert table.rows[0].halved


def test_where_halving_ends_and_what_is_no_lack_of_memory(
    sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    Device(monkeypatch, room=1)
    config = make(sections, "training.batch_size=18")
    message = (
        r"memory ran out with micro-batches of 9 images \(CUDA out of memory.*cannot be halved: a batch of 18 does"
    )
    with pytest.raises(InputError, match=message):
        train_run(config)
    assert halved(prepare_run(make(sections)), 0).halvings == 0
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"))
    assert is_out_of_memory(MemoryError()) and not is_out_of_memory(RuntimeError("mat1 and mat2 shapes"))
