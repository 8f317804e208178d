"""Each view as HTML. Every value is escaped on its way in; nothing here computes or draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from huggingface_hub import constants
from markupsafe import Markup

from bocb_hf.coupling.pareto import AXES
from bocb_hf.coupling.words import optimizer_label
from bocb_hf.leaderboard import grids as g
from bocb_hf.leaderboard.advice import advise
from bocb_hf.leaderboard.commands import SUBMIT, reproduce_command, train_command
from bocb_hf.leaderboard.read import Board, CellRow, RunRow
from bocb_hf.leaderboard.state import VIEWS, Selection, State, select
from bocb_hf.optim import CATEGORIES
from bocb_hf.store import SCHEME

SHADES = 12  # classes g0 (the best) to g11 of the style sheet
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
        body = Markup("<p class=empty>No backbone or no optimizer passes these filters.</p>")
    else:
        body = _VIEWS[state.view](page, chosen)
    html = Markup('<section class="bocb" data-view="{}" data-query="{}" aria-label="{}">{}{}{}</section>').format(
        state.view, state.query(), VIEWS[state.view], _head(chosen, state), _join(notices), body
    )
    return str(html).translate(_SEAL)


def _head(chosen: Selection, state: State) -> Markup:
    board = chosen.board
    info = board.info
    cells = [board.cells[b, o] for b in chosen.backbones for o in chosen.optimizers]
    filtered = f" {len(chosen.hidden)} of {len(cells)} cells are filtered out." if chosen.hidden else ""
    return Markup("<h2>{}</h2><p class=soft>{} backbones × {} optimizers. {}{}</p>").format(
        info.title, len(chosen.backbones), len(chosen.optimizers), g.basis(board), filtered
    )


def _join(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)


def _items(sentences: Iterable[str]) -> Markup:
    items = [Markup("<li>{}</li>").format(text) for text in sentences]
    return Markup("<ul>{}</ul>").format(_join(items)) if items else Markup("")


def _files(name: str, kinds: Sequence[str], state: State) -> Markup:
    """Links that download."""
    links = [
        Markup('<a href="export/{}.{}?{}" download>{}</a>').format(name, kind, state.query(), kind.upper())
        for kind in kinds
    ]
    return Markup("<p class=files>Download {}</p>").format(Markup(" · ").join(links))


def _grid(grid: g.Grid | None, state: State, link: Callable[[int], str] | None = None) -> Markup:
    """A table with its caption and files; ``link`` gives the address of a row."""
    if grid is None or not grid.rows:
        return Markup("<p class=empty>Nothing to show here.</p>") if grid is None or not grid.caption else Markup(
            "<p class=empty>{}</p>"
        ).format(grid.caption)
    head = _join(
        Markup('<th scope=col{}>{}</th>').format(Markup(" class=num") if c.number else "", c.label)
        for c in grid.columns
    )
    rows: list[Markup] = []
    for i, row in enumerate(grid.rows):
        texts = [column.text(row) for column in grid.columns]
        first = Markup('<a href="{}">{}</a>').format(link(i), texts[0]) if link else texts[0]
        cells = [Markup("<th scope=row>{}</th>").format(first)]
        cells += [
            Markup("<td{}>{}</td>").format(Markup(" class=num") if c.number else "", text)
            for c, text in zip(grid.columns[1:], texts[1:], strict=True)
        ]
        rows.append(Markup("<tr{}>{}</tr>").format(Markup(" class=marked") if i in grid.marked else "", _join(cells)))
    table = Markup(
        "<div class=scroll tabindex=0 role=region aria-label='{}'><table class=grid><caption>{}</caption>"
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(grid.name, grid.caption, head, _join(rows))
    return table + _files(grid.name, ("csv", "tex"), state)


def _figure(name: str, alt: str, state: State) -> Markup:
    return Markup(
        '<figure><img src="export/{}.svg?{}" alt="{}" loading=lazy><figcaption>{}</figcaption></figure>'
    ).format(name, state.query(), alt, _files(name, ("png", "svg"), state))


def _address(state: State, **changes: object) -> str:
    return "?" + replace(state, **changes).query()  # pyright: ignore[reportArgumentType]


# --- the table


def _table(page: Page, chosen: Selection) -> Markup:
    state = page.state
    parts = [_heat(chosen, state), _legend(chosen), _files("table", ("csv", "tex"), state)]
    parts.append(_files("heatmap", ("png", "svg"), state))
    if state.cell:
        parts.append(_cell_page(page, chosen))
    info = chosen.board.info
    if info.contrast:
        parts.append(Markup("<h3>The study's claim in this table</h3>{}").format(_items(info.contrast)))
    if info.floors:
        lines = [
            f"{f.name}: {f.top1:.1f}" + (f", 95 % [{f.low:.1f}, {f.high:.1f}] over {f.n} test images" if f.n else "")
            for f in info.floors
        ]
        parts.append(Markup("<h3>Floors</h3>{}").format(_items(lines)))
    if info.notes:
        parts.append(Markup("<h3>Notes</h3>{}").format(_items(info.notes)))
    ledger = g.ledger_grid(chosen.board)
    if ledger is not None:
        parts.append(Markup("<h3>Was tuning fair?</h3>{}{}").format(_items(info.fairness), _grid(ledger, state)))
    return _join(parts)


def _heat(chosen: Selection, state: State) -> Markup:
    """Optimizers × backbones. Cells are told by their place, so that 6,000 of them stay small."""
    board = chosen.board
    info = board.info
    families = dict(zip(info.backbones, info.families, strict=True))
    groups = [(family, list(members)) for family, members in groupby(chosen.backbones, families.__getitem__)]
    top = _join(
        Markup("<th scope=colgroup colspan={}>{}</th>").format(len(members), g.FAMILIES.get(family, family))
        for family, members in groups
    )
    turned = " turned" if len(chosen.backbones) > 8 else ""
    heads = _join(
        Markup('<th scope=col title="{0}"><a href="{1}">{2}</a></th>').format(
            b, _address(state, view="backbone", backbone=b, cell=False), g.backbone_name(board, b)
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
                _address(state, view="optimizer", optimizer=optimizer, cell=False),
                optimizer_label(optimizer),
            )
            body.append(
                Markup("<tr{}>{}{}</tr>").format(Markup(" class=first") if i == 0 else "", head, Markup(cells))  # noqa: S704
            )
    return Markup(
        '<div class="scroll heat{}"><table class="heat" role=grid aria-label="{}" data-backbones="{}" '
        'data-optimizers="{}"><thead><tr><th rowspan=2 scope=col>optimizer</th>{}</tr><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table></div>"
    ).format(
        turned,
        f"{info.metric} in points, optimizers by backbones; arrow keys move, Enter opens a cell",
        "|".join(chosen.backbones),
        "|".join(chosen.optimizers),
        top,
        heads,
        _join(body),
    )


def _shades(chosen: Selection) -> tuple[dict[tuple[str, str], int], float]:
    """The class of each ranked cell: points below the best of its backbone on a square-root scale, as in the figure.

    Returns:
        The classes by (backbone, optimizer), and the points at which the scale ends.
    """
    board = chosen.board
    gaps: dict[tuple[str, str], float] = {}
    for b in chosen.backbones:
        means = [m for o in board.info.optimizers if (m := board.cells[b, o].mean) is not None]
        best = max(means, default=0.0)
        for o in chosen.optimizers:
            if (mean := board.cells[b, o].mean) is not None:
                gaps[b, o] = best - mean
    most = max(5.0, max(gaps.values(), default=0.0))
    return {key: min(SHADES - 1, int(SHADES * math.sqrt(gap / most))) for key, gap in gaps.items()}, most


def _heat_cell(chosen: Selection, backbone: str, optimizer: str, shade: Mapping[tuple[str, str], int]) -> str:
    """Numbers only, but for words of ours, so there is nothing to escape."""
    cell = chosen.cell(backbone, optimizer)
    if not chosen.shown(cell):
        return "<td class=hid><b>·</b><i>filtered</i>"
    runs = f"n{cell.n}"
    if cell.mean is not None:
        sign = "★" if cell.rank == 1 else "☆" if cell.near_best else ""
        half = f"±{(cell.high - cell.low) / 2:.1f} " if cell.low is not None and cell.high is not None else ""
        failed = " x" if cell.failed else ""
        return f'<td class="g{shade[cell.key]}{failed}"><b>{sign}{cell.mean:.1f}</b><i>{half}{runs}</i>'
    if cell.status == "diverged":
        return f"<td class=div><b>diverged</b><i>{cell.diverged}/{cell.diverged}</i>"
    if cell.status == "partial":
        return f"<td class=div><b>{cell.n}/{cell.n + cell.diverged}</b><i>rest diverged</i>"
    if cell.status == "interrupted":
        return "<td class=mis><b>–</b><i>not finished</i>"
    return "<td class=mis><b>–</b><i>not run</i>"


def _legend(chosen: Selection) -> Markup:
    scale = Markup("").join(Markup('<span class="g{}"></span>').format(i) for i in range(SHADES))
    intervals = "" if chosen.board.single else " ± is half of the 95 % interval over seeds;"
    return Markup(
        "<p class=legend><span class=scale aria-hidden=true>{}</span> points below the best optimizer of the same "
        "backbone, from 0 to {} on a square-root scale; colours compare within a column.{} n: completed runs. ★ best, ☆ inside the best's "
        "interval, <span class=corner>◥</span> failed (over 2 points below the median, interval included); hatched: "
        "diverged; dashed: not run.</p>"
    ).format(scale, f"{_shades(chosen)[1]:.0f}", intervals)


# --- one cell


def _cell_page(page: Page, chosen: Selection) -> Markup:
    state, board = page.state, chosen.board
    cell = chosen.cell(state.backbone, state.optimizer)
    info = board.cell_info(cell)
    runs = board.runs(*cell.key)
    shown = [run for run in runs if run.config_hash == cell.config_hash]
    title = f"{g.backbone_name(board, cell.backbone)} × {optimizer_label(cell.optimizer)}"
    parts = [Markup("<p class=big>{}</p>").format(_summary(cell))]
    if info.failure_low is not None and cell.diverged:
        parts.append(
            Markup("<p>{} of {} runs diverged; probability to diverge [{}, {}] % (95 %, Wilson).</p>").format(
                cell.diverged, cell.diverged + cell.n, f"{info.failure_low:.0f}", f"{info.failure_high:.0f}"
            )
        )
    if info.survivor_mean is not None:
        parts.append(Markup("<p>Mean of the survivors, never ranked: {}.</p>").format(f"{info.survivor_mean:.1f}"))
    if runs:
        parts.append(_grid(g.runs_grid(board, cell, runs), state))
        parts.append(_figure("curves", f"Training loss of {title} over epochs, each seed of this cell", state))
        parts.append(_details(board, shown or runs))
    else:
        parts.append(Markup("<p>{}</p><pre>{}</pre>").format(_why_no_runs(board), train_command(board.info, cell)))
    if info.trials:
        edge = " The winner lies at the edge of the grid: a better one may lie beyond." if info.edge else ""
        trials = [
            f"lr {t.lr:g}, decay {t.weight_decay:g}: " + ("diverged" if t.val_top1 is None else f"{t.val_top1:.2f}")
            for t in info.trials
        ]
        parts.append(
            Markup("<h4>Tuning trials, validation top-1</h4>{}<p class=soft>Chosen by {}.{}</p>").format(
                _items(trials), info.selection or "nobody yet", edge
            )
        )
    if info.others:
        lines = [
            f"{o.config_hash}: " + (f"{o.mean:.2f}" if o.mean is not None else "no score") + f", n = {o.n}"
            for o in info.others
        ]
        parts.append(Markup("<h4>Other configurations, never pooled</h4>{}").format(_items(lines)))
    return Markup(
        '<article class=cell id=cell tabindex=-1 aria-label="{0}"><h3>{0}</h3>{1}</article>'
    ).format(title, _join(parts))


def _summary(cell: CellRow) -> str:
    if cell.mean is None:
        return g.STATUS.get(cell.status, cell.status)
    text = f"{cell.mean:.2f}"
    if cell.low is not None and cell.high is not None:
        text += f", 95 % [{cell.low:.2f}, {cell.high:.2f}] over seeds"
    seeds = f" (seeds {', '.join(map(str, cell.seeds))})" if cell.seeds else ""
    return f"{text}; n = {cell.n}{seeds}; rank {cell.rank} of its backbone"


def _why_no_runs(board: Board) -> str:
    if board.info.source == "published":
        return "The study published a mean, no runs. This trains the cell under the study's setting:"
    return "Nobody has finished a run here. This trains it:"


def _details(board: Board, runs: Sequence[RunRow]) -> Markup:
    run = runs[0]
    parts: list[Markup] = []
    if board.info.origin.startswith(SCHEME):
        links = [
            Markup('<li><a href="{}" rel=noopener target=_blank>{}, seed {}</a></li>').format(
                f"{constants.ENDPOINT}/{r.repository}/tree/main/{r.info.path.rpartition('/')[0]}", r.repository, r.seed
            )
            for r in runs
        ]
        parts.append(Markup("<h4>Checkpoints and records</h4><ul>{}</ul>").format(_join(links)))
        parts.append(
            Markup("<pre>{}</pre>").format(
                f"import bocb_hf\nmodel = bocb_hf.load_backbone({run.repository!r}, seed={run.seed})"
            )
        )
    parts.append(Markup("<h4>Train it again</h4><pre>{}</pre>").format(reproduce_command(board.info, run)))
    diagnosis = [f"seed {r.seed}: {text}" for r in runs for text in r.info.diagnosis]
    if diagnosis:
        parts.append(Markup("<h4>What its curves show</h4>{}").format(_items(diagnosis)))
    parts.append(Markup("<details><summary>Hyper-parameters</summary>{}</details>").format(
        _pairs(run.info.hyperparameters)))
    spent = dict(run.info.cost) | {"environment": run.info.environment, "finished": run.info.finished_at}
    parts.append(Markup("<details><summary>Cost and environment of seed {}</summary>{}</details>").format(
        run.seed, _pairs(spent)))
    return _join(parts)


def _pairs(values: Mapping[str, str]) -> Markup:
    rows = [Markup("<tr><th scope=row>{}</th><td>{}</td></tr>").format(k, v) for k, v in values.items()]
    return Markup("<div class=scroll><table class=grid>{}</table></div>").format(_join(rows))


# --- the other views


def _ranking(page: Page, chosen: Selection) -> Markup:
    state = page.state
    grid = g.ranking_grid(chosen)
    by_label = {optimizer_label(o): o for o in chosen.optimizers}
    link = [_address(state, view="optimizer", optimizer=by_label[str(r["optimizer"])], cell=False) for r in grid.rows]
    alt = "Critical-difference diagram: mean ranks of the optimizers, bars join those that are not told apart"
    figure = _figure("critical-difference", alt, state) if chosen.board.info.analysis["ranking"] else Markup("")
    violin = _figure("violin", "Violin plot: how the scores of each backbone spread over optimizers", state)
    return _grid(grid, state, link.__getitem__) + figure + violin


def _backbone(page: Page, chosen: Selection) -> Markup:
    state, board = page.state, chosen.board
    if state.backbone not in chosen.backbones:
        return _pick("backbone", [(b, g.backbone_name(board, b)) for b in chosen.backbones], state)
    grid = g.backbone_grid(chosen, state.backbone)
    by_label = {optimizer_label(o): o for o in chosen.optimizers}
    link = [_address(state, view="table", optimizer=by_label[str(r["optimizer"])], cell=True) for r in grid.rows]
    name = g.backbone_name(board, state.backbone)
    parts = [Markup("<h3>{}</h3>").format(name), _grid(grid, state, link.__getitem__)]
    if board.runs(state.backbone):
        plain = replace(state, cell=False)
        parts.append(_figure("curves", f"Training loss of {name} over epochs under each optimizer", plain))
    floors = [
        f"{f.name}: {f.top1:.1f}" + (f", 95 % [{f.low:.1f}, {f.high:.1f}], {f.n} images" if f.n else "")
        for f in board.info.floors
        if f.backbone in (None, state.backbone)
    ]
    if floors:
        parts.append(Markup("<h4>Floors</h4>{}").format(_items(floors)))
    parts.append(Markup("<p class=soft>No record here holds weight patterns; none are shown.</p>"))
    return _join(parts)


def _optimizer(page: Page, chosen: Selection) -> Markup:
    state, board = page.state, chosen.board
    if state.optimizer not in chosen.optimizers:
        return _pick("optimizer", [(o, optimizer_label(o)) for o in chosen.optimizers], state)
    grid = g.optimizer_grid(chosen, state.optimizer)
    backbones = [b for b in chosen.backbones if chosen.shown(chosen.cell(b, state.optimizer))]
    link = [_address(state, view="table", backbone=b, cell=True) for b in backbones]
    parts = [Markup("<h3>{}</h3>").format(optimizer_label(state.optimizer)), _grid(grid, state, link.__getitem__)]
    if board.robustness is not None:
        alt = "Box plots of the tuning distance of each optimizer over its backbones"
        parts.append(_figure("distance-by-optimizer", alt, state))
        parts.append(_figure("trials", "Expected shortfall against the number of tuning trials, by optimizer", state))
    return _join(parts)


def _pick(what: str, names: Sequence[tuple[str, str]], state: State) -> Markup:
    links = [
        Markup('<li><a href="{}">{}</a></li>').format(_address(state, cell=False, **{what: key}), text)
        for key, text in names
    ]
    return Markup("<p>Choose the {} above or here:</p><ul class=picks>{}</ul>").format(what, _join(links))


def _coupling(page: Page, chosen: Selection) -> Markup:
    state, board = page.state, chosen.board
    if isinstance(board.info.analysis["points"], str):
        return Markup("<p class=empty>No decomposition: {}.</p>").format(board.info.analysis["points"])
    alt = "Heat map of the interaction residuals, rows and columns clustered so that alike ones stand together"
    return _join(
        [
            Markup("<p class=soft>Of the whole table; filters do not change what was computed.</p>"),
            _items(board.info.sentences),
            _grid(g.shares_grid(board), state),
            _figure("interaction", alt, state),
            _grid(g.indices_grid(board), state),
        ]
    )


def _cost(page: Page, chosen: Selection) -> Markup:
    state, board = page.state, chosen.board
    if board.info.source == "published":
        return Markup("<p class=empty>The study published no cost of a cell.</p>")
    if state.backbone not in chosen.backbones:
        return _pick("backbone", [(b, g.backbone_name(board, b)) for b in chosen.backbones], state)
    grid = g.cost_grid(chosen, state.backbone, state.axis)
    if grid is None:
        return Markup("<p class=empty>No cell of this backbone has a cost.</p>")
    alt = f"Accuracy against {AXES[state.axis]}: {g.backbone_name(board, state.backbone)}"
    return _figure("pareto", alt, state) + _grid(grid, state)


def _study(page: Page, chosen: Selection) -> Markup:
    study = page.study
    if study is None:
        return Markup("<p class=empty>This file does not hold the study's table.</p>")
    parts = [_grid(g.study_grid(chosen, study), page.state)]
    for title, board in (("Here", chosen.board), ("The study", study)):
        claim = board.info.contrast or [s for s in board.info.sentences if s.startswith("Family contrast")][:1]
        parts.append(Markup("<h3>{}</h3>{}").format(title, _items(claim or ["No family contrast in this table."])))
    shared = g.shared_grid(chosen, study)
    if shared is not None:
        parts.append(_grid(shared, page.state))
    elif study is not chosen.board:
        parts.append(Markup("<p class=soft>The two tables have no cell in common.</p>"))
    return _join(parts)


def _recommend(page: Page, chosen: Selection) -> Markup:
    state = page.state
    if not state.ask:
        return Markup(
            "<p>Name a backbone above: one of a table, a timm name, or an id on the Hub. The answer is the smallest set "
            "of optimizers with expected regret of at most a point, with its evidence.</p>"
        )
    boards = [chosen.board, *([page.study] if page.study is not None and page.study is not chosen.board else [])]
    return Markup("<pre class=answer>{}</pre>").format(advise(state.ask, tuple(boards)))


def _missing(page: Page, chosen: Selection) -> Markup:
    info = chosen.board.info
    grid = g.missing_grid(chosen, lambda cell: train_command(info, cell))
    steps = ["Train it (the command of its row), with three seeds, after tuning with seed 0: `bocb sweep` does both."]
    steps += [f"Publish: {SUBMIT[0]}", f"Open a pull request on the results data set: {SUBMIT[1]}"]
    steps.append("A maintainer's CI runs `bocb validate` on it; once merged, the next `bocb publish` counts your runs.")
    return _grid(grid, page.state) + Markup("<h3>How to submit</h3>{}").format(_items(steps))


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
