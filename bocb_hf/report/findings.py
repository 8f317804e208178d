"""All that is computed of one table beyond its means, once, for every output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bocb_hf.coupling.analysis import Analysis, analyse, to_plain
from bocb_hf.coupling.comparisons import Comparisons, compare_pairs
from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.primary import Primary
from bocb_hf.coupling.profiles import Profiles, performance_profiles
from bocb_hf.coupling.scores import Floats, ScoreTable
from bocb_hf.coupling.table import Table
from bocb_hf.coupling.targets import FACTORS, Times, times_to_target


@dataclass(frozen=True, eq=False)
class Findings:
    """The analysis and the comparisons of one table.

    Attributes:
        marks: The marks of the table, by whose best sets the analysis goes.
        times: Time to target; None without validation curves, as in a table that was published as scores.
        primary: The statistic that the report leads with.
    """

    marks: Marks
    analysis: Analysis
    comparisons: Comparisons
    profiles: Profiles
    times: Times | None
    primary: Primary


def find(
    scores: ScoreTable,
    marks: Marks,
    table: Table | None = None,
    draws: int = 2000,
    primary: Primary | None = None,
    target: float | None = None,
) -> Findings:
    """Computes all findings of a table.

    Args:
        scores: The table as scores.
        marks: ``Marks.of`` the table.
        table: The same table as records; None for a table that was published as scores.
        draws: Tables that each bootstrap draws.
        primary: The statistic to lead with; None takes the default.
        target: Validation score in percent of the time to target; None takes the median of each backbone.
    """
    return Findings(
        marks,
        analyse(scores, draws, marks=marks),
        compare_pairs(scores),
        performance_profiles(scores),
        times_to_target(table, target) if table is not None else None,
        primary or Primary(),
    )


def findings_plain(found: Findings) -> dict[str, Any]:
    """Returns findings as nested dictionaries of finite numbers, text and None, for JSON."""
    names = found.analysis.scores.optimizers
    signs = {
        b: {o: str(sign) or None for o, sign in zip(names, row, strict=True)}
        for b, row in zip(found.analysis.scores.backbones, found.marks.signs, strict=True)
    }
    comparisons = found.comparisons
    return {
        **to_plain(found.analysis),
        "primary": asdict(found.primary),
        "marks": {"rule": found.marks.rule, "signs": signs},
        "comparisons": {
            "rope": comparisons.rope,
            "draws": comparisons.draws,
            "pairs": [asdict(pair) for pair in comparisons.pairs],
        },
        "profiles": {
            "distances": found.profiles.distances.tolist(),
            "varied": found.profiles.varied,
            "optimizers": _profiles(names, found.profiles),
        },
        "time_to_target": None if found.times is None else _times(found.times),
    }


def _profiles(names: Sequence[str], profiles: Profiles) -> dict[str, Any]:
    parts = zip(names, profiles.n.tolist(), profiles.share, profiles.low, profiles.high, strict=True)
    return {
        name: {"n": n, "share": _plain(share), "low": _plain(low), "high": _plain(high)}
        for name, n, share, low, high in parts
    }


def _times(times: Times) -> dict[str, Any]:
    return {
        "targets": dict(times.targets),
        "stated": times.stated,
        "steps_between_validations": times.every,
        "varied": times.varied,
        "factors": list(FACTORS),
        "cells": [asdict(cell) for cell in times.cells],
        "optimizers": [
            {
                "optimizer": o.optimizer,
                "runs": o.runs,
                "reached": o.reached,
                "reaching_percent": asdict(o.reaching),
                "share": _plain(o.share),
                "low": _plain(o.low),
                "high": _plain(o.high),
            }
            for o in times.optimizers
        ],
    }


def _plain(values: Floats) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]
