"""Whether patterns or early curves predict coupling, in words and as files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from bocb_hf.patterns.features import EARLY, FAILURE, RESIDUAL, Evidence
from bocb_hf.patterns.prediction import BOOTSTRAP_FROM, Answer, Finding
from bocb_hf.report.words.tables import fixed

_SHOWN = 12  # findings that are printed unless all are asked for


def answer_text(answer: Answer, evidence: Evidence, full: bool = False) -> str:
    """The answer first, then the findings, then how they were made and what so few backbones cannot show."""
    lines = [_verdict(answer), "", *_table(answer.findings if full else answer.findings[:_SHOWN])]
    left = len(answer.findings) - _SHOWN
    if left > 0 and not full:
        lines.append(f"… and {left} more with lower correlations (--full)")
    return "\n".join([*lines, "", *_how(answer, evidence)])


def _verdict(answer: Answer) -> str:
    size = f"{answer.backbones} backbones × {answer.optimizers} optimizers"
    asked = f"of {answer.tried} pairs of a feature and an outcome"
    found = answer.predicting()
    if found:
        names = "; ".join(f"{f.feature} predicts {f.outcome} ({_correlation(f)})" for f in found)
        return f"Yes, in these {size}: {names}. That is {len(found)} {asked}."
    if not answer.tried:
        return f"Nothing can be said from {size}: no feature varies where the outcome does."
    best = answer.findings[0]
    smallest = "none can be below 0.05, whatever the data" if answer.smallest_p > 0.05 else "5 % would need p ≤ 0.05"
    return (
        f"It does not, as far as {size} can show: none {asked} predicts beyond the main effects of backbone and "
        f"optimizer. The nearest is {best.feature} for {best.outcome} ({_correlation(best)}); {smallest} (the smallest "
        f"p that {answer.permutations} permutations can give is {answer.smallest_p:.2g})."
    )


def _correlation(found: Finding) -> str:
    assert found.correlation is not None and found.adjusted is not None
    interval = "" if found.low is None or found.high is None else f" [{fixed(found.low, 2)}, {fixed(found.high, 2)}]"
    return f"rank correlation {fixed(found.correlation, 2)}{interval}, adjusted p = {found.adjusted:.2g}"


def _table(findings: Sequence[Finding]) -> list[str]:
    rows = [("outcome", "feature", "correlation", "95 % interval", "p", "adjusted p", "backbones")]
    for f in findings:
        if f.correlation is None:
            rows.append((f.outcome, f.feature, "–", "–", "–", "–", str(f.backbones)))
            continue
        interval = "–" if f.low is None or f.high is None else f"[{fixed(f.low, 2)}, {fixed(f.high, 2)}]"
        numbers = (fixed(f.correlation, 2), interval, f"{f.p:.2g}", f"{f.adjusted:.2g}", str(f.backbones))
        rows.append((f.outcome, f.feature, *numbers))
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(
            c.ljust(w) if k < 2 else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _how(answer: Answer, evidence: Evidence) -> list[str]:
    exact = "all" if answer.exact else "drawn"
    lines = [
        "How: each backbone is left out in turn; what predicts and what is predicted have lost the effects of "
        "backbones and optimizers, learned from the others; the rank correlation is over the optimizers of the "
        "backbone left out, and its mean over backbones is shown.",
        f"p: {answer.permutations} permutations of backbones ({exact}); adjusted: by the highest of {answer.tried} "
        "correlations of each permutation, so for all that was tried.",
    ]
    if answer.backbones < BOOTSTRAP_FROM:
        lines.append(
            f"n = {answer.backbones} backbones: too few for an interval over backbones (from {BOOTSTRAP_FROM} on), so "
            "this says little; benchmarks/pattern_prediction.txt has what tables of this size can find."
        )
    seeds = (
        "features and scores of a cell are of different seeds"
        if evidence.split_seeds
        else ("with one seed a cell, features and scores are of the same runs, so that a run's luck is in both")
    )
    lines.append(
        f"Seeds: for {RESIDUAL}, {seeds}; {FAILURE} ({evidence.failed} of {evidence.cells} cells) is of all seeds."
    )
    if not any(name.startswith("early log sharpness") for name in evidence.features):
        lines.append(
            f"No record holds patterns or sharpness at {100 * EARLY:g} % of training: train with "
            f"runtime.inspect_at=[{EARLY:g}]."
        )
    return lines


def answer_files(answer: Answer, evidence: Evidence) -> dict[str, bytes]:
    """``answer.json`` with every finding, and ``features.csv`` with what they were made from, by name."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    outcomes = {name: _mean([view.outcome for view in views]) for name, views in evidence.questions.items()}
    writer.writerow(["backbone", "optimizer", "score", FAILURE, *evidence.features])
    for b, backbone in enumerate(evidence.backbones):
        for o, optimizer in enumerate(evidence.optimizers):
            values = [outcomes[RESIDUAL][b, o], outcomes[FAILURE][b, o], *(f[b, o] for f in evidence.features.values())]
            writer.writerow([backbone, optimizer, *("" if np.isnan(v) else repr(float(v)) for v in values)])
    kept = {
        "backbones": list(evidence.backbones),
        "optimizers": list(evidence.optimizers),
        "permutations": answer.permutations,
        "exact": answer.exact,
        "smallest_p": answer.smallest_p,
        "tried": answer.tried,
        "split_seeds": evidence.split_seeds,
        "findings": [asdict(found) for found in answer.findings],
    }
    document = json.dumps(kept, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    return {"answer.json": document.encode(), "features.csv": text.getvalue().encode()}


def _mean(tables: Sequence[np.ndarray]) -> np.ndarray:
    stacked = np.stack(tables)
    known = np.isfinite(stacked)
    return np.where(known, stacked, 0.0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
