"""The leaderboard's tables as plain rows, so that the page, the CSV and the LaTeX show the same numbers.

A score is never a number where the cell is not ranked, and it never stands without its interval and n.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from bocb_hf.coupling.marks import BEST, NEAR
from bocb_hf.leaderboard.columns import (
    HASH,
    SCORE,
    SEEDS,
    STATUS,
    Column,
    Grid,
    N,
    backbone_name,
    basis,
    gap_of,
    interval,
    number,
    plain,
)
from bocb_hf.leaderboard.layout import FAMILIES
from bocb_hf.leaderboard.read import Board, CellRow, RunRow
from bocb_hf.leaderboard.state import Selection, State
from bocb_hf.leaderboard.summaries import indices_grid, ledger_grid, ranking_grid, shares_grid, study_grid
from bocb_hf.report.words.tables import optimizer_label
from bocb_hf.runs.patterns import BINS, TOP_SHARE

_SHARED = ("backbone", "optimizer", "status", "mean", "low", "high", "n", "diverged")


def _cell(board: Board, cell: CellRow) -> dict[str, Any]:
    return {
        "backbone": backbone_name(board, cell.backbone),
        "family": FAMILIES.get(cell.family, cell.family),
        "optimizer": optimizer_label(cell.optimizer),
        "category": cell.category,
        "status": cell.status,
        "mean": cell.mean,
        "low": cell.low,
        "high": cell.high,
        "n": cell.n,
        "diverged": cell.diverged,
        "seeds": " ".join(map(str, cell.seeds)) or None,
        "gap": gap_of(board, cell),
        "rank": cell.rank,
        "mark": cell.sign or None,
        "candidate": cell.candidate,
        "failed": cell.failed,
        "residual": cell.residual,
        "residual_low": cell.residual_low,
        "residual_high": cell.residual_high,
        "lr": cell.lr,
        "weight_decay": cell.weight_decay,
        "trials": cell.trials,
        "wall_seconds": cell.wall_seconds,
        "memory_mib": cell.memory_bytes / 2**20 if cell.memory_bytes is not None else None,
        "level": cell.level,
        "config_hash": cell.config_hash,
        "repository": cell.repository,
    }


def _verdict(row: Mapping[str, Any]) -> str:
    if row["mean"] is None:
        return ""
    if row["mark"] == BEST:
        return f"{BEST} best mean"
    if row["mark"] == NEAR:
        return f"{NEAR} may be as good"
    if row["failed"]:
        return "failed"
    return f"unknown, n = {row['n']}" if row["low"] is None else "no"


RESIDUAL = Column("interaction [95 % for all]", interval("residual", "residual_low", "residual_high"), True)
_COMMON = (
    SCORE,
    N,
    SEEDS,
    Column("below the best", number("gap"), True),
    Column("within noise of the best", _verdict),
    RESIDUAL,
    Column("LR", plain("lr", 3), True),
    Column("WD", plain("weight_decay", 3), True),
    Column("trials", plain("trials"), True),
    Column("trust", plain("level")),
    HASH,
)


def _order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Best mean first; what has none last."""
    return sorted(rows, key=lambda r: (r["mean"] is None, -(r["mean"] or 0.0)))


def backbone_grid(chosen: Selection, backbone: str) -> Grid:
    """All optimizers on one backbone, best first."""
    board = chosen.board
    cells = [chosen.cell(backbone, o) for o in chosen.optimizers]
    rows = _order([_cell(board, c) for c in cells if chosen.shown(c)])
    caption = f"{backbone_name(board, backbone)} under {len(rows)} optimizers, best first."
    columns = (Column("optimizer", plain("optimizer")), *_columns(board))
    return Grid("backbone", caption, columns, rows, _best(rows), basis(board))


def optimizer_grid(chosen: Selection, optimizer: str) -> Grid:
    """One optimizer on all backbones, in the order of the table."""
    board = chosen.board
    rows = [_cell(board, c) for b in chosen.backbones if chosen.shown(c := chosen.cell(b, optimizer))]
    caption = f"{optimizer_label(optimizer)} on {len(rows)} backbones."
    first, *rest = _columns(board)
    columns = (Column("backbone", plain("backbone")), first, Column("family", plain("family")), *rest)
    return Grid("optimizer", caption, columns, rows, _best(rows), basis(board))


