"""A linear probe on features that are computed once, beside one that computes them in every step."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import make, weights_of
from short_settings import short_run
from torch import nn

from bocb_hf.data.splits import Features
from bocb_hf.engine import features
from bocb_hf.engine.dry_run import describe_run
from bocb_hf.engine.features import HeadOnFeatures, whole_network
from bocb_hf.engine.prepare import prepare_run
from bocb_hf.engine.repetition import sections_of
from bocb_hf.engine.run import train_run
from bocb_hf.engine.verify import verify_run
from bocb_hf.errors import InputError
from bocb_hf.runs.load_config import build_run_config
from bocb_hf.runs.record import RunRecord
from bocb_hf.sweep.timing import time_backbone

PLAIN = ("augmentation.crop_padding=0", "augmentation.horizontal_flip=false", "training.linear_probe=true")
CACHED = (*PLAIN, "training.cached_features=true")
NETWORK = ("backbone.name=tiny_resnet", "training.label_smoothing=0.1", "training.ema_decay=0.8")


@pytest.fixture(scope="module")
def sections(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("probes")
    found = short_run(small_data, folder)
    found["runtime"] |= {"cache_dir": str(folder / "cache")}
    return found


def run(sections: dict[str, Any], namespace: str, *overrides: str) -> tuple[RunRecord, dict[str, torch.Tensor]]:
    config = make(sections, *overrides, f"runtime.namespace={namespace}")
    record = train_run(config)
    assert record.status == "completed"
    return record, weights_of(config, record)


@pytest.fixture(scope="module")
def cached(sections: dict[str, Any]) -> tuple[RunRecord, dict[str, torch.Tensor]]:
    return run(sections, "cached", *NETWORK, *CACHED)


def test_it_is_the_head_that_is_trained_without_the_cache(
    sections: dict[str, Any], cached: tuple[RunRecord, dict[str, torch.Tensor]]
) -> None:
    record, found = cached
    plain, expected = run(sections, "plain", *NETWORK, *PLAIN)
    assert found.keys() == expected.keys(), "the whole network is saved"
    initial = prepare_run(make(sections, *NETWORK, *CACHED)).build_model().state_dict()
    for name, value in found.items():
        assert torch.allclose(value, expected[name], atol=1e-5, rtol=1e-4), name
        assert torch.equal(value, initial[name]) == (not name.startswith("fc.")), name
    assert record.correctness is not None and plain.correctness is not None
    assert (record.correctness.bits() != plain.correctness.bits()).sum() <= 1
    assert record.curve.val_loss == pytest.approx(plain.curve.val_loss, rel=1e-4)
    assert record.curve.train_loss == pytest.approx(plain.curve.train_loss, rel=1e-4)
    assert record.cost.parameters == plain.cost.parameters
    assert record.cost.flops_per_image == plain.cost.flops_per_image


def test_the_record_says_so(cached: tuple[RunRecord, dict[str, torch.Tensor]]) -> None:
    record, _ = cached
    assert record.identity.training.cached_features
    assert record.cost.feature_seconds is not None and record.cost.feature_seconds > 0
    assert sections_of(record)["training"]["cached_features"]


def test_another_run_on_the_same_features_computes_none(
    sections: dict[str, Any],
    cached: tuple[RunRecord, dict[str, torch.Tensor]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another optimizer, rate and loss, with the seed from which the random backbone was drawn."""

    def refuse(*_: object) -> None:
        raise AssertionError("the features are in the cache")

    monkeypatch.setattr(features._Maker, "_compute", refuse)
    record, _ = run(sections, "other", *NETWORK, *CACHED, "optimizer.name=sgdm", "training.loss=bce")
    assert record.cost.feature_seconds == 0
    assert record.identity.config_hash() != cached[0].identity.config_hash()
    with pytest.raises(AssertionError, match="in the cache"):
        run(sections, "seeds", *NETWORK, *CACHED, "seed=2")


