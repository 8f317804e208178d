"""Schedule, divergence, resume state, evaluation and the loop, inside this process."""

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
from accelerate import Accelerator
from plain_loop import augment_plainly, decoded
from pydantic import ValidationError
from runs import StopAfter, folder_of, make, weights_of
from torch import nn
from torch.nn import functional

from bocb_hf.baseline import publish_logistic_regression
from bocb_hf.config import TrainingConfig
from bocb_hf.data.augment import normalize
from bocb_hf.data.images import Images
from bocb_hf.data.sampling import epoch_order
from bocb_hf.engine import checkpoint, loop
from bocb_hf.engine.evaluate_metrics import MeanLoss, TopKAccuracy
from bocb_hf.engine.evaluation import evaluate
from bocb_hf.engine.prepare import PreparedRun, prepare_run
from bocb_hf.engine.progress import DIVERGED_ABOVE, Progress
from bocb_hf.engine.run import train_run
from bocb_hf.engine.schedule import learning_rate
from bocb_hf.errors import InputError
from bocb_hf.store import open_store


def assert_identical(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


# schedule


def test_cosine_schedule_with_warmup_against_the_formula() -> None:
    config = TrainingConfig(epochs=10, batch_size=1, warmup_epochs=2, min_lr=0.01)
    rates = [learning_rate(step, 100, 10, 1.0, config) for step in range(100)]
    assert rates[:20] == pytest.approx([(k + 1) / 20 for k in range(20)])
    expected = [0.01 + 0.99 * (1 + math.cos(math.pi * k / 80)) / 2 for k in range(80)]
    assert rates[20:] == pytest.approx(expected)
    assert min(rates) > 0


def test_cosine_without_warmup_equals_torch() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.3)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    config = TrainingConfig(epochs=5, batch_size=1)
    for step in range(50):
        assert learning_rate(step, 50, 10, 0.3, config) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        reference.step()


def test_constant_schedule() -> None:
    config = TrainingConfig(epochs=2, batch_size=1, schedule="constant", warmup_epochs=1)
    assert [learning_rate(s, 8, 4, 0.4, config) for s in range(8)] == pytest.approx([0.1, 0.2, 0.3, 0.4] + [0.4] * 4)
    with pytest.raises(ValidationError, match="min_lr belongs to the schedule 'cosine'; 'constant' cannot use it"):
        TrainingConfig(epochs=2, batch_size=1, schedule="constant", min_lr=0.1)


def test_step_schedule_equals_torch() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    reference = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[20, 35], gamma=0.2)
    config = TrainingConfig(epochs=5, batch_size=1, schedule="step", step_epochs=(2, 3.5), step_factor=0.2)
    for step in range(50):
        assert learning_rate(step, 50, 10, 0.3, config) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        reference.step()
    for epochs in ((), (3, 2), (0,), (5,)):
        with pytest.raises(ValidationError, match="step_epochs must rise between warmup_epochs and epochs"):
            TrainingConfig(epochs=5, batch_size=1, schedule="step", step_epochs=epochs)


def test_warmup_stable_decay_schedule() -> None:
    config = TrainingConfig(epochs=10, batch_size=1, schedule="wsd", warmup_epochs=1, decay_epochs=2)
    rates = [learning_rate(step, 40, 4, 0.8, config) for step in range(40)]
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[4:32] == [0.8] * 28
    assert rates[32:] == pytest.approx([0.8 * (8 - k) / 8 for k in range(8)])
    with pytest.raises(ValidationError, match="a wsd schedule needs them"):
        TrainingConfig(epochs=2, batch_size=1, schedule="wsd")


# divergence


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_non_finite_loss_is_found_at_its_step(bad: float) -> None:
    progress = Progress(step=10)
    assert not progress.watch([2.0] * 10, stretch=5)
    progress.step = 15
    assert progress.watch([2.0, 1.9, bad, 1.0, 1.0], stretch=5)
    assert progress.diverged_at == 13
    assert str(bad) in (progress.reason or "")


def test_rising_loss_is_divergence_whatever_the_logging_interval() -> None:
    losses = [2.0] + [1.5] * 20 + [4.0] * 40
    found = set()
    for interval in (1, 3, 10, 61):
        progress = Progress()
        for start in range(0, len(losses), interval):
            part = losses[start : start + interval]
            progress.step += len(part)
            if progress.watch(part, stretch=10):
                break
        found.add((progress.diverged_at, progress.reason))
    assert len(found) == 1
    ((step, reason),) = found
    # mean of ten losses of 1.5 and 4.0 above 1.05 × 2.0: three high ones give 2.25
    assert step == 24
    assert "above 1.05 times its start of 2" in (reason or "")