def _columns(board: Board) -> tuple[Column, ...]:
    """A published table has no seeds, trials or hashes of its own."""
    if board.info.source == "published":
        return tuple(c for c in _COMMON if c.label not in ("seeds", "LR", "WD", "trials", "trust", "configuration"))
    return _COMMON


def _best(rows: Sequence[Mapping[str, Any]]) -> frozenset[int]:
    return frozenset(i for i, row in enumerate(rows) if row["rank"] == 1)


def cost_grid(chosen: Selection, backbone: str, axis: Any) -> Grid | None:
    """Accuracy against cost of a backbone; None where no cell has a place."""
    front = chosen.board.front(backbone, axis)
    if front is None:
        return None
    rows = [
        {
            "optimizer": optimizer_label(p.optimizer),
            "mean": p.mean,
            "low": p.interval.low if p.interval else None,
            "high": p.interval.high if p.interval else None,
            "n": p.n,
            "diverged": 0,
            "cost": p.cost,
            "on_front": p.on_front,
            "dominated_by": ", ".join(map(optimizer_label, p.dominated_by)) or None,
        }
        for p in front.points
        if p.optimizer in chosen.optimizers and chosen.shown(chosen.cell(backbone, p.optimizer))
    ]
    unit = {"seconds": "s a run", "memory": "MiB", "tuning": "s of tuning"}[axis]
    columns = (
        Column("optimizer", plain("optimizer")),
        SCORE,
        N,
        Column(unit, number("cost", 1), True),
        Column("on the front", lambda row: "yes" if row["on_front"] else "no"),
        Column("dominated by", plain("dominated_by"), wrap=True),
    )
    marked = frozenset(i for i, row in enumerate(rows) if row["on_front"])
    left = "".join(f" Without a place: {optimizer_label(o)} ({why})." for o, why in front.left_out.items())
    caution = "".join(f" Caution: {c}." for c in front.caveats)
    caption = f"{backbone_name(chosen.board, backbone)}, cheapest first.{left}{caution}"
    return Grid("cost", caption, columns, rows, marked, basis(chosen.board))


def shared_grid(chosen: Selection, study: Board) -> Grid | None:
    """Cells that both tables have, side by side; None without any."""
    rows = [
        {
            **{
                k: _cell(chosen.board, cell)[k] for k in ("backbone", "optimizer", "mean", "low", "high", "n", "status")
            },
            "diverged": cell.diverged,
            "study": study.cells[cell.key].mean,
        }
        for b in chosen.backbones
        for o in chosen.optimizers
        if (b, o) in study.cells and chosen.shown(cell := chosen.cell(b, o))
        if study is not chosen.board
    ]
    if not rows:
        return None
    columns = (
        Column("backbone", plain("backbone")),
        Column("optimizer", plain("optimizer")),
        SCORE,
        N,
        Column("the study", number("study"), True),
    )
    return Grid("shared", "Cells that both tables have.", columns, rows, basis=basis(chosen.board))


def patterns_grid(chosen: Selection, backbone: str) -> Grid | None:
    """Weight patterns layer by layer, means over seeds; None where no record holds any."""
    rows: list[dict[str, Any]] = []
    for optimizer, found in chosen.patterns(backbone).items():
        first = [layer.name for layer in found[0].layers]
        alike = [p for p in found if [layer.name for layer in p.layers] == first]
        for i, name in enumerate(first):
            row: dict[str, Any] = {"optimizer": optimizer_label(optimizer), "place": i + 1, "layer": name}
            for measure in ("entropy", "norm", "energy", "alpha"):
                values = [v for p in alike if (v := getattr(p.layers[i], measure)) is not None]
                row[measure] = fmean(values) if len(values) == len(alike) else None
                row[f"{measure}_low"] = min(values) if row[measure] is not None else None
                row[f"{measure}_high"] = max(values) if row[measure] is not None else None
            rows.append(row | {"n": len(alike), "diverged": 0})
    if not rows:
        return None
    columns = (
        Column("optimizer", plain("optimizer")),
        Column("layer", plain("layer")),
        Column("entropy, nats", interval("entropy", "entropy_low", "entropy_high"), True),
        Column("‖w‖₂", interval("norm", "norm_low", "norm_high"), True),
        Column("first components", interval("energy", "energy_low", "energy_high", 3), True),
        Column("exponent α", interval("alpha", "alpha_low", "alpha_high"), True),
        N,
    )
    caption = (
        f"Weight patterns of {backbone_name(chosen.board, backbone)}: means over seeds [smallest, largest], "
        f"{BINS} bins; share of variance in the first {100 * TOP_SHARE:g} % of components; "
        "α only where its fit is good (in older records: with ten eigenvalues or more)."
    )
    return Grid("patterns", caption, columns, rows, basis=basis(chosen.board))


