"""The heat map as an HTML table that keyboards and screen readers can walk through."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import groupby

from markupsafe import Markup

from bocb_hf.leaderboard import columns as c
from bocb_hf.leaderboard.layout import FAMILIES
from bocb_hf.leaderboard.markup import address, join
from bocb_hf.leaderboard.state import Selection, State
from bocb_hf.optim import CATEGORIES
from bocb_hf.report.words.tables import optimizer_label, reach_text

SHADES = 12  # classes g0 (the best) to g11 of the style sheet


def heat(chosen: Selection, state: State) -> Markup:
    """Optimizers × backbones. Cells are told by their place, so that 6,000 of them stay small."""
    board = chosen.board
    info = board.info
    families = dict(zip(info.backbones, info.families, strict=True))
    groups = [(family, list(members)) for family, members in groupby(chosen.backbones, families.__getitem__)]
    top = join(
        Markup("<th scope=colgroup colspan={}>{}</th>").format(len(members), FAMILIES.get(family, family))
        for family, members in groups
    )
    turned = " turned" if len(chosen.backbones) > 8 else ""
    heads = join(
        Markup('<th scope=col title="{0}"><a href="{1}">{2}</a></th>').format(
            b, address(state, view="backbone", backbone=b, cell=False), c.backbone_name(board, b)
        )
        for b in chosen.backbones
    )
    shade, _ = _shades(chosen)
    categories = dict(zip(info.optimizers, info.categories, strict=True))
    body: list[Markup] = []
    for category, members in groupby(chosen.optimizers, categories.__getitem__):
        for i, optimizer in enumerate(members):
            cells = "".join(_heat_cell(chosen, b, optimizer, shade) for b in chosen.backbones)
            head = Markup('<th scope=row title="{}"><a href="{}">{}</a></th>').format(
                f"category {category}: {CATEGORIES.get(category, '')}",
                address(state, view="optimizer", optimizer=optimizer, cell=False),
                optimizer_label(optimizer),
            )
            body.append(Markup("<tr{}>{}{}</tr>").format(Markup(" class=first") if i == 0 else "", head, Markup(cells)))
    return Markup(
        '<div class="scroll heat{}"><table class="heat{}" role=grid aria-label="{}" data-backbones="{}" '
        'data-optimizers="{}"><thead><tr><th rowspan=2 scope=col>optimizer</th>{}</tr><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table></div>"
    ).format(
        turned,
        " single" if board.single else "",
        f"{info.metric} in points, optimizers by backbones; arrow keys move, Enter opens a cell",
        json.dumps(chosen.backbones),
        json.dumps(chosen.optimizers),
        top,
        heads,
        join(body),
    )


def _shades(chosen: Selection) -> tuple[dict[tuple[str, str], int], float]:
    """The class of each ranked cell: points below the best of its backbone on a square-root scale, as in the figure.

    Returns:
        The classes by (backbone, optimizer), and the points at which the scale ends.
    """
    board = chosen.board
    gaps: dict[tuple[str, str], float] = {}
    for b in chosen.backbones:
        for o in chosen.optimizers:
            if (gap := c.gap_of(board, board.cells[b, o])) is not None:
                gaps[b, o] = gap
    most = max(5.0, max(gaps.values(), default=0.0))
    return {key: min(SHADES - 1, int(SHADES * math.sqrt(gap / most))) for key, gap in gaps.items()}, most


def _heat_cell(chosen: Selection, backbone: str, optimizer: str, shade: Mapping[tuple[str, str], int]) -> str:
    """Numbers only, but for words of ours, so there is nothing to escape."""
    cell = chosen.cell(backbone, optimizer)
    if not chosen.shown(cell):
        return "<td class=hid><b>·</b><i>filtered</i>"
    runs = f"n{cell.n}"
    if cell.mean is not None:
        half = reach_text(*cell.reach).replace("± ", "±") + " " if cell.reach is not None else ""
        mark, said = (" x", "<s>failed</s>") if cell.failed else ("", "")  # the corner, and for those who cannot see it
        return f'<td class="g{shade[cell.key]}{mark}"><b>{cell.sign}{cell.mean:.1f}</b><i>{half}{runs}</i>{said}'
    if cell.status == "diverged":
        return f"<td class=div><b>diverged</b><i>{cell.diverged}/{cell.diverged}</i>"
    if cell.status == "partial":
        return f"<td class=div><b>{cell.n}/{cell.n + cell.diverged}</b><i>rest diverged</i>"
    if cell.status == "interrupted":
        return "<td class=mis><b>–</b><i>not finished</i>"
    return "<td class=mis><b>–</b><i>not run</i>"


def legend(chosen: Selection) -> Markup:
    scale = Markup("").join(Markup('<span class="g{}"></span>').format(i) for i in range(SHADES))
    intervals = "" if chosen.board.single else f"±: half of the 95 % interval over seeds, {chosen.board.reading}. "
    return Markup(
        "<p class=legend>0 <span class=scale aria-hidden=true>{}</span> {} points below the best optimizer of the "
        "same backbone (square-root scale; compare within a column). {}n: completed runs. {}. "
        "<span class=corner>◥</span> failed: over 2 points below the median, interval included. "
        "Hatched: diverged. Dashed: not run. Click a cell for its runs.</p>"
    ).format(scale, f"{_shades(chosen)[1]:.0f}", intervals, chosen.board.marks.sign_rule)
