"""What some optimizers need of the loop: a second gradient, sampled labels, other weights to evaluate, exact resume."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from plain_loop import augment_plainly, decoded
from runs import StopAfter, make, weights_of
from torch import nn
from torch.nn import functional

from bocb_hf.data.augment import normalize
from bocb_hf.data.sampling import epoch_order, hessian_uniforms
from bocb_hf.engine.dry_run import optimizer_state_bytes
from bocb_hf.engine.plan import make_plan
from bocb_hf.engine.prepare import PreparedRun, prepare_run
from bocb_hf.engine.run import train_run
from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.protocols import sampled_label_loss
from bocb_hf.runs.config import RunConfig


class Plain:
    """The loop of 16 steps written down once more: batches, schedule and groups, without accelerate."""

    def __init__(self, config: RunConfig) -> None:
        self.prepared: PreparedRun = prepare_run(config)
        self.model = self.prepared.build_model()
        data = self.prepared.identity.data
        self.mean, self.std = (torch.tensor(v).view(3, 1, 1) for v in (data.mean, data.std))
        self.peak = self.prepared.identity.optimizer.lr
        decay = self.prepared.identity.optimizer.weight_decay
        named = list(self.model.named_parameters())
        exempt = [p.ndim <= 1 or n in ("pos_embed", "cls_token") for n, p in named]
        self.parameters = [p for _, p in named]
        self.decays = [0.0 if e else decay for e in exempt]

    def lr(self, k: int) -> float:
        return self.peak * ((k + 1) / 2 if k < 2 else (1 + math.cos(math.pi * (k - 2) / 14)) / 2)

    def batch(self, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        epoch, first = k // 8, 25 * (k % 8)
        indices = epoch_order(200, self.prepared.config.seed, epoch)[first : first + 25]
        train = decoded(self.prepared.data.train)
        pixels = augment_plainly(train.pixels[indices], self.prepared.config.seed, k, self.prepared.config.augmentation)
        return normalize(pixels, self.mean, self.std), train.labels[indices]

    def gradients(self, inputs: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.autograd.grad(functional.cross_entropy(self.model(inputs), labels), self.parameters))


def assert_close(stored: dict[str, torch.Tensor], model: nn.Module, atol: float) -> None:
    for name, value in model.state_dict().items():
        assert torch.allclose(stored[name].double(), value.double(), atol=atol), name


def test_sam_against_a_plain_loop(sections: dict[str, Any]) -> None:
    """On a network with batch norm, whose statistics the second pass must not move; clipping acts on its gradient."""
    config = make(sections, "backbone.name=tiny_resnet", "optimizer.name=sam", "optimizer.lr=0.005", "seed=2")
    config = config.model_copy(update={"training": config.training.model_copy(update={"clip_grad_norm": 1.0})})
    stored = weights_of(config, train_run(config))
    plain = Plain(config)
    plain.model.train()
    buffers = [torch.zeros_like(p) for p in plain.parameters]
    for k in range(16):
        inputs, labels = plain.batch(k)
        grads = plain.gradients(inputs, labels)
        kept = {n: b.clone() for n, b in plain.model.named_buffers()}
        norm = torch.stack([g.norm() for g in grads]).norm()
        shifts = [0.05 * g / norm for g in grads]
        with torch.no_grad():
            for p, shift in zip(plain.parameters, shifts, strict=True):
                p.add_(shift)
        grads = plain.gradients(inputs, labels)
        with torch.no_grad():
            for p, shift in zip(plain.parameters, shifts, strict=True):
                p.sub_(shift)
            for name, buffer in plain.model.named_buffers():
                buffer.copy_(kept[name])
            scale = min(1.0, 1.0 / float(torch.stack([g.norm() for g in grads]).norm()))
            for p, g, buffer, decay in zip(plain.parameters, grads, buffers, plain.decays, strict=True):
                buffer.mul_(0.9).add_(scale * g + decay * p)
                p.sub_(plain.lr(k) * buffer)
    assert_close(stored, plain.model, atol=1e-4)


def test_sophia_against_a_plain_loop(sections: dict[str, Any]) -> None:
    # with a larger ε than the default: where both momentum and Hessian are rounding, the step is a sign of it
    names = ["hessian_interval=5", "rho=2.0", "eps=0.001"]
    names = [f"optimizer.hyperparameters.{name}" for name in names]
    config = make(sections, "optimizer.name=sophia", "optimizer.lr=0.001", *names)
    stored = weights_of(config, train_run(config))
    plain = Plain(config)
    plain.model.train()
    momentum, hessian = ([torch.zeros_like(p) for p in plain.parameters] for _ in range(2))
    for k in range(16):
        inputs, labels = plain.batch(k)
        if k % 5 == 0:
            with torch.no_grad():
                shares = plain.model(inputs).softmax(1).cumsum(1)
            drawn = torch.searchsorted(shares, hessian_uniforms(25, 1, k)[:, None], right=True).squeeze(1).clamp(max=9)
            for h, g in zip(hessian, plain.gradients(inputs, drawn), strict=True):
                h.mul_(0.99).add_(0.01 * 25 * g * g)
        grads = plain.gradients(inputs, labels)
        with torch.no_grad():
            for p, g, m, h, decay in zip(plain.parameters, grads, momentum, hessian, plain.decays, strict=True):
                m.mul_(0.965).add_(0.035 * g)
                p.mul_(1 - plain.lr(k) * decay)
                p.sub_(plain.lr(k) * (m / (2.0 * h).clamp(min=1e-3)).clamp(-1, 1))
    assert_close(stored, plain.model, atol=1e-5)
    divided = torch.cat([(2.0 * h).flatten() for h in hessian]) > 1e-3
    assert 500 < divided.sum() < divided.numel() / 2  # both the Hessian and ε divide


def test_sampled_labels_follow_the_prediction() -> None:
    logits = torch.randn(1, 4).expand(20_000, 4)
    uniforms = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    logits = logits.clone().requires_grad_()
    sampled_label_loss(logits, uniforms).backward()
    assert logits.grad is not None
    # the mean gradient is p minus the share of each drawn label, which is p
    assert logits.grad.sum(0).abs().max() < 0.015
    edge = torch.tensor([[0.0, 0.0]])
    for uniform, label in ((0.0, 0), (0.499, 0), (0.501, 1), (1.0, 1)):
        expected = functional.cross_entropy(edge, torch.tensor([label]))
        assert sampled_label_loss(edge, torch.tensor([uniform])) == expected


@pytest.mark.parametrize("optimizer", ["sam", "sophia"])
def test_other_passes_accumulate(sections: dict[str, Any], optimizer: str) -> None:
    """Five micro-batches give the step of the whole batch, the extra passes included."""
    # with a decay of nearly 1 of its estimate and ε of 1, Sophia is no sign, which rounding could turn
    names = [f"optimizer.name={optimizer}", "optimizer.lr=0.02"]
    if optimizer == "sophia":
        names += ["optimizer.hyperparameters.eps=1.0", "optimizer.hyperparameters.rho=100.0"]
    whole = make(sections, *names, "runtime.namespace=whole")
    parts = make(sections, *names, "runtime.namespace=parts", "runtime.accumulation=5")
    a, b = weights_of(whole, train_run(whole)), weights_of(parts, train_run(parts))
    for name in a:
        assert torch.allclose(a[name], b[name], atol=2e-5), name


@pytest.mark.parametrize(("optimizer", "floats"), [("adamw", 2), ("sam", 1), ("muon", 1), ("soap", 6)])
def test_state_is_estimated_before_a_run(sections: dict[str, Any], optimizer: str, floats: float) -> None:
    prepared = prepare_run(make(sections, f"optimizer.name={optimizer}"))
    model = prepared.build_model()
    size = optimizer_state_bytes(model, prepared) / sum(4 * p.numel() for p in model.parameters())
    assert 0.9 * floats < size < 1.7 * floats


@pytest.mark.parametrize("optimizer", ["sam", "sophia"])
def test_several_gradients_refuse_fp16(sections: dict[str, Any], optimizer: str) -> None:
    with pytest.raises(InputError, match=r"training.precision: .* choose bf16"):
        config = make(sections, f"optimizer.name={optimizer}", "training.precision=fp16")
        make_plan(prepare_run(config).identity, prepare_run(config).optimizer.row, config.runtime, 200, 1)


def test_schedule_free_saves_the_average(sections: dict[str, Any]) -> None:
    """The checkpoint holds x, which is the mean of the iterates z under a constant learning rate."""
    config = make(
        sections, "optimizer.name=schedulefreesgd", "optimizer.lr=0.1", "training.schedule=constant",
        "training.warmup_epochs=0",
    )  # fmt: skip
    stored = weights_of(config, train_run(config))
    plain = Plain(config)
    plain.model.train()
    z = [p.detach().clone() for p in plain.parameters]
    x = [p.detach().clone() for p in plain.parameters]
    for k in range(16):
        with torch.no_grad():
            for p, a, b in zip(plain.parameters, z, x, strict=True):
                p.copy_(0.1 * a + 0.9 * b)
        for i, g in enumerate(plain.gradients(*plain.batch(k))):
            z[i] = z[i] - 0.1 * g
            x[i] = x[i] + (z[i] - x[i]) / (k + 1)
    for name, average in zip(dict(plain.model.named_parameters()), x, strict=True):
        assert torch.allclose(stored[name], average, atol=1e-5), name
    assert any(not torch.allclose(stored[n], p, atol=1e-3) for n, p in plain.model.named_parameters())


def test_evaluation_leaves_schedule_free_alone(sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Validating after every epoch, or never, gives the same weights; batch norm's statistics belong to the average."""
    names = ("backbone.name=tiny_resnet", "optimizer.name=schedulefreesgd", "training.schedule=constant")
    often = make(sections, *names, "runtime.namespace=often")
    record = train_run(often)
    assert record.status == "completed"
    from bocb_hf.engine.loop import Trainer

    monkeypatch.setattr(Trainer, "_validate", lambda self: None)
    never = make(sections, *names, "runtime.namespace=never")
    a, b = weights_of(often, record), weights_of(never, train_run(never))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    # 8 batches of 25 were taken anew: batch norm counted these and not the 16 steps
    assert {int(v) for name, v in a.items() if name.endswith("num_batches_tracked")} == {8}


