"""Each view as HTML. Every value is escaped on its way in; nothing here computes or draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from bocb_hf.coupling.pareto import AXES
from bocb_hf.leaderboard import columns as c
from bocb_hf.leaderboard import grids as g
from bocb_hf.leaderboard import summaries as w
from bocb_hf.leaderboard.advice import advise, asked
from bocb_hf.leaderboard.cell_page import cell_page
from bocb_hf.leaderboard.commands import SUBMIT, train_command
from bocb_hf.leaderboard.headlines import backbone_headline, coupling_headline, optimizer_headline, table_headline
from bocb_hf.leaderboard.heat import heat, legend
from bocb_hf.leaderboard.layout import LEVELS
from bocb_hf.leaderboard.markup import address, figure, files, grid_table, headline, items, join, pick
from bocb_hf.leaderboard.read import Board
from bocb_hf.leaderboard.state import VIEWS, Selection, State, filters_in_words, select
from bocb_hf.report.words.tables import optimizer_label

STUDY = "published-cifar100"
# what the page's own template language would read, in text as in attributes
_SEAL = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"})


@dataclass(frozen=True)
class Page:
    """What a view is made from.

    Attributes:
        boards: All tables by id.
        notices: What the visitor must know first.
    """

    boards: Mapping[str, Board]
    state: State
    notices: Sequence[str] = ()

    @property
    def chosen(self) -> Selection:
        """The table of the state, filtered."""
        return select(self.boards[self.state.table], self.state)

    @property
    def study(self) -> Board | None:
        """The study's main table."""
        return self.boards.get(STUDY)


def render(page: Page) -> str:
    """The HTML of the state's view; its address stands in ``data-query``."""
    chosen, state = page.chosen, page.state
    notices = [Markup("<p class=notice>{}</p>").format(text) for text in page.notices]
    if not chosen.backbones or not chosen.optimizers:
        body = Markup("<p class=empty>No backbone or no optimizer of this table passes these filters.</p>")
    else:
        body = _VIEWS[state.view](page, chosen)
    html = Markup('<section class="bocb" data-view="{}" data-query="{}" aria-label="{}">{}{}{}</section>').format(
        state.view, state.query(), VIEWS[state.view], _head(chosen, state), join(notices), body
    )
    return str(html).translate(_SEAL)


def _head(chosen: Selection, state: State) -> Markup:
    board = chosen.board
    info = board.info
    cells = [board.cells[b, o] for b in chosen.backbones for o in chosen.optimizers]
    size = f"{len(chosen.backbones)} backbones × {len(chosen.optimizers)} optimizers"
    head = Markup("<h2>{}</h2><p class=soft title='data revision {}'>{}: {}</p>").format(
        info.title, info.revision, size, c.basis(board, c.short_revision(info.revision))
    )
    given = filters_in_words(state)
    if not given:
        return head
    hidden = f"; {len(chosen.hidden)} of {len(cells)} cells hidden" if chosen.hidden else ""
    return head + Markup(
        "<p class=filters>Shown: {}{}. Ranks, stars and sentences are of the whole table. "
        "<a href='{}'>Clear filters</a></p>"
    ).format("; ".join(given), hidden, address(state, families=(), categories=(), level=LEVELS[0], n=1, namespaces=()))


def _table(page: Page, chosen: Selection) -> Markup:
    state = page.state
    parts = [headline(table_headline(chosen.board)), heat(chosen, state), legend(chosen)]
    parts.append(files("table", ("csv", "tex"), state, ("heatmap", ("png", "svg"))))
    if state.cell:
        parts.append(cell_page(chosen, state))
    info = chosen.board.info
    if info.contrast:
        parts.append(Markup("<h3>The study's claim in this table</h3>{}").format(items(info.contrast)))
    if info.floors:
        parts.append(Markup("<h3>Floors</h3>{}").format(items(f.text for f in info.floors)))
    if info.notes:
        parts.append(Markup("<h3>Notes</h3>{}").format(items(info.notes)))
    ledger = w.ledger_grid(chosen.board)
    if ledger is not None:
        parts.append(Markup("<h3>Was tuning fair?</h3>{}{}").format(items(info.fairness), grid_table(ledger, state)))
    return join(parts)


