"""What the shipped settings hold: every value of the study's Table A3, and what their headers promise."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from bocb_hf.backbones import BACKBONES
from bocb_hf.engine.prepare import prepare_run
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.resources import config_files, find_config, resource
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.load_config import load_run_config

HEADERS = {path: path.read_text(encoding="utf-8") for path in resource("recipes/configs").rglob("*.yaml")}
MEASURED = [path for path, text in HEADERS.items() if re.search(r"configuration [0-9a-f]{12}", text)]
TINY = ("backbone.name=tiny_resnet", "optimizer.name=sgdm")  # of no matter for what is read here

# Table A3, as printed: one column each; where it gives two values, that of the data set. What it leaves empty is off.
OFF: dict[str, Any] = {
    **{"warmup_epochs": 0, "label_smoothing": 0, "drop_path": 0, "repeats": 1, "clip_grad_norm": None},
    **{"randaugment": None, "mixup": (0, 0), "random_erasing": 0, "ema": False, "loss": "ce", "no_decay": "nothing"},
}
PYTORCH = OFF | {"base": ("sgdm", 0.1, 1e-4)}
MODERN = OFF | {
    **{"base": ("adamw", 1e-3, 0.05), "label_smoothing": 0.1, "drop_path": 0.1, "repeats": 3, "randaugment": (9, 0.5)},
    **{"mixup": (0.8, 1.0), "random_erasing": 0.25, "ema": True, "no_decay": "norms_biases_embeddings"},
}
DEIT = MODERN | {"warmup_epochs": 5, "clip_grad_norm": 5.0}
CONVNEXT = MODERN | {"warmup_epochs": 20}
RSB = OFF | {"warmup_epochs": 5, "loss": "bce", "mixup": (0.1, 1.0)}
RSB_A2 = RSB | {"base": ("lamb", 5e-3, 0.02), "drop_path": 0.05, "repeats": 3, "randaugment": (7, 0.5)}
CIFAR = {"name": "cifar100", "epochs": 200, "batch_size": 100, "ratio": 1.0}
IMAGENET = {"name": "imagenet1k", "ratio": 0.95}
TABLE: dict[str, dict[str, Any]] = {
    "cifar100/pytorch": PYTORCH | CIFAR | {"sizes": (32, 32), "crop": "pad"},
    "cifar100/pytorch_224": PYTORCH | CIFAR | {"sizes": (224, 224), "crop": "resized"},
    "cifar100/deit": DEIT | CIFAR | {"sizes": (224, 224), "crop": "resized"},
    "cifar100/convnext": CONVNEXT | CIFAR | {"sizes": (32, 32), "crop": "pad"},
    # printed for 32 px only; Swin-T and UniRepLKNet-T use it at 224
    "cifar100/convnext_224": CONVNEXT | CIFAR | {"sizes": (224, 224), "crop": "resized"},
    "cifar100/rsb_a2": RSB_A2 | CIFAR | {"sizes": (224, 224), "crop": "resized"},
    "imagenet1k/pytorch": PYTORCH
    | IMAGENET
    | {"sizes": (224, 224), "ratio": 0.875, "epochs": 100, "batch_size": 256, "crop": "resized"},
    "imagenet1k/deit": DEIT
    | IMAGENET
    | {"sizes": (224, 224), "ratio": 0.875, "epochs": 300, "batch_size": 1024, "crop": "resized"},
    "imagenet1k/rsb_a2": RSB_A2
    | IMAGENET
    | {"sizes": (224, 224), "epochs": 300, "batch_size": 2048, "crop": "resized"},
    "imagenet1k/rsb_a3": RSB
    | IMAGENET
    | {"base": ("lamb", 8e-3, 0.02), "randaugment": (6, 0.5)}
    | {"sizes": (160, 224), "epochs": 100, "batch_size": 2048, "crop": "resized"},
    # not in the table: Table 2 of the RSB paper (arXiv 2110.00476)
    "imagenet1k/rsb_a1": RSB_A2
    | IMAGENET
    | {"base": ("lamb", 5e-3, 0.01), "mixup": (0.2, 1.0), "label_smoothing": 0.1}
    | {"sizes": (224, 224), "epochs": 600, "batch_size": 2048, "crop": "resized"},
}
GENERIC = {"generic/finetune", "generic/linear_probe", "generic/scratch_large", "generic/scratch_small"}
COCO = {f"coco/{name}" for name in ("retinanet", "retinanet_small", "pose_256x192", "pose_384x288", "pose_small")}
OWN = (
    GENERIC
    | COCO
    | {"fashion_mnist/laptop", "fashion_mnist/laptop_study", "fashion_mnist_subset/demo", "fashion_mnist_subset/laptop"}
)
OWN |= {"transfer/pretrain", "transfer/finetune"}


def read(setting: str, *overrides: str) -> RunConfig:
    return load_run_config(find_config(setting, "recipes/configs"), overrides or TINY)


def test_every_setting_is_in_the_table_or_ours() -> None:
    assert set(config_files("recipes/configs")) == set(TABLE) | OWN


@pytest.mark.parametrize("setting", TABLE)
def test_a_setting_holds_the_values_of_the_table(setting: str) -> None:
    config, expected = read(setting), TABLE[setting]
    training, augmentation, data = config.training, config.augmentation, config.data
    assert training.schedule == "cosine"
    assert training.min_lr == 0
    assert augmentation.horizontal_flip
    resized, padded = augmentation.crop_scale is not None, augmentation.crop_padding > 0
    magnitude = augmentation.randaugment_magnitude
    found = {
        "name": data.name,
        "sizes": (data.image_size, data.test_image_size or data.image_size),
        "ratio": data.test_crop_ratio,
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "warmup_epochs": training.warmup_epochs,
        "label_smoothing": training.label_smoothing,
        "drop_path": training.drop_path,
        "repeats": augmentation.repeats,
        "clip_grad_norm": training.clip_grad_norm,
        "crop": "resized" if resized else "pad" if padded else "none",
        "randaugment": None if magnitude is None else (magnitude, augmentation.randaugment_std),
        "mixup": (augmentation.mixup_alpha, augmentation.cutmix_alpha),
        "random_erasing": augmentation.random_erasing,
        "ema": training.ema_decay is not None,
        "loss": training.loss,
        "no_decay": training.no_decay,
    }
    assert found == {key: value for key, value in expected.items() if key != "base"}
    name, lr, decay = expected["base"]
    centre = OPTIMIZERS.get(name).centre(config.setting)
    assert (centre.lr, centre.weight_decay) == (lr, decay)
    assert config.setting == setting.split("/")[1]


@pytest.mark.parametrize("path", HEADERS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_header_says_what_a_user_asks(path: Path) -> None:
    lines = [line for line in HEADERS[path].splitlines() if line.startswith("#")]
    for key in ("Purpose", "Command", "Published", "Measured", "Cost"):
        assert sum(line.startswith(f"# {key}:") for line in lines) == 1, key
    load_run_config(path, command(path)[1])  # the overrides of its command are usable


@pytest.mark.parametrize("setting", TABLE)
def test_a_published_score_is_that_of_the_study(setting: str) -> None:
    path = find_config(setting, "recipes/configs")
    published = re.search(r"# Published: (.*)", HEADERS[path])
    assert published is not None
    match = re.match(r"([\d.]+) % (?:test|validation) top-1 for (\S+) × (\w+)", published.group(1))
    if match is None:
        assert published.group(1).startswith("not measured")
        return
    score, backbone, optimizer = match.groups()
    config = read(setting, *command(path)[1])
    assert (config.backbone.name, config.optimizer.name) == (backbone, optimizer)
    assert optimizer == TABLE[setting]["base"][0]
    if setting.startswith("cifar100"):
        columns = {"resnet50": "R-50", "vgg13_bn": "VGG-13", "deit_small_patch16_224": "DeiT-S"}
        columns |= {"convnext_tiny": "CNX-T", "swin_tiny_patch4_window7_224": "Swin-T", "efficientnet_b0": "Eff-B0"}
        assert BACKBONES.get(backbone).setting == setting.split("/")[1].removesuffix("_224")
        assert score == printed("cifar100_top1.csv", OPTIMIZERS.get(optimizer).short, columns[backbone])
    else:
        columns = {"imagenet1k/deit": "DeiT-S (DeiT)", "imagenet1k/rsb_a2": "R-50 (A2)"}
        assert score == printed("imagenet1k_top1.csv", OPTIMIZERS.get(optimizer).short, columns[setting])


def printed(table: str, optimizer: str, column: str) -> str:
    """A score as the study prints it; the tables come with the package."""
    (path,) = resource_tables(table)
    with path.open(encoding="utf-8", newline="") as file:
        return next(row[column] for row in csv.DictReader(file) if row["optimizer"] == optimizer)


def resource_tables(name: str) -> list[Path]:
    import bocb_hf

    return sorted(Path(bocb_hf.__file__).parent.rglob(name))


def command(path: Path) -> tuple[str, list[str]]:
    """Setting and overrides of the command in a header."""
    lines = [line.removeprefix("#") for line in HEADERS[path].splitlines() if line.startswith("#")]
    text = " ".join(lines).split("Command:")[1].split("Published:")[0].replace("\\", " ")
    words = shlex.split(text)
    return words[words.index("--config") + 1], [word for word in words if "=" in word]


def test_some_setting_was_measured() -> None:
    assert MEASURED


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_a_measured_score_is_that_of_the_command_beside_it(path: Path) -> None:
    """The configuration hash in the header is the one that its command runs: a changed setting needs a new score."""
    config, overrides = command(path)
    identity = prepare_run(read(config, *overrides)).identity
    match = re.search(r"configuration ([0-9a-f]{12})", HEADERS[path])
    assert match is not None
    assert identity.config_hash() == match.group(1)