def test_trials_and_final_runs_share_the_features_of_train(
    sections: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where validation images are drawn from train, a trial holds a part of the same pixels."""
    splits = list[str]()
    compute = features._Maker._compute

    def note(self: Any, images: Any, split: str) -> torch.Tensor:
        splits.append(split)
        return compute(self, images, split)

    monkeypatch.setattr(features._Maker, "_compute", note)
    from image_folders import draw_files

    folder = draw_files(tmp_path / "flat", [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(20)])
    more = (*CACHED, f"data.name={folder}", "data.test_fraction=0.2", "training.batch_size=8")
    trial, _ = train_run(make(sections, *more, "role=trial")), None
    final = train_run(make(sections, *more))
    assert splits == ["train"]
    assert trial.metrics.val_top1 is not None and final.metrics.test_top1 is not None
    assert trial.identity == final.identity


def test_the_checkpoint_verifies(sections: dict[str, Any], cached: tuple[RunRecord, Any], small_data: Path) -> None:
    record, _ = cached
    repository = Path(sections["runtime"]["store"]) / "models" / "cached" / record.repository()
    found = verify_run(str(repository), 1, 0.1, str(small_data))
    assert (found.claimed, found.differing) == (found.measured, 0)


def test_a_damaged_file_is_computed_again(
    sections: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = (*CACHED, f"runtime.cache_dir={tmp_path}", "training.epochs=1")
    first, _ = run(sections, "first", *more)
    (path, *_), size = sorted(tmp_path.glob("features-*.safetensors")), 100
    path.write_bytes(path.read_bytes()[:size])
    second, _ = run(sections, "second", *more)
    assert f"{path} cannot be read" in caplog.text
    assert first.weights_sha256 == second.weights_sha256
    assert second.cost.feature_seconds


def test_the_head_of_a_copy_belongs_to_the_network_of_that_copy() -> None:
    """Averaged weights are a copy of the network of the loop; what is saved must be the copy's network."""
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    head = HeadOnFeatures(net)
    assert [name for name, _ in head.named_parameters()] == ["classifier.weight", "classifier.bias"]
    other = copy.deepcopy(head)
    with torch.no_grad():
        other.get_parameter("classifier.weight").fill_(7)
    whole = whole_network(other)
    assert torch.equal(whole.get_parameter("2.weight"), torch.full((2, 4), 7.0))
    assert not torch.equal(whole_network(head).get_parameter("2.weight"), whole.get_parameter("2.weight"))
    assert whole_network(net) is net
    seen, logits = head.features(torch.ones(5, 3))
    assert torch.equal(head(seen), logits) and seen.shape == (5, 4)


def test_features_are_taken_by_place() -> None:
    held = Features(torch.arange(12.0).view(6, 2), torch.tensor([0, 1, 0, 1, 0, 1]))
    part = held.take(torch.tensor([4, 1]).numpy())
    assert isinstance(part, Features)
    assert part.gather(torch.tensor([1, 0])).tolist() == [[2.0, 3.0], [8.0, 9.0]]
    assert part.labels.tolist() == [0, 1]


class Squashed(nn.Module):
    """A network that changes what its classifier makes."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 32 * 32, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(images.flatten(1)).tanh()


class Twice(Squashed):
    """A network that uses its classifier twice."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(images.flatten(1)) + self.fc(images.flatten(1))


@pytest.mark.parametrize(("network", "message"), [(Squashed, "changes what its classifier makes"), (Twice, "2 times")])
def test_networks_whose_logits_the_head_does_not_make(
    sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, network: Any, message: str
) -> None:
    monkeypatch.setattr("bocb_hf.engine.classification.build_backbone", lambda *_: network())
    with pytest.raises(InputError, match=rf"training.cached_features: .*{message}"):
        train_run(make(sections, *CACHED, f"runtime.cache_dir={tmp_path}", "runtime.namespace=refused"))


def test_augmentation_is_refused(sections: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"without augmentation; leave out .*augmentation.horizontal_flip"):
        make(sections, "training.linear_probe=true", "training.cached_features=true")
    with pytest.raises(InputError, match="cached_features are those of a frozen backbone"):
        build_run_config({**sections, "augmentation": {}}, ["training.cached_features=true"])


def test_what_a_dry_run_and_a_forecast_say(sections: dict[str, Any]) -> None:
    config = make(sections, *NETWORK, *CACHED)
    text = describe_run(prepare_run(config), 1)
    assert "computed once for 290 images" in text
    timed, every = time_backbone(config), time_backbone(make(sections, *NETWORK, *PLAIN))
    assert timed.once > 0 and every.once == 0
    assert timed.seconds < every.seconds
    assert timed.steps == every.steps
