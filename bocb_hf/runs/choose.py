"""Chooses the setting for any data and any backbone, and says why. Importing this needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from bocb_hf.errors import InputError
from bocb_hf.runs.facts import BackboneFacts, DataFacts
from bocb_hf.runs.load_config import write_override

FOLDER = "generic"
SETTINGS = ("scratch_small", "scratch_large", "finetune", "linear_probe")

_LARGE_SIDE, _LARGE_COUNT = 96, 20_000  # from which on augmentation is strong: photographs, and enough of them
_PROBED = 10  # images a class below which only the classifier is trained
_SIDES = (64, 96, 128, 160, 192, 224)  # of larger images, trained from scratch
_LETTERS = 32  # grey images up to this side may be letters or digits
# Steps that a setting aims at, and the fewest and the most epochs that it takes them in.
_STEPS = {"scratch_small": (3000, 20, 100), "finetune": (1000, 3, 30), "linear_probe": (1500, 10, 100)}
_BATCHES = {"scratch_small": 128, "scratch_large": 256, "finetune": 64, "linear_probe": 256}
_STEPS_AN_EPOCH, _SMALLEST_BATCH = 20, 8


@dataclass(frozen=True)
class Choice:
    """A setting, and what it needs beside its file.

    Attributes:
        name: Name of the shipped setting, ``generic/...``.
        overrides: ``section.key=value`` pairs; later pairs of a user replace them.
        reasons: One sentence for each decision.
    """

    name: str
    overrides: tuple[str, ...]
    reasons: tuple[str, ...]


def choose_setting(facts: DataFacts, backbone: BackboneFacts, setting: str | None = None) -> Choice:
    """Chooses setting, image size, epochs and batch for a data set and a backbone.

    Args:
        facts: Facts of the data.
        backbone: Facts of the backbone.
        setting: One of ``SETTINGS``, with or without ``generic/``, that was asked for; None chooses it.

    Raises:
        InputError: There is no such setting, or it needs weights and there are none.
    """
    reasons: list[str] = []
    size, why = _choose_size(facts, backbone)
    name = None if setting is None else setting.removeprefix(f"{FOLDER}/")
    if name is None:
        name, reason = _choose_name(facts, backbone, size)
        reasons.append(reason)
    elif name not in SETTINGS:
        raise InputError(f"setting {setting!r} is none of {', '.join(SETTINGS)}")
    elif name in ("finetune", "linear_probe") and backbone.pretrained is None:
        raise InputError(
            f"setting {name!r} starts from given weights, and {backbone.name!r} names none; name them (a timm tag, an "
            "id on the Hub or a folder), or take scratch_small"
        )
    else:
        reasons.append(f"Setting {name}: asked for.")
    reasons.append(why)
    batch = _choose_batch(name, facts.train)
    overrides = [*facts.overrides, write_override("backbone.name", backbone.name), f"data.image_size={size}"]
    if backbone.pretrained is not None:
        overrides.append(write_override("backbone.pretrained", backbone.pretrained))
    overrides.append(f"training.batch_size={batch}")
    reasons.append(
        f"Batch {batch}: at least {_STEPS_AN_EPOCH} steps an epoch of {facts.train:,} images where that is possible."
    )
    if name in _STEPS:
        steps, fewest, most = _STEPS[name]
        epochs = min(max(round(steps * batch / max(1, facts.train)), fewest), most)
        overrides.append(f"training.epochs={epochs}")
        reasons.append(
            f"Epochs {epochs}: {max(1, facts.train // batch) * epochs:,} steps; the setting aims at {steps:,}, in "
            f"{fewest} to {most} epochs."
        )
    if name == "scratch_small":
        overrides.append(f"augmentation.crop_padding={max(1, round(size / 8))}")
    letters = facts.grey and facts.side <= _LETTERS
    if letters and name != "linear_probe":
        overrides.append("augmentation.horizontal_flip=false")
        reasons.append(
            "No mirroring: small grey images may be letters or digits (augmentation.horizontal_flip=true if they are "
            "not)."
        )
    return Choice(f"{FOLDER}/{name}", tuple(overrides), tuple(reasons))


def _choose_name(facts: DataFacts, backbone: BackboneFacts, size: int) -> tuple[str, str]:
    images, classes = facts.train, len(facts.classes)
    if backbone.pretrained is not None:
        if images < _PROBED * classes:
            return "linear_probe", (
                f"Setting linear_probe: {images:,} training images are fewer than {_PROBED} for each of {classes} "
                "classes, too few to change all weights."
            )
        return "finetune", f"Setting finetune: the weights {backbone.pretrained} are given, and {images:,} images."
    if images >= _LARGE_COUNT and size >= _LARGE_SIDE:
        return "scratch_large", (
            f"Setting scratch_large: random weights, {images:,} images of {size} px, enough for strong augmentation."
        )
    few = f"fewer than {_LARGE_COUNT:,} images" if images < _LARGE_COUNT else f"images below {_LARGE_SIDE} px"
    return "scratch_small", f"Setting scratch_small: random weights and {few}, so light augmentation."


def _choose_size(facts: DataFacts, backbone: BackboneFacts) -> tuple[int, str]:
    native = f"the images have {facts.side} px"
    if backbone.pretrained is not None:
        return backbone.image_size, f"Size {backbone.image_size} px: that of the weights; {native}."
    if backbone.fixed_size:
        size = backbone.image_size
        return size, f"Size {size} px: {backbone.name} takes no other; {native}."
    least = max(_LETTERS, backbone.smallest)
    if facts.side <= _SIDES[0]:
        size = max(least, -(-facts.side // 16) * 16)
        return size, f"Size {size} px: {native}, rounded up to a multiple of 16, at least {least}."
    size = max(least, *(side for side in _SIDES if side <= facts.side))
    return size, f"Size {size} px: {native}, and training from scratch gains little above {_SIDES[-1]}."


def _choose_batch(name: str, images: int) -> int:
    batch = _BATCHES[name]
    while batch > _SMALLEST_BATCH and images < _STEPS_AN_EPOCH * batch:
        batch //= 2
    return max(1, min(batch, images))
