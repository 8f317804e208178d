"""What vision recipes usually train with: a count over the published recipes of ``usual.csv``, each with its source.

One row is one architecture with one optimizer that a published recipe trains it with; an architecture that is published
with two optimizers has two rows. Recipes are supervised, of ImageNet, and were run by whoever published them: a
configuration that only loads converted weights counts nothing, and neither does self-supervised pre-training.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bocb_hf.recommend.tags import Kind

_FILE = Path(__file__).with_name("usual.csv")


@dataclass(frozen=True)
class Recipe:
    """One row of the list.

    Attributes:
        optimizer: Id of the optimizer's row here.
        source: Repository, commit and file, or paper, that names it.
    """

    architecture: str
    kind: Kind
    optimizer: str
    source: str


@dataclass(frozen=True)
class Usual:
    """How often recipes for one kind of backbone use each optimizer.

    Attributes:
        kind: The kind that was counted; ``unknown`` counts all.
        counts: Recipes by optimizer, the most frequent first.
        total: Number of recipes.
    """

    kind: Kind
    counts: Mapping[str, int]
    total: int


@lru_cache(maxsize=1)
def recipes() -> tuple[Recipe, ...]:
    """Returns the whole list."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        return tuple(Recipe(**row) for row in csv.DictReader(file))  # pyright: ignore[reportArgumentType] - a test reads the kinds


def usual(kind: Kind) -> Usual:
    """Counts the recipes for backbones of a kind; all recipes where the kind is unknown."""
    counted = Counter(r.optimizer for r in recipes() if kind in ("unknown", r.kind))
    return Usual(kind, dict(counted.most_common()), counted.total())