def test_noise_around_chance_is_not_divergence() -> None:
    rng = np.random.default_rng(0)
    losses = (math.log(10) + 0.05 * rng.standard_normal(5000)).tolist()
    progress = Progress(step=5000)
    assert not progress.watch(losses, stretch=50)
    assert DIVERGED_ABOVE > 1


def test_diverged_run_is_a_recorded_result(sections: dict[str, Any]) -> None:
    config = make(sections, "optimizer.name=sgdm", "optimizer.lr=1e20", "training.warmup_epochs=0")
    record = train_run(config)
    assert record.status == "diverged"
    assert record.stopped_step is not None and 1 <= record.stopped_step <= 16
    assert record.metrics.test_top1 is None and record.correctness is None
    assert record.metrics.train_loss is None or record.metrics.train_loss.last is None
    folder = folder_of(config, record)
    assert not list(folder.rglob("*.safetensors"))
    assert "diverged at step" in (folder / "README.md").read_text()
    assert train_run(config) == record  # a result: it is not run again


# metrics and evaluation


def test_metrics_against_numpy() -> None:
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((301, 12))
    labels = rng.integers(0, 12, 301)
    ranked = np.argsort(-logits, axis=1)[:, :5]
    for k in (1, 5):
        result = TopKAccuracy(keep_in_memory=True).compute(predictions=ranked, references=labels, k=k)
        threshold = np.sort(logits, axis=1)[:, -k]
        expected = 100 * np.mean(logits[np.arange(301), labels] >= threshold)
        assert result == {f"top{k}": pytest.approx(expected)}
    losses = rng.random(301)
    assert MeanLoss(keep_in_memory=True).compute(predictions=losses, references=labels) == {
        "loss": pytest.approx(losses.mean())
    }


@pytest.mark.parametrize(("count", "classes"), [(9, 10), (251, 10), (10, 3)])
def test_evaluation_against_a_plain_forward_pass(count: int, classes: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, classes), nn.Dropout(0.5))
    pixels = torch.randint(0, 256, (count, 3, 4, 4), dtype=torch.uint8)
    labels = torch.randint(0, classes, (count,))
    mean, std = torch.full((3, 1, 1), 0.4), torch.full((3, 1, 1), 0.3)
    result = evaluate(model.train(), Images(pixels, labels), mean, std, Accelerator(cpu=True))
    assert model.training
    with torch.no_grad():
        logits = model.eval()(normalize(pixels, mean, std))
    assert result.n == count
    assert result.top1 == pytest.approx(100 * float((logits.argmax(1) == labels).double().mean()))
    assert result.loss == pytest.approx(float(functional.cross_entropy(logits, labels)), rel=1e-5)
    assert torch.equal(result.correct, logits.argmax(1) == labels)
    assert (result.top5 is None) == (classes <= 5)


# the loop


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
        lr = 1e-3 * ((step + 1) / 2 if step < 2 else (1 + math.cos(math.pi * (step - 2) / 14)) / 2)
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


@pytest.mark.parametrize("backbone", ["tiny_resnet", "tiny_vit"])
@pytest.mark.parametrize("optimizer", ["sgdm", "adamw", "lamb", "lars", "rmsprop"])
def test_stopped_and_continued_run_is_bit_identical(sections: dict[str, Any], backbone: str, optimizer: str) -> None:
    names = (f"backbone.name={backbone}", f"optimizer.name={optimizer}", "training.ema_decay=0.9")
    names += ("training.divergence_epochs=3",)  # the first steps of a released learning rate may go up
    whole = make(sections, *names, "runtime.namespace=whole")
    reference = train_run(whole)
    config = make(sections, *names, "runtime.namespace=parts")
    statuses = []
    for steps in (1, 4, 6):  # stops at steps 1, 5 and 11: inside epochs, outside logged steps
        record = train_run(config, StopAfter(steps))
        statuses.append((record.status, record.stopped_step))
        assert record.metrics.test_top1 is None
    assert statuses == [("interrupted", 1), ("interrupted", 5), ("interrupted", 11)]
    record = train_run(config)
    assert (record.status, record.cost.resumed) == ("completed", 3)
    assert_identical(weights_of(whole, reference), weights_of(config, record))
    assert record.curve == reference.curve
    assert record.metrics == reference.metrics
    assert record.correctness == reference.correctness
    assert record.run_id == reference.run_id


