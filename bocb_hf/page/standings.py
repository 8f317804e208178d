"""Numbers of each optimizer and backbone over a whole table, taken from its analysis and its cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from bocb_hf.backbones import CNN_FAMILIES
from bocb_hf.page.read import Board
from bocb_hf.page.texts import gap_of
from bocb_hf.report.figures.differences import cluster, groups

_Plain = dict[str, Any]


def of_optimizer(board: Board, optimizer: str) -> _Plain:
    """Returns rank, gaps and failures of an optimizer over the backbones of a table, in points."""
    info = board.info
    cells = [board.cells[b, optimizer] for b in info.backbones]
    gaps = [gap for c in cells if (gap := gap_of(board, c)) is not None]
    known = any(c.candidate is not None for c in cells)
    return {
        "mean_rank": (info.analysis["ranking"] or {}).get("mean_ranks", {}).get(optimizer),
        "best_on": sum(c.rank == 1 for c in cells),
        "may_be_best_on": sum(bool(c.candidate) for c in cells) if known else None,
        "gap": fmean(gaps) if gaps else None,
        "worst_gap": max(gaps, default=None),
        "failed_on": sum(c.failed for c in cells),
        "cells": len(gaps),
        "kappa": kappa(board, "optimizer", optimizer, info.optimizers),
    }


def kappa(board: Board, side: str, name: str, names: Sequence[str]) -> _Plain | None:
    """Returns the index of coupling of a backbone or an optimizer; None where there is none.

    Its interval is the root of that of its square, which is where the bootstrap works.
    """
    points = board.info.analysis["points"]
    value = points.get(f"kappa_{side}", {}).get(name) if isinstance(points, dict) else None
    if value is None:
        return None
    ends = (points.get("intervals") or {}).get(side)
    place = names.index(name)
    low, high = (ends[end][place] if ends else None for end in ("low", "high"))
    return _estimate(value, *(None if v is None else math.sqrt(max(0.0, v)) for v in (low, high)))


def shares(board: Board) -> list[_Plain]:
    """Returns shares of the variance in percent by scale and version."""
    analysis = board.info.analysis
    found: list[_Plain] = []
    for scale in ("points", "logit"):
        if not isinstance(analysis[scale], dict):
            continue
        intervals = (analysis[scale].get("intervals") or {}).get("shares")
        for version, what in analysis[scale]["decomposition"].items():
            if isinstance(what, str) or not what["shares"]:
                continue
            ends = intervals if version == "observed" else None
            row: _Plain = {"scale": scale, "version": version, "cells": what["cells"]}
            for i, part in enumerate(("optimizer", "backbone", "interaction")):
                low, high = (ends["low"][i], ends["high"][i]) if ends else (None, None)
                row[part] = _estimate(what["shares"][part], low, high)
            found.append(row)
    return found


def ranking(board: Board) -> _Plain | None:
    """Returns mean ranks, and the groups of optimizers that are not told apart, best first."""
    found = board.info.analysis["ranking"]
    if not found:
        return None
    means: Mapping[str, float | None] = found["mean_ranks"]
    known = {o: rank for o, rank in means.items() if rank is not None}
    order = sorted(known, key=lambda o: (known[o], o))
    difference = found["critical_difference"]
    bars = groups([known[o] for o in order], difference) if difference is not None else []
    apart = (board.info.analysis.get("holes") or {}).get("ranking")
    if difference is not None:
        test = f"Critical difference of mean ranks {difference:.2f} (Nemenyi)"
    else:
        test = "Some cells have no rank: mean ranks are adjusted for those that are there (Skillings and Mack)"
    return {
        "mean_ranks": means,
        "critical_difference": difference,
        "test": f"{test}; p = {found['p']:.2g} over {len(found['backbones'])} backbones.",
        "groups": [order[first : last + 1] for first, last in bars],
        "apart": apart["apart"] if apart else None,
    }


def order(board: Board) -> _Plain | None:
    """Returns rows and columns of the table of residuals in an order in which alike ones are neighbours."""
    import numpy as np

    info = board.info
    values = [[board.cells[b, o].residual for o in info.optimizers] for b in info.backbones]
    residuals = np.array(values, np.float64)
    if not np.isfinite(residuals).any() or min(residuals.shape) < 2:
        return None
    return {"backbones": cluster(residuals), "optimizers": cluster(residuals.T)}


def beside_study(board: Board, study: Board) -> list[_Plain]:
    """Returns mean points below the best of each optimizer, by kind of backbone, here and in the study's table."""
    rows: list[_Plain] = []
    for optimizer in board.info.optimizers:
        row: _Plain = {"optimizer": optimizer}
        for where, table in (("here", board), ("study", study)):
            for kind in ("cnn", "modern"):
                gaps = [
                    gap
                    for (_, o), cell in table.cells.items()
                    if o == optimizer
                    and (cell.family in CNN_FAMILIES if kind == "cnn" else cell.family == "modern")
                    and (gap := gap_of(table, cell)) is not None
                ]
                row[f"{where}_{kind}"] = fmean(gaps) if gaps else None
                row[f"{where}_{kind}_n"] = len(gaps)
        rows.append(row)
    return sorted(rows, key=lambda r: (r["study_modern"] is None, r["study_modern"] or 0.0))


def _estimate(value: float, low: float | None, high: float | None) -> _Plain:
    return {"value": value, "low": low, "high": high}
