"""Decides how a comparison trains, so that it fits into the time: setting, image size, epochs, and what is run.

Pure functions of what is known of the data, the backbone and the seconds of a step; nothing here is measured or read.
The order of the cuts: fewer rates, then fewer optimizers (``design.ladder``), then fewer epochs, then smaller images,
then a linear probe on features that are computed once; and where that takes too long as well, a refusal that names the
time that would do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bocb_hf.compare.design import Design, Fit, Fixed, fit, least, seconds_left
from bocb_hf.errors import InputError

SIZES = (224, 192, 160, 128, 96, 64, 48, 32)  # sides in pixels that images are made smaller to
SMALLEST = {True: 96, False: 32}  # sides below which pretrained weights, or a network from scratch, are not trained
SHORTEST = {True: 2, False: 3}  # epochs below which the same are not trained
FORWARD = 0.4  # part of a step's time that the same images take without a backward pass
_BESIDE = 2.0  # seconds that a run takes beside training and evaluation: building, saving, the record
PLANNED = 0.9  # part of the time that a plan may take by its forecast; the rest is for what forecasts forget


@dataclass(frozen=True)
class Way:
    """One way to train.

    Attributes:
        setting: Name of the shipped setting.
        image_size: Side of the images in pixels.
        epochs: Passes over the training images.
        batch_size: Images of a step.
        probe: Whether only the head is trained, on features that are computed once.
        pretrained: Whether training starts from given weights.
    """

    setting: str
    image_size: int
    epochs: int
    batch_size: int
    probe: bool = False
    pretrained: bool = False


@dataclass(frozen=True)
class Images:
    """Images of each split, as a trial sees them."""

    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class Speed:
    """What one way takes on this machine, with all workers at work.

    Attributes:
        step: Seconds of a step.
        once: Seconds that are spent once, whatever the runs: features that all of them share.
        image: Seconds in which the whole network looks at one test image, of a way whose steps train the head alone.
    """

    step: float
    once: float = 0.0
    image: float = 0.0


@dataclass(frozen=True)
class Decision:
    """How a comparison trains.

    Attributes:
        way: The way.
        found: The design, with the time that it takes.
        run: Seconds of one run.
        once: Seconds that are spent once.
        cuts: What was cut to fit into the time, in words, in the order of the cuts.
    """

    way: Way
    found: Fit
    run: float
    once: float
    cuts: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Wall time of the whole comparison by the forecast."""
        return self.found.seconds + self.once


def run_seconds(way: Way, images: Images, speed: Speed) -> float:
    """Seconds of one run: its steps, the evaluations after each epoch, and what is beside them."""
    steps = way.epochs * max(1, images.train // way.batch_size)
    if way.probe:
        return steps * speed.step + images.test * speed.image + _BESIDE
    evaluated = (way.epochs + 1) * images.validation + images.test
    return steps * speed.step + evaluated * FORWARD * speed.step / way.batch_size + _BESIDE


def shorter(way: Way) -> list[int]:
    """Numbers of epochs to try: all, a half and a quarter, but not fewer than tell anything."""
    least_epochs = min(way.epochs, SHORTEST[way.pretrained])
    tried = [way.epochs, math.ceil(way.epochs / 2), math.ceil(way.epochs / 4)]
    return sorted({max(least_epochs, n) for n in tried}, reverse=True)


def smaller(way: Way) -> list[int]:
    """Sides of smaller images to try, the largest first."""
    return [size for size in SIZES if SMALLEST[way.pretrained] <= size < way.image_size]


def decide(
    wanted: Way,
    full: Design,
    fixed: Fixed,
    images: Images,
    seconds: float,
    workers: int,
    measure: Callable[[Way], Speed],
    *,
    fixed_epochs: bool = False,
    fixed_size: bool = False,
    probe: Way | None = None,
    spent: float = 0.0,
) -> Decision:
    """Decides what fits into a time.

    Args:
        wanted: The way that data and backbone ask for.
        full: The design without any cut.
        fixed: What of it the user has fixed.
        images: Images of each split.
        seconds: The time that is left, in seconds.
        workers: Runs at a time.
        measure: Function that times a way; it is asked only about ways that are looked at.
        fixed_epochs: Whether ``--epochs`` says how many.
        fixed_size: Whether ``--image-size`` says it, or the backbone takes no other.
        probe: The way of a linear probe; None where there are no pretrained weights, or another setting is asked for.
        spent: Seconds that were spent before, on looking and timing; the time that a refusal names includes them.

    Raises:
        InputError: Nothing fits; the message names the time that would do.
    """
    usable, needed = PLANNED * seconds, math.inf
    sizes = [wanted.image_size, *([] if fixed_size or wanted.probe else smaller(wanted))]
    ways = [replace(wanted, image_size=size) for size in sizes]
    for way in [*ways, *([probe] if probe is not None and not wanted.probe else [])]:
        speed = measure(way)
        for epochs in [way.epochs] if fixed_epochs or way.probe else shorter(way):
            tried = replace(way, epochs=epochs)
            run = run_seconds(tried, images, speed)
            each = dict.fromkeys(full.optimizers, run)
            found = fit(full, usable - speed.once, each, workers, fixed)
            if found is not None:
                return Decision(tried, found, run, speed.once, _cuts(wanted, tried, found))
            smallest = seconds_left(least(full, fixed), each, workers) + speed.once
            needed = min(needed, smallest / PLANNED)
    raise InputError(_refusal(seconds + spent, needed + spent, ways, probe))


def _cuts(wanted: Way, kept: Way, found: Fit) -> tuple[str, ...]:
    cuts = list(found.cuts)
    if kept.probe and not wanted.probe:
        cuts.append(
            "fine-tuning: only a linear head is trained, on features that are computed once, so that the answer says "
            "little about fine-tuning"
        )
        return tuple(cuts)
    if kept.epochs < wanted.epochs:
        cuts.append(f"epochs: {kept.epochs} instead of {wanted.epochs}")
    if kept.image_size < wanted.image_size:
        cuts.append(f"images: {kept.image_size} px instead of {wanted.image_size}")
    return tuple(cuts)


def _refusal(seconds: float, needed: float, ways: Sequence[Way], probe: Way | None) -> str:
    tried = f"images of {ways[-1].image_size} px" + (" and a linear probe" if probe is not None else "")
    asked = f"{seconds:.0f} s" if seconds < 180 else duration(seconds)  # 100 s are not 2 min, which may be needed
    return (
        f"--time: {asked} are too short: the smallest comparison (2 optimizers, 2 final seeds, "
        f"{tried}) needs about {duration(needed)}; give --time {whole_minutes(needed)}m, fewer images "
        "or a smaller backbone"
    )


def whole_minutes(seconds: float) -> int:
    """Minutes, rounded up so that they suffice."""
    return math.ceil(seconds / 60)


def duration(seconds: float) -> str:
    """A time in words: ``40 s``, ``12 min``, ``1 h 30 min``."""
    if seconds < 90:
        return f"{max(0.0, seconds):.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h" + (f" {rest} min" if rest else "")
