"""★ and ☆ stand beside the same cells in every output, whatever the table is like."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from boards import DEMO, contents_of
from builders import CNNS, MODERN, make_grid
from stored import mixed_records

from bocb_hf.coupling.marks import HIGHEST, HSU, Marks
from bocb_hf.coupling.published import published
from bocb_hf.coupling.ranks import best_sets
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.page.read import Board, LeaderboardFile
from bocb_hf.page.summary import table_summary
from bocb_hf.page.write import own_rows, to_parquet
from bocb_hf.report.figures.grid import heatmap
from bocb_hf.report.outputs import write_outputs
from bocb_hf.report.tables import table_files
from bocb_hf.report.tabulate import TableResults, tabulate
from bocb_hf.report.words.tables import terminal_text
from bocb_hf.runs.record import RunRecord

OPTIMIZERS = ("sgdm", "adamw", "lamb", "lars")


def grid(seeds: int) -> dict[tuple[str, str], tuple[int, ...]]:
    """Scores that differ by optimizer in some columns clearly and in others hardly."""
    rng = np.random.default_rng(7)
    return {
        (b, o): tuple(int(k) for k in 1500 + 12 * i * j + rng.integers(0, 12, seeds))
        for i, b in enumerate((*CNNS, *MODERN))
        for j, o in enumerate(OPTIMIZERS)
    }


def holes(records: list[RunRecord]) -> list[RunRecord]:
    """Without one cell, and with one seed in another."""
    names = [(r.identity.backbone.name, r.identity.optimizer.name, r.seed) for r in records]
    lost = {("tiny_resnet", "adamw", 1), ("tiny_resnet", "adamw", 2), ("tiny_vit", "lars", 2)}
    return [record for record, name in zip(records, names, strict=True) if name not in lost]


TABLES = {
    "whole": make_grid(grid(2)),
    "holes": holes(make_grid(grid(2))),
    "diverged, partial and interrupted": mixed_records(),
    "n = 1": make_grid(grid(1)),
}


def expected(scores: ScoreTable) -> dict[tuple[str, str], str]:
    """The signs by their definition: Hsu's sets where noise is known, else the highest mean alone."""
    best, found = best_sets(scores), {}
    for b, backbone in enumerate(scores.backbones):
        top = np.nanmax(scores.means[b]) if scores.ranked[b].any() else np.inf
        for o, optimizer in enumerate(scores.optimizers):
            near = best is not None and bool(best.candidates[b, o])
            found[backbone, optimizer] = "★" if scores.means[b, o] == top else "☆" if near else ""
    return found


def by_cell(scores: ScoreTable, columns: list[list[str]]) -> dict[tuple[str, str], str]:
    """Signs from a list for each optimizer."""
    pairs = zip(scores.optimizers, columns, strict=True)
    return {(b, o): sign for o, line in pairs for b, sign in zip(scores.backbones, line, strict=True)}


def of_figure(scores: ScoreTable, marks: Marks) -> dict[tuple[str, str], str]:
    """Signs by the place of the text that holds them."""
    found = dict.fromkeys(((b, o) for b in scores.backbones for o in scores.optimizers), "")
    figure = heatmap(scores, marks)
    for block, axes in enumerate(a for a in figure.axes if a.texts):
        for text in axes.texts:
            x, y = (int(v) for v in text.get_position())
            if sign := re.search("[★☆]", text.get_text()):
                found[scores.backbones[20 * block + x], scores.optimizers[y]] = sign[0]
    return found


def of_frame(frame: pd.DataFrame) -> dict[tuple[str, str], str]:
    if "shown" in frame:
        frame = frame.loc[frame["shown"].astype(bool)]
    signs = ["" if pd.isna(sign) else str(sign) for sign in frame["mark"]]
    return dict(zip(zip(frame["backbone"], frame["optimizer"], strict=True), signs, strict=True))


def of_markdown(scores: ScoreTable, text: str) -> dict[tuple[str, str], str]:
    """Signs of the body of the only block."""
    lines = [line.strip("| ").split(" | ")[1:] for line in text.splitlines() if line.startswith("| ")][2:]
    assert all(("**★" in cell) == ("★" in cell) for line in lines for cell in line)
    return by_cell(scores, [["".join(re.findall("[★☆]", cell)) for cell in line] for line in lines])


