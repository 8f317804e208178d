"""Names that others choose, in every format that we write: shown as they are, obeyed by nothing."""

from __future__ import annotations

import csv
import html
import io
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from builders import make_grid, make_record
from markdown_it import MarkdownIt

from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.scores import ScoreTable, scores_of
from bocb_hf.coupling.table import build_tables
from bocb_hf.report.tables import (
    csv_bytes,
    csv_cell,
    escape_markdown,
    escape_tex,
    latex_table,
    markdown_table,
    table_files,
)
from bocb_hf.store.cards.text import _plain, render_card

HOSTILE = [
    "a|b",
    "`code` ``more``",
    r"\input{/etc/passwd}",
    r"\write18{rm}",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "+1",
    "-2",
    "@x",
    "a\u202eb\u2066c",
    "line\nbreak\r\nand\ttab\u2028end",
    "[click](javascript:x) ![i](http://x)",
    "**bold** _x_ ~~s~~ $x^2$",
    "& % $ # _ { } ~ ^ \\",
    "[1em] *",
    "\"quoted\" 'single'",
    "^^5cinput ^^M",
    "&lt;b&gt;",
    "\x00\x1b[2J\x7f",
    "# heading",
]
COMMAND = re.compile(r"\\(?:[A-Za-z]+|.)", re.DOTALL)
OURS = {"&", "%", "_", "#", "$", "{", "}", "\\", "begin", "end", "toprule", "midrule", "bottomrule", "addlinespace"}
OURS |= {"textbf", "textasciitilde", "textasciicircum", "textbackslash", "textless", "textgreater", "textbar"}
OURS |= {"textasciigrave", "char", "pm"}


def scores(names: list[str]) -> tuple[ScoreTable, Marks]:
    """A table whose backbones, optimizers, source, data set and setting are called so."""
    pairs = {(b, o): (1600, 1610) for b in ("tiny_resnet", "tiny_vit") for o in ("sgdm", "adamw")}
    table = build_tables(make_grid(pairs))[0]
    found = scores_of(table, "x")
    name = (names * 2)[:2]
    hostile = replace(
        found, backbones=tuple(name), optimizers=tuple(name), source=names[0], dataset=names[-1], setting=names[0]
    )
    return hostile, Marks.of(found, table)


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_the_name_and_nothing_else(name: str) -> None:
    table, marks = scores([name, f"{name} 2"])
    text = markdown_table(table, marks)
    assert text.isprintable() or set(filter(lambda s: not s.isprintable(), text)) == {"\n"}
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    kinds = {token.type for token in tokens} | {c.type for t in tokens for c in t.children or []}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "code_inline", "em_open", "s_open", "fence"}
    assert not kinds & {"heading_open", "softbreak", "hardbreak", "bullet_list_open"}
    rows = [t for t in tokens if t.type == "tr_open"]
    cells = [t for t in tokens if t.type in ("td_open", "th_open")]
    assert len(rows) == 3 and len(cells) == 9, "no name makes a cell or a row"
    inline = [t for t in tokens if t.type == "inline"]
    shown = ["".join(c.content for c in t.children or []) for t in inline]
    line = "".join(s if s.isprintable() else " " for s in name)
    line = " ".join(html.unescape(line).split())
    assert line in [" ".join(text.split()) for text in shown]


@pytest.mark.parametrize("name", HOSTILE)
def test_latex_has_no_command_but_ours(name: str) -> None:
    table, marks = scores([name, f"{name} 2"])
    text = latex_table(table, marks)
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert {command[1:] for command in COMMAND.findall(body)} <= OURS
    assert set(re.findall(r"\\(?:begin|end)(\{[^}]*\})", body)) == {"{tabular}"}
    assert "^^" not in body, "TeX would read a sign by its number"
    comments = [line for line in text.splitlines() if line.startswith("%")]
    assert len(comments) == 2, "what is in the caption stays in its comment"
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 3 and all(len(re.findall(r"(?<!\\)&", row)) == 2 for row in rows)
    assert not any(row.startswith(("[", "*")) for row in rows), "it would be an option of the line break before"
    depth = 0
    for sign in re.findall(r"\\[{}]|[{}]", body):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_latex_compiles(tmp_path: Path) -> None:
    table, marks = scores(HOSTILE)
    names = "\n\n".join(escape_tex(name) for name in HOSTILE)
    text = latex_table(table, marks)
    (tmp_path / "x.tex").write_text(
        f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{text}\n{names}\n\\end{{document}}\n"
    )
    done = subprocess.run(["pdflatex", "-halt-on-error", "x.tex"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_what_is_escaped_is_read_back() -> None:
    assert escape_tex("a_b & c\nd") == r"a\_b \& c d"
    assert escape_tex("[x] *") == "{[}x{]} {*}"
    assert escape_tex("84.40 ± 1.20 – κ ★ x") == r"84.40 $\pm$ 1.20 -- $\kappa$ x"
    assert escape_markdown("tiny_resnet (A3), setting x-y; n = 3.") == "tiny_resnet (A3), setting x-y; n = 3."
    assert escape_markdown("_a_ |") == r"\_a\_ \|"


@pytest.mark.parametrize("name", HOSTILE)
def test_csv_holds_no_formula(name: str) -> None:
    table, marks = scores([name, f"{name} 2"])
    rows = list(csv.DictReader(io.StringIO(table_files(table, marks)["scores.csv"].decode(), newline="")))
    formula = name.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert rows[0]["backbone"] == ("'" if formula else "") + name
    for row in rows:
        assert not any(str(value).startswith(("=", "+", "@", "\t", "\r")) for value in row.values())
        assert not row["backbone"].startswith("-")
    assert float(rows[0]["mean"]) == pytest.approx(80.25)


def test_numbers_are_no_formulas_and_missing_stays_missing() -> None:
    columns = {"n": pd.array([-3, None], "Int64"), "t": pd.array(["-a", None], "string")}
    frame = pd.DataFrame({"x": [-1.5, np.nan]} | columns)
    assert csv_bytes(frame) == b"x,n,t\n-1.5,-3,'-a\n,,\n"
    assert [csv_cell(v) for v in ("=1", "x=1", "", None, -1)] == ["'=1", "x=1", "", None, -1]
    assert frame["t"].tolist()[0] == "-a", "the table itself keeps its names"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_card_shows_a_name_as_one_line_without_markup(name: str) -> None:
    shown = _plain(name)
    assert "\n" not in shown and shown.isprintable() and not set(shown) & set("<>|`[]\\")
    # where a record can hold such text at all, the card has it nowhere else
    reason = "".join(sign if sign.isprintable() else " " for sign in name)
    record = make_record(status="diverged").model_copy(update={"reason": reason})
    text = render_card("me/x", [record], [])
    body = text.split("\n---\n", 1)[1]
    assert f"Seed 1 diverged: {_plain(reason)}." in body
    assert all(sign.isprintable() or sign == "\n" for sign in body)
