"""What a setting may ask of the loop beyond the plain recipe: mixing, layer decay, probes, compilation, costs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from plain_loop import augment_plainly, decoded
from runs import StopAfter, make, weights_of
from short_settings import short_run
from timm.layers.norm_act import convert_sync_batchnorm
from torch import nn
from torch.nn import functional

from bocb_hf.backbones.definition import define_backbone
from bocb_hf.commands import train
from bocb_hf.data.augment import normalize
from bocb_hf.data.sampling import epoch_order
from bocb_hf.data.source import LoaderSource, MemorySource
from bocb_hf.engine import classification, loop
from bocb_hf.engine import run as run_module
from bocb_hf.engine.prepare import prepare_run
from bocb_hf.engine.run import train_run
from bocb_hf.engine.timing import StepTimer, _rapl_counter
from bocb_hf.errors import InputError
from bocb_hf.optim.compiled import compile_step
from bocb_hf.optim.param_groups import classifier_layers, layer_scales
from bocb_hf.runs.record import RunRecord

EVERYTHING = (
    "optimizer.name=sgdm",  # Adam's first steps are signs, which rounding turns over
    "optimizer.lr=0.02",
    "training.batch_size=20",
    "augmentation.randaugment_magnitude=9",
    "augmentation.random_erasing=0.25",
    "augmentation.mixup_alpha=0.8",
    "augmentation.cutmix_alpha=1.0",
    "augmentation.repeats=3",
    "training.label_smoothing=0.1",
    "training.ema_decay=0.9",
    "training.clip_grad_norm=5",
)


def trained(sections: dict[str, Any], namespace: str, *overrides: str) -> tuple[RunRecord, dict[str, torch.Tensor]]:
    config = make(sections, *overrides, f"runtime.namespace={namespace}")
    record = train_run(config)
    assert record.status == "completed"
    return record, weights_of(config, record)


# the whole set of a modern setting


@pytest.fixture(scope="module")
def reference(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Weights of one run with everything switched on."""
    sections = short_run(small_data, tmp_path_factory.mktemp("reference"))
    return trained(sections, "local", *EVERYTHING)[1]


@pytest.mark.parametrize("accumulation", [2, 5])
def test_accumulation_gives_the_whole_batch_under_every_augmentation(
    sections: dict[str, Any], reference: dict[str, torch.Tensor], accumulation: int
) -> None:
    """Draws, pairs and noise belong to a place in the global batch, wherever it is cut."""
    _, found = trained(sections, "parts", *EVERYTHING, f"runtime.accumulation={accumulation}")
    for name, value in reference.items():
        assert torch.allclose(found[name], value, atol=1e-6), name


def test_an_odd_micro_batch_cannot_be_mixed(sections: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="mixup and cutmix pair images, but a micro-batch holds 5"):
        train_run(make(sections, *EVERYTHING, "runtime.accumulation=4"))