def test_damaged_resume_state_is_passed_over(sections: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    whole = make(sections, "runtime.namespace=whole")
    reference = train_run(whole)
    config = make(sections, "runtime.namespace=parts", "runtime.save_every=3")
    assert train_run(config, StopAfter(8)).status == "interrupted"
    states = sorted(prepare_run(config).state_dir.glob("step-*"))
    assert [p.name[-2:] for p in states] == ["06", "08"]
    target = states[-1] / "optimizer.bin"
    target.write_bytes(target.read_bytes()[:-100])
    record = train_run(config)
    assert "is damaged (optimizer.bin has changed)" in caplog.text
    assert record.cost.resumed == 1
    assert_identical(weights_of(whole, reference), weights_of(config, record))


def test_unfinished_save_is_never_read(tmp_path: Path) -> None:
    accelerator = Accelerator(cpu=True)
    (tmp_path / "partial-0000000005").mkdir()
    assert not checkpoint.load_newest(accelerator, tmp_path)


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
        names = (f"backbone.name={backbone}", f"optimizer.name={optimizer}", "training.divergence_epochs=3")
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
    sizes: list[int] = []
    monkeypatch.setattr(
        loop, "evaluate", lambda m, images, *rest: sizes.append(len(images)) or evaluate(m, images, *rest)
    )
    record = train_run(config)
    assert sizes == [90, 90, 90]
    assert record.metrics.test_top1 is None
    assert record.metrics.val_top1 is not None and record.metrics.val_top1.last is not None
    folder = folder_of(config, record)
    assert {p.name for p in folder.rglob("*") if p.is_file()} == {"README.md", f"{record.run_id}.json"}


def test_final_run_reads_test_once_after_training(sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(
        loop, "evaluate", lambda m, images, *rest: sizes.append(len(images)) or evaluate(m, images, *rest)
    )
    train_run(make(sections))
    assert sizes == [90, 90, 90, 101]


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
    superseding = train_run(make(sections, "optimizer.lr=0.002", "runtime.supersede=true"))
    assert superseding.supersedes == first.sha256()


def test_the_same_run_twice_at_once_is_refused(sections: dict[str, Any]) -> None:
    from filelock import FileLock

    config = make(sections)
    prepared = prepare_run(config)
    prepared.state_dir.parent.mkdir(parents=True)
    with (
        FileLock(prepared.state_dir.with_suffix(".lock")),
        pytest.raises(InputError, match="in progress in another process"),
    ):
        train_run(config)


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
    first = publish_logistic_regression(config.data, store, "local")
    assert publish_logistic_regression(config.data, store, "local") == first
    assert 50 < 100 * first.correctness.k / first.correctness.n < 100
    assert train_run(config).status == "completed"


def test_stopping_a_superseding_run_keeps_the_finished_one(sections: dict[str, Any]) -> None:
    config = make(sections)
    first = train_run(config)
    weights = weights_of(config, first)
    again = make(sections, "runtime.supersede=true")
    assert train_run(again, StopAfter(4)).status == "interrupted"
    assert train_run(config) == first
    assert_identical(weights, weights_of(config, first))


def test_an_interrupted_run_in_between_does_not_lose_what_was_superseded(sections: dict[str, Any]) -> None:
    first = train_run(make(sections))
    other = make(sections, "optimizer.lr=0.002", "runtime.supersede=true")
    assert train_run(other, StopAfter(4)).status == "interrupted"
    assert train_run(other).supersedes == first.sha256()


def test_accumulation_may_change_on_resume(sections: dict[str, Any]) -> None:
    common = ("training.batch_size=50", "optimizer.name=sgdm", "optimizer.lr=0.02", "training.divergence_epochs=3")
    whole = make(sections, *common, "runtime.namespace=whole")
    parts = make(sections, *common, "runtime.namespace=parts")
    assert train_run(parts, StopAfter(3)).status == "interrupted"
    record = train_run(make(sections, *common, "runtime.namespace=parts", "runtime.accumulation=2"))
    assert (record.cost.resumed, record.environment.micro_batch) == (1, 25)
    a, b = weights_of(whole, train_run(whole)), weights_of(parts, record)
    for name in a:
        assert torch.allclose(a[name], b[name], atol=2e-5), name


def test_all_resume_states_damaged_is_an_error(sections: dict[str, Any]) -> None:
    config = make(sections)
    assert train_run(config, StopAfter(5)).status == "interrupted"
    for path in prepare_run(config).state_dir.glob("step-*/optimizer.bin"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"every saved state in .* is damaged; delete"):
        train_run(config)


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


@pytest.mark.parametrize("name", ["checkpoint_path", "pretrained_cfg", "cache_dir", "num_classes", "drop_path_rate"])
def test_arguments_that_load_weights_or_have_another_home_are_refused(sections: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError, match=f"{name} cannot be given here"):
        make(sections, f"backbone.args.{name}=1")


def test_a_folder_with_an_awkward_name(small_data: Path, tmp_path: Path, sections: dict[str, Any]) -> None:
    folder = tmp_path / "my data (new)"
    shutil.copytree(small_data, folder)
    record = train_run(make(sections, f"data.name={str(folder)!r}", "training.epochs=1"))
    assert record.identity.data.name == "local/my-data-new"
