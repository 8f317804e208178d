"""The HTML report: one file that needs no other file and sends no request."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from bocb_hf.coupling.ledger import unequal
from bocb_hf.coupling.row import Row
from bocb_hf.coupling.table import Table
from bocb_hf.report.tabulate import TableResults
from bocb_hf.report.words.analysis import analysis_text
from bocb_hf.report.words.answer import answer_text, primary_text
from bocb_hf.report.words.comparisons import comparison_text
from bocb_hf.report.words.ledger import grid_text
from bocb_hf.report.words.rare import rare_text
from bocb_hf.report.words.tables import (
    backbone_label,
    cell_text,
    contrast_text,
    interval_text,
    interval_words,
    notes,
    optimizer_label,
    seeds_text,
    sign_of,
    span,
)
from bocb_hf.runs.record import RunRecord

_TEMPLATES = Path(__file__).resolve().parent / "templates"
MANY = 9  # largest number of rates that a cell of the ledger lists
_SELECTION = {"validation": "validation", "not_best": "validation, not the best trial", "untuned": "untuned"}


@dataclass(frozen=True)
class Section:
    """One table of the report with its figures.

    Attributes:
        results: The table and what is computed from it.
        figure: Heat map of the table as SVG.
        tuning: Figures of the table's trials as SVG, by what they show; empty where it has no trials.
        profiles: Figures that compare optimizers over backbones as SVG, by what they show.
    """

    results: TableResults
    figure: bytes
    tuning: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    profiles: Mapping[str, bytes] = field(default_factory=dict[str, bytes])


def render_report(
    sections: Sequence[Section],
    quarantined: Sequence[tuple[str, str, str]],
    store: str,
    places: Mapping[tuple[str, str], str],
) -> str:
    """Renders the report.

    Args:
        sections: Sections of the report, at least one; the first one leads.
        quarantined: (repository, path, reason) of everything that was left out.
        store: The store as the user named it, for the commands that the report prints.
        places: ``namespace/name/path`` of each record by (role, run id).

    Returns:
        One HTML document with inline style and figures; equal input gives equal text.
    """
    example = _example(sections[0].results.table)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"optimizer": optimizer_label, "backbone": backbone_label, "number": _number, "tried": tried}
    return environment.get_template("report.html.jinja").render(
        sections=[_section(section) for section in sections],
        quarantined=quarantined,
        environments=_environments(r for s in sections for r in s.results.table.records),
        store=store,
        example=example,
        example_place=places.get((example.completed[0].role, example.completed[0].run_id)) if example else None,
        sign_of=sign_of,
        cell_text=cell_text,
        interval_text=interval_text,
        selection=_SELECTION,
    )


def _section(section: Section) -> dict[str, Any]:
    """Returns what the template shows of one table."""
    table, floors, entries = section.results.table, section.results.floors, section.results.ledger
    found = section.results.findings
    runs = Counter(record.status for record in table.records)
    return {
        "table": table,
        "marks": section.results.marks,
        "interval_words": interval_words(section.results.marks, "over seeds, "),
        "summary": {
            "backbones": len(table.backbones),
            "optimizers": len(table.optimizers),
            "finals": ", ".join(f"{count} {status}" for status, count in sorted(runs.items())) or "none",
            "trials": sum(len(row.trials) for row in table.rows if row.shown),
            "epochs": span(record.identity.training.epochs for record in table.records),
            "parameters": span(record.cost.parameters for record in table.records),
            "seeds": seeds_text(row for row in table.rows if row.shown),
            "hours": sum(record.cost.wall_seconds for record in table.records) / 3600,
        },
        "floors": [floor for floor in floors if floor.backbone is None],
        "frozen": {floor.backbone: floor for floor in floors if floor.backbone is not None},
        "answer": answer_text(found.analysis, found.marks),
        "primary": primary_text(found.primary, found.analysis, section.results.contrast),
        "contrast": contrast_text(section.results.contrast, "Family contrast"),
        "analysis": analysis_text(found.analysis),
        "comparisons": comparison_text(found.comparisons, table.optimizers, found.profiles, found.times),
        "notes": [*rare_text(table), *notes(table, floors)],
        "figure": _inline(section.figure),
        "tuning": {title: _inline(svg) for title, svg in section.tuning.items()},
        "profiles": {title: _inline(svg) for title, svg in section.profiles.items()},
        "ledger": entries,
        "unequal": "; ".join(unequal(entries)),
        "grid": " ".join(grid_text(entries)),
    }


def _inline(svg: bytes) -> str:
    """Returns a figure as a data address that holds it."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")


def _environments(records: Iterable[RunRecord]) -> list[dict[str, Any]]:
    """Returns every combination of device and software, with its number of final runs, the most frequent first."""
    counts = Counter(environment_text(record) for record in records)
    return [
        {"runs": count, "text": text} for text, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def environment_text(record: RunRecord) -> str:
    """Returns device and software of a run in one line."""
    e = record.environment
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(e.libraries.items()))
    commit = f" ({e.code_commit[:12]}{'-dirty' * e.code_commit.endswith('-dirty')})" if e.code_commit else ""
    return (
        f"{e.device}, {e.processes} process(es) of {e.threads} thread(s), "
        f"{'deterministic' if e.deterministic else 'not deterministic'}; {e.platform}; Python {e.python}, {libraries}; "
        f"bocb-hf {e.code_version}{commit}"
    )


def _example(table: Table) -> Row | None:
    """Returns the row whose training command the report prints: the first completed one."""
    return next((row for row in table.rows if row.shown and row.n), None)


def tried(values: Sequence[float]) -> str:
    """Returns the values that were tried; of more than ``MANY`` the ends and their number."""
    if len(values) > MANY:
        return f"{len(values)} from {min(values):.3g} to {max(values):.3g}"
    return ", ".join(f"{value:.3g}" for value in values) or "–"


def _number(value: float | None, digits: int = 1) -> str:
    """Returns a number with fixed digits, or a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"
