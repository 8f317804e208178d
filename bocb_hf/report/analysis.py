"""Writes the analysis as files and text: ``analysis.json`` beside the tables, and sentences for the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from bocb_hf.coupling.contrast_variants import loss_contrast
from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.primary import Primary
from bocb_hf.coupling.published import PUBLISHED, Published, published, published_ranking, published_spreads
from bocb_hf.coupling.published.transfer import published_transfer
from bocb_hf.coupling.transfer import analyse_transfer
from bocb_hf.files import write_atomically
from bocb_hf.report.findings import Findings, find, findings_plain
from bocb_hf.report.outputs import Outputs, wrap
from bocb_hf.report.tabulate import Tabulated
from bocb_hf.report.transfer import transfer_blocks, transfer_lead, write_transfer
from bocb_hf.report.words.analysis import analysis_text, variant_text
from bocb_hf.report.words.comparisons import comparison_text
from bocb_hf.report.words.study_rules import study_sections
from bocb_hf.report.words.summary import LINES, lead_text, summary_text


def analyse_published(
    name: str, rules: str, out_dir: Path, draws: int, full: bool = True, primary: Primary | None = None
) -> Outputs:
    """Analyses a published table; with ``rules="paper"``, the results of the study's own rules come first.

    Args:
        name: The table.
        rules: ``paper`` adds the study's own rules to the full text.
        out_dir: Folder to write to.
        draws: Tables that each bootstrap draws.
        full: Whether to return all that is to be said, or the answer in few lines.
        primary: The statistic to lead with; None takes the default.

    Raises:
        InputError: There is no such table, or the folder cannot be written.
    """
    scores = published(cast(Published, name))
    found = find(scores, Marks.of(scores, draws=2 * draws), draws=draws, primary=primary)
    analysis = found.analysis
    three_way = published_transfer(cast(Published, name))
    transfers = [] if three_way is None else [analyse_transfer(three_way, draws)]
    if not full:
        lead = transfer_lead(transfers)
        text = "\n".join([summary_text(found, lines=LINES - 2 - len(lead)), *lead])
        return Outputs([_write([found], out_dir), *write_transfer(transfers, out_dir)], text)
    blocks: list[str] = []
    if rules == "paper":
        printed = name == PUBLISHED[0]
        tables, sentences = study_sections(
            scores,
            analysis.failures,
            published_spreads() if printed else None,
            published_ranking() if printed else None,
        )
        blocks += [*tables, "\n".join(map(wrap, sentences))]
    blocks.append("\n".join(map(wrap, [*analysis_text(analysis), *_compared(found)])))
    blocks.insert(0, lead_text(found))
    blocks += transfer_blocks(transfers)
    return Outputs([_write([found], out_dir), *write_transfer(transfers, out_dir)], "\n\n".join(blocks))


def answer_records(tabulated: Tabulated) -> str:
    """Returns answer and primary statistic of every table of a store, which come before all else."""
    return "\n\n".join(lead_text(result.findings, result.contrast) for result in tabulated.results)


def summarize_records(tabulated: Tabulated) -> str:
    """Returns the answer of a store in few lines (``words/summary.py``)."""
    first, *further = tabulated.results
    lead = transfer_lead(tabulated.transfers)
    text = summary_text(
        first.findings,
        first.table,
        first.floors,
        first.contrast,
        [result.findings for result in further],
        len(tabulated.contents.quarantined),
        LINES - 2 - len(lead),
    )
    return "\n".join([text, *lead])


def analyse_records(tabulated: Tabulated, rules: str, out_dir: Path) -> Outputs:
    """Writes the analysis of each table of a store, and returns all that is to be said of it.

    Raises:
        InputError: The folder cannot be written.
    """
    blocks: list[str] = []
    for result in tabulated.results:
        table, scores, analysis = result.table, result.scores, result.findings.analysis
        sentences = [*analysis_text(analysis), *_compared(result.findings)]
        losses = loss_contrast(table, scores)
        if losses is not None:
            sentences.append(variant_text(losses) + " Positive: SGD trains CNNs to a higher loss than adaptive ones.")
        if rules == "paper":
            tables, printed = study_sections(scores, analysis.failures, None, None)
            blocks += [*tables, "\n".join(map(wrap, printed))]
        blocks.append("\n".join(map(wrap, sentences)))
    blocks += transfer_blocks(tabulated.transfers)
    paths = [_write([result.findings for result in tabulated.results], out_dir)]
    return Outputs([*paths, *write_transfer(tabulated.transfers, out_dir)], "\n\n".join(blocks))


def _compared(found: Findings) -> list[str]:
    return comparison_text(found.comparisons, found.analysis.scores, found.profiles, found.times)


def _write(findings: Sequence[Findings], out_dir: Path) -> Path:
    """Writes ``analysis.json``: a list with one entry for each table."""
    text = (
        json.dumps([findings_plain(found) for found in findings], indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    )
    return write_atomically(out_dir / "analysis.json", text.encode())