def test_decoding_while_training_gives_the_same_run(
    sections: dict[str, Any], reference: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory budget decides where the pixels come from, not what they are; stopped inside an epoch as well."""
    seen: list[type] = []
    real = classification.open_source
    monkeypatch.setattr(classification, "open_source", lambda *a: (s := real(*a), seen.append(type(s)))[0])
    config = make(sections, *EVERYTHING, "runtime.memory_budget_gb=1e-9", "runtime.workers=1")
    assert train_run(config, StopAfter(7)).stopped_step == 7
    record = train_run(config)
    assert record.status == "completed"
    assert record.cost.replayed_epochs == 0
    assert seen == [LoaderSource, LoaderSource]
    found = weights_of(config, record)
    for name, value in reference.items():
        assert torch.equal(found[name], value), name


def test_a_stream_replays_its_epoch_and_the_record_says_so(
    sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(MemorySource, "exact_resume", False)  # as a shuffled stream has it
    config = make(sections)
    train_run(config, StopAfter(3))
    record = train_run(config)
    assert record.status == "completed"
    assert (record.cost.resumed, record.cost.replayed_epochs) == (1, 1)
    assert "epoch 1 begins anew" in caplog.text


def test_binary_cross_entropy_of_mixed_targets_is_the_loss(sections: dict[str, Any]) -> None:
    record, _ = trained(sections, "bce", "training.loss=bce", "runtime.log_every=1")
    # an untrained head says about ½ for nothing and about 1/K for no class
    assert record.curve.train_loss[0] < 1.2
    ce, _ = trained(sections, "ce", "runtime.log_every=1")
    assert ce.curve.train_loss[0] > 2
    assert record.config_hash != ce.config_hash


# fine-tuning


def test_layer_decay_is_the_formula_of_its_paper() -> None:
    model = prepare_model("tiny_vit")
    scales = layer_scales(model, 0.5)
    depth = len(model.blocks)  # type: ignore[arg-type] - a sequence of blocks
    assert scales["head.weight"] == 1.0
    for k in range(depth):
        # the layers are: stem, blocks, then norm and head together
        assert scales[f"blocks.{k}.attn.qkv.weight"] == pytest.approx(0.5 ** (depth - k))
    assert scales["patch_embed.proj.weight"] == scales["pos_embed"] == pytest.approx(0.5 ** (depth + 1))
    with pytest.raises(InputError, match=r"training\.layer_decay: this backbone does not say"):
        layer_scales(nn.Linear(3, 3), 0.5)


def prepare_model(name: str) -> nn.Module:

    import bocb_hf  # noqa: F401 - registers the tiny networks

    definition = define_backbone(name, 32)
    return timm.create_model(definition.architecture, num_classes=10, **definition.args)


def test_layer_decay_slows_the_first_layers(sections: dict[str, Any]) -> None:
    """SGD without momentum moves each layer by its own share of what it moves without layer decay, in one step."""
    one = ("optimizer.name=sgdm", "optimizer.hyperparameters.momentum=0.0", "optimizer.weight_decay=0")
    one += ("training.epochs=1", "training.batch_size=200", "optimizer.lr=0.01", "training.warmup_epochs=0")
    initial = {k: v.clone() for k, v in prepare_run(make(sections, *one)).build_model().state_dict().items()}
    plain, decayed = (
        trained(sections, n, *one, *more)[1] for n, more in (("a", ()), ("b", ("training.layer_decay=0.5",)))
    )
    scales = layer_scales(prepare_model("tiny_vit"), 0.5)
    for name, scale in scales.items():
        expected = scale * (plain[name] - initial[name])
        assert torch.allclose(decayed[name] - initial[name], expected, atol=1e-6, rtol=1e-3), name


def test_a_linear_probe_moves_the_head_and_nothing_else(sections: dict[str, Any]) -> None:
    names = ("backbone.name=tiny_resnet", "training.linear_probe=true")
    record, found = trained(sections, "probe", *names)
    initial = prepare_run(make(sections, *names)).build_model().state_dict()
    moved = {name for name, value in found.items() if not torch.equal(value, initial[name])}
    assert moved == {"fc.weight", "fc.bias"}  # running statistics of batch norm included
    assert record.cost.parameters == initial["fc.weight"].numel() + initial["fc.bias"].numel()


@pytest.mark.parametrize(
    "name", ["tiny_vit", "tiny_resnet", "resnet18", "swin_tiny_patch4_window7_224", "caformer_s18"]
)
def test_the_classifier_is_found(name: str) -> None:
    model = prepare_model(name) if name.startswith("tiny") else __import__("timm").create_model(name, num_classes=10)
    (layer,) = classifier_layers(model)
    assert [p.shape[0] for p in model.get_submodule(layer).parameters()] == [10, 10]


# what the curve and the costs hold


def test_gradient_norm_and_step_size_against_a_plain_loop(sections: dict[str, Any]) -> None:
    config = make(sections, "training.clip_grad_norm=0.5", "runtime.log_every=1")
    curve = train_run(config).curve
    prepared = prepare_run(config)
    model, data = prepared.build_model(), prepared.identity.data
    optimizer = prepared.build_optimizer(model)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (data.mean, data.std))
    train = decoded(prepared.data.train)
    norms, ratios = [], []
    for step in range(8):
        indices = epoch_order(200, 1, 0)[25 * step : 25 * step + 25]
        pixels = augment_plainly(train.pixels[indices], 1, step, config.augmentation)
        model.zero_grad()
        functional.cross_entropy(model(normalize(pixels, mean, std)), train.labels[indices]).backward()
        norms.append(float(torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()))
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        for group in optimizer.param_groups:
            share = (step + 1) / 2 if step < 2 else (1 + math.cos(math.pi * (step - 2) / 14)) / 2
            group["lr"] = prepared.optimizer.lr * share
        before = [p.detach().clone() for p in model.parameters()]
        optimizer.step()
        moved = torch.stack([(p - b).norm() for p, b in zip(model.parameters(), before, strict=True)]).norm()
        ratios.append(float(moved.detach() / torch.stack([b.norm() for b in before]).norm()))
    assert curve.grad_norm is not None and curve.update_ratio is not None
    assert curve.grad_norm[:8] == pytest.approx(norms, rel=1e-3)
    assert curve.update_ratio[:8] == pytest.approx(ratios, rel=1e-3)


def test_the_parts_of_a_step_add_up_to_no_more_than_the_whole(sections: dict[str, Any]) -> None:
    cost = train_run(make(sections)).cost
    assert cost.data_seconds is not None and cost.forward_backward_seconds is not None
    assert cost.optimizer_seconds is not None and cost.waited_seconds is not None
    parts = cost.data_seconds + cost.forward_backward_seconds + cost.optimizer_seconds
    assert 0 < cost.forward_backward_seconds < parts <= cost.train_seconds + 0.01
    assert cost.waited_seconds <= cost.data_seconds


def test_the_timer_gives_each_lap_to_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 11.0, 13.0, 20.0, 24.0])
    monkeypatch.setattr("bocb_hf.engine.timing.time.perf_counter", lambda: next(times))
    timer = StepTimer(torch.device("cpu"))
    timer.start()
    timer.lap("data")
    timer.lap("optimizer")
    timer.start()
    timer.lap("data")
    assert timer.seconds == {"data": 5.0, "forward_backward": 0.0, "optimizer": 2.0, "other": 0.0}


def test_an_energy_counter_that_wraps_is_read_on(tmp_path: Path) -> None:
    package = tmp_path / "intel-rapl:0"
    package.mkdir()
    (package / "max_energy_range_uj").write_text("1000000")
    (package / "energy_uj").write_text("900000")
    read = _rapl_counter(tmp_path)
    assert read is not None
    (package / "energy_uj").write_text("950000")
    assert read() == pytest.approx(0.05)
    (package / "energy_uj").write_text("100000")
    assert read() == pytest.approx(0.2)
    assert _rapl_counter(tmp_path / "none") is None


# switches


def test_compiled_model_and_optimizer_give_the_same_run(
    sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []

    def compile_model(module: nn.Module) -> None:
        compiled.append("model")
        module._compiled_call_impl = torch.compile(module._call_impl, backend="eager")

    def compile_optimizer(optimizer: torch.optim.Optimizer, row: Any) -> None:
        compiled.append("optimizer")
        compile_step(optimizer, row, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", compile_model)
    monkeypatch.setattr(loop, "compile_step", compile_optimizer)
    _, plain = trained(sections, "plain", "optimizer.name=lion")
    switches = ("runtime.compile_model=true", "runtime.compile_optimizer=true")
    record, found = trained(sections, "compiled", "optimizer.name=lion", *switches)
    torch.compiler.reset()
    assert compiled == ["model", "optimizer"]
    assert record.environment.compiled == ["model", "optimizer"]
    for name, value in plain.items():
        assert torch.allclose(found[name], value, atol=1e-4), name


def test_the_flags_of_compilation_are_those_of_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Any] = []
    monkeypatch.setattr(train, "train", lambda *given: trained.append(given) or 0)
    words = ["--config", "fashion_mnist_subset/demo", "--compile-optimizer", "backbone.name=tiny_vit"]
    assert train.main([*words, "optimizer.name=lion"]) == 0
    ((setting, reproduce, overrides, dry_run),) = trained
    assert not dry_run
    runtime = train.load_config(setting, reproduce, overrides).runtime
    assert (runtime.compile_model, runtime.compile_optimizer) == (False, True)


@pytest.mark.parametrize("name", ["tiny_resnet", "tiny_mobilenet"])
def test_synchronised_batch_norm_keeps_names_and_parameters(name: str) -> None:
    """Several GPUs train the converted network; what is saved must load into the plain one."""
    model = prepare_model(name)
    before = dict(model.named_parameters())
    names = list(model.state_dict())
    converted = convert_sync_batchnorm(model)
    assert any(isinstance(m, nn.SyncBatchNorm) for m in converted.modules())
    assert list(converted.state_dict()) == names
    assert all(p is before[n] for n, p in converted.named_parameters())


def test_a_fused_step_is_not_compiled(sections: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"runtime\.compile_optimizer: the step of adamw runs a fused kernel"):
        train_run(make(sections, "runtime.compile_optimizer=true"))


def test_memory_format_and_determinism_are_recorded(sections: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"runtime\.channels_last: in fp32 on a CPU"):
        train_run(make(sections, "runtime.channels_last=true"))
    names = ("runtime.channels_last=true", "training.precision=bf16", "runtime.deterministic=true")
    config = make(sections, "backbone.name=tiny_resnet", *names)
    assert train_run(config, StopAfter(5)).status == "interrupted"
    record = train_run(config)  # saved and continued in that format
    assert record.status == "completed"
    assert record.environment.channels_last and record.environment.deterministic
    assert not record.environment.tf32
    plain, _ = trained(sections, "plain")
    assert not plain.environment.channels_last and not plain.environment.deterministic


def test_fp16_on_a_cpu_is_refused(sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """accelerate would train in fp32, and the record would say fp16."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    with pytest.raises(InputError, match=r"training\.precision: fp16 needs a GPU"):
        train_run(make(sections, "training.precision=fp16"))


def test_a_tracker_that_is_not_installed_is_named(sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    real = run_module.importlib.util.find_spec
    monkeypatch.setattr(run_module.importlib.util, "find_spec", lambda n: None if n == "wandb" else real(n))
    with pytest.raises(InputError, match=r"this needs wandb.*bocb-hf\[trackers\]"):
        train_run(make(sections, "runtime.tracker=wandb"))
