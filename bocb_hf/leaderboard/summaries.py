"""Tables about a whole table: optimizers ranked, variance shared out, tuning, and the study beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from bocb_hf.backbones import CNN_FAMILIES
from bocb_hf.leaderboard.columns import (
    Column,
    Grid,
    backbone_name,
    basis,
    gap_of,
    interval,
    number,
    plain,
)
from bocb_hf.leaderboard.layout import FAMILIES
from bocb_hf.leaderboard.read import Board
from bocb_hf.leaderboard.state import Selection
from bocb_hf.report.words.tables import optimizer_label

_PARTS = ("backbone", "optimizer", "interaction")


def ranking_grid(chosen: Selection) -> Grid:
    """Optimizers by mean rank, with what one would lose by using each for all."""
    board, info = chosen.board, chosen.board.info
    ranks = (info.analysis["ranking"] or {}).get("mean_ranks", {})
    points = info.analysis["points"] if isinstance(info.analysis["points"], dict) else {}
    rows: list[dict[str, Any]] = []
    for optimizer in chosen.optimizers:
        cells = [c for b in chosen.backbones if chosen.shown(c := chosen.cell(b, optimizer))]
        gaps = [gap for c in cells if (gap := gap_of(board, c)) is not None]
        rows.append(
            {
                "optimizer": optimizer_label(optimizer),
                "category": info.categories[info.optimizers.index(optimizer)],
                "mean_rank": ranks.get(optimizer),
                "best_of": sum(c.rank == 1 for c in cells),
                "may_be_best": sum(bool(c.candidate) for c in cells)
                if any(c.candidate is not None for c in cells)
                else None,
                "gap": fmean(gaps) if gaps else None,
                "worst_gap": max(gaps, default=None),
                "failed": sum(c.failed for c in cells),
                **_index(points, "optimizer", optimizer, info.optimizers),
                "cells": len(gaps),
            }
        )
    rows.sort(key=lambda r: (r["mean_rank"] is None, r["mean_rank"] or 0.0, r["optimizer"]))
    ranking = info.analysis["ranking"]
    cd = ""
    if ranking and ranking["critical_difference"] is not None:
        cd = f" Critical difference of mean ranks {ranking['critical_difference']:.2f} (Nemenyi)."
    elif ranking:
        cd = " Some cells have no rank: mean ranks are adjusted for those that are there (Skillings and Mack)."
    caption = f"Optimizers of this table; ranks over all its backbones, the rest over those shown.{cd}"
    columns = (
        Column("optimizer", plain("optimizer")),
        Column("category", plain("category")),
        Column("mean rank", number("mean_rank"), True),
        Column("best on", plain("best_of"), True),
        Column("may be best on (Hsu)", plain("may_be_best"), True),
        Column("points below the best, mean", number("gap"), True),
        Column("at worst", number("worst_gap"), True),
        Column("failed on", plain("failed"), True),
        Column("of backbones", plain("cells"), True),
        Column("index κ [95 %]", interval("kappa", "kappa_low", "kappa_high"), True),
    )
    return Grid("ranking", caption, columns, rows, basis=basis(board))


def shares_grid(board: Board) -> Grid | None:
    """Shares of variance by version; None where there is no decomposition."""
    points = board.info.analysis["points"]
    if not isinstance(points, dict):
        return None
    rows: list[dict[str, Any]] = []
    found = (points.get("intervals") or {}).get("shares")
    parts = ("optimizer", "backbone", "interaction")
    for scale, plain_scale in (("points", points), ("logit", board.info.analysis["logit"])):
        if not isinstance(plain_scale, dict):
            continue
        for version, what in plain_scale["decomposition"].items():
            if isinstance(what, str) or not what["shares"]:
                continue
            row: dict[str, Any] = {"scale": scale, "version": version, "cells": what["cells"]}
            ends = found if (scale, version) == ("points", "observed") else None
            for i, part in enumerate(parts):
                row[part] = float(what["shares"][part])
                row[f"{part}_low"] = ends["low"][i] if ends else None
                row[f"{part}_high"] = ends["high"][i] if ends else None
            rows.append(row)
    columns = (
        Column("scale", plain("scale")),
        Column("version", plain("version")),
        *(Column(f"{p}, %", interval(p, f"{p}_low", f"{p}_high", 1), True) for p in _PARTS),
        Column("cells", plain("cells"), True),
    )
    caption = "Shares of the variance with noise removed where it is known, in percent."
    return Grid("shares", caption, columns, rows, basis=basis(board))


def indices_grid(board: Board) -> Grid | None:
    """How coupled each backbone is: κ in points."""
    points = board.info.analysis["points"]
    if not isinstance(points, dict):
        return None
    info = board.info
    rows = [
        {
            "backbone": backbone_name(board, b),
            "family": FAMILIES.get(f, f),
            **_index(points, "backbone", b, info.backbones),
        }
        for b, f in zip(info.backbones, info.families, strict=True)
    ]
    rows.sort(key=lambda r: (r["kappa"] is None, -(r["kappa"] or 0.0)))
    columns = (
        Column("backbone", plain("backbone")),
        Column("family", plain("family")),
        Column("index κ in points [95 %]", interval("kappa", "kappa_low", "kappa_high"), True),
    )
    noise = "noise removed" if points["noise_removed"] else "noise inside"
    caption = f"How much the optimizer matters beyond its average, {noise}; reference: this table."
    return Grid("indices", caption, columns, rows, basis=basis(board))


def _index(points: Mapping[str, Any], side: str, name: str, names: Sequence[str]) -> dict[str, float | None]:
    """κ of a row or column; its interval is the root of that of κ², which is where the bootstrap works."""
    ends = (points.get("intervals") or {}).get(side)
    place = names.index(name)
    found: dict[str, float | None] = {"kappa": points.get(f"kappa_{side}", {}).get(name)}
    for end in ("low", "high"):
        square = ends[end][place] if ends else None
        found[f"kappa_{end}"] = math.sqrt(max(0.0, square)) if square is not None else None
    return found


def study_grid(chosen: Selection, study: Board) -> Grid:
    """Mean points below the best, by kind of backbone, here and in the study's table, side by side."""
    rows: list[dict[str, Any]] = []
    for optimizer in chosen.optimizers:
        row: dict[str, Any] = {"optimizer": optimizer_label(optimizer)}
        for where, board in (("here", chosen.board), ("study", study)):
            for kind in ("cnn", "modern"):
                gaps = [
                    gap
                    for (b, o), cell in board.cells.items()
                    if o == optimizer
                    and (cell.family in CNN_FAMILIES if kind == "cnn" else cell.family == "modern")
                    and (board is not chosen.board or (b in chosen.backbones and chosen.shown(cell)))
                    and (gap := gap_of(board, cell)) is not None
                ]
                row[f"{where}_{kind}"] = fmean(gaps) if gaps else None
                row[f"{where}_{kind}_n"] = len(gaps)
        rows.append(row)
    rows.sort(key=lambda r: (r["study_modern"] is None, r["study_modern"] or 0.0))

    def gap_text(key: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda row: "–" if row[key] is None else f"{row[key]:.2f} ({row[f'{key}_n']})"

    columns = (
        Column("optimizer", plain("optimizer")),
        Column("CNNs, here", gap_text("here_cnn"), True),
        Column("CNNs, the study", gap_text("study_cnn"), True),
        Column("modern, here", gap_text("here_modern"), True),
        Column("modern, the study", gap_text("study_modern"), True),
    )
    caption = (
        "Mean points below the best optimizer of the same backbone (number of backbones). Other backbones, data and "
        f"budgets: compare the order, not the size. The study: {basis(study)}"
    )
    return Grid("study", caption, columns, rows, basis=f"Here: {basis(chosen.board)}")


def ledger_grid(board: Board) -> Grid | None:
    """What tuning each optimizer got; None for a published table."""
    if board.info.ledger is None:
        return None
    rows = [row.model_dump() | {"optimizer": optimizer_label(row.optimizer)} for row in board.info.ledger]
    columns = (
        Column("optimizer", plain("optimizer")),
        Column("cells", plain("cells"), True),
        Column("trials a cell", plain("trials"), True),
        Column("learning rates", plain("rates"), True),
        Column("epochs", plain("epochs"), True),
        Column("diverged trials", plain("diverged"), True),
        Column("winners at the grid's edge", plain("edges"), True),
        Column("tuning", number("tuning_hours", 2, " h"), True),
        Column("final runs", number("final_hours", 2, " h"), True),
    )
    return Grid("ledger", "Fairness ledger: what tuning and training each optimizer got.", columns, rows)
