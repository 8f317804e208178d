"""What opens when a cell is clicked: its runs, curve, trials, hyper-parameters, commands and links."""

from __future__ import annotations

from collections.abc import Sequence

from huggingface_hub import constants
from markupsafe import Markup

from bocb_hf.leaderboard import columns as c
from bocb_hf.leaderboard import grids as g
from bocb_hf.leaderboard.commands import reproduce_command, train_command
from bocb_hf.leaderboard.markup import address, figure, grid_table, items, join, pairs
from bocb_hf.leaderboard.read import Board, CellRow, RunRow
from bocb_hf.leaderboard.state import Selection, State
from bocb_hf.report.words.tables import optimizer_label
from bocb_hf.schema import HUB_SCHEME


def cell_page(chosen: Selection, state: State) -> Markup:
    """The page of the state's backbone and optimizer."""
    board = chosen.board
    cell = chosen.cell(state.backbone, state.optimizer)
    info = board.cell_info(cell)
    runs = board.runs(*cell.key)
    shown = [run for run in runs if run.config_hash == cell.config_hash]
    title = f"{c.backbone_name(board, cell.backbone)} × {optimizer_label(cell.optimizer)}"
    parts = [Markup("<p class=big>{}</p>").format(_summary(cell, board.reading))]
    if info.failure_low is not None and cell.diverged:
        parts.append(
            Markup("<p>{} of {} runs diverged; probability to diverge [{}, {}] % (95 %, Wilson).</p>").format(
                cell.diverged, cell.diverged + cell.n, f"{info.failure_low:.0f}", f"{info.failure_high:.0f}"
            )
        )
    if info.survivor_mean is not None:
        parts.append(Markup("<p>Mean of the survivors, never ranked: {}.</p>").format(f"{info.survivor_mean:.1f}"))
    if runs:
        parts.append(grid_table(g.runs_grid(board, cell, runs), state))
        parts.append(figure("curves", f"Training loss of {title} over epochs, each seed of this cell", state))
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
                items(trials), info.selection or "nobody yet", edge
            )
        )
    if info.others:
        lines = [
            f"{o.config_hash}: " + (f"{o.mean:.2f}" if o.mean is not None else "no score") + f", n = {o.n}"
            for o in info.others
        ]
        parts.append(Markup("<h4>Other configurations, never pooled</h4>{}").format(items(lines)))
    return Markup(
        '<article class=cell id=cell tabindex=-1 aria-label="{0}"><a class=close href="{1}">Close</a><h3>{0}</h3>{2}'
        "</article>"
    ).format(title, address(state, cell=False, backbone="", optimizer=""), join(parts))


def _summary(cell: CellRow, reading: str) -> str:
    if cell.mean is None:
        return c.STATUS.get(cell.status, cell.status)
    text = f"{cell.mean:.2f}"
    if cell.low is not None and cell.high is not None:
        text += f", 95 % [{cell.low:.2f}, {cell.high:.2f}] over seeds, {reading}"
    seeds = f" (seeds {', '.join(map(str, cell.seeds))})" if cell.seeds else ""
    return f"{text}; n = {cell.n}{seeds}; rank {cell.rank} of its backbone"


def _why_no_runs(board: Board) -> str:
    if board.info.source == "published":
        return "The study published a mean, no runs. This trains the cell under the study's setting:"
    return "Nobody has finished a run here. This trains it:"


def _details(board: Board, runs: Sequence[RunRow]) -> Markup:
    run = runs[0]
    parts: list[Markup] = []
    if board.info.origin.startswith(HUB_SCHEME):
        links = [
            Markup('<li><a href="{}" rel=noopener target=_blank>{}, seed {}</a></li>').format(
                f"{constants.ENDPOINT}/{r.repository}/tree/main/{r.info.path.rpartition('/')[0]}", r.repository, r.seed
            )
            for r in runs
        ]
        parts.append(Markup("<h4>Checkpoints and records</h4><ul>{}</ul>").format(join(links)))
        parts.append(
            Markup("<pre>{}</pre>").format(
                f"import bocb_hf\nmodel = bocb_hf.load_backbone({run.repository!r}, seed={run.seed})"
            )
        )
    parts.append(Markup("<h4>Train it again</h4><pre>{}</pre>").format(reproduce_command(board.info, run)))
    diagnosis = [f"seed {r.seed}: {text}" for r in runs for text in r.info.diagnosis]
    if diagnosis:
        parts.append(Markup("<h4>What its curves show</h4>{}").format(items(diagnosis)))
    parts.append(
        Markup("<details><summary>Hyper-parameters</summary>{}</details>").format(pairs(run.info.hyperparameters))
    )
    spent = dict(run.info.cost) | {"environment": run.info.environment, "finished": run.info.finished_at}
    parts.append(
        Markup("<details><summary>Cost and environment of seed {}</summary>{}</details>").format(run.seed, pairs(spent))
    )
    return join(parts)
