"""The leaderboard's figures, drawn from what the file holds; nothing is computed but the drawing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure

from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.ranks import Ranking
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.leaderboard.read import Board, RunRow
from bocb_hf.leaderboard.state import Selection, State, select
from bocb_hf.report.figures.costs import pareto_front, trial_figure
from bocb_hf.report.figures.differences import interaction
from bocb_hf.report.figures.distributions import boxes, violin
from bocb_hf.report.figures.draw import draw_ranks
from bocb_hf.report.figures.grid import heatmap
from bocb_hf.report.figures.patterns import pattern_figure
from bocb_hf.report.figures.style import figure_bytes
from bocb_hf.report.figures.training import Line, Trace, training_curves

_LOCK = threading.Lock()  # matplotlib's fonts and parsers are shared by all threads


def visible(chosen: Selection) -> tuple[ScoreTable, Marks]:
    """Scores and marks that the filters leave; a hidden cell is as one that did not run."""
    board = chosen.board
    scores, marks = board.scores, board.marks
    rows = [board.info.backbones.index(b) for b in chosen.backbones]
    columns = [board.info.optimizers.index(o) for o in chosen.optimizers]
    grid = np.ix_(rows, columns)
    hidden = np.array([[(b, o) in chosen.hidden for o in chosen.optimizers] for b in chosen.backbones])
    part = scores.select(chosen.backbones, chosen.optimizers)
    part = replace(
        part,
        values=np.where(hidden[:, :, None], np.nan, part.values),
        status=np.where(hidden, "missing", part.status),
        diverged=np.where(hidden, 0, part.diverged),
    )
    failed = marks.failed[grid] & ~hidden if marks.failed is not None else None
    return part, Marks(
        np.where(hidden, np.nan, marks.halves[grid]),
        np.where(hidden, "", marks.signs[grid]),
        marks.rule,
        failed,
        marks.failure_rule,
        below=None if marks.below is None else marks.below[grid],
        reading=marks.reading,
    )


def _heatmap(chosen: Selection, state: State) -> Figure | None:
    note = f"{len(chosen.hidden)} cell(s) are filtered out and grey." if chosen.hidden else ""
    return heatmap(*visible(chosen), chosen.board.info.split, note)


def _violin(chosen: Selection, state: State) -> Figure | None:
    return violin(visible(chosen)[0])


def _ranks(chosen: Selection, state: State) -> Figure | None:
    board = chosen.board
    found = board.info.analysis["ranking"]
    if not found:
        return None
    means = np.array([found["mean_ranks"][o] for o in board.info.optimizers], np.float64)
    ranking = Ranking(
        tuple(found["backbones"]),
        np.empty((0, len(means))),
        means,
        found["kendall_w"],
        float("nan"),
        found["p"],
        found["critical_difference"],
        *_with_holes(board.info.analysis.get("holes")),
    )
    return draw_ranks(board.scores, ranking)


def _with_holes(holes: dict[str, Any] | None) -> tuple[int | None, tuple[tuple[str, str], ...]]:
    """Returns the cells that have a rank, and the pairs that are told apart, of a table with holes."""
    if not holes:
        return None, ()
    found = holes["ranking"]
    return found["cells"], tuple((better, worse) for better, worse in found["apart"])


def _interaction(chosen: Selection, state: State) -> Figure | None:
    board, info = chosen.board, chosen.board.info

    def grid(name: str) -> Any:
        values = [[getattr(board.cells[b, o], name) for o in info.optimizers] for b in info.backbones]
        return np.array(values, np.float64)

    r, low, high = (grid(name) for name in ("residual", "residual_low", "residual_high"))
    if not np.isfinite(r).any() or min(r.shape) < 2:
        return None
    known = bool(np.isfinite(low).any())
    note = (
        f"Simultaneous 95 % over all {int(np.isfinite(r).sum())} cells, over seeds, {board.reading}." if known else ""
    )
    return interaction(
        r, info.backbones, info.optimizers, (low > 0) | (high < 0) if known else None, note, info.dataset
    )


def _curves(chosen: Selection, state: State) -> Figure | None:
    if state.backbone not in chosen.backbones:
        return None
    runs = chosen.board.runs(state.backbone)
    lines = [
        _line([r for r in runs if r.optimizer == o and r.config_hash == cell.config_hash], o)
        for o in chosen.optimizers
        if chosen.shown(cell := chosen.cell(state.backbone, o)) and (not state.cell or o == state.optimizer)
    ]
    if not any(line.completed or line.diverged for line in lines):
        return None
    return training_curves(lines, state.backbone, chosen.board.info.dataset)


def _line(runs: list[RunRow], optimizer: str) -> Line:
    def traces(status: str) -> tuple[Trace, ...]:
        infos = [run.info for run in runs if run.status == status]
        return tuple(Trace(tuple(i.steps), tuple(i.losses), i.epochs_per_step) for i in infos)

    return Line(optimizer, traces("completed"), traces("diverged"))


def _patterns(chosen: Selection, state: State) -> Figure | None:
    found = chosen.patterns(state.backbone) if state.backbone in chosen.backbones else {}
    return pattern_figure(found, state.backbone, chosen.board.info.dataset) if found else None


def _pareto(chosen: Selection, state: State) -> Figure | None:
    if state.backbone not in chosen.backbones:
        return None
    front = chosen.board.front(state.backbone, state.axis)
    if front is None:
        return None
    shown = [o for o in chosen.optimizers if chosen.shown(chosen.cell(state.backbone, o))]
    points = tuple(p for p in front.points if p.optimizer in shown)
    return pareto_front(replace(front, points=points, left_out={o: w for o, w in front.left_out.items() if o in shown}))


def _distances(by: Literal["backbone", "optimizer"]) -> Callable[[Selection, State], Figure | None]:
    def draw(chosen: Selection, state: State) -> Figure | None:
        found = chosen.board.robustness
        return None if found is None else boxes(found, by, chosen.board.info.dataset)

    return draw


def _trials(chosen: Selection, state: State) -> Figure | None:
    curves = chosen.board.trial_curves
    return trial_figure(curves, chosen.board.info.dataset) if curves else None


PICTURES: Mapping[str, Callable[[Selection, State], Figure | None]] = {
    "heatmap": _heatmap,
    "violin": _violin,
    "critical-difference": _ranks,
    "interaction": _interaction,
    "curves": _curves,
    "patterns": _patterns,
    "pareto": _pareto,
    "distance-by-backbone": _distances("backbone"),
    "distance-by-optimizer": _distances("optimizer"),
    "trials": _trials,
}


@lru_cache(maxsize=256)
def picture(board: Board, name: str, kind: Literal["png", "svg"], state: State) -> bytes | None:
    """The bytes of a figure; None where there is nothing to draw.

    Raises:
        KeyError: No figure has this name.
    """
    chosen = select(board, state)
    if not chosen.backbones or not chosen.optimizers:
        return None
    with _LOCK:
        figure = PICTURES[name](chosen, state)
        return None if figure is None else figure_bytes(figure, kind)
