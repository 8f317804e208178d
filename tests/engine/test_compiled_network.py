"""Compiled networks, and CUDA graphs as far as a CPU can tell: nothing may keep memory that a replay writes over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from runs import assert_identical, make, weights_of
from static_memory import ORDINARY, STATIC
from torch import Tensor, nn

from bocb_hf.engine import loop, out_of_memory
from bocb_hf.engine.compiled_network import check_graphs, compile_network
from bocb_hf.engine.environment import describe_environment
from bocb_hf.engine.prepare import prepare_run
from bocb_hf.engine.repetition import runtime_of
from bocb_hf.engine.run import train_run
from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.conformance import bench as cb
from bocb_hf.runs.runtime_config import RuntimeConfig

GRAPHS = ("runtime.compile_model=true", "runtime.cuda_graphs=true")


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("backbone", ["tiny_vit", pytest.param("tiny_resnet", marks=pytest.mark.slow)])
def test_a_run_keeps_nothing_that_a_replayed_graph_writes_over(
    sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch, backbone: str
) -> None:
    found: dict[str, dict[str, Tensor]] = {}
    scores: dict[str, Any] = {}
    monkeypatch.setattr(loop, "check_graphs", lambda *_: None)
    for name, compiled in (("ordinary", ORDINARY), ("static", STATIC)):
        monkeypatch.setattr(loop, "compile_network", compiled)
        more = ("training.ema_decay=0.9", "training.clip_grad_norm=5", f"backbone.name={backbone}")
        config = make(sections, *GRAPHS, *more, f"runtime.namespace={name}")
        record = train_run(config)
        assert record.environment.compiled == ["model", "cuda_graphs"]
        found[name], scores[name] = weights_of(config, record), record.metrics
    assert_identical(found["ordinary"], found["static"])
    assert scores["ordinary"] == scores["static"]


@pytest.mark.parametrize(("graphs", "given"), [(True, {"mode": "reduce-overhead"}), (False, {})])
def test_graphs_are_a_mode_of_the_compiler(
    monkeypatch: pytest.MonkeyPatch, graphs: bool, given: dict[str, str]
) -> None:
    asked: list[dict[str, str]] = []
    monkeypatch.setattr(nn.Module, "compile", lambda _, **options: asked.append(options))
    compile_network(nn.Linear(1, 1), graphs)
    assert asked == [given]


@pytest.mark.usefixtures("fresh_compiler")
def test_gradients_in_such_memory_are_wrong_when_they_add_up() -> None:
    """Why accumulation is refused, and that the test above would see what is kept."""
    torch.manual_seed(0)
    plain, static = nn.Linear(4, 2), nn.Linear(4, 2)
    static.load_state_dict(plain.state_dict())
    STATIC(static, True)
    parts = torch.randn(2, 3, 4)
    for model in (plain, static):
        for part in parts:
            model(part).square().sum().backward()
    assert plain.weight.grad is not None
    assert static.weight.grad is not None
    assert not torch.allclose(plain.weight.grad, static.weight.grad)


@pytest.mark.parametrize("name", [row.id for row in OPTIMIZERS if not row.needs & {"closure", "hessian"}])
def test_no_optimizer_keeps_the_memory_of_a_gradient(name: str) -> None:
    row = OPTIMIZERS.get(name)
    kept, overwritten = (cb.make_bench(row, cb.start(cb.SMALL, torch.float32)) for _ in range(2))
    gradients = list[Tensor | None]()

    def fill() -> None:
        cb.fill_noise(overwritten)()
        gradients.extend(p.grad for p in overwritten.parameters.values())

    for _ in range(12):
        cb.run_noise(kept, 1)
        overwritten.step(fill)
        for gradient in gradients:
            if gradient is not None:
                gradient.fill_(torch.nan)
        gradients.clear()
    assert_identical(kept.values(), overwritten.values())


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
def test_the_mode_with_graphs_compiles_the_same_network(
    sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU, torch compiles the same code in this mode and replays nothing; the weights are equal to the bit."""
    monkeypatch.setattr(loop, "check_graphs", lambda *_: None)
    found = list[dict[str, Tensor]]()
    for name, switches in (("compiled", GRAPHS[:1]), ("graphs", GRAPHS)):
        config = make(sections, *switches, "backbone.name=tiny_resnet", f"runtime.namespace={name}")
        found.append(weights_of(config, train_run(config)))
        torch.compiler.reset()
    assert_identical(*found)


@dataclass
class Place:
    """What ``check_graphs`` looks at of an accelerator."""

    device: torch.device
    num_processes: int = 1


def test_graphs_are_refused_where_they_do_not_work(sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"runtime: cuda_graphs: torch.compile records them; set compile_model too"):
        make(sections, "runtime.cuda_graphs=true")
    with pytest.raises(InputError, match=r"runtime\.cuda_graphs: they need an NVIDIA GPU, and this run is on cpu"):
        train_run(make(sections, *GRAPHS))
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    on, adamw = RuntimeConfig(compile_model=True, cuda_graphs=True), OPTIMIZERS.get("adamw")
    gpu: Any = Place(torch.device("cuda"))
    check_graphs(on, gpu, adamw)
    with pytest.raises(InputError, match="2 processes exchange gradients"):
        check_graphs(on, Place(gpu.device, 2), adamw)  # type: ignore[arg-type] # a stand-in
    with pytest.raises(InputError, match="a step of 4 micro-batches"):
        check_graphs(on.model_copy(update={"accumulation": 4}), gpu, adamw)
    with pytest.raises(InputError, match="sam takes a second pass over each batch"):
        check_graphs(on, gpu, OPTIMIZERS.get("sam"))


def test_a_record_says_that_there_were_graphs_and_repeats_them(sections: dict[str, Any]) -> None:
    record = train_run(make(sections))
    runtime = RuntimeConfig(compile_model=True, cuda_graphs=True)
    with_graphs = describe_environment(torch.device("cpu"), 1, 25, runtime)
    assert with_graphs.compiled == ["model", "cuda_graphs"]
    assert not runtime_of(record)["cuda_graphs"]
    assert runtime_of(record.model_copy(update={"environment": with_graphs}))["cuda_graphs"]


def test_halved_micro_batches_run_without_graphs(sections: dict[str, Any]) -> None:
    smaller = out_of_memory.halved(prepare_run(make(sections, *GRAPHS, "training.batch_size=24")), 1).config.runtime
    assert (smaller.accumulation, smaller.compile_model, smaller.cuda_graphs) == (2, True, False)
