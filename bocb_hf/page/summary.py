"""The summary that a page begins with: every table with its cells, its headlines and its rules, but no details."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bocb_hf.backbones import BACKBONES, CNN_FAMILIES
from bocb_hf.coupling.marks import RULE
from bocb_hf.optim import CATEGORIES
from bocb_hf.page.commands import optimizer_words, train_words
from bocb_hf.page.headlines import backbone_headline, coupling_headline, optimizer_headline, table_headline
from bocb_hf.page.layout import LEVELS
from bocb_hf.page.read import Board, CellRow
from bocb_hf.page.standings import kappa, of_optimizer
from bocb_hf.page.texts import FAMILIES, basis, counts, gap_of, parameters, toy
from bocb_hf.page.transfers import transfers_of
from bocb_hf.report.words.tables import backbone_label, interval_words, optimizer_label

DIGITS = 4  # of points after the decimal point; the Parquet file holds every digit
LOSS_DIGITS = 5  # significant ones
_Plain = dict[str, Any]


def table_summary(board: Board) -> _Plain:
    """Returns what the page shows of a table before anybody clicks (``Table`` of the page's format)."""
    info, told = board.info, board.info.told
    marks = board.marks
    return {
        "id": info.id,
        "title": info.title,
        "kind": info.source,
        "origin": info.origin,
        "dataset": info.dataset,
        "setting": info.setting,
        "revision": info.revision,
        "metric": info.metric,
        "split": info.split,
        "n_test": info.n_test,
        "num_classes": info.num_classes,
        "trials_per_value": info.trials_per_value,
        "seeds": info.seeds if info.trials_per_value == 1 else [],
        "toy": toy(info),
        "basis": basis(board),
        "single": board.single,
        "n": list(counts(board)),
        "date": told.date if told is not None else None,
        "rules": {"marks": marks.sign_rule, "failed": RULE, "interval": interval_words(marks, "over seeds, ")},
        "headlines": {
            "answer": told.answer if told is not None else [],
            "reading": told.reading if told is not None else [],
            "primary": told.primary if told is not None else None,
            "table": table_headline(board),
            "coupling": coupling_headline(board) if isinstance(info.analysis["points"], dict) else [],
        },
        "contrast": info.claims,
        "notes": info.notes,
        "floors": [floor.model_dump() for floor in info.floors],
        "ledger": None
        if info.ledger is None
        else [row.model_dump() | {"label": optimizer_label(row.optimizer)} for row in info.ledger],
        "fairness": [*info.fairness, *(told.grids if told is not None else [])],
        "transfers": [found.model_dump() for found in transfers_of(board)],
        "namespaces": list(board.namespaces),
        "levels": [level for level in LEVELS if any(cell.level == level for cell in board.cells.values())],
        "backbones": _backbones(board),
        "optimizers": _optimizers(board),
        "cells": _columns(board),
    }


def _backbones(board: Board) -> list[_Plain]:
    info = board.info
    found: list[_Plain] = []
    for name, family, count in zip(info.backbones, info.families, parameters(board), strict=True):
        row = BACKBONES.find(name.partition(" (")[0])
        found.append(
            {
                "id": name,
                "label": backbone_label(name),
                "family": family,
                "family_label": FAMILIES.get(family, family),
                "kind": "CNN" if family in CNN_FAMILIES else "modern" if family == "modern" else "unknown",
                "stage_wise": row.stage_wise if row is not None else None,
                "block_wise": row.block_wise if row is not None else None,
                "operator": row.operator if row is not None else None,
                "parameters": count,
                "train": train_words(info.dataset, info.setting, name),
                "headline": backbone_headline(board, name),
                "kappa": kappa(board, "backbone", name, info.backbones),
            }
        )
    return found


def _optimizers(board: Board) -> list[_Plain]:
    return [
        {
            "id": name,
            "label": optimizer_label(name),
            "category": category,
            "category_label": f"{category}: {CATEGORIES[category]}" if category in CATEGORIES else category,
            "train": optimizer_words(name),
            "headline": optimizer_headline(board, name),
            **of_optimizer(board, name),
        }
        for name, category in zip(board.info.optimizers, board.info.categories, strict=True)
    ]


def _columns(board: Board) -> _Plain:
    """Returns the cells column by column, backbone after backbone; a column without any value is left out."""
    cells = [board.cells[b, o] for b in board.info.backbones for o in board.info.optimizers]
    flags = ("failed", "collapsed", "candidate")
    found: _Plain = {"status": [c.status for c in cells], "mark": [c.sign for c in cells]}
    found |= {name: [rounded(read(c)) for c in cells] for name, read in _points(board).items()}
    found |= {name: [significant(getattr(c, name)) for c in cells] for name in ("test_loss", "train_loss")}
    found |= {name: [getattr(c, name) for c in cells] for name in ("n", "diverged", "rank", "trials", "level")}
    found |= {name: [None if (v := getattr(c, name)) is None else int(v) for c in cells] for name in flags}
    found |= {"lr": [c.lr for c in cells], "weight_decay": [c.weight_decay for c in cells]}
    found |= {"seconds": [rounded(c.wall_seconds) for c in cells], "memory": [c.memory_bytes for c in cells]}
    found |= {"hash": [c.config_hash for c in cells], "owner": [c.namespace for c in cells]}
    found |= {"repository": [c.repository for c in cells]}
    always = ("status", "n", "diverged", "mark")
    return {name: values for name, values in found.items() if name in always or any(v is not None for v in values)}


def _points(board: Board) -> Mapping[str, Callable[[CellRow], float | None]]:
    return {
        "mean": lambda c: c.mean,
        "low": lambda c: c.low,
        "high": lambda c: c.high,
        "gap": lambda c: gap_of(board, c),
        "residual": lambda c: c.residual,
        "residual_low": lambda c: c.residual_low,
        "residual_high": lambda c: c.residual_high,
        "standard_error": lambda c: c.standard_error,
    }


def rounded(value: float | None) -> float | None:
    """Returns a number with ``DIGITS`` digits after the point, or all of them where the page would show another one."""
    if value is None:
        return None
    short = round(value, DIGITS)
    # 61.150000000000006 is 61.2 in the terminal, and 61.15 would be 61.1 on the page
    alike = all(f"{short:.{digits}f}" == f"{value:.{digits}f}" for digits in (0, 1, 2))
    return short if alike else value


def significant(value: float | None) -> float | None:
    """Returns a loss with ``LOSS_DIGITS`` significant digits."""
    return None if value is None else float(f"{value:.{LOSS_DIGITS}g}")
