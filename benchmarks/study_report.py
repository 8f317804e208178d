"""The report of the laptop study, from the Parquet of its records: every question of docs/study.md in its order.

    python benchmarks/study_report.py --records benchmarks/laptop_study/records.parquet \
        --store benchmarks/laptop_study --edges benchmarks/laptop_study/edges.parquet > docs/study_results.md

``--store`` names a folder that holds the floors, ``--edges`` the trials of ``study_trials.py``. Only the largest block
of whole rows and columns is analysed, as the plan says, and of it the backbones whose best optimizer lies beyond both
floors; what that leaves out is listed.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from study_edges import Edge, edge_lines, find_edges
from study_questions import (
    WORSE,
    Judged,
    bullet,
    cost_lines,
    design_lines,
    floor_lines,
    judge,
    muon_lines,
    recommender_lines,
    safe_lines,
    tau_lines,
    tuning_lines,
)

from bocb_hf.errors import InputError
from bocb_hf.patterns.features import evidence_of
from bocb_hf.patterns.prediction import ask
from bocb_hf.report.primaries import find_primaries
from bocb_hf.report.tables import markdown_table
from bocb_hf.report.tabulate import TableResults, Wanted, tabulate
from bocb_hf.report.words.analysis import analysis_text, cost_sentence, observed_sentence
from bocb_hf.report.words.answer import answer_text as coupling_answer
from bocb_hf.report.words.answer import primary_text, reading_text
from bocb_hf.report.words.prediction import answer_text
from bocb_hf.report.words.tables import backbone_label, optimizer_label
from bocb_hf.resources import find_config
from bocb_hf.results.records_file import read_records_file
from bocb_hf.runs.record import RunRecord
from bocb_hf.store import open_store
from bocb_hf.store.contents import StoreContents, read_store
from bocb_hf.sweep.plan import SweepPlan, load_plan

PLAN = "laptop-study"


def whole_block(
    records: Sequence[RunRecord], backbones: Sequence[str], optimizers: Sequence[str], seeds: int
) -> tuple[list[str], list[str]]:
    """The largest block of whole rows and columns, each cell with all of its final runs, in the order of the plan.

    Returns:
        Backbones and optimizers of the block.
    """
    finals: dict[tuple[str, str], set[int]] = {}
    for record in records:
        if record.role == "final" and record.status != "interrupted":
            cell = (record.identity.backbone.name, record.identity.optimizer.name)
            finals.setdefault(cell, set()).add(record.seed)
    whole = np.array([[len(finals.get((b, o), ())) >= seeds for o in optimizers] for b in backbones])
    best: tuple[int, int, int] = (0, 0, 0)  # cells, rows, columns
    for rows in range(1, len(backbones) + 1):
        columns = int(whole[:rows].all(axis=0).cumprod().sum())
        best = max(best, (rows * columns, rows if columns else 0, columns))
    return list(backbones[: best[1]]), list(optimizers[: best[2]])


def only(contents: StoreContents, backbones: Sequence[str], optimizers: Sequence[str]) -> StoreContents:
    """The contents with the runs of a block."""
    kept = [
        r for r in contents.records if r.identity.backbone.name in backbones and r.identity.optimizer.name in optimizers
    ]
    return replace(contents, records=kept)


@dataclass(frozen=True)
class Study:
    """The runs of a plan, as far as it is done.

    Attributes:
        name: Name or file of the plan.
        plan: The plan.
        source: The Parquet file of the records.
        contents: The largest block of whole rows and columns, with the floors.
        whole: Its table.
        judged: Its backbones against the floors.
        result: The table without the backbones that do not lie beyond both floors.
        edges: Its cells whose rate lies at an edge of the grid, with what lies beyond as far as it was trained.
    """

    name: str
    plan: SweepPlan
    source: Path
    contents: StoreContents
    whole: TableResults
    judged: Sequence[Judged]
    result: TableResults
    edges: Sequence[Edge]


def read_study(source: Path, store: str | None, name: str = PLAN, edges: Path | None = None) -> Study:
    """Reads the records of a plan and analyses them.

    Args:
        source: The Parquet file of the records.
        store: A store that holds the floors; None judges no backbone.
        name: Name or file of the plan.
        edges: The Parquet file of the trials beyond the edges.

    Raises:
        InputError: No cell has all of its final runs, or no backbone lies beyond the floors.
    """
    plan = load_plan(find_config(name, "recipes/sweeps"))
    contents = read_records_file(source, "--records")
    block = whole_block(contents.records, plan.backbones, plan.optimizers, len(plan.final_seeds))
    if not all(block):
        raise InputError(f"--records: {source} has no cell of {name} with all final runs")
    floors = read_store(open_store(store)).floors if store is not None else []
    contents = replace(only(contents, *block), floors=floors)
    wanted = Wanted(primaries=find_primaries(name))
    whole = tabulate(contents, wanted).results[0]
    judged = judge(whole)
    below = {j.backbone for j in judged if j.beyond is False}
    kept = [b for b in block[0] if b not in below]
    if not kept:
        raise InputError(f"--records: no backbone of {source} lies beyond the floors of --store")
    result = tabulate(only(contents, kept, block[1]), wanted).results[0] if below else whole
    more = read_records_file(edges, "--edges").records if edges is not None else []
    return Study(name, plan, source, contents, whole, judged, result, find_edges(result, more))


def report(study: Study) -> list[str]:
    """All lines of the page."""
    whole, result, judged, source = study.whole, study.result, study.judged, study.source
    backbones, optimizers = study.plan.backbones, study.plan.optimizers
    kept = result.scores.backbones
    block = (whole.scores.backbones, whole.scores.optimizers)
    scores, found = result.scores, result.findings
    analysis = found.analysis
    points = analysis.points
    if isinstance(points, str):
        raise InputError(f"--records: {points}")
    said = analysis_text(analysis)
    sha = hashlib.sha256(source.read_bytes()).hexdigest()
    finals = sum(r.role == "final" for row in result.table.rows for r in row.runs)
    trials = sum(len(row.trials) for row in result.table.rows)
    not_done = [f"{backbone_label(b)}" for b in backbones if b not in block[0]]
    no_column = [optimizer_label(o) for o in optimizers if o not in block[1]]
    cut = [f"backbones {', '.join(not_done)}"] if not_done else []
    cut += [f"optimizers {', '.join(no_column)}"] if no_column else []
    lines = [
        "# The laptop study: results",
        "",
        "<!-- written by benchmarks/study_report.py -->",
        "",
        f"Held against [the plan](study.md), committed before a score of a final run was read. {len(kept)} backbones × "
        f"{len(block[1])} optimizers, {trials} trials and {finals} final runs on {scores.dataset}, setting "
        f"{scores.setting}, data revision {scores.revision}, seeds {', '.join(map(str, scores.seeds))}.",
        "",
        f"Not done, so left out: {'; '.join(cut) or 'nothing'}. One question was primary; the intervals of the eight "
        "others hold each by itself.",
        "",
        f"Every number follows from the records in `{source.name}` (SHA-256 {sha}), which name the configuration "
        "hash, the seed and the repository of each run.",
        "",
        *map(bullet, coupling_answer(analysis, found.marks)),
        "",
        *markdown_table(scores, result.marks).splitlines(),
        "",
        "## Floors",
        "",
        *floor_lines(whole, judged),
        "",
        "## 1. Primary: the family contrast",
        "",
        bullet(primary_text(found.primary, analysis, result.contrast)),
        *map(bullet, reading_text(analysis)),
        "",
        "## 2. Is there interaction?",
        "",
        bullet(observed_sentence(scores, points)),
        *(bullet(s) for s in said if s.startswith(("Without ", "By median", "Failed"))),
        "",
        "## 3. The cost of coupling",
        "",
        bullet(cost_sentence(scores, points)),
        "",
        "## 4. Which optimizers are safe, which are specialists",
        "",
        "Safe: not told apart from the best of any backbone, and never failed. Specialist: so on some backbones, and "
        f"failed or clearly more than {WORSE:g} points worse on another.",
        "",
        *safe_lines(result),
        "",
        *(bullet(s) for s in said if s.startswith("The best mean of a backbone")),
        "",
        "## 5. Design",
        "",
        "d = mean of SGD-M and SGDP − mean of category (b). Each interval holds by itself, and speaks of two networks "
        "alone.",
        "",
        *design_lines(analysis),
        "",
        "## 6. Muon's kind",
        "",
        *muon_lines(scores),
        "",
        "## 7. Agreement with the published table",
        "",
        *tau_lines(result),
        "",
        "## 8. Do patterns of the weights, sharpness or early loss predict?",
        "",
    ]
    try:
        evidence = evidence_of(result.table)
        lines += ["```text", answer_text(ask(evidence.questions), evidence), "```"]
    except InputError as error:
        lines.append(f"Cannot be asked of this table: {error}.")
    lines += [
        "",
        "## 9. Tuning, cost, recommender",
        "",
        *tuning_lines(result),
        "",
        *edge_lines(result, study.edges),
        "",
    ]
    lines += [*cost_lines(result), ""]
    return [*lines, *recommender_lines(scores)]


def main() -> int:
    """Prints the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, required=True, help="the Parquet file of the records")
    parser.add_argument("--plan", default=PLAN, help="the plan of the records")
    parser.add_argument("--store", help="a store that holds the floors")
    parser.add_argument("--edges", type=Path, help="the Parquet file of the trials beyond the edges of the grids")
    options = parser.parse_args()
    try:
        print("\n".join(report(read_study(options.records, options.store, options.plan, options.edges))))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