@pytest.fixture(scope="module")
def few_images(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first images of the small data: 60 of training, 20 of each other split."""
    folder = tmp_path_factory.mktemp("few") / "few_fashion"
    folder.mkdir()
    for split, size in (("train", 60), ("validation", 20), ("test", 20)):
        table = pq.read_table(small_data / f"{split}.parquet").slice(0, size)
        pq.write_table(table, folder / f"{split}.parquet")
    return folder


# test_resume.py stops these three times
STOPPED_THERE = ("sgdm", "adamw", "lamb", "lars", "rmsprop")
# What an optimizer keeps goes into a file and back in each one's conformance. Stopped as runs in the gate are those
# that need more of a run: other weights than are evaluated, a second pass, draws of their own, a rule by the number of
# the step, matrices. `make test-slow` stops all.
KINDS = (
    *("schedulefreesgd", "schedulefreeadamw", "sam", "samadamw", "sophia", "muon", "prodigy", "ademamix", "nadamw"),
    *("kron", "shampoo", "distributedshampoo", "soap", "adabound"),
)


@pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param(name, marks=() if name in KINDS else pytest.mark.slow)
        for name in OPTIMIZERS.names()
        if name not in STOPPED_THERE
    ],
)
def test_stopped_in_an_epoch_and_continued(sections: dict[str, Any], few_images: Path, optimizer: str) -> None:
    backbone = "tiny_vit" if optimizer in ("muon", "sophia") else "tiny_resnet"
    names = (f"backbone.name={backbone}", f"optimizer.name={optimizer}", "training.batch_size=10")
    sections["data"]["name"] = str(few_images)
    whole = make(sections, *names, "runtime.namespace=whole")
    reference = train_run(whole)
    assert reference.status == "completed"
    config = make(sections, *names, "runtime.namespace=parts")
    assert train_run(config, StopAfter(8)).stopped_step == 8  # of 12, the second of the second epoch
    record = train_run(config)
    assert record.cost.resumed == 1
    a, b = weights_of(whole, reference), weights_of(config, record)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert record.curve == reference.curve and record.correctness == reference.correctness
