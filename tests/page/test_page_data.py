"""The leaderboard's file and the data of the page: what they say of the records, and that all outputs agree."""

from __future__ import annotations

import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from boards import DEMO, HOSTILE, contents_of, poison, some_records, write_board, write_large
from builders import make_record
from stored import mixed_records

from bocb_hf.coupling.analysis import analyse
from bocb_hf.coupling.marks import RULE, Marks
from bocb_hf.coupling.published import PUBLISHED, published
from bocb_hf.coupling.table import build_tables
from bocb_hf.errors import InputError
from bocb_hf.page.ask import answers_of
from bocb_hf.page.data import PageData, most_informative, page_data
from bocb_hf.page.headlines import backbone_headline, coupling_headline, optimizer_headline, table_headline
from bocb_hf.page.layout import SCHEMA, VERSION_KEY
from bocb_hf.page.locate import locate
from bocb_hf.page.read import Board, LeaderboardFile
from bocb_hf.page.texts import toy
from bocb_hf.page.write import leaderboard_parquet, own_rows, published_rows, score_rows, to_parquet
from bocb_hf.report.findings import Findings, find, findings_plain
from bocb_hf.report.outputs import coupling_frame
from bocb_hf.report.tabulate import TableResults, Wanted, tabulate
from bocb_hf.report.words.analysis import variant_text
from bocb_hf.report.words.answer import answer_text, primary_text, reading_text
from bocb_hf.report.words.summary import summary_text
from bocb_hf.report.words.tables import optimizer_label, signed
from bocb_hf.runs.record import RunRecord

DRAWS = 200
OLD = Path(__file__).resolve().parents[1] / "golden" / "leaderboard_of_0_1.parquet"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_board(tmp_path_factory.mktemp("board") / "leaderboard.parquet")


@pytest.fixture(scope="module")
def boards(path: Path) -> dict[str, Board]:
    return LeaderboardFile(path).boards


@pytest.fixture(scope="module")
def own(boards: dict[str, Board]) -> Board:
    return next(iter(boards.values()))


@pytest.fixture(scope="module")
def data(boards: dict[str, Board]) -> PageData:
    return page_data(boards, "outputs/store", [("local/x", "seeds/1", "not valid")])


@pytest.fixture(scope="module")
def shown(data: PageData) -> dict[str, Any]:
    return summary_of(data)


def summary_of(data: PageData) -> dict[str, Any]:
    return json.loads(gzip.decompress(data.summary))


def chunk(data: PageData, summary: dict[str, Any], place: int) -> dict[str, Any]:
    """What a page gets by the range of bytes of a chunk."""
    start, stop = summary["chunks"][place : place + 2]
    found = json.loads(gzip.decompress(data.details[start:stop]))
    assert found.pop("id") == summary["id"]
    return found


