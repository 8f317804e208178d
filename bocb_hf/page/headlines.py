"""The answer first: one or two sentences above a view, of the whole table whatever the filters hide."""

from __future__ import annotations

from statistics import fmean, median

from bocb_hf.page.read import Board, CellRow
from bocb_hf.page.texts import gap_of, score_text
from bocb_hf.report.words.tables import backbone_label, fixed, optimizer_label

CLOSE = 1.0  # points: what is named where noise is unknown
NAMED = 6  # optimizers in a sentence; the table below has all


def table_headline(board: Board) -> list[str]:
    """Returns where the choice matters; first what one optimizer for all costs, where the table's answer does not."""
    found: list[str] = []
    gaps = {b: sorted(g for o in board.info.optimizers if (g := gap_of(board, board.cells[b, o])) is not None)
            for b in board.info.backbones}  # fmt: skip
    order = sorted((b for b in gaps if len(gaps[b]) > 1), key=lambda b: -median(gaps[b]))
    if order:
        text = "By the means, the choice matters most on {}: the median optimizer is {:.1f} points below the best, "
        text += "the worst {:.1f}."
        found.append(text.format(backbone_label(order[0]), median(gaps[order[0]]), gaps[order[0]][-1]))
    if len(order) > 1:
        text = "It matters least on {}: {:.1f} and {:.1f}."
        found.append(text.format(backbone_label(order[-1]), median(gaps[order[-1]]), gaps[order[-1]][-1]))
    lead = [] if board.info.told is not None and board.info.told.answer else [cost_headline(board)]
    return [text for text in (*lead, " ".join(found)) if text]


def cost_headline(board: Board) -> str:
    """Returns what one optimizer for all costs; empty where it is not known."""
    points = board.info.analysis["points"]
    cost = points["cost_of_coupling"] if isinstance(points, dict) else None
    if not cost:
        return ""
    text = f"One optimizer for all: {optimizer_label(cost['optimizer'])}, on average "
    ends = (points["intervals"] or {}).get("cost")
    basis = board.info.analysis.get("holes")
    holes = len(basis["points"]["cost_of_coupling"]["not_run"]) if basis else 0
    more = f" {holes} cell(s) that were not run stand at what backbone and optimizer lead to expect." if holes else ""
    if ends is None:
        return (
            text + f"{cost['naive']:.2f} points below the best of each backbone (means alone, too high by luck).{more}"
        )
    low, estimate, high = (fixed(ends[name], 2) for name in ("low", "estimate", "high"))
    return text + f"{estimate} points below the best of each backbone, 95 % [{low}, {high}].{more}"


def backbone_headline(board: Board, backbone: str) -> list[str]:
    """Returns which optimizer for this backbone, what may be as good, and how much the choice matters."""
    cells = [board.cells[backbone, o] for o in board.info.optimizers]
    ranked = sorted((c for c in cells if c.mean is not None), key=lambda c: -(c.mean or 0.0))
    if not ranked:
        return ["No optimizer has a score here yet."]
    best, *others = ranked
    found = [f"{optimizer_label(best.optimizer)} has the highest mean: {score_text(best)}, n = {best.n}."]
    if any(c.candidate is not None for c in ranked):
        as_good = [c for c in others if c.candidate]
        what = "may be as good (Hsu, 95 %)"
        found.append(f"{_names(as_good)} {what}." if as_good else "Every other one is told apart from it (Hsu, 95 %).")
    elif others:
        close = [c for c in others if (gap_of(board, c) or 0.0) <= CLOSE]
        found.append(
            f"Noise {'is unknown' if board.single else 'cannot be compared here'}, so others may be as good"
            + (f"; within {CLOSE:g} point: {_names(close)}." if close else f", but none is within {CLOSE:g} point.")
        )
    gaps = [gap for c in others if (gap := gap_of(board, c)) is not None]
    if gaps:
        worst = optimizer_label(others[-1].optimizer)
        found.append(f"The others are {median(gaps):.1f} points below it in the median, {worst} {gaps[-1]:.1f}.")
    diverged = [c for c in cells if c.diverged]
    if diverged:
        found.append(f"Diverged in some run: {_names(diverged)}.")
    return [" ".join(found[:2]), *([" ".join(found[2:])] if found[2:] else [])]


def optimizer_headline(board: Board, optimizer: str) -> list[str]:
    """Returns how general an optimizer is."""
    cells = [board.cells[b, optimizer] for b in board.info.backbones]
    ranked = [c for c in cells if c.mean is not None]
    gaps = {c.backbone: gap for c in ranked if (gap := gap_of(board, c)) is not None}
    if not gaps:
        return ["It has no score here yet."]
    worst = max(gaps, key=gaps.__getitem__)
    text = f"Highest mean on {sum(c.rank == 1 for c in ranked)} of {len(ranked)} backbones"
    if any(c.candidate is not None for c in ranked):
        text += f", may be best on {sum(bool(c.candidate) for c in ranked)} (Hsu, 95 %)"
    text += f"; {fmean(gaps.values()):.2f} points below the best on average, {gaps[worst]:.2f} at worst"
    text += f" ({backbone_label(worst)})."
    lost = [c for c in cells if c.diverged]
    if lost:
        text += f" Diverged in some run on {', '.join(backbone_label(c.backbone) for c in lost)}."
    return [text]


def coupling_headline(board: Board) -> list[str]:
    """Returns how much of the variance is interaction, and what it costs."""
    points = board.info.analysis["points"]
    shares = points["decomposition"]["observed"]["shares"]
    ends = (points["intervals"] or {}).get("shares")
    found: list[str] = []
    if shares:
        text = f"Interaction holds {fixed(shares['interaction'], 0)} % of the variance"
        text += f", 95 % [{fixed(ends['low'][2], 0)}, {fixed(ends['high'][2], 0)}]" if ends else " (noise included)"
        rest = points["decomposition"].get("without collapse")
        known = isinstance(rest, dict) and rest["shares"]
        if rest is not None:
            text += f", {fixed(rest['shares']['interaction'], 0)} %" if known else ", an unknown share"
            text += " without failed cells"
        backbone, optimizer = (fixed(shares[name], 0) for name in ("backbone", "optimizer"))
        found.append(text + f"; backbone {backbone} %, optimizer {optimizer} %.")
    return [*found, cost_headline(board)]


def _names(cells: list[CellRow]) -> str:
    names = [optimizer_label(c.optimizer) for c in cells]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
