"""A Parquet file of records stands in for the store that it was made of."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import make_record

from bocb_hf.cli import main
from bocb_hf.errors import InputError
from bocb_hf.results.dataset import records_parquet
from bocb_hf.results.records_file import read_one, read_records_file
from bocb_hf.runs.record import RunRecord

CELLS = [(b, o, s) for b in ("tiny_resnet", "tiny_vit") for o in ("sgdm", "adamw") for s in (1, 2)]


def records() -> list[RunRecord]:
    return [make_record(b, o, seed=s, correct=1500 + 10 * s + 40 * (o == "adamw")) for b, o, s in CELLS]


def place(record: RunRecord) -> str:
    return f"lab/{record.repository()}/{record.path()}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "records.parquet"
    found = records()
    path.write_bytes(records_parquet(found, {(r.role, r.run_id): place(r) for r in found}, {}))
    return path


def test_the_records_are_those_that_were_written(file: Path) -> None:
    contents = read_records_file(file)
    assert [r.to_json() for r in contents.records] == [r.to_json() for r in records()]
    assert contents.places == {(r.role, r.run_id): place(r) for r in records()}
    assert (contents.uri, contents.quarantined, contents.levels) == ("records.parquet", [], {})


def test_aggregate_and_figures_read_it(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["aggregate", "--source", str(file), "--out", str(tmp_path / "report"), "--draws", "100"]) == 0
    said = capsys.readouterr().out
    assert "4 of 4 cells with a mean, n = 2" in said
    assert (tmp_path / "report" / "report.html").is_file()
    words = ["figures", "--source", str(file), "--out", str(tmp_path / "figures"), "--only", "heatmap"]
    assert main(words) == 0
    assert list((tmp_path / "figures").glob("heatmap*.svg"))


@pytest.mark.parametrize(
    "words", [["--cards"], ["--offline"], ["--results", "hf://datasets/lab/results"], ["--submissions"]]
)
def test_what_is_of_a_store_is_refused(file: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["aggregate", "--source", str(file), *words]) == 2
    assert f"--source: {words[0]} are of a store" in capsys.readouterr().err


def changed(file: Path, **columns: list[str]) -> Path:
    table = pq.read_table(file)
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    pq.write_table(table, file)
    return file


def test_a_row_that_does_not_hold_is_left_out_with_its_reason(file: Path) -> None:
    columns = pq.read_table(file).to_pydict()
    texts, repositories = columns["record"], columns["repository"]
    texts[0] = texts[0].replace('"seed": 1', '"seed": 7').replace('"seed":1', '"seed":7')
    texts[1] = "{}"
    texts[3] = texts[2]
    repositories[4] = "lab/another"
    contents = read_records_file(changed(file, record=texts, repository=repositories))
    assert [place(r) for r in contents.records] == [place(records()[n]) for n in (2, 5, 6, 7)]
    reasons = [one.reason for one in contents.quarantined]
    assert len(reasons) == 4
    assert "in lab/" in reasons[2] and "already" in reasons[2]
    assert reasons[3] == "it is the record of another run"


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot read"), (b"not Parquet", "cannot read"), ("columns", "has no column repository, path, record")],
)
def test_a_file_that_is_none_of_records_is_refused(tmp_path: Path, content: bytes | str | None, said: str) -> None:
    path = tmp_path / "x.parquet"
    if content == "columns":
        pq.write_table(pa.table({"a": [1]}), path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"--source: .*{said}"):
        read_records_file(path)


def test_one_record_is_read_at_its_place_and_from_its_own_file(file: Path, tmp_path: Path) -> None:
    for record in records():
        assert read_one(file / place(record)).to_json() == record.to_json()
        alone = tmp_path / "record.json"
        alone.write_text(record.to_json())
        assert read_one(alone).to_json() == record.to_json()
    with pytest.raises(OSError):
        read_one(tmp_path / "nothing.json")
    for wrong in ("lab/nobody/seeds/1/record.json", "lab", "lab/nobody"):
        with pytest.raises(InputError, match="has no record at"):
            read_one(file / wrong)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"not a Parquet file")
    with pytest.raises(InputError, match="cannot be read as a Parquet file"):
        read_one(broken / place(records()[0]))


def test_a_run_is_trained_again_from_its_place_in_the_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its data are not those of a record that was made up, so it is refused by name, after it was read."""
    assert main(["train", "--reproduce", str(file / place(records()[0])), "--dry-run"]) == 2
    assert "data.revision: the content of 'fashion_mnist_subset'" in capsys.readouterr().err
    assert main(["train", "--reproduce", str(file / "lab" / "x" / "y"), "--dry-run"]) == 2
    assert "has no record at lab/x/y" in capsys.readouterr().err
