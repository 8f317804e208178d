"""The short names of backbones and optimizers. A command that prints nothing else needs no statistics for them."""

from __future__ import annotations

from bocb_hf.backbones import BACKBONES
from bocb_hf.optim import OPTIMIZERS


def backbone_label(name: str) -> str:
    """Returns the short name of a backbone, also of ``resnet50 (A3)``, or the name itself where it has no row."""
    plain, bracket, rest = name.partition(" (")
    row = BACKBONES.find(plain)
    return (plain if row is None else row.short) + bracket + rest


def optimizer_label(name: str) -> str:
    """Returns the short name of an optimizer, or the name itself where it has no row."""
    row = OPTIMIZERS.find(name)
    return name if row is None else row.short