def _ranking(page: Page, chosen: Selection) -> Markup:
    state = page.state
    grid = w.ranking_grid(chosen)
    by_label = {optimizer_label(o): o for o in chosen.optimizers}
    link = [address(state, view="optimizer", optimizer=by_label[str(r["optimizer"])], cell=False) for r in grid.rows]
    alt = "Critical-difference diagram: mean ranks of the optimizers, bars join those that are not told apart"
    ranks = figure("critical-difference", alt, state) if chosen.board.info.analysis["ranking"] else Markup("")
    violin = figure("violin", "Violin plot: how the scores of each backbone spread over optimizers", state)
    return grid_table(grid, state, link.__getitem__) + ranks + violin


def _backbone(page: Page, chosen: Selection) -> Markup:
    state, board = page.state, chosen.board
    if state.backbone not in chosen.backbones:
        return pick(
            "Choose the backbone above or here:",
            "backbone",
            [(b, c.backbone_name(board, b)) for b in chosen.backbones],
            state,
        )
    grid = g.backbone_grid(chosen, state.backbone)
    by_label = {optimizer_label(o): o for o in chosen.optimizers}
    link = [address(state, view="table", optimizer=by_label[str(r["optimizer"])], cell=True) for r in grid.rows]
    name = c.backbone_name(board, state.backbone)
    parts = [Markup("<h3>{}</h3>").format(name), headline(backbone_headline(board, state.backbone))]
    parts.append(grid_table(grid, state, link.__getitem__))
    if board.runs(state.backbone):
        plain = replace(state, cell=False)
        parts.append(figure("curves", f"Training loss of {name} over epochs under each optimizer", plain))
    floors = [f.text for f in board.info.floors if f.backbone in (None, state.backbone)]
    if floors:
        parts.append(Markup("<h4>Floors</h4>{}").format(items(floors)))
    patterns = g.patterns_grid(chosen, state.backbone)
    if patterns is not None:
        alt = f"Weight patterns of {name} by layer and optimizer: entropy, norm, component energy, spectral exponent"
        table = Markup("<details><summary>Layer by layer</summary>{}</details>").format(grid_table(patterns, state))
        parts.append(Markup("<h4>Weight patterns</h4>{}{}").format(figure("patterns", alt, state), table))
    elif board.info.source != "published":
        parts.append(Markup("<p class=soft>No record of this backbone holds weight patterns.</p>"))
    return join(parts)


def _optimizer(page: Page, chosen: Selection) -> Markup:
    state, board = page.state, chosen.board
    if state.optimizer not in chosen.optimizers:
        return pick(
            "Choose the optimizer above or here:",
            "optimizer",
            [(o, optimizer_label(o)) for o in chosen.optimizers],
            state,
        )
    grid = g.optimizer_grid(chosen, state.optimizer)
    backbones = [b for b in chosen.backbones if chosen.shown(chosen.cell(b, state.optimizer))]
    link = [address(state, view="table", backbone=b, cell=True) for b in backbones]
    parts = [Markup("<h3>{}</h3>").format(optimizer_label(state.optimizer))]
    parts.append(headline(optimizer_headline(board, state.optimizer)))
    parts.append(grid_table(grid, state, link.__getitem__))
    if board.robustness is not None:
        alt = "Box plots of the tuning distance of each optimizer over its backbones"
        parts.append(figure("distance-by-optimizer", alt, state))
        parts.append(figure("trials", "Expected shortfall against the number of tuning trials, by optimizer", state))
    return join(parts)


