"""The loop, inside this process: what a run computes, leaves and refuses."""

from __future__ import annotations

import hashlib
import itertools
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plain_loop import augment_plainly, decoded
from runs import assert_identical, folder_of, make, weights_of
from safetensors.numpy import load_file
from torch import nn
from torch.nn import functional

from bocb_hf.data.augment import normalize
from bocb_hf.data.sampling import epoch_order
from bocb_hf.engine import loop
from bocb_hf.engine.evaluation import Evaluation, evaluate
from bocb_hf.engine.prepare import PreparedRun, prepare_run
from bocb_hf.engine.run import train_run
from bocb_hf.errors import InputError
from bocb_hf.patterns.measure import weight_patterns
from bocb_hf.store import open_store
from bocb_hf.store.lease import Lease, LeaseHeldError, run_lease
from bocb_hf.sweep.floors import store_logistic_regression


@pytest.mark.picture
def test_a_run_leaves_what_identity_and_layout_promise(sections: dict[str, Any]) -> None:
    config = make(sections)
    record = train_run(config)
    assert record.status == "completed"
    assert record.metrics.test_top1 is not None and record.metrics.test_top1.n == 101
    assert record.curve.step == [3, 6, 9, 12, 15, 16]
    assert record.curve.val_step == [0, 8, 16]
    assert record.metrics.val_top1 is not None and record.metrics.val_top1.n == 90
    assert record.cost.parameters == 114_250
    assert record.cost.flops_per_image is not None and record.cost.flops_per_image > 1e6
    folder = folder_of(config, record)
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    weights = ["config.json", "model.safetensors"]
    assert files == sorted(
        ["README.md", "curves.png", *weights, "seeds/1/record.json", *(f"seeds/1/{w}" for w in weights)]
    )
    assert not list((Path(config.runtime.state_dir) / "local").glob("*-final"))  # resume state is gone
    text = (folder / "seeds/1/record.json").read_text()
    assert str(Path(config.data.name).parent) not in text  # no path of this machine
    assert train_run(config) == record  # finished: read back, not trained again