def of_latex(scores: ScoreTable, text: str) -> dict[tuple[str, str], str]:
    """Bold is ★, and a star in front ☆."""
    body = text.partition("\\midrule")[2]
    lines = [line.removesuffix(" \\\\").split(" & ")[1:] for line in body.splitlines() if " & " in line]
    signs = [["★" if "\\textbf" in c else "☆" if c.startswith("$\\star$") else "" for c in line] for line in lines]
    return by_cell(scores, signs)


def of_page(board: Board) -> dict[tuple[str, str], str]:
    """Signs of the data that the page shows, which it shows as they are."""
    table = table_summary(board)
    pairs = [(b["id"], o["id"]) for b in table["backbones"] for o in table["optimizers"]]
    return dict(zip(pairs, table["cells"]["mark"], strict=True))


@pytest.mark.parametrize("name", TABLES)
def test_all_outputs_of_records_mark_the_same_cells(name: str, tmp_path: Path) -> None:
    contents = contents_of(TABLES[name])
    tabulated = tabulate(contents)
    (found,) = tabulated.results
    scores, wanted = found.scores, expected(found.scores)
    signs = list(wanted.values())
    assert signs.count("★") >= 4 and (signs.count("☆") > 0) == (name != "n = 1"), "the case tells the rules apart"
    outputs = {path.name: path for path in write_outputs(tabulated, tmp_path).paths}
    rows = [json.loads(outputs["coupling.json"].read_text())]
    read = {
        "csv": of_frame(pd.read_csv(outputs["coupling.csv"])),
        "parquet": of_frame(pd.read_parquet(outputs["coupling.parquet"])),
        "json": of_frame(pd.DataFrame(rows[0])),
        "markdown": of_markdown(scores, outputs["coupling.md"].read_text()),
        "latex": of_latex(scores, outputs["coupling.tex"].read_text()),
        "figure": of_figure(scores, found.marks),
        "terminal": of_terminal(found),
    }
    (board,) = LeaderboardFile("x", to_parquet(own_rows(tabulated.results, contents, 0))).boards.values()
    read |= {"page": of_page(board), "the file's figure": of_figure(board.scores, board.marks)}
    for output, marked in read.items():
        assert marked == wanted, output
    rule = HIGHEST if name == "n = 1" else HSU
    texts = [outputs[f"coupling.{kind}"].read_text() for kind in ("md", "tex")]
    texts += [terminal_text(found.table, [], found.marks), table_summary(board)["rules"]["marks"]]
    for text in texts:
        assert rule.split(", ")[0] in text
    assert {row["mark_rule"] for row in rows[0]} == {"highest_mean" if name == "n = 1" else "hsu"}


def of_terminal(found: TableResults) -> dict[tuple[str, str], str]:
    lines = terminal_text(found.table, [], found.marks).splitlines()[4:-2]
    assert len(lines) == 1 + len(found.table.optimizers)
    # each cell begins below the first letter of its backbone's name, two signs further left
    starts = [match.start() - 2 for match in re.finditer(r"\S+", lines[0])]
    return by_cell(found.scores, [[line.ljust(200)[start].strip() for start in starts] for line in lines[1:]])


def test_all_outputs_of_the_embedded_leaderboard_mark_the_same_cells() -> None:
    boards = LeaderboardFile(DEMO).boards
    demo = next(iter(boards.values()))
    wanted = {key: cell.sign for key, cell in demo.cells.items()}
    assert sorted(set(wanted.values())) == ["", "★", "☆"]
    for marked in (of_page(demo), of_figure(demo.scores, demo.marks)):
        assert marked == wanted


def test_all_outputs_of_the_published_table_mark_the_same_cells() -> None:
    """n = 1, so the highest mean alone has a sign."""
    scores = published("cifar100")
    marks, wanted = Marks.of(scores), expected(scores)
    assert "☆" not in wanted.values() and list(wanted.values()).count("★") >= 20
    files = table_files(scores, marks)
    board = LeaderboardFile(DEMO).boards["published-cifar100"]
    read = [
        of_frame(pd.read_csv(io.BytesIO(files["scores.csv"]))),
        of_frame(pd.read_parquet(io.BytesIO(files["scores.parquet"]))),
        of_frame(pd.DataFrame(json.loads(files["scores.json"]))),
        of_figure(scores, marks),
        of_page(board),
    ]
    assert all(marked == wanted for marked in read)
    assert np.array_equal(board.marks.signs, marks.signs)
    assert files["scores.md"].decode().count("★") == list(wanted.values()).count("★") + 1  # and once in the caption
    assert files["scores.tex"].decode().count("\\textbf") == list(wanted.values()).count("★")
