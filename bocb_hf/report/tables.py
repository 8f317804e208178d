"""One table of scores in five formats: CSV, Parquet, JSON, Markdown and LaTeX, with the same numbers in each.

CSV, Parquet and JSON hold one row a cell and every digit. Markdown and LaTeX hold optimizers × backbones, rounded to
two digits; a cell is mean ± half of its 95 % interval (n), and never a number where nothing completed. The marks ★ and
☆ of ``coupling/marks.py`` are a column of the first three; LaTeX, whose fonts have no ★, shows it as bold.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from bocb_hf.coupling.ledger import ledger
from bocb_hf.coupling.marks import BEST, NEAR, Marks
from bocb_hf.coupling.pareto import AXES, pareto
from bocb_hf.coupling.robustness import robustness
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.table import Table
from bocb_hf.coupling.trials import expected_best, trial_curves, trial_scores
from bocb_hf.report.columns import winner_columns
from bocb_hf.report.words.holes import lacking
from bocb_hf.report.words.tables import backbone_label, interval_words, optimizer_label, reach_text
from bocb_hf.schema import one_line

DIGITS = 2
HALVED = "°"
ACROSS = 6  # backbones beside each other in Markdown and LaTeX; the others follow in a table of their own
_TEX = str.maketrans(
    {
        **{"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}"},
        **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"},
        **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}"},
        # at the beginning of a row these signs would be an option of the line break before; babel makes '"' a command
        **{"[": "{[}", "]": "{]}", "*": "{*}", '"': r"{\char34}"},
    }
)
_SIGNS = {
    **{"±": "$\\pm$", "–": "--", "κ": "$\\kappa$", "α": "$\\alpha$", "‖w‖₂": "$\\Vert w\\Vert_2$", "−": "$-$"},
    **{"★ ": "", "☆ ": "$\\star$ ", "°": "$^\\circ$", "…": "\\ldots{}", "×": "$\\times$"},
}
_MARKUP = re.compile(r"[\\`*|<>\[\]$~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def table_files(scores: ScoreTable, marks: Marks, name: str = "scores") -> dict[str, bytes]:
    """Renders a table of scores in all five formats, by file name; equal tables give equal bytes."""
    winning = {name: pd.array(values, dtype="Float64") for name, values in winner_columns(scores).items()}
    frame = score_frame(scores, marks).assign(**winning)
    return {
        f"{name}.csv": csv_bytes(frame),
        f"{name}.parquet": frame.to_parquet(index=False),
        f"{name}.json": json_rows(frame),
        f"{name}.md": markdown_table(scores, marks).encode(),
        f"{name}.tex": latex_table(scores, marks).encode(),
    }


def score_frame(scores: ScoreTable, marks: Marks) -> pd.DataFrame:
    """Makes a frame with one row for each cell; a cell that is not ranked has a status and no mean."""
    rows: list[dict[str, Any]] = []
    for b, backbone in enumerate(scores.backbones):
        for o, optimizer in enumerate(scores.optimizers):
            mean, (down, up) = float(scores.means[b, o]), marks.ends(b, o)
            known = math.isfinite(mean)
            rows.append(
                {
                    "source": scores.source,
                    "dataset": scores.dataset,
                    "setting": scores.setting,
                    "revision": scores.revision,
                    "metric": scores.metric,
                    "backbone": backbone,
                    "family": scores.families[b],
                    "optimizer": optimizer,
                    "category": scores.categories[o],
                    "config_hash": str(scores.config_hashes[b, o]) or None,
                    "status": str(scores.status[b, o]),
                    "n": int(scores.n[b, o]),
                    "diverged": int(scores.diverged[b, o]),
                    "seeds": _seeds(scores, b, o),
                    "mean": mean if known else None,
                    "low": mean - down if known and math.isfinite(down) else None,
                    "high": mean + up if known and math.isfinite(up) else None,
                    "failed": bool(marks.failed[b, o]) if marks.failed is not None else None,
                    "mark": str(marks.signs[b, o]) or None,
                    "mark_rule": marks.rule,
                    "interval_is": marks.reading if known and math.isfinite(up) else None,
                }
            )
    kinds = {"n": "Int64", "diverged": "Int64", "failed": "boolean"} | dict.fromkeys(("mean", "low", "high"), "Float64")
    # kinds hold names of types, which the stubs of pandas list one by one
    columns = {k: pd.array([row[k] for row in rows], dtype=kinds.get(k, "string")) for k in rows[0]}  # pyright: ignore
    return pd.DataFrame(columns)


def tuning_files(table: Table) -> dict[str, bytes]:
    """Renders the ledger, tuning distances, expected best of k trials and Pareto fronts of a table as CSV."""
    entries = [
        {key: " ".join(map(str, value)) if isinstance(value, tuple) else value for key, value in asdict(e).items()}
        for e in ledger(table)
    ]
    found = robustness(table)
    distances = [
        {
            **asdict(offset),
            "distance_in_backbone": by_backbone[offset.backbone].values[offset.optimizer],
            "distance_in_optimizer": by_optimizer[offset.optimizer].values[offset.backbone],
        }
        for by_backbone in [{d.name: d for d in found.by_backbone}]
        for by_optimizer in [{d.name: d for d in found.by_optimizer}]
        for offset in found.offsets
    ]
    frames = {
        "ledger.csv": entries,
        "distances.csv": distances,
        "trials.csv": [*_cell_trials(table), *_mean_trials(table)],
        "pareto.csv": _fronts(table),
    }
    filled = {name: pd.DataFrame(rows) for name, rows in frames.items() if rows}
    return {name: csv_bytes(frame) for name, frame in filled.items()}


def _cell_trials(table: Table) -> list[dict[str, Any]]:
    """Computes the expected best of k trials of each cell, with the range that holds 95 % of the draws."""
    return [
        {
            "backbone": row.cell.backbone,
            "optimizer": row.cell.optimizer,
            "k": best.k,
            "val_top1": best.mean,
            "low": best.range.low if best.range else None,
            "high": best.range.high if best.range else None,
            "no_result": best.no_result,
            "n": best.trials,
        }
        for row in table.rows
        if row.shown and row.trials
        for best in expected_best(*trial_scores(row.trials))
    ]


def _mean_trials(table: Table) -> list[dict[str, Any]]:
    """Computes the curves of the figure of trials: mean shortfall over backbones, with its 95 % interval over them."""
    return [
        {
            "backbone": "mean over backbones",
            "optimizer": curve.optimizer,
            "k": point.k,
            "shortfall": point.shortfall,
            "low": point.interval.low if point.interval else None,
            "high": point.interval.high if point.interval else None,
            "no_result": point.no_result,
            "n": point.backbones,
        }
        for curve in trial_curves(table)
        for point in curve.points
    ]


def _fronts(table: Table) -> list[dict[str, Any]]:
    return [
        {
            "backbone": front.backbone,
            "axis": axis,
            "optimizer": point.optimizer,
            "mean": point.mean,
            "low": point.interval.low if point.interval else None,
            "high": point.interval.high if point.interval else None,
            "n": point.n,
            "cost": point.cost,
            "on_front": point.on_front,
            "dominated_by": " ".join(point.dominated_by),
        }
        for backbone in table.backbones
        for axis in AXES
        for front in [pareto(table, backbone, axis)]
        for point in front.points
    ]


def json_rows(frame: pd.DataFrame) -> bytes:
    """Renders a frame as a JSON list of objects with every digit; a missing value is null."""
    columns = {name: frame[name].astype(object).tolist() for name in frame.columns}
    rows = [
        {name: None if pd.isna(values[i]) else values[i] for name, values in columns.items()} for i in range(len(frame))
    ]
    return (json.dumps(rows, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()


def markdown_table(scores: ScoreTable, marks: Marks) -> str:
    """Renders the table in Markdown, with the marks before the means and ★ in bold."""
    blocks: list[str] = []
    for block in _blocks(scores):
        head = ["optimizer", *(escape_markdown(backbone_label(scores.backbones[b])) for b in block)]
        lines = [head, ["---", *["---:"] * len(block)]]
        for o, optimizer in enumerate(scores.optimizers):
            cells = [(marks.signs[b, o], cell_text(scores, marks, b, o)) for b in block]
            shown = [f"**{sign} {text}**" if sign == BEST else f"{sign} {text}".lstrip() for sign, text in cells]
            lines.append([escape_markdown(optimizer_label(optimizer)), *shown])
        blocks.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
    return "\n\n".join([*blocks, escape_markdown(caption(scores, marks))]) + "\n"


def latex_table(scores: ScoreTable, marks: Marks) -> str:
    """Renders the table in LaTeX, for the package booktabs: ★ is bold, and a star stands before what has a ☆."""
    signs = f"bold: {BEST}; $\\star$: {NEAR}" if marks.near.any() else f"bold: {BEST}"
    blocks = [f"% needs \\usepackage{{booktabs}}; {signs}\n% {_comment(caption(scores, marks))}"]
    for block in _blocks(scores):
        head = " & ".join(["Optimizer", *(escape_tex(backbone_label(scores.backbones[b])) for b in block)])
        lines = [f"\\begin{{tabular}}{{l{'r' * len(block)}}}", "\\toprule", f"{head} \\\\", "\\midrule"]
        previous = scores.categories[0]
        for o, optimizer in enumerate(scores.optimizers):
            if scores.categories[o] != previous:
                lines.append("\\addlinespace")
                previous = scores.categories[o]
            cells = [escape_tex(optimizer_label(optimizer))]
            for b in block:
                tex = escape_tex(cell_text(scores, marks, b, o))
                sign = marks.signs[b, o]
                cells.append(f"\\textbf{{{tex}}}" if sign == BEST else f"$\\star$ {tex}" if sign == NEAR else tex)
            lines.append(" & ".join(cells) + " \\\\")
        blocks.append("\n".join([*lines, "\\bottomrule", "\\end{tabular}"]))
    return "\n\n".join(blocks) + "\n"


def cell_text(scores: ScoreTable, marks: Marks, b: int, o: int) -> str:
    """Returns a cell as text: ``84.40 ± 1.20 (2)``, ``84.40 (1)`` without an interval, or why there is no number."""
    status, n, diverged = str(scores.status[b, o]), int(scores.n[b, o]), int(scores.diverged[b, o])
    if status == "completed":
        down, up = marks.ends(b, o)
        interval = f" {reach_text(down, up, DIGITS)}" if math.isfinite(up) else ""
        sign = HALVED if marks.halved is not None and marks.halved[b, o] else ""
        return f"{scores.means[b, o]:.{DIGITS}f}{interval} ({n}){sign}"
    if status == "partial":
        return f"{diverged} of {n + diverged} diverged"
    return {"diverged": "diverged", "interrupted": "interrupted"}.get(status, "–")


def caption(scores: ScoreTable, marks: Marks) -> str:
    """Says in one line what a reader of the table must know."""
    counts = sorted({int(n) for n in scores.n[scores.ranked].ravel()})
    n = " to ".join(str(v) for v in dict.fromkeys([counts[0], counts[-1]])) if counts else "0"
    interval = f"{interval_words(marks, 'over seeds, ')} (n)"
    if not pd.notna(marks.halves).any():
        interval = "mean (n); no interval, for noise cannot be separated"
    told = lacking(scores)
    halved = marks.halved is not None and bool(marks.halved.any())
    note = f" {HALVED}: memory ran out, and batch norm saw fewer images at once than elsewhere." if halved else ""
    averaged = f", each the mean of {scores.trials_per_value} trials" if scores.trials_per_value > 1 else ""
    return (
        f"{scores.metric} in points, {interval}; {marks.sign_rule}; n = {n}{averaged}; "
        f"{scores.dataset}, setting {scores.setting}{', from ' + scores.start if scores.start else ''}, revision "
        f"{scores.revision}; source: {scores.source}.{note}"
        + (f" {int((~scores.ranked).sum())} of {scores.ranked.size} cells have no mean: {told}." if told else "")
    )


def _comment(text: str) -> str:
    """Returns text on one line, so that it cannot leave the comment that it stands in."""
    return one_line(text, len(text))


def escape_tex(text: str) -> str:
    """Escapes text for LaTeX, on one line, so that no sign in it is obeyed. Signs of the tables become commands."""
    plain = one_line(text, len(text)).translate(_TEX)
    for sign, tex in _SIGNS.items():
        plain = plain.replace(sign, tex)
    return plain


def escape_markdown(text: str) -> str:
    """Escapes text for Markdown, on one line, in a cell of a table or outside, so that no sign in it is obeyed.

    Underscores inside a name stay as they are, since they mark nothing there.
    """
    return _MARKUP.sub(lambda match: f"\\{match.group()}", one_line(text, len(text)))


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """Renders a frame as CSV. Text that a spreadsheet would take for a formula gets an apostrophe in front."""
    safe = frame.copy()
    for name in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[name].dtype):
            safe[name] = [csv_cell(value) for value in safe[name]]
    return safe.to_csv(index=False, lineterminator="\n").encode()


def csv_cell(value: Any) -> Any:
    """Returns a value as a cell of CSV; a value that is not text stays as it is."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _blocks(scores: ScoreTable) -> Sequence[range]:
    count = len(scores.backbones)
    return [range(start, min(start + ACROSS, count)) for start in range(0, count, ACROSS)]


def _seeds(scores: ScoreTable, b: int, o: int) -> str | None:
    """Returns the seeds of a cell's scores; None where the source does not tell them."""
    if scores.trials_per_value > 1:
        return None
    return " ".join(str(s) for s, v in zip(scores.seeds, scores.values[b, o], strict=True) if math.isfinite(v)) or None