def test_the_loop_equals_a_plain_pytorch_loop(sections: dict[str, Any]) -> None:
    """The whole arithmetic, written down once more without accelerate: order, augmentation, schedule, clipping, EMA."""
    decay = 0.8
    config = make(
        sections, f"training.ema_decay={decay}", "training.clip_grad_norm=0.5", "training.label_smoothing=0.1"
    )
    record = train_run(config)
    prepared = prepare_run(config)
    model = prepared.build_model()
    decayed = [p for n, p in model.named_parameters() if p.ndim > 1 and n not in ("pos_embed", "cls_token")]
    exempt = [p for n, p in model.named_parameters() if p.ndim <= 1 or n in ("pos_embed", "cls_token")]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": exempt, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.999), eps=1e-8, fused=True)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (prepared.identity.data.mean, prepared.identity.data.std))
    averaged = {n: p.detach().clone() for n, p in model.named_parameters()}
    for epoch, batch in itertools.product(range(2), range(8)):
        step = 8 * epoch + batch
        lr = prepared.optimizer.lr * ((step + 1) / 2 if step < 2 else (1 + math.cos(math.pi * (step - 2) / 14)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = lr
        indices = epoch_order(200, 1, epoch)[25 * batch : 25 * batch + 25]
        pixels = augment_plainly(decoded(prepared.data.train).pixels[indices], 1, step, config.augmentation)
        logits = model(normalize(pixels, mean, std))
        loss = functional.cross_entropy(logits, decoded(prepared.data.train).labels[indices], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        for name, parameter in model.named_parameters():
            averaged[name] = parameter.detach() if step == 0 else averaged[name].lerp(parameter.detach(), 1 - decay)
        averaged = {n: p.clone() for n, p in averaged.items()}
    stored = weights_of(config, record)
    for name, value in averaged.items():
        assert torch.allclose(stored[name], value, atol=1e-6, rtol=1e-5), name


def test_accumulation_equals_the_whole_batch(sections: dict[str, Any]) -> None:
    """A network without batch norm: two micro-batches of half the size give the same step, up to rounding.

    With SGD: Adam divides the rounding of a gradient that is zero, that of the keys' bias, by itself.
    """
    common = ("training.batch_size=50", "optimizer.name=sgdm", "optimizer.lr=0.02")
    whole = make(sections, *common, "runtime.namespace=whole")
    parts = make(sections, *common, "runtime.namespace=parts", "runtime.accumulation=2")
    a, b = weights_of(whole, train_run(whole)), weights_of(parts, train_run(parts))
    for name in a:
        assert torch.allclose(a[name], b[name], atol=2e-5), name


def test_runs_are_paired_across_optimizers(sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Initial weights depend on (seed, backbone), the batches on the seed alone."""
    batches: list[torch.Tensor] = []
    real = loop.Feed.inputs
    monkeypatch.setattr(loop.Feed, "inputs", lambda *a: (found := real(*a), batches.append(found[0].clone()))[0])
    seen = {}
    runs = (("tiny_vit", "adamw", 1), ("tiny_vit", "lars", 1), ("tiny_resnet", "sgdm", 1), ("tiny_vit", "adamw", 2))
    for backbone, optimizer, seed in runs:
        names = (f"backbone.name={backbone}", f"optimizer.name={optimizer}")
        config = make(sections, *names, f"seed={seed}")
        prepared = prepare_run(config)
        initial = {k: v.clone() for k, v in prepared.build_model().state_dict().items()}
        batches.clear()
        train_run(config)
        seen[backbone, optimizer, seed] = initial, torch.stack(batches[:16])
    first = seen["tiny_vit", "adamw", 1]
    assert_identical(first[0], seen["tiny_vit", "lars", 1][0])
    assert torch.equal(first[1], seen["tiny_vit", "lars", 1][1])
    assert torch.equal(first[1], seen["tiny_resnet", "sgdm", 1][1])
    other = seen["tiny_vit", "adamw", 2]
    assert not torch.equal(first[1], other[1])
    assert not torch.equal(first[0]["head.weight"], other[0]["head.weight"])


def test_trial_reads_validation_and_never_test(sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    config = make(sections, "role=trial")
    found: list[Evaluation] = []

    def watched(*arguments: Any) -> Evaluation:
        found.append(evaluate(*arguments))
        return found[-1]

    monkeypatch.setattr(loop, "evaluate", watched)
    record = train_run(config)
    assert [evaluation.n for evaluation in found] == [90, 90, 90]
    assert record.val_correctness is not None
    assert (record.val_correctness.bits() == found[-1].correct.numpy()).all(), "those of the last weights"
    assert record.metrics.test_top1 is None
    assert record.metrics.val_top1 is not None and record.metrics.val_top1.last is not None
    folder = folder_of(config, record)
    assert {p.name for p in folder.rglob("*") if p.is_file()} == {"README.md", f"{record.run_id}.json"}


def test_final_run_reads_test_once_after_training(sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(
        loop, "evaluate", lambda m, images, *rest: sizes.append(len(images)) or evaluate(m, images, *rest)
    )
    record = train_run(make(sections))
    assert sizes == [90, 90, 90, 101]
    assert record.val_correctness is None


# bad input


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.batch_size=201"], "201 is more than the 200 training images"),
        (["training.batch_size=25", "runtime.accumulation=2"], "25 does not divide over 1 process"),
        (["backbone.args.depht=3"], "timm cannot build"),
        (["data.validation_fraction=0.2"], "leave it out"),
        (["data.image_size=40"], "does not take 40 px"),
        (["backbone.pretrained=a1_in1k"], "no timm tag 'a1_in1k'"),
    ],
)
def test_unusable_run_says_why(sections: dict[str, Any], overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train_run(make(sections, *overrides))


def test_a_seed_of_another_configuration_is_not_overwritten(sections: dict[str, Any]) -> None:
    first = train_run(make(sections))
    other = make(sections, "optimizer.lr=0.002")
    with pytest.raises(InputError, match="another configuration"):
        train_run(other)
    superseding = train_run(make(sections, "optimizer.lr=0.002", "optimizer.grid=released", "runtime.supersede=true"))
    assert superseding.supersedes == first.sha256()
    assert (first.grid, superseding.grid) == ("ours", "released")


def test_the_same_run_twice_at_once_is_refused(sections: dict[str, Any]) -> None:
    """By the folder of states, or by the store: machines may share either without the other."""
    config = make(sections)
    prepared = prepare_run(config)
    beside_state = Lease(prepared.state_dir.with_suffix(".lease"), "it")
    in_store = run_lease(Path(config.runtime.store), prepared.repository, prepared.run_id, config.role)
    for lease in (beside_state, in_store):
        with lease, pytest.raises(LeaseHeldError, match="in progress in another process"):
            train_run(config)
    assert list(Path(config.runtime.store).rglob("*.json")) == []


def test_corrupted_record_in_the_way_is_named(sections: dict[str, Any]) -> None:
    config = make(sections)
    record = train_run(config)
    path = folder_of(config, record) / record.path()
    path.write_text(path.read_text()[:-20])
    with pytest.raises(InputError, match=r"not a valid record.*supersede=true"):
        train_run(config)
    assert open_store(config.runtime.store).read(f"local/{record.repository()}", record.path())


# what a review found


@pytest.mark.parametrize("ema", [(), ("training.ema_decay=0.9",)])
def test_bf16_trains_in_bf16_also_after_validation(sections: dict[str, Any], ema: tuple[str, ...]) -> None:
    """accelerate's unwrap_model takes autocast off the live network; the record would then lie about its precision."""
    seen: list[torch.dtype] = []
    build = PreparedRun.build_model

    def hooked(prepared: PreparedRun) -> nn.Module:
        model = build(prepared)
        layer: Any = model.get_submodule("conv1")
        layer.register_forward_hook(lambda m, i, output: seen.append(output.dtype) if m.training else None)
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PreparedRun, "build_model", hooked)
        record = train_run(make(sections, "backbone.name=tiny_resnet", "training.precision=bf16", *ema))
    assert record.identity.training.precision == "bf16"
    assert seen == [torch.bfloat16] * 16


def test_a_run_after_a_baseline_in_one_process(sections: dict[str, Any]) -> None:
    """A warm worker fits the floor row and trains on: neither may leave state that the other trips over."""
    config = make(sections, "training.precision=bf16")
    store = open_store(config.runtime.store)
    first = store_logistic_regression(config.data, store, "local")
    assert store_logistic_regression(config.data, store, "local") == first
    assert 50 < 100 * first.correctness.k / first.correctness.n < 100
    assert train_run(config).status == "completed"


def test_the_logging_interval_changes_the_curve_and_nothing_else(sections: dict[str, Any]) -> None:
    often = train_run(make(sections, "runtime.log_every=1", "runtime.namespace=a"))
    rarely = train_run(make(sections, "runtime.log_every=7", "runtime.namespace=b"))
    assert len(often.curve.step) == 16 and len(rarely.curve.step) == 3
    assert often.metrics == rarely.metrics
    assert often.metrics.train_loss is not None
    assert often.metrics.train_loss.last == pytest.approx(np.mean(often.curve.train_loss[8:]))


def test_the_record_names_its_weights(sections: dict[str, Any]) -> None:
    config = make(sections)
    record = train_run(config)
    path = folder_of(config, record) / "seeds/1/model.safetensors"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == record.weights_sha256
    assert record.patterns is not None  # of these weights, in the order of the network and not of the file
    held = {layer.name: layer for layer in weight_patterns(load_file(path)).layers}
    assert {layer.name: layer for layer in record.patterns.layers} == held and len(held) > 3
    names = [name for name in prepare_run(config).build_model().state_dict() if name in held]
    assert [layer.name for layer in record.patterns.layers] == names


@pytest.mark.parametrize("name", ["checkpoint_path", "pretrained_cfg", "cache_dir", "num_classes", "drop_path_rate"])
def test_arguments_that_load_weights_or_have_another_home_are_refused(sections: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError, match=f"{name} cannot be given here"):
        make(sections, f"backbone.args.{name}=1")


def test_a_folder_with_an_awkward_name(small_data: Path, tmp_path: Path, sections: dict[str, Any]) -> None:
    folder = tmp_path / "my data (new)"
    shutil.copytree(small_data, folder)
    record = train_run(make(sections, f"data.name={str(folder)!r}", "training.epochs=1"))
    assert record.identity.data.name == "local/my-data-new"
