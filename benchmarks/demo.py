"""Writes every figure of the demo from its store: their one source, and the places that are rendered from it.

    make demo && python benchmarks/demo.py --store outputs/demo/store

The source is ``recipes/sweeps/demo.json``. From it come the block of ``docs/demo.md`` between the two comments that
name this script, and the lines ``Measured`` and ``Cost`` of the plan and of its setting. The picture
``docs/demo.svg`` and the leaderboard of the tests are made from the store.
``tests/sweep/test_demo_figures.py`` compares them. The store must hold the whole demo, made in one go on a quiet
machine, since the time is that from the start of its first run to the end of its last. ``--render`` renders the places
from the source as it is.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bocb_hf.coupling.contrast import family_contrast
from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.scores import scores_of
from bocb_hf.coupling.table import build_tables, floors
from bocb_hf.errors import InputError
from bocb_hf.page.write import leaderboard_parquet
from bocb_hf.report.analysis import summarize_records
from bocb_hf.report.figures.write import write_figures
from bocb_hf.report.primaries import find_primaries
from bocb_hf.report.tabulate import Wanted, tabulate
from bocb_hf.report.words.tables import backbone_label, contrast_text
from bocb_hf.results.counted import read_counted
from bocb_hf.runs.record import RunRecord
from bocb_hf.store import open_store
from bocb_hf.store.contents import read_store
from bocb_hf.sweep.figures import CellFigures, PlanFigures, compare, figures_path, finals_of, read_figures, weights_of
from bocb_hf.sweep.plan import load_plan

ROOT = Path(__file__).resolve().parent.parent
PAGE, PICTURE = ROOT / "docs/demo.md", ROOT / "docs/demo.svg"
BOARD = ROOT / "tests/golden/demo.parquet"
PLAN = ROOT / "recipes/sweeps/demo.yaml"
SETTING = ROOT / "recipes/configs/fashion_mnist_subset/demo.yaml"
SHOWN = ("tiny_resnet", "adamw")  # the cell that the setting's own command trains
VERSIONS = ("torch", "torchvision", "timm", "numpy")


def collect(store: str) -> PlanFigures:
    """All figures of a store that holds the whole demo.

    Raises:
        InputError: Something of the demo is missing, or its runs do not belong together.
    """
    plan, contents = load_plan(PLAN), read_counted(store)
    tabulated = tabulate(contents, Wanted(primaries=find_primaries(plan.name)))
    tables = [result.table for result in tabulated.results]
    finals = finals_of(PLAN, open_store(store))
    wanted = len(plan.backbones) * len(plan.optimizers) * len(plan.final_seeds)
    if len(tables) != 1 or len(finals) != wanted:
        raise InputError(
            f"--store: {store} holds {len(tables)} table(s) and {len(finals)} of {wanted} final runs; "
            "run `make demo` to its end first, into an empty store"
        )
    (table,) = tables
    runs = contents.records
    places = {record.environment.model_dump_json() for record in runs}
    if len(places) != 1:
        raise InputError(f"--store: the runs of {store} were made under {len(places)} different environments")
    below = floors(table, contents.floors)
    shown = [row for row in table.rows if row.shown]
    (pixels,) = [floor for floor in below if floor.name.startswith("logistic regression")]
    place = finals[0].environment
    trials = sum(record.role == "trial" for record in runs)
    ranked = {b: [r.mean for r in shown if r.cell.backbone == b and r.mean is not None] for b in plan.backbones}
    return PlanFigures(
        plan=plan.name,
        data_revision=table.revision,
        seconds=duration(runs),
        workers=cores(),
        processor=processor(),
        cpu_capability=place.cpu_capability or "unknown",
        threads=place.threads,
        versions={name: place.libraries[name] for name in VERSIONS if name in place.libraries},
        runs=dict(sorted(Counter(f"{record.role} {record.status}" for record in runs).items())),
        extensions=trials - sum(plan.tuning.trials(cell.optimizer) for cell in plan.cells()),
        table=summarize_records(tabulated).splitlines(),
        contrast=contrast_text(family_contrast(table)),
        below_floor=sum(row.mean is not None and row.mean < pixels.top1 for row in shown),
        spread={b: round(max(scores) - min(scores), 1) for b, scores in ranked.items()},
        cells=[
            CellFigures(
                backbone=row.cell.backbone,
                optimizer=row.cell.optimizer,
                config_hash=row.config_hash or "",  # every cell has final runs
                n=row.n,
                mean=row.mean,
                low=row.interval.low if row.interval else None,
                high=row.interval.high if row.interval else None,
            )
            for row in shown
        ],
        weights=[weights for weights in map(weights_of, finals) if weights is not None],
    )


def duration(runs: Sequence[RunRecord]) -> int:
    """Seconds from the start of the first run to the end of the last."""
    ends = [datetime.datetime.fromisoformat(record.finished_at).timestamp() for record in runs]
    starts = [end - record.cost.wall_seconds for end, record in zip(ends, runs, strict=True)]
    return round(max(ends) - min(starts))


def cores() -> int:
    """Cores that this process may use, as many as a sweep takes by default."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Kind of the processor, as torch names it."""
    import torch

    return str(torch.cpu.get_capabilities()["cpu_name"])