def columns(table: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """The cells of a table by backbone and optimizer."""
    pairs = [(b["id"], o["id"]) for b in table["backbones"] for o in table["optimizers"]]
    return {pair: {name: values[i] for name, values in table["cells"].items()} for i, pair in enumerate(pairs)}


# --- the file


def test_the_file_says_what_the_records_say(own: Board) -> None:
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


def test_runs_carry_their_identity_and_no_test_bits(own: Board, path: Path) -> None:
    records = {r.run_id: r for r in some_records() if r.role == "final"}
    runs = [run for b in own.info.backbones for run in own.runs(b)]
    assert {run.run_id for run in runs} == set(records)
    for run in runs:
        record = records[run.run_id]
        assert run.record_sha256 == record.sha256() and run.config_hash == record.config_hash
        assert run.info.hyperparameters["optimizer.lr"] == f"{record.identity.optimizer.lr:g}"
        assert run.info.reason == record.reason
        assert record.correctness is None or record.correctness.packed.encode() not in path.read_bytes()


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tables_are_always_there(boards: dict[str, Board], name: Any) -> None:
    board, scores = boards[f"published-{name}"], published(name)
    pd.testing.assert_frame_equal(pd.DataFrame(board.scores.means), pd.DataFrame(scores.means))
    assert board.info.trials_per_value == scores.trials_per_value
    assert not board.runs(board.info.backbones[0])


def test_the_published_tables_of_the_package_are_what_is_computed_today() -> None:
    """One of the four; ``benchmarks/demo.py`` computes all of them when it writes the package's file."""
    kept = [row for row in published_rows() if row["table"] == "published-coco_pose"]
    board = LeaderboardFile(DEMO).boards["published-coco_pose"]
    made = list(score_rows(board.info.id, board.info.title, board.info.origin, published("coco_pose"), 2000))
    names = [name for name in SCHEMA.names if name != "payload"]
    again = LeaderboardFile("x", to_parquet(made)).boards[board.info.id]
    assert len(kept) == len(made)
    assert again.info.told == board.info.told and again.info.sentences == board.info.sentences
    assert again.answers == board.answers
    for row, other in zip(kept, sorted(made, key=lambda r: ["table", "cell", "answer"].index(r["kind"])), strict=True):
        assert [row[name] for name in names] == [other.get(name, row[name] and None) for name in names]


def test_a_file_without_records_holds_the_published_tables() -> None:
    content = leaderboard_parquet(contents_of([]), DRAWS)
    kinds = pq.read_table(io.BytesIO(content), columns=["kind", "table"]).to_pydict()
    assert {t for k, t in zip(kinds["kind"], kinds["table"], strict=True) if k == "table"} == {
        f"published-{name}" for name in PUBLISHED
    }
    assert "run" not in kinds["kind"]


def test_equal_records_give_equal_bytes(path: Path, data: PageData) -> None:
    content = leaderboard_parquet(contents_of(list(reversed(some_records()))), DRAWS)
    assert content == path.read_bytes()
    again = page_data(LeaderboardFile("x", content).boards, "outputs/store", [("local/x", "seeds/1", "not valid")])
    assert again == data


def test_a_cell_is_as_trusted_as_its_least_trusted_run(tmp_path: Path) -> None:
    records = [make_record(seed=s) for s in (1, 2)] + [make_record(optimizer="adamw", seed=s) for s in (1, 2)]
    levels = {records[0].sha256(): "verified", records[2].sha256(): "verified", records[3].sha256(): "reproduced"}
    own = next(iter(LeaderboardFile(write_board(tmp_path / "b.parquet", records, **levels)).boards.values()))
    assert own.cells["tiny_resnet", "sgdm"].level == "self-reported"
    assert own.cells["tiny_resnet", "adamw"].level == "verified"


def test_the_shipped_file_is_the_demo() -> None:
    boards = LeaderboardFile(DEMO).boards
    demo = next(iter(boards.values()))
    assert (demo.info.dataset, demo.info.setting) == ("fashion_mnist_subset", "demo")
    assert len(demo.cells) == 20 and {cell.n for cell in demo.cells.values()} == {2}
    assert not demo.info.origin.startswith("/")
    demo_page = (Path(__file__).parents[2] / "docs" / "demo.md").read_text(encoding="utf-8")
    for optimizer, label in (("sgdm", "SGD-M"), ("lars", "LARS"), ("rmsprop", "RMSProp")):
        line = next(line for line in demo_page.splitlines() if line.startswith(label))
        printed = [float(v) for v in re.findall(r"(\d\d\.\d) [±−]", line)]
        order = ("tiny_mobilenet", "tiny_resnet", "tiny_convnext", "tiny_vit")
        means = [demo.cells[b, optimizer].mean for b in order]
        assert means == pytest.approx(printed, abs=0.0501)
    # its answer is the one that docs/demo.md shows, from `make demo`
    text = " ".join(demo_page.split())
    assert demo.info.told is not None
    assert all(sentence in text for sentence in (*demo.info.told.answer, *demo.info.told.reading))


def test_what_is_no_leaderboard_is_refused(tmp_path: Path, path: Path) -> None:
    for content, said in ((b"no parquet", "cannot be read as a leaderboard"), (None, "make one with")):
        file = tmp_path / "file.parquet"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(InputError, match=said):
            locate(str(file if content is not None else tmp_path / "none.parquet"))
    table = pq.read_table(path)
    for version in (b"1", b"4"):
        pq.write_table(table.replace_schema_metadata({VERSION_KEY: version}), tmp_path / "other.parquet")
        with pytest.raises(InputError, match=f"layout {version.decode()} of the leaderboard"):
            locate(str(tmp_path / "other.parquet"))
    pq.write_table(table.replace_schema_metadata({}), tmp_path / "plain.parquet")
    with pytest.raises(InputError, match="is no leaderboard"):
        locate(str(tmp_path / "plain.parquet"))


def test_a_file_of_0_1_still_opens() -> None:
    located = locate(str(OLD))
    shown = summary_of(located.data())
    assert shown["source"] == OLD.name and shown["open"] == "published-cifar100"
    demo, study = shown["tables"][0], shown["tables"][1]
    assert demo["headlines"]["answer"] == [] and demo["headlines"]["table"][0].startswith("One optimizer for all")
    assert len(study["headlines"]["answer"]) == 3, "the published tables are those of today"
    before = LeaderboardFile(OLD).boards[demo["id"]]
    for key, cell in columns(demo).items():
        assert cell["mean"] == pytest.approx(before.cells[key].mean, abs=5e-5)
        assert cell["mark"] == before.cells[key].sign
    assert set(shown["ask"]["measured"]) >= {"tiny_vit", "resnet50"}


# --- page, terminal and JSON


def check_agreement(table: dict[str, Any], result: TableResults | None, found: Findings, terminal: str) -> None:
    """Marks, means, intervals, failures and sentences of a table are the same on page, terminal and in JSON."""
    scores, plain = found.analysis.scores, json.loads(json.dumps(findings_plain(found), allow_nan=False))
    contrast = result.contrast if result is not None else None
    said = [
        *answer_text(found.analysis, found.marks),
        *reading_text(found.analysis),
        primary_text(found.primary, found.analysis, contrast),
    ]
    heads = table["headlines"]
    assert [*heads["answer"], *heads["reading"], heads["primary"]] == said and len(heads["answer"]) >= 1
    printed = re.sub(r"\s+", " ", terminal.replace("\n- ", "\n"))
    assert all(re.sub(r"\s+", " ", sentence) in printed for sentence in said)
    assert (table["rules"]["marks"], table["rules"]["failed"]) == (found.marks.sign_rule, RULE)
    assert (table["rules"]["marks"].startswith("★ highest mean of the backbone, ☆")) == (
        plain["marks"]["rule"] == "hsu"
    )
    for (b, o), cell in columns(table).items():
        i, j = scores.backbones.index(b), scores.optimizers.index(o)
        assert cell["mark"] == (plain["marks"]["signs"][b][o] or "")
        assert (cell["status"], cell["n"]) == (plain["cells"][b][o]["status"], plain["cells"][b][o]["n"])
        assert bool(cell.get("failed")) == plain["failed"][b][o]
        assert bool(cell.get("collapsed")) == plain["collapsed"][b][o]
        mean, (down, up) = scores.means[i, j], found.marks.ends(i, j)
        ends = [mean, mean - down, mean + up]
        for name, value in zip(("mean", "low", "high"), ends, strict=True):
            assert cell.get(name) == (pytest.approx(value, abs=5.1e-5) if np.isfinite(value) else None)
        if isinstance(plain["points"], dict):
            residual = plain["points"]["residual"][b][o]
            assert cell.get("residual") == (None if residual is None else pytest.approx(residual, abs=5.1e-5))


CASES = {"holes and diverged": some_records, "every status": mixed_records}


@pytest.mark.parametrize("case", CASES)
def test_page_terminal_and_json_agree_on_records(case: str) -> None:
    contents = contents_of(CASES[case]())
    tabulated = tabulate(contents, Wanted(DRAWS))
    (result,) = tabulated.results
    boards = LeaderboardFile("x", to_parquet(own_rows(tabulated.results, contents))).boards
    (table,) = summary_of(page_data(boards, contents.uri))["tables"]
    found = result.findings
    terminal = summary_text(found, result.table, result.floors, result.contrast)
    check_agreement(table, result, found, terminal)
    # the table for programs
    frame = coupling_frame([(result.table, result.marks)])
    for row in frame.loc[frame["shown"].astype(bool)].to_dict("records"):
        cell = columns(table)[row["backbone"], row["optimizer"]]
        assert cell["mark"] == ("" if pd.isna(row["mark"]) else row["mark"])
        assert cell["status"] == row["status"] and cell["n"] == row["n"]


def test_page_terminal_and_json_agree_on_the_embedded_data() -> None:
    scores = published("cifar100")
    found = find(scores, Marks.of(scores, draws=4000), draws=2000)
    table = next(t for t in summary_of(locate(str(DEMO)).data())["tables"] if t["id"] == "published-cifar100")
    check_agreement(table, None, found, summary_text(found))


def test_a_published_table_shows_the_contrasts_of_its_analysis() -> None:
    table = next(t for t in summary_of(locate(str(DEMO)).data())["tables"] if t["id"] == "published-cifar100")
    found = analyse(published("cifar100"), draws=100)
    assert table["contrast"] == [variant_text(variant) for variant in found.variants]
    assert "C = +6.02" in table["contrast"][0]


def test_the_figure_of_the_contrast_shows_what_the_terminal_says() -> None:
    data = locate(str(DEMO)).data()
    shown = summary_of(data)
    table = shown["tables"][0]
    rows = chunk(data, shown, table["chunk"])["table"]["differences"]
    assert len(rows) == len(table["backbones"]) == 4
    for row in rows:
        label = table["backbones"][row["backbone"]]["label"]
        assert f"{label} {signed(row['value'])}" in " ".join(table["contrast"])
        assert row["low"] < row["value"] < row["high"]


# --- the data of the page


def test_the_summary_leaves_out_what_is_nowhere_and_rounds(shown: dict[str, Any], own: Board) -> None:
    table = shown["tables"][0]
    size = len(table["backbones"]) * len(table["optimizers"])
    assert all(len(values) == size for values in table["cells"].values())
    study = next(t for t in shown["tables"] if t["id"] == shown["study"])
    assert {"lr", "hash", "chunk", "low", "owner"} & set(study["cells"]) == set() and "mean" in study["cells"]
    for key, cell in columns(table).items():
        gap = cell["gap"]
        assert (gap is None) == (own.cells[key].mean is None)
        if gap is not None:  # with the digits by which the terminal rounds it (``summary.rounded``)
            best = max(c.mean for k, c in own.cells.items() if k[0] == key[0] and c.mean is not None)
            assert gap == pytest.approx(best - (own.cells[key].mean or 0.0), abs=5.1e-5) and gap >= 0
    assert (table["n"], table["single"], study["n"], study["single"]) == ([2, 2], False, [1, 1], True)
    assert table["toy"] == "demo, not for your model: tiny networks on a few thousand small images"
    assert toy(own.info.model_copy(update={"dataset": "fashion_mnist"})) == (
        "small scale, a hint for your model at most: tiny networks"
    )
    assert study["toy"] is None and shown["open"] == shown["study"] == "published-cifar100"
    assert shown["quarantined"] == [{"repository": "local/x", "path": "seeds/1", "reason": "not valid"}]
    assert "@article{li2024bocb" in shown["citation"] and "@misc{bocb_hf" in shown["citation"]
    assert table["date"] and shown["date"] == table["date"]


def test_every_cell_with_details_finds_them_in_its_chunk(data: PageData, shown: dict[str, Any], own: Board) -> None:
    table = shown["tables"][0]
    assert shown["chunks"][-1] == len(data.details)
    for place, (key, cell) in enumerate(columns(table).items()):
        more = chunk(data, shown, cell["chunk"])["cells"][str(place)]
        runs = [run for run in own.runs(key[0]) if run.optimizer == key[1]]
        assert {run["record_sha256"] for run in more["runs"]} == {run.record_sha256 for run in runs}
        assert more["scores"] == pytest.approx(own.cells[key].scores, abs=5e-5)
        mean = own.cells[key].mean
        begin = {"missing": "not run", "diverged": "diverged", "partial": "partly diverged"}
        assert more["summary"].startswith(f"{mean:.2f}, 95 % [" if mean is not None else begin[cell["status"]])
        for run in more["runs"]:
            assert run["reproduce"].startswith("bocb train --reproduce outputs/store/models/lab/")
            assert run["links"] == [] and more["hyperparameters"]["optimizer.name"] == key[1]
    lost = columns(table)["tiny_vit", "lars"]
    notes = chunk(data, shown, lost["chunk"])["cells"]["8"]["notes"]
    assert notes[0].startswith("2 of 2 runs diverged; probability to diverge")


def test_the_views_beside_the_table_have_their_numbers(data: PageData, shown: dict[str, Any], own: Board) -> None:
    for table in shown["tables"]:
        more = chunk(data, shown, table["chunk"])["table"]
        assert more["sentences"] and more["reproduce"]
        if table["id"] == shown["study"]:
            assert more["study"] is None and more["ranking"]["critical_difference"] == pytest.approx(6.63, abs=0.01)
            assert sorted(more["order"]["backbones"]) == list(range(20))
            assert any(len(group) > 2 for group in more["ranking"]["groups"])
    first = chunk(data, shown, shown["tables"][0]["chunk"])["table"]
    assert {row["optimizer"] for row in first["study"]} == {"sgdm", "adamw", "lars"}
    assert first["fronts"]["tiny_resnet"][0]["axis"] == "seconds"
    assert len(first["cells_ledger"]) == 8 and first["environments"][0]["runs"] > 1


def test_records_on_the_hub_link_to_checkpoint_and_record(tmp_path: Path) -> None:
    records = [make_record(seed=1), make_record(seed=2), make_record(optimizer="adamw", seed=1)]
    contents = contents_of(records, "hf://lab")
    contents.places[records[2].role, records[2].run_id] = f"lab/../x/{records[2].path()}"
    boards = LeaderboardFile("x", to_parquet(own_rows(tabulate(contents, Wanted(DRAWS)).results, contents))).boards
    data = page_data(boards, contents.uri)
    shown = summary_of(data)
    cells = chunk(data, shown, columns(shown["tables"][0])["tiny_resnet", "sgdm"]["chunk"])["cells"]
    (more,) = [cell for cell in cells.values() if cell["hyperparameters"]["optimizer.name"] == "sgdm"]
    repository = f"lab/{records[0].repository()}"
    assert more["load"] == f"import bocb_hf\nmodel = bocb_hf.load_backbone({repository!r}, seed=1)"
    assert [link["label"] for link in more["runs"][0]["links"]] == ["checkpoint", "record"]
    assert more["runs"][0]["links"][1]["href"].endswith(f"/{repository}/blob/main/{records[0].path()}")
    assert more["runs"][0]["reproduce"].startswith(f"hf download {repository} ")
    (odd,) = [cell for cell in cells.values() if cell["hyperparameters"]["optimizer.name"] == "adamw"]
    assert odd["runs"][0]["links"] == [], "a name that is no repository leads nowhere"


def test_hostile_text_stays_text(path: Path, tmp_path: Path) -> None:
    boards = LeaderboardFile(poison(path, tmp_path / "hostile.parquet")).boards
    data = page_data(boards, "outputs/store")
    shown = summary_of(data)
    assert HOSTILE in [b["id"] for b in shown["tables"][0]["backbones"]], "kept as it is"
    for place in range(len(shown["chunks"]) - 1):
        chunk(data, shown, place)


def test_a_large_table_says_that_it_has_no_answers(tmp_path: Path) -> None:
    boards = LeaderboardFile(write_large(tmp_path / "large.parquet", 5, 4)).boards
    assert most_informative(boards) == "large" and len(boards["large"].answers[0]) > 5
    found, why = answers_of(boards["large"].source, 19, "hf://my lab")
    assert why is not None and found == {}
    assert "With 20 cells" in why and "`bocb recommend <backbone> --store 'hf://my lab'` gives one" in why
    boards["large"].__dict__["answers"] = (found, why)  # as a file says that holds none
    asked = summary_of(page_data(boards, "large"))["ask"]
    assert asked["unanswered"] == [{"table": "large", "why": why}] and asked["measured"] == {}


# --- headlines


def test_headlines_say_what_the_cells_hold(boards: dict[str, Board], own: Board) -> None:
    for board in (own, boards["published-cifar100"]):
        for backbone in board.info.backbones:
            cells = [board.cells[backbone, o] for o in board.info.optimizers]
            best = next(c for c in cells if c.rank == 1)
            text = " ".join(backbone_headline(board, backbone))
            assert (
                f"{optimizer_label(best.optimizer)} has the highest mean: {best.mean:.2f}" in text
                and f"n = {best.n}" in text
            )
            assert ("so others may be as good" in text) == all(c.candidate is None for c in cells)
            lost = [optimizer_label(c.optimizer) for c in cells if c.diverged]
            assert all(name in text.partition("Diverged in some run:")[2] for name in lost)
    study = boards["published-cifar100"]
    cnx = " ".join(backbone_headline(study, "convnext_tiny"))
    assert "within 1 point: AdamP, LAMB, Sophia." in cnx and "SGD-M 24.6" in cnx
    assert table_headline(study)[0].startswith("By the means, the choice matters most on ")
    assert coupling_headline(study)[-1].startswith("One optimizer for all: Adan, on average 0.65 points")
    assert "40 % of the variance (noise included), 4 % without" in coupling_headline(study)[0]
    assert "Highest mean on 10 of 20 backbones" in optimizer_headline(study, "adan")[0]


def test_records_with_one_seed_have_no_interval_and_say_so() -> None:
    records: list[RunRecord] = [
        make_record(o, p, seed=1) for o in ("tiny_vit", "tiny_resnet") for p in ("sgdm", "lamb")
    ]
    contents = contents_of(records)
    boards = LeaderboardFile("x", to_parquet(own_rows(tabulate(contents, Wanted(DRAWS)).results, contents))).boards
    (table,) = summary_of(page_data(boards, "x"))["tables"]
    assert table["single"] and "low" not in table["cells"] and "no interval" in table["basis"]