def _coupling(page: Page, chosen: Selection) -> Markup:
    state, board = page.state, chosen.board
    if isinstance(board.info.analysis["points"], str):
        return Markup("<p class=empty>No decomposition: {}.</p>").format(board.info.analysis["points"])
    alt = "Heat map of the interaction residuals, rows and columns clustered so that alike ones stand together"
    return join(
        [
            headline(coupling_headline(board)),
            Markup("<p class=soft>Of the whole table; filters do not change what was computed.</p>"),
            grid_table(w.shares_grid(board), state),
            figure("interaction", alt, state),
            grid_table(w.indices_grid(board), state),
            Markup("<h3>All results in words</h3>{}").format(items(board.info.sentences)),
        ]
    )


def _cost(page: Page, chosen: Selection) -> Markup:
    state, board = page.state, chosen.board
    if board.info.source == "published":
        return Markup("<p class=empty>The study published no cost of a cell.</p>")
    if state.backbone not in chosen.backbones:
        return pick(
            "Choose the backbone above or here:",
            "backbone",
            [(b, c.backbone_name(board, b)) for b in chosen.backbones],
            state,
        )
    grid = g.cost_grid(chosen, state.backbone, state.axis)
    if grid is None:
        return Markup("<p class=empty>No cell of this backbone has a cost.</p>")
    alt = f"Accuracy against {AXES[state.axis]}: {c.backbone_name(board, state.backbone)}"
    return figure("pareto", alt, state) + grid_table(grid, state)


def _study(page: Page, chosen: Selection) -> Markup:
    study = page.study
    if study is None:
        return Markup("<p class=empty>This file does not hold the study's table.</p>")
    parts = [grid_table(w.study_grid(chosen, study), page.state)]
    for title, board in (("Here", chosen.board), ("The study", study)):
        claim = board.info.contrast or [s for s in board.info.sentences if s.startswith("Family contrast")][:1]
        parts.append(Markup("<h3>{}</h3>{}").format(title, items(claim or ["No family contrast in this table."])))
    shared = g.shared_grid(chosen, study)
    if shared is not None:
        parts.append(grid_table(shared, page.state))
    elif study is not chosen.board:
        parts.append(Markup("<p class=soft>The two tables have no cell in common.</p>"))
    return join(parts)


def _recommend(page: Page, chosen: Selection) -> Markup:
    state = page.state
    if not state.ask:
        intro = (
            "Name a backbone above: a timm name, or an id on the Hub; or choose one of this table. The answer is the "
            "smallest set of optimizers with expected regret of at most a point, with its evidence."
        )
        names = [(b, c.backbone_name(chosen.board, b)) for b in chosen.backbones]
        return pick(intro, "ask", names, state)
    return advise(state, asked(chosen.board, page.study))


def _missing(page: Page, chosen: Selection) -> Markup:
    info = chosen.board.info
    grid = g.missing_grid(chosen, lambda cell: train_command(info, cell))
    push, submit = (Markup("<code>{}</code>").format(command) for command in SUBMIT)
    return grid_table(grid, page.state) + Markup(
        "<h3>How to submit</h3><ol>"
        "<li>Tune with seed 0, train with three fresh seeds; <code>bocb sweep</code> does both. Another backbone or "
        "optimizer makes a new column or row; further seeds of a cell make its interval narrower.</li>"
        "<li>Publish what you trained: {}</li><li>Open a pull request on the results data set: {}</li>"
        "<li>A maintainer's CI runs <code>bocb validate</code> on it; once merged, the next <code>bocb publish</code> "
        "counts your runs.</li></ol>"
    ).format(push, submit)


_VIEWS: Mapping[str, Callable[[Page, Selection], Markup]] = {
    "table": _table,
    "ranking": _ranking,
    "backbone": _backbone,
    "optimizer": _optimizer,
    "coupling": _coupling,
    "cost": _cost,
    "study": _study,
    "recommend": _recommend,
    "missing": _missing,
}
