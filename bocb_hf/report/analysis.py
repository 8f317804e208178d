"""Writes the analysis as files and text: ``analysis.json`` beside the tables, and sentences for the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from bocb_hf.coupling.analysis import Analysis, analyse, to_plain
from bocb_hf.coupling.contrast_variants import loss_contrast
from bocb_hf.coupling.published import PUBLISHED, Published, published, published_ranking, published_spreads
from bocb_hf.files import write_atomically
from bocb_hf.report.outputs import Outputs, wrap
from bocb_hf.report.tabulate import Tabulated
from bocb_hf.report.words.analysis import analysis_text, variant_text
from bocb_hf.report.words.study_rules import study_sections


def analyse_published(name: str, rules: str, out_dir: Path, draws: int) -> Outputs:
    """Analyses a published table; with ``rules="paper"``, the results of the study's own rules come first.

    Raises:
        InputError: There is no such table, or the folder cannot be written.
    """
    scores = published(cast(Published, name))
    analysis = analyse(scores, draws)
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
    blocks.append("\n".join(map(wrap, analysis_text(analysis))))
    return Outputs([_write([analysis], out_dir)], "\n\n".join(blocks))


def analyse_records(tabulated: Tabulated, rules: str, out_dir: Path, draws: int) -> Outputs:
    """Analyses each table of a store.

    Raises:
        InputError: The folder cannot be written.
    """
    found: list[Analysis] = []
    blocks: list[str] = []
    for result in tabulated.results:
        table, scores = result.table, result.scores
        analysis = analyse(scores, draws, marks=result.marks)
        found.append(analysis)
        sentences = analysis_text(analysis)
        losses = loss_contrast(table, scores)
        if losses is not None:
            sentences.append(variant_text(losses) + " Positive: SGD trains CNNs to a higher loss than adaptive ones.")
        if rules == "paper":
            tables, printed = study_sections(scores, analysis.failures, None, None)
            blocks += [*tables, "\n".join(map(wrap, printed))]
        blocks.append("\n".join(map(wrap, sentences)))
    return Outputs([_write(found, out_dir)], "\n\n".join(blocks))


def _write(analyses: Sequence[Analysis], out_dir: Path) -> Path:
    """Writes ``analysis.json``: a list with one entry for each table."""
    text = json.dumps([to_plain(a) for a in analyses], indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    return write_atomically(out_dir / "analysis.json", text.encode())
