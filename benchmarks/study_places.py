"""Writes everything that the laptop study's records say, as far as it is done, into the places that say it.

    python benchmarks/study_records.py outputs/study/store benchmarks/laptop_study/records.parquet
    python benchmarks/study_places.py

The places are ``docs/study_results.md``, the picture ``docs/study.svg``, the block of README between the two comments
that name this script, the header of the plan, and the leaderboard that the package holds. ``--anew`` computes the
published tables of that leaderboard as well, which takes a minute. ``tests/report/test_study_places.py`` compares them
with the records.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from demo import fill, replace_block, replace_header
from study_report import PLAN, Study, read_study, report

from bocb_hf.errors import InputError
from bocb_hf.files import write_atomically
from bocb_hf.page import EMBEDDED
from bocb_hf.page.write import tabulated_parquet
from bocb_hf.report.figures.write import write_figures
from bocb_hf.report.words.answer import answer_text, primary_text
from bocb_hf.report.words.tables import contrast_text

ROOT = Path(__file__).resolve().parent.parent
RECORDS = Path("benchmarks/laptop_study/records.parquet")
README, PAGE, PICTURE = ROOT / "README.md", ROOT / "docs/study_results.md", ROOT / "docs/study.svg"
EDGES = ROOT / RECORDS.with_name("edges.parquet")
PLAN_FILE = ROOT / f"recipes/sweeps/{PLAN}.yaml"


def known_edges() -> Path | None:
    """The file of the trials beyond the edges of the grids, where it was made."""
    return EDGES if EDGES.exists() else None


def hours(study: Study) -> float:
    """Hours of one core that all runs of the block took."""
    return sum(record.cost.wall_seconds for record in study.contents.records) / 3600


def findings(study: Study) -> list[str]:
    """The three findings that README shows: the primary contrast, coupling, and what one optimizer for all costs."""
    result = study.result
    found = result.findings
    coupling, one_for_all, _ = answer_text(found.analysis, result.marks)
    return [primary_text(found.primary, found.analysis, result.contrast), coupling, one_for_all]


def render_readme(study: Study) -> str:
    """The block of README: what the picture above it shows, three findings, and the command that goes on."""
    scores, plan = study.result.scores, study.plan
    rows, columns = len(study.whole.scores.backbones), len(study.whole.scores.optimizers)
    whole = (rows, columns) == (len(plan.backbones), len(plan.optimizers))
    of = (
        ""
        if whole
        else f", {rows} of {len(plan.backbones)} backbones × {columns} of {len(plan.optimizers)} optimizers so far"
    )
    seeds = ", ".join(map(str, scores.seeds))
    out = len(study.whole.scores.backbones) - len(scores.backbones)
    left = f"; {out} backbone(s) below a floor are left out" if out else ""
    first = (
        f"The picture is [this project's study on a laptop](docs/study.md){of}: one pass over 55,000 images of "
        f"Fashion-MNIST, learning rates tuned for each cell, {scores.metric} of seeds {seeds}, data revision "
        f"{scores.revision[:12]}{left}. What it says of such runs:"
    )
    last = (
        f"[`docs/study_results.md`](docs/study_results.md) answers all nine questions, and each of the "
        f"{len(study.contents.records):,} records, with its configuration hash, is in [`{RECORDS.name}`]({RECORDS}). "
        f"They took {hours(study):.0f} hours of one core; `bocb sweep {PLAN} --store outputs/study/store --done "
        f"{RECORDS}` {'finds all of it done' if whole else 'goes on'}, and without `--done` repeats it."
    )
    items = "\n".join("- " + fill(text).replace("\n", "\n  ") for text in findings(study))
    return f"{fill(first)}\n\n{items}\n\n{fill(last)}"


def render_plan(study: Study) -> dict[str, str]:
    """The generated lines of the plan's header."""
    contrast, plan = study.result.contrast, study.plan
    roles = [record.role for record in study.contents.records]
    planned = len(plan.backbones) * len(plan.optimizers) * len(plan.final_seeds)
    return {
        "Measured": contrast_text(contrast, "Family contrast")[0] if contrast is not None else "no contrast yet",
        "Cost": f"{roles.count('trial')} trials and {roles.count('final')} of {planned} final runs so far, "
        f"{hours(study):.1f} hours of one core",
    }


def draw(study: Study) -> bytes:
    """The heat map of the study."""
    result = study.result
    with tempfile.TemporaryDirectory() as folder:
        paths = write_figures(result.scores, result.marks, result.table, Path(folder), ("heatmap",))
        (drawn,) = [path for path in paths if path.suffix == ".svg"]
        return drawn.read_bytes()


def board(study: Study, anew: bool = False) -> bytes:
    """The leaderboard: the study's table with every backbone, and the published tables."""
    return tabulated_parquet([study.whole], replace(study.contents, uri=str(RECORDS)), anew)


def main() -> int:
    """Writes all places, and says which."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anew", action="store_true", help="compute the published tables as well")
    arguments = parser.parse_args()
    try:
        study = read_study(ROOT / RECORDS, str(ROOT / RECORDS.parent), edges=known_edges())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    script = "study_places.py"
    written = {
        PAGE: ("\n".join(report(study)) + "\n").encode(),
        PICTURE: draw(study),
        README: replace_block(README.read_text(encoding="utf-8"), render_readme(study), script).encode(),
        PLAN_FILE: replace_header(PLAN_FILE.read_text(encoding="utf-8"), render_plan(study)).encode(),
        EMBEDDED: board(study, arguments.anew),
    }
    for path, content in written.items():
        write_atomically(path, content)
        print(f"wrote {path} ({len(content):,} bytes)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