def render_page(figures: PlanFigures) -> str:
    """The block of ``docs/demo.md``."""
    spread = ", ".join(f"{backbone_label(name)} {points:.1f}" for name, points in figures.spread.items())
    first = (
        f"What it printed: {runs_text(figures)}, in {minutes(figures)} on {figures.workers} cores of an "
        f"{figures.processor}, torch {figures.versions['torch']}, with the instructions of {figures.cpu_capability}. "
        "Configuration hashes are in `coupling.csv`."
    )
    last = (
        f"With `--full` it prints the whole analysis. {' '.join(figures.contrast)} {figures.below_floor} of the "
        f"{len(figures.cells)} cells lie below logistic regression on pixels. Points between the best and the worst "
        f"optimizer: {spread}."
    )
    table = "\n".join(figures.table)
    return f"{fill(first)}\n\n```text\n{table}\n```\n\n{fill(last)}"


def render_plan(figures: PlanFigures) -> dict[str, str]:
    """The generated lines of the plan's header."""
    return {
        "Measured": figures.contrast[0].removeprefix("Primary contrast, "),
        "Cost": f"{runs_text(figures)}; {minutes(figures)} on {figures.workers} CPU cores",
    }


def render_setting(figures: PlanFigures) -> dict[str, str]:
    """The generated lines of the setting's header: the command of one cell, and what that cell measured."""
    (cell,) = [cell for cell in figures.cells if (cell.backbone, cell.optimizer) == SHOWN]
    finals = [w for w in figures.weights if (w.backbone, w.optimizer) == SHOWN]
    seeds = [w.seed for w in finals]
    if cell.mean is None or cell.low is None or cell.high is None:
        return {"Measured": f"0 of {cell.n} runs completed (configuration {cell.config_hash})"}
    return {
        "Command": f"accelerate launch recipes/train.py --config fashion_mnist_subset/demo backbone.name={SHOWN[0]} "
        f"optimizer.name={SHOWN[1]} optimizer.lr={finals[0].lr:g} seed={seeds[0]}",
        "Measured": f"{cell.mean:.1f} % test top-1, 95 % [{cell.low:.1f}, {cell.high:.1f}] over seeds (n = {cell.n}, "
        f"seeds {' and '.join(map(str, seeds))}, configuration {cell.config_hash})",
    }


def replace_block(text: str, block: str, script: str = "demo.py") -> str:
    """README or a page with another block of a script of this folder."""
    begin, end = f"<!-- written by benchmarks/{script} -->", f"<!-- end of what benchmarks/{script} writes -->"
    before, rest = text.split(begin + "\n")
    _, after = rest.split("\n" + end)
    return f"{before}{begin}\n{block}\n{end}{after}"


def replace_header(text: str, values: dict[str, str]) -> str:
    """A YAML file with other values of some keys of its header."""
    for key, value in values.items():
        lines = text.splitlines(keepends=True)
        first = next(i for i, line in enumerate(lines) if line.startswith(f"# {key}:"))
        last = first + 1
        while lines[last].startswith("#" + " " * 12):  # a continued line
            last += 1
        start = f"# {key}:".ljust(13)
        end = " \\" if key == "Command" else ""  # a command that goes on in the next line
        wrapped = textwrap.wrap(value, 118, initial_indent=start, subsequent_indent="#" + " " * 12)
        filled = f"{end}\n".join(wrapped)
        text = "".join([*lines[:first], filled + "\n", *lines[last:]])
    return text


def fill(text: str) -> str:
    """A paragraph of README or of a page."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def draw(store: str) -> None:
    """Draws the picture of the demo's table, as ``bocb figures --only heatmap`` does."""
    (table,) = build_tables(read_store(open_store(store)).records)
    scores = scores_of(table, store)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_figures(scores, Marks.of(scores, table), table, Path(folder), ("heatmap",))
        (drawn,) = [path for path in paths if path.suffix == ".svg"]
        PICTURE.write_bytes(drawn.read_bytes())


def minutes(figures: PlanFigures) -> str:
    """The time that the demo took, in words."""
    return f"{figures.seconds // 60} min {figures.seconds % 60} s"


def runs_text(figures: PlanFigures) -> str:
    """How many runs there were, and how they ended."""
    ended = Counter[str]()
    for kind, count in figures.runs.items():
        ended[kind.split()[1]] += count
    words = [f"{ended['completed']} completed runs"]
    if ended["diverged"]:
        words.append(f"{ended['diverged']} diverged one" + "s" * (ended["diverged"] > 1))
    return " and ".join(words) + f" ({figures.extensions} of them trials beyond a grid)"


def places(figures: PlanFigures) -> dict[Path, str]:
    """The text of each file that states the figures."""
    return {
        PAGE: replace_block(PAGE.read_text(encoding="utf-8"), render_page(figures)),
        PLAN: replace_header(PLAN.read_text(encoding="utf-8"), render_plan(figures)),
        SETTING: replace_header(SETTING.read_text(encoding="utf-8"), render_setting(figures)),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the source from a store, and the places from the source."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--store", help="folder of the whole demo, such as outputs/demo/store")
    what.add_argument("--render", action="store_true", help="take the committed source as it is")
    arguments = parser.parse_args(argv)
    source = figures_path("demo")
    try:
        if arguments.store is not None:
            figures = collect(arguments.store)
            if source.is_file():
                print(compare(read_figures(source), finals_of(PLAN, open_store(arguments.store))).text())
            content = json.dumps(figures.model_dump(mode="json"), indent=1, ensure_ascii=False)
            source.write_text(content + "\n", encoding="utf-8")
            BOARD.write_bytes(leaderboard_parquet(read_counted(arguments.store), anew=True))
            draw(arguments.store)
            print(f"wrote {source}, {BOARD} and {PICTURE}")
        for path, text in places(read_figures(source)).items():
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