def missing_grid(chosen: Selection, command: Callable[[CellRow], str]) -> Grid:
    """Cells without a finished run, and what would fill them."""
    rows = [
        {
            "backbone": backbone_name(chosen.board, b),
            "optimizer": optimizer_label(o),
            "status": cell.status,
            "command": command(cell),
        }
        for b in chosen.backbones
        for o in chosen.optimizers
        for cell in [chosen.cell(b, o)]
        if cell.status in ("missing", "interrupted")
    ]
    columns = (
        Column("backbone", plain("backbone")),
        Column("optimizer", plain("optimizer")),
        Column("status", lambda row: STATUS[str(row["status"])]),
        Column("command", plain("command")),
    )
    counted = {0: "Every cell of this table has a finished run.", 1: "One cell has no finished run."}
    return Grid("missing", counted.get(len(rows), f"{len(rows)} cells have no finished run."), columns, rows)


def runs_grid(board: Board, cell: CellRow, runs: Sequence[RunRow]) -> Grid:
    """Final runs of a cell, those of its shown configuration first."""
    rows = [
        {
            "seed": run.seed,
            "status": run.status,
            "mean": run.mean,
            "test_loss": run.info.metrics.get("test_loss"),
            "train_loss": run.info.metrics.get("train_loss"),
            "wall": run.info.cost.get("wall time"),
            "level": run.level,
            "config_hash": run.config_hash + ("" if run.config_hash == cell.config_hash else " (not shown)"),
            "run_id": run.run_id,
            "record_sha256": run.record_sha256,
            "repository": run.repository,
            "reason": run.info.reason,
        }
        for run in sorted(runs, key=lambda r: (r.config_hash != cell.config_hash, r.seed))
    ]
    columns = (
        Column("seed", plain("seed"), True),
        Column("status", lambda r: r["status"] + (f": {r['reason']}" if r["reason"] else ""), wrap=True),
        Column("test score", number("mean"), True),
        Column("test loss", number("test_loss", 4), True),
        Column("train loss", number("train_loss", 4), True),
        Column("time", plain("wall"), True),
        Column("trust", plain("level")),
        Column("configuration", plain("config_hash")),
        Column("record SHA-256", lambda r: r["record_sha256"][:12] + "…"),
    )
    return Grid("runs", "Final runs, each with its seed and configuration.", columns, rows)


def grids(name: str, chosen: Selection, study: Board | None, state: State, command: Any) -> Grid | None:
    """A grid by name, as an address asks for it; None when there is none."""
    board = chosen.board
    on_backbone = state.backbone in chosen.backbones
    if name == "ranking":
        return ranking_grid(chosen)
    if name == "backbone" and on_backbone:
        return backbone_grid(chosen, state.backbone)
    if name == "optimizer" and state.optimizer in chosen.optimizers:
        return optimizer_grid(chosen, state.optimizer)
    if name == "patterns" and on_backbone:
        return patterns_grid(chosen, state.backbone)
    if name == "cost" and on_backbone:
        return cost_grid(chosen, state.backbone, state.axis)
    if name == "shares":
        return shares_grid(board)
    if name == "indices":
        return indices_grid(board)
    if name == "ledger":
        return ledger_grid(board)
    if name == "missing":
        return missing_grid(chosen, command)
    if name in ("study", "shared") and study is not None:
        return study_grid(chosen, study) if name == "study" else shared_grid(chosen, study)
    if name == "runs" and state.cell:
        cell = chosen.cell(state.backbone, state.optimizer)
        return runs_grid(board, cell, board.runs(*cell.key))
    return None
