"""The leaderboard without a browser: its file, its addresses, its views and its downloads."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from boards import HOSTILE, contents_of, poison, some_records, write_board, write_large
from builders import make_grid, make_record, with_patterns
from hub_client import HubClient
from hub_server import HubServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bocb_hf.coupling.published import PUBLISHED, published
from bocb_hf.coupling.table import build_tables
from bocb_hf.errors import InputError
from bocb_hf.page import DEMO
from bocb_hf.page.export import export, grid_csv
from bocb_hf.page.grids import backbone_grid
from bocb_hf.page.headlines import backbone_headline, coupling_headline, optimizer_headline, table_headline
from bocb_hf.page.layout import LEVELS, SCHEMA
from bocb_hf.page.pictures import PICTURES, picture
from bocb_hf.page.read import Board, LeaderboardFile
from bocb_hf.page.state import VIEWS, State, parse_query, select
from bocb_hf.page.summaries import indices_grid, ranking_grid
from bocb_hf.page.views import Page, render
from bocb_hf.page.watched import WatchedFile
from bocb_hf.page.write import leaderboard_parquet
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.recommend.answer import answer
from bocb_hf.recommend.answers import starts_of
from bocb_hf.recommend.evidence import evidence_of
from bocb_hf.recommend.tags import find_tags
from bocb_hf.recommend.words import answer_text
from bocb_hf.report.tables import escape_tex
from bocb_hf.report.words.tables import optimizer_label
from bocb_hf.results.dataset import LEADERBOARD
from bocb_hf.runs.record import RunRecord

DRAWS = 200
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a machine may be busy


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_board(tmp_path_factory.mktemp("board") / "leaderboard.parquet")


@pytest.fixture(scope="module")
def boards(path: Path) -> dict[str, Board]:
    return LeaderboardFile(path).boards


@pytest.fixture(scope="module")
def own(boards: dict[str, Board]) -> Board:
    return next(iter(boards.values()))


def state_of(boards: dict[str, Board], query: str) -> State:
    state, dropped = parse_query(parse_qsl(query), boards)
    assert not dropped
    return state


def test_the_file_says_what_the_records_say(own: Board):
    table = build_tables(some_records())[0]
    assert (own.info.backbones, own.info.optimizers) == (list(table.backbones), list(table.optimizers))
    for row in table.rows:
        cell = own.cells[row.cell.backbone, row.cell.optimizer]
        assert (cell.status, cell.n, cell.diverged, cell.mean) == (row.status, row.n, row.diverged, row.mean)
        assert cell.seeds == row.seeds and cell.config_hash == row.config_hash
        if row.interval is not None:
            assert (cell.low, cell.high) == pytest.approx((row.interval.low, row.interval.high))
        else:
            assert cell.low is None and cell.high is None
    statuses = {cell.status for cell in own.cells.values()}
    assert statuses == {"completed", "diverged", "partial", "missing"}
    assert all(cell.mean is None for cell in own.cells.values() if cell.status != "completed")


def test_runs_carry_their_identity_and_no_test_bits(own: Board, path: Path):
    records = {r.run_id: r for r in some_records() if r.role == "final"}
    runs = [run for b in own.info.backbones for run in own.runs(b)]
    assert {run.run_id for run in runs} == set(records)
    for run in runs:
        record = records[run.run_id]
        assert run.record_sha256 == record.sha256() and run.config_hash == record.config_hash
        assert run.info.hyperparameters["optimizer.lr"] == f"{record.identity.optimizer.lr:g}"
        assert run.info.reason == record.reason
    assert record.correctness is None or record.correctness.packed.encode() not in path.read_bytes()  # pyright: ignore


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tables_are_always_there(boards: dict[str, Board], name):
    board, scores = boards[f"published-{name}"], published(name)
    pd.testing.assert_frame_equal(pd.DataFrame(board.scores.means), pd.DataFrame(scores.means))
    assert board.info.trials_per_value == scores.trials_per_value
    assert not board.runs(board.info.backbones[0])


def test_a_file_without_records_holds_the_published_tables():
    content = leaderboard_parquet(contents_of([]), DRAWS)
    kinds = pq.read_table(io.BytesIO(content), columns=["kind", "table"]).to_pydict()
    assert {t for k, t in zip(kinds["kind"], kinds["table"], strict=True) if k == "table"} == {
        f"published-{name}" for name in PUBLISHED
    }
    assert "run" not in kinds["kind"]


def test_equal_records_give_equal_bytes():
    records = some_records()
    one = leaderboard_parquet(contents_of(records), DRAWS)
    other = leaderboard_parquet(contents_of(list(reversed(records))), DRAWS)
    assert one == other


def test_the_shipped_file_is_the_demo():
    boards = LeaderboardFile(DEMO).boards
    demo = next(iter(boards.values()))
    assert (demo.info.dataset, demo.info.setting) == ("fashion_mnist_subset", "demo")
    assert len(demo.cells) == 20 and {cell.n for cell in demo.cells.values()} == {2}
    assert not demo.info.origin.startswith("/")
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for optimizer, label in (("sgdm", "SGD-M"), ("lars", "LARS"), ("rmsprop", "RMSProp")):
        line = next(line for line in readme.splitlines() if line.startswith(label))
        printed = [float(v) for v in re.findall(r"(\d\d\.\d) [±−]", line)]
        order = ("tiny_mobilenet", "tiny_resnet", "tiny_convnext", "tiny_vit")
        means = [demo.cells[b, optimizer].mean for b in order]
        assert means == pytest.approx(printed, abs=0.0501)


# --- addresses


@UNTIMED
@given(
    st.builds(
        dict,
        view=st.sampled_from(list(VIEWS)),
        families=st.lists(st.sampled_from(["classical_cnn", "modern"]), unique=True),
        categories=st.lists(st.sampled_from(["a", "b", "c"]), unique=True),
        level=st.sampled_from(LEVELS),
        n=st.integers(1, 99),
        backbone=st.sampled_from(["", "tiny_resnet", "tiny_vit"]),
        optimizer=st.sampled_from(["", "adamw"]),
        ask=st.text(max_size=20),
    )
)
def test_an_address_gives_its_view_back(own_boards, chosen):
    pairs = [(k, str(v)) for k, values in chosen.items() for v in (values if isinstance(values, list) else [values])]
    state, dropped = parse_query(pairs, own_boards)
    assert not dropped
    again, dropped = parse_query(parse_qsl(state.query(), keep_blank_values=True), own_boards)
    assert (again, dropped) == (state, [])


@pytest.fixture(scope="module")
def own_boards(boards):
    return boards


@UNTIMED
@given(st.lists(st.tuples(st.sampled_from([*State.__dataclass_fields__, "x"]), st.text(max_size=400))))
def test_no_address_breaks_a_view(own_boards, pairs):
    state, dropped = parse_query(pairs, own_boards)
    assert state.table in own_boards and state.view in VIEWS and 1 <= state.n <= 99
    assert all(isinstance(sentence, str) for sentence in dropped)
    if not state.ask:  # the recommender has tests of its own
        assert "<section" in render(Page(own_boards, state, dropped))


def test_what_an_address_names_in_vain_is_said(boards: dict[str, Board]):
    state, dropped = parse_query([("table", "nowhere"), ("families", "modern"), ("families", "odd")], boards)
    assert state.table == next(iter(boards)) and state.families == ("modern",)
    assert any("'nowhere'" in text for text in dropped) and any("'odd'" in text for text in dropped)
    assert "nowhere" in render(Page(boards, state, dropped))


# --- filters


def test_filters_choose_rows_columns_and_cells(boards: dict[str, Board], own: Board):
    chosen = select(own, state_of(boards, "families=modern&categories=b&categories=c"))
    assert chosen.backbones == ("tiny_convnext", "tiny_vit") and chosen.optimizers == ("adamw", "lars")
    chosen = select(own, state_of(boards, "n=3"))
    assert {own.cells[key].status for key in chosen.hidden} == {"completed", "diverged", "partial"}
    chosen = select(own, state_of(boards, "level=verified"))
    assert all(key in chosen.hidden for key, c in own.cells.items() if c.status == "completed")
    assert not any(own.cells[key].status == "missing" for key in chosen.hidden)


def test_a_cell_is_as_trusted_as_its_least_trusted_run(tmp_path: Path):
    records = [make_record(seed=s) for s in (1, 2)] + [make_record(optimizer="adamw", seed=s) for s in (1, 2)]
    levels = {records[0].sha256(): "verified", records[2].sha256(): "verified", records[3].sha256(): "reproduced"}
    boards = LeaderboardFile(write_board(tmp_path / "b.parquet", records, **levels)).boards
    own = next(iter(boards.values()))
    assert own.cells["tiny_resnet", "sgdm"].level == "self-reported"
    assert own.cells["tiny_resnet", "adamw"].level == "verified"
    assert select(own, state_of(boards, "level=verified")).hidden == {("tiny_resnet", "sgdm")}
    assert select(own, state_of(boards, "level=reproduced")).hidden == {("tiny_resnet", o) for o in ("sgdm", "adamw")}


def test_filters_by_namespace(tmp_path: Path):
    records = [make_record(seed=1), make_record(optimizer="adamw", seed=1)]
    contents = contents_of(records)
    contents.places[records[1].role, records[1].run_id] = f"other/{records[1].repository()}/{records[1].path()}"
    file = tmp_path / "b.parquet"
    file.write_bytes(leaderboard_parquet(contents, DRAWS))
    boards = LeaderboardFile(file).boards
    own = next(iter(boards.values()))
    assert own.namespaces == ("lab", "other")
    assert select(own, state_of(boards, "namespaces=other")).hidden == {("tiny_resnet", "sgdm")}
    hidden = render(Page(boards, state_of(boards, "namespaces=other")))
    assert hidden.count("filtered</i>") == 1


# --- views


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_of_every_table_is_sound_html(boards: dict[str, Board], view):
    for name, board in boards.items():
        b, o = board.info.backbones[0], board.info.optimizers[0]
        for extra in ("", f"&backbone={b}&optimizer={o}&cell=1", "&families=modern&n=2"):
            if view == "recommend":
                extra += "&ask=resnet101"
            html = render(Page(boards, state_of(boards, f"table={name}&view={view}{extra.replace(' ', '%20')}")))
            check_html(html)
            assert not set("{}$`") & set(html)  # what the page's own template language reads


class _Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in ("img", "br"):
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            assert not (value or "").strip().lower().startswith("javascript:")

    def handle_endtag(self, tag):
        if tag == "td" and "td" not in self.open:
            return
        while self.open and self.open[-1] in ("td", "p") and tag != self.open[-1]:
            self.open.pop()  # these may be left open
        assert self.open and self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def check_html(html: str) -> _Balance:
    parser = _Balance()
    parser.feed(html)
    parser.close()
    assert not parser.open
    assert not parser.tags & {"script", "iframe", "object", "style", "form"}
    return parser


def test_the_table_says_why_a_cell_has_no_number(boards: dict[str, Board]):
    text = " ".join(check_html(render(Page(boards, state_of(boards, "")))).text)
    assert "diverged" in text and "1/2" in text and "rest diverged" in text and "not run" in text
    assert text.count("★") >= 3  # and one in the legend


def test_intervals_and_n_stand_beside_every_mean(boards: dict[str, Board], own: Board):
    html = render(Page(boards, state_of(boards, "")))
    cells = re.findall(r'<td class="g\d+[^"]*"><b>[★☆]?([\d.]+)</b><i>±([\d.]+) n(\d+)</i>', html)
    assert len(cells) == sum(cell.mean is not None for cell in own.cells.values())


def test_hostile_text_is_text(path: Path, tmp_path: Path):
    boards = LeaderboardFile(poison(path, tmp_path / "hostile.parquet")).boards
    own = next(iter(boards.values()))
    assert HOSTILE in own.info.backbones
    for view in VIEWS:
        if view == "recommend":
            continue
        state, _ = parse_query([("view", view), ("backbone", HOSTILE), ("optimizer", "sgdm"), ("cell", "1")], boards)
        assert state.backbone == HOSTILE
        check_html(render(Page(boards, state)))  # no handler, no script
    assert "onerror" in " ".join(check_html(render(Page(boards, State(own.info.id)))).text)  # shown, as text


# --- what a view says first


def test_headlines_say_what_the_cells_hold(boards: dict[str, Board], own: Board):
    for board in (own, boards["published-cifar100"]):
        for backbone in board.info.backbones:
            cells = [board.cells[backbone, o] for o in board.info.optimizers]
            best = next(c for c in cells if c.rank == 1)
            text = " ".join(backbone_headline(board, backbone))
            assert (
                f"{optimizer_label(best.optimizer)} has the highest mean: {best.mean:.2f}" in text
                and f"n = {best.n}" in text
            )
            assert ("Noise is unknown" in text) == all(c.candidate is None for c in cells)
            lost = [optimizer_label(c.optimizer) for c in cells if c.diverged]
            assert all(name in text.partition("Diverged in some run:")[2] for name in lost)
    cnx = " ".join(backbone_headline(boards["published-cifar100"], "convnext_tiny"))
    assert "within 1 point: AdamP, LAMB, Sophia." in cnx and "SGD-M 24.6" in cnx
    study = table_headline(boards["published-cifar100"])
    assert study[0].startswith("One optimizer for all: Adan, on average 0.65 points") and "noise inside" in study[0]
    assert "40 % of the variance (noise inside), 4 % without" in coupling_headline(boards["published-cifar100"])[0]
    assert "Highest mean on 10 of 20 backbones" in optimizer_headline(boards["published-cifar100"], "adan")[0]


def test_one_star_has_one_meaning():
    """☆ in the table, the verdict of a backbone's view and Hsu's candidates are the same cells."""
    boards = LeaderboardFile(DEMO).boards
    demo = next(iter(boards.values()))
    starred = re.findall(r"<b>([★☆])[\d.]+</b>", render(Page(boards, state_of(boards, ""))))
    candidates = [c for c in demo.cells.values() if c.candidate]
    assert len(starred) == len(candidates) and starred.count("★") == len(demo.info.backbones)
    for backbone in demo.info.backbones:
        grid = backbone_grid(select(demo, State(demo.info.id)), backbone)
        said = {row["optimizer"] for row in grid.rows if "☆" in grid.columns[5].text(row)}
        assert said == {optimizer_label(c.optimizer) for c in candidates if c.backbone == backbone and c.rank != 1}
    assert demo.marks.near.sum() == starred.count("☆")  # and so the figure


def test_without_noise_nothing_is_called_worse_than_the_best(boards: dict[str, Board]):
    board = boards["published-cifar100"]
    grid = backbone_grid(select(board, State(board.info.id)), "convnext_tiny")
    verdicts = {grid.columns[4].text(row) for row in grid.rows}
    assert grid.columns[4].label == "within noise of the best" and verdicts == {
        "★ best mean",
        "unknown, n = 1",
        "failed",
    }


def test_an_index_stands_inside_its_interval():
    boards = LeaderboardFile(DEMO).boards
    demo = next(iter(boards.values()))
    rows = [*(indices_grid(demo) or pytest.fail()).rows, *ranking_grid(select(demo, State(demo.info.id))).rows]
    assert len(rows) == 9
    assert all(0 <= row["kappa_low"] <= row["kappa"] <= row["kappa_high"] for row in rows)


def test_filters_are_said(boards: dict[str, Board]):
    html = render(Page(boards, state_of(boards, "families=modern&categories=b&level=verified&n=2")))
    assert "Shown: modern; categories b; verified at least; n ≥ 2; 1 of 2 cells hidden" in html
    assert "Clear filters" in html and "Clear filters" not in render(Page(boards, state_of(boards, "")))


def test_weight_patterns_of_records_are_shown_and_downloaded(tmp_path: Path):
    records = [with_patterns(r) if r.role == "final" and r.status == "completed" else r for r in some_records()]
    boards = LeaderboardFile(write_board(tmp_path / "b.parquet", records)).boards
    state = state_of(boards, "view=backbone&backbone=tiny_resnet")
    html = render(Page(boards, state))
    assert "export/patterns.svg" in html and "export/patterns.csv" in html
    rows = list(csv.DictReader(io.StringIO(export("patterns", "csv", state, boards).decode())))
    held = {r.seed: r.patterns for r in records if r.patterns and r.identity.cell()[2:4] == ("tiny_resnet", "adamw")}
    found = [row for row in rows if row["optimizer"] == "AdamW"]
    assert [row["layer"] for row in found] == [layer.name for layer in held[1].layers] and len(rows) == 9
    for i, row in enumerate(found):
        norms = [p.layers[i].norm for p in held.values()]
        assert float(row["norm"]) == pytest.approx(sum(norms) / 2) and row["n"] == "2"
        assert (float(row["norm_low"]), float(row["norm_high"])) == (min(norms), max(norms))
    assert found[-1]["alpha"] == "" and "$\\alpha$" in export("patterns", "tex", state, boards).decode()
    assert export("patterns", "svg", state, boards).startswith(b"<?xml")
    filtered = state_of(boards, "view=backbone&backbone=tiny_resnet&categories=b")
    assert b"SGD-M" not in export("patterns", "csv", filtered, boards)
    bare = state_of(boards, "view=backbone&backbone=tiny_resnet&namespaces=lab&level=verified")
    with pytest.raises(InputError, match="there is no"):
        export("patterns", "png", bare, boards)


# --- recommendations


def tuned_records() -> list[RunRecord]:
    """Two seeds a cell, and three trials whose winner is not the centre."""
    found = make_grid({(b, o): (1600, 1612) for b in ("tiny_resnet", "tiny_vit") for o in ("sgdm", "adamw")})
    for backbone, optimizer in {r.identity.cell()[2:4] for r in found}:
        centre = OPTIMIZERS.get(optimizer).centre("demo").lr
        for lr, val in ((centre / 3, 70.0), (centre, 71.0), (3 * centre, 75.0 if backbone == "tiny_vit" else 60.0)):
            found.append(make_record(backbone, optimizer, seed=0, role="trial", lr=lr, val_top1=val))
    return found


def test_a_file_recommends_as_its_records_do(tmp_path: Path):
    records = tuned_records()
    board = next(iter(LeaderboardFile(write_board(tmp_path / "b.parquet", records)).boards.values()))
    direct = evidence_of(build_tables(records)[0], board.source.label, board.info.origin)
    direct = replace(direct, scores=replace(direct.scores, notes=board.scores.notes))  # which only a page has
    # neither is None, or the comparison fails
    np.testing.assert_array_equal(board.source.errors, direct.errors)  # pyright: ignore[reportArgumentType]
    for name in ("tiny_vit", "tiny_convnext", "resnet101"):
        one, other = (answer(source, find_tags(name), 1.0) for source in (board.source, direct))
        assert answer_text(one, starts_of(one, None)) == answer_text(other, starts_of(other, None))
    assert one.names(one.chosen)


def test_a_recommendation_starts_at_the_tables_own_trials(tmp_path: Path):
    boards = LeaderboardFile(write_board(tmp_path / "b.parquet", tuned_records())).boards
    state = state_of(boards, "view=recommend&ask=tiny_vit")
    html = render(Page(boards, state))
    assert "the best of its own 3 trial(s) here, by validation" in html
    assert "Noise is unknown" not in html.partition("Published")[0]  # its cells have two seeds each
    rows = list(csv.DictReader(io.StringIO(export("starts", "csv", state, boards).decode())))
    for row in (row for row in rows if row["source"] == "the records of this table"):
        optimizer = {"SGD-M": "sgdm", "AdamW": "adamw"}[row["optimizer"]]
        assert float(row["lr"]) == pytest.approx(3 * OPTIMIZERS.get(optimizer).centre("demo").lr, rel=1e-3)
    assert b"centre" in export("starts", "csv", state_of(boards, "view=recommend&ask=resnet101"), boards)
    with pytest.raises(InputError, match="there is no"):
        export("starts", "csv", state_of(boards, ""), boards)


# --- downloads


def test_downloads_hold_the_numbers_of_the_page(boards: dict[str, Board], own: Board):
    state = state_of(boards, "view=backbone&backbone=tiny_resnet")
    grid = backbone_grid(select(own, state), "tiny_resnet")
    rows = list(csv.DictReader(io.StringIO(export("backbone", "csv", state, boards).decode())))
    tex = export("backbone", "tex", state, boards).decode()
    html = render(Page(boards, state))
    for row, raw in zip(rows, grid.rows, strict=True):
        assert (
            float(row["mean"]) == raw["mean"] and int(row["n"]) == raw["n"] and row["config_hash"] == raw["config_hash"]
        )
        shown = f"{raw['mean']:.2f} [{raw['low']:.2f}, {raw['high']:.2f}]"
        assert shown in html and escape_tex(shown) in tex
    assert tex.count("\\\\") == len(rows) + 1 and "\\toprule" in tex


def test_the_table_is_exported_as_filtered(boards: dict[str, Board], own: Board):
    state = state_of(boards, "families=modern&n=2")
    frame = pd.read_csv(io.BytesIO(export("table", "csv", state, boards)))
    assert set(frame.backbone) == {"tiny_convnext", "tiny_vit"}
    for backbone, optimizer, mean in zip(frame.backbone, frame.optimizer, frame["mean"], strict=True):
        cell = own.cells[backbone, optimizer]
        assert mean == cell.mean if cell.mean is not None else pd.isna(mean)
    assert b"\\begin{tabular}" in export("table", "tex", state, boards)


@pytest.mark.parametrize("name", sorted(set(PICTURES) - {"patterns"}))  # which its records are too old for
def test_the_demo_has_every_figure_as_png_and_svg(name):
    boards = LeaderboardFile(DEMO).boards
    state = state_of(boards, "backbone=tiny_resnet&optimizer=sgdm")
    svg, png = (picture(boards[state.table], name, kind, state) for kind in ("svg", "png"))
    assert svg is not None and svg.startswith(b"<?xml")
    assert png is not None and png.startswith(b"\x89PNG")


def test_a_published_table_has_no_curves_and_costs(boards: dict[str, Board]):
    state = state_of(boards, "table=published-cifar100&backbone=resnet50")
    drawn = {name for name in PICTURES if picture(boards[state.table], name, "svg", state)}
    assert drawn == {"heatmap", "violin", "critical-difference", "interaction"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("nothing", "csv"), ("table", "exe"), ("heatmap", "csv"), ("../../etc/passwd", "csv"), ("x", "png")],
)
def test_other_files_do_not_exist(boards: dict[str, Board], own: Board, name, kind):
    with pytest.raises(InputError, match="there is no"):
        export(name, kind, State(own.info.id), boards)


def test_spreadsheets_get_no_formula(boards: dict[str, Board], own: Board):
    grid = ranking_grid(select(own, State(own.info.id)))
    content = grid_csv(type(grid)("x", "", grid.columns, [{"a": "=1+1", "b": -1.5, "c": "@x"}]))
    assert content == b"a,b,c\n'=1+1,-1.5,'@x\n"


# --- files that are none


def test_other_parquet_files_are_refused(tmp_path: Path, path: Path):
    other = tmp_path / "other.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(other)
    with pytest.raises(InputError, match="is no leaderboard"):
        LeaderboardFile(other)
    other.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read"):
        LeaderboardFile(other)
    newer = pq.read_table(path).replace_schema_metadata({b"bocb_leaderboard": b"99"})
    pq.write_table(newer, other)
    with pytest.raises(InputError, match="upgrade"):
        LeaderboardFile(other)
    odd = pq.read_table(path).drop_columns(["mean"]).replace_schema_metadata(SCHEMA.metadata)
    pq.write_table(odd, other)
    with pytest.raises(InputError, match="its columns"):
        LeaderboardFile(other)


def test_a_source_follows_its_file_and_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = write_board(tmp_path / "b.parquet", [make_record()])
    source = WatchedFile(str(file))
    first = len(next(iter(source.boards().values())).cells)
    clock = [0.0]
    monkeypatch.setattr("bocb_hf.page.watched.time.monotonic", lambda: clock[0] + 1e6)
    write_board(file, [make_record(), make_record(optimizer="adamw")])
    assert (first, len(next(iter(source.boards().values())).cells)) == (1, 2)
    file.write_bytes(b"half a file")
    clock[0] += 100
    assert len(next(iter(source.boards().values())).cells) == 2
    assert "out of date" in source.notices()[0]
    with pytest.raises(InputError, match="make one with"):
        WatchedFile(str(tmp_path / "missing.parquet"))


_OPEN = """
from bocb_hf.page import watched as module
module.visited = module.WatchedFile("hf://datasets/lab/results")
result = len(next(iter(module.visited.boards().values())).cells)
"""
_LATER = """
from bocb_hf.page import watched as module
module.visited._looked -= module.EVERY + 1
result = [len(next(iter(module.visited.boards().values())).cells), module.visited.notices()]
"""


def test_the_published_data_set_is_read_without_a_token(hub: HubServer, hub_client: HubClient, tmp_path: Path):
    def publish(*optimizers: str) -> None:
        file = write_board(tmp_path / "b.parquet", [make_record(optimizer=o) for o in optimizers])
        hub.put("lab/results", {LEADERBOARD: file.read_bytes()}, kind="datasets")

    assert "no public data set" in hub_client.refused(_OPEN)[1]
    publish("sgdm")
    hub.repository("lab/results", "datasets").private = True
    assert "no public data set" in hub_client.refused(_OPEN, "hf_writer")[1]  # a token lies there, and is not used
    hub.repository("lab/results", "datasets").private = False
    assert hub_client(_OPEN) == 1
    publish("sgdm", "adamw")
    assert hub_client(_LATER) == [2, []]
    hub.fail("GET", "/api/datasets/lab/results", status=500)
    cells, notices = hub_client(_LATER)
    assert cells == 2 and "out of date" in notices[0] and "does not answer" in notices[0]


def test_large_tables_stay_small_pages(tmp_path: Path):
    boards = LeaderboardFile(write_large(tmp_path / "large.parquet", 100, 60)).boards
    html = render(Page(boards, State("large")))
    assert html.count("<td") == 6000 and len(html) < 700_000
