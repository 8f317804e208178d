"""A store to tables: what counts, what is quarantined and why, and what the files say."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from boards import summary_inside
from builders import make_data, make_floor, make_grid, make_record
from stored import mixed_records, publish

from bocb_hf.cli import main
from bocb_hf.coupling.ledger import ledger
from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.scores import scores_of
from bocb_hf.coupling.table import build_tables
from bocb_hf.errors import InputError
from bocb_hf.page.report import report_html
from bocb_hf.report.outputs import Outputs, write_outputs
from bocb_hf.report.tabulate import Wanted, tabulate
from bocb_hf.runs.record import RunRecord
from bocb_hf.store.contents import DISAGREE, StoreContents, read_store
from bocb_hf.store.local import LocalStore

FILES = [
    *("coupling.csv", "coupling.json", "coupling.md", "coupling.parquet", "coupling.tex"),
    *("heatmap.png", "heatmap.svg"),
]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def written(outputs: Outputs, name: str) -> Path:
    return next(path for path in outputs.paths if path.name == name)


def overwrite(store: LocalStore, repository: str, path: str, content: bytes | str) -> None:
    target = store.path(repository) / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content.encode() if isinstance(content, str) else content)


def test_a_sound_store_is_read_completely(store):
    records = mixed_records()
    publish(store, records)
    baseline = make_floor()
    add = {baseline.path(): baseline.to_json().encode(), "README.md": b"# Floors\n"}
    store.commit(f"local/{baseline.repository()}", add, parent=None, message="floors")
    store.commit("local/somebody-elses", {"README.md": b"# hello\n", "weights.json": b"{"}, parent=None, message="x")
    contents = read_store(store)
    assert contents.quarantined == []
    assert contents.floors == [baseline]
    assert sorted(r.sha256() for r in contents.records) == sorted(r.sha256() for r in records)


def newer_schema(record: RunRecord) -> str:
    return record.to_json().replace('"schema_version":1', '"schema_version":7')


BROKEN = {
    "NaN": (lambda r: r.to_json().replace('"wall_seconds":20.0', '"wall_seconds":NaN'), "wall_seconds"),
    "truncated": (lambda r: r.to_json()[:700], "Invalid JSON"),
    "empty": (lambda r: "", "Invalid JSON"),
    "not UTF-8": (lambda r: b"\xff\xfe" + r.to_json().encode(), "not a valid record"),
    "another type": (lambda r: "[1, 2, 3]", "not a valid record"),
    "a future schema": (newer_schema, "schema version 7 is newer"),
    "an unknown field": (lambda r: r.to_json().replace("{", '{"surprise":1,', 1), "surprise"),
    "a tuned score": (lambda r: r.to_json().replace('"last":80.0', '"last":90.0'), "but the bits give 80.0"),
    "another configuration": (lambda r: r.to_json().replace('"epochs":4', '"epochs":400'), "config_hash"),
    "too deep": (lambda r: '{"schema_version":1,"x":' + "[" * 100_000, "not a valid record"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_bad_record_is_quarantined_alone(store, kind):
    good, bad = make_record(seed=1), make_record(seed=2)
    (repository,) = publish(store, [good, bad])
    break_it, reason = BROKEN[kind]
    overwrite(store, repository, bad.path(), break_it(bad))
    contents = read_store(store)
    assert contents.records == [good]
    (found,) = contents.quarantined
    assert (found.repository, found.path) == (repository, bad.path())
    assert reason in found.reason and len(found.reason) < 2000


def test_a_record_in_the_wrong_place_is_quarantined(store):
    right, other = make_record("tiny_vit"), make_record("tiny_resnet", seed=2)
    (repository,) = publish(store, [right])
    overwrite(store, repository, other.path(), other.to_json())  # another cell's record
    overwrite(store, repository, "seeds/9/record.json", right.to_json())  # another seed's folder
    contents = read_store(store)
    assert contents.records == [right]
    assert {q.path for q in contents.quarantined} == {other.path(), "seeds/9/record.json"}
    assert all("its identity belongs at" in q.reason for q in contents.quarantined)


def test_a_trial_posing_as_a_final_run_is_quarantined(store):
    record, trial = make_record(), make_record(role="trial", seed=2)
    (repository,) = publish(store, [record])
    overwrite(store, repository, "seeds/2/record.json", trial.to_json())
    contents = read_store(store)
    assert contents.records == [record] and [q.path for q in contents.quarantined] == ["seeds/2/record.json"]


def test_a_record_that_changed_after_its_card(store):
    record, other = make_record(seed=1), make_record(seed=2)
    (repository,) = publish(store, [record, other])
    overwrite(store, repository, record.path(), make_record(seed=1, correct=1999).to_json())
    contents = read_store(store)
    assert contents.records == [other]
    assert contents.quarantined == [(repository, record.path(), DISAGREE)]
    assert "`bocb render`" in DISAGREE


def test_a_card_whose_score_was_edited(store):
    (repository,) = publish(store, [make_record(correct=1600)])
    card = store.read(repository, "README.md").decode()
    assert "test_top1: 80.0" in card
    raised = card.replace("test_top1: 80.0", "test_top1: 99.0")
    for text, reason in (
        (raised, "test_top1 is 99.0, but 1600 of 2000 are right"),
        (raised.replace("correct: 1600", "correct: 1980"), DISAGREE),
    ):
        overwrite(store, repository, "README.md", text)
        contents = read_store(store)
        assert contents.records == [] and reason in contents.quarantined[0].reason


def test_a_final_run_that_the_card_does_not_list(store):
    listed, unlisted, trial = make_record(seed=1), make_record(seed=2), make_record(role="trial", seed=0)
    (repository,) = publish(store, [listed])
    overwrite(store, repository, unlisted.path(), unlisted.to_json())
    overwrite(store, repository, trial.path(), trial.to_json())
    contents = read_store(store)
    assert contents.records == [listed, trial]  # the card does not vouch for trials
    assert contents.quarantined == [(repository, unlisted.path(), DISAGREE)]


def test_a_listed_run_without_its_record(store):
    kept, lost = make_record(seed=1), make_record(seed=2)
    (repository,) = publish(store, [kept, lost])
    (store.path(repository) / lost.path()).unlink()
    contents = read_store(store)
    assert contents.records == [kept]
    (found,) = contents.quarantined
    assert found.path == "README.md" and lost.run_id in found.reason and DISAGREE in found.reason


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        (None, "there is no card"),
        ("no metadata here", "no YAML metadata"),
        (b"---\n\xff\n---\n", "codec"),
        ("---\nbocb: [1\n---\n", "not valid YAML"),
        ("---\nlicense: mit\n---\n", "no block `bocb`"),
        ("---\nbocb: {card_version: 9}\n---\n", "card version 9 is newer"),
        ("---\nbocb: {card_version: 1, runs: 3}\n---\n", "not a valid card"),
        ("---\na: &a [1]\nb: *a\n---\n", "aliases are not allowed"),
    ],
)
def test_a_repository_without_a_readable_card_is_quarantined(store, card, reason):
    bad, good = publish(store, [make_record("tiny_vit"), make_record("tiny_resnet")])
    if card is None:
        (store.path(bad) / "README.md").unlink()
    else:
        overwrite(store, bad, "README.md", card)
    contents = read_store(store)
    assert [f"local/{r.repository()}" for r in contents.records] == [good]
    (found,) = contents.quarantined
    assert (found.repository, found.path) == (bad, "README.md")
    assert reason in found.reason and DISAGREE in found.reason


def test_a_copied_record_counts_once(store):
    original = [make_record(seed=1), make_record(seed=2), make_record(role="trial", seed=0)]
    own = make_record(seed=3)
    publish(store, original, "anna")
    publish(store, [*original, own], "zoe")
    contents = read_store(store)
    assert sorted(r.run_id for r in contents.records) == sorted(r.run_id for r in (*original, own))
    assert len(contents.quarantined) == 3
    assert all(q.repository.startswith("zoe/") and "copy of what anna/" in q.reason for q in contents.quarantined)
    assert build_tables(contents.records)[0].rows[0].n == 3


def test_the_original_counts_when_the_first_copy_is_broken(store):
    record = make_record()
    (first,) = publish(store, [record], "anna")
    publish(store, [record], "zoe")
    (store.path(first) / "README.md").unlink()
    assert read_store(store).records == [record]


def test_bad_baselines_are_quarantined(store):
    good, other = make_floor(), make_floor(data=make_data("another_set"))
    repository = f"local/{good.repository()}"
    store.commit(repository, {good.path(): good.to_json().encode()}, parent=None, message="x")
    overwrite(store, repository, "baselines/other.json", other.to_json())
    overwrite(store, repository, "baselines/broken.json", "{")
    contents = read_store(store)
    assert contents.floors == [good]
    assert [q.path for q in contents.quarantined] == ["baselines/broken.json", "baselines/other.json"]


def test_odd_names_do_not_stop_the_listing(store):
    record = make_record()
    (repository,) = publish(store, [record])
    (store.root / "models" / "local" / "not a repository!").mkdir()
    overwrite(store, repository, "trials/a b.json", "{}")
    contents = read_store(store)
    assert contents.records == [record]
    assert {(q.repository, q.path) for q in contents.quarantined} == {
        ("local/not a repository!", ""),
        (repository, "trials/a b.json"),
    }


def test_a_hash_that_looks_like_a_number_survives_its_card(store):
    """One hash in 280 reads like 4512667e3419, which YAML must not take for a float."""
    candidates = (make_record(lr=lr) for lr in np.linspace(0.001, 1, 5000).tolist())
    record = next(r for r in candidates if re.fullmatch(r"\d+e\d+", r.config_hash))
    publish(store, [record])
    contents = read_store(store)
    assert contents.quarantined == [] and contents.records == [record]


def test_random_damage_never_raises_and_never_changes_a_score(store):
    rng = np.random.default_rng(1)
    record, good = make_record(seed=1), make_record(seed=2)
    (repository,) = publish(store, [record, good])
    original = {path: store.read(repository, path) for path in (record.path(), "README.md")}
    for _ in range(150):
        path = str(rng.choice(list(original)))
        damaged = bytearray(original[path])
        for place in rng.integers(0, len(damaged), rng.integers(1, 4)):
            damaged[place] = rng.integers(0, 256)
        overwrite(store, repository, path, bytes(damaged))
        contents = read_store(store)
        assert all(r in (record, good) for r in contents.records)
        assert len(contents.records) == 2 or contents.quarantined
        overwrite(store, repository, path, original[path])


def test_an_empty_store_names_itself_and_the_fix(store, tmp_path):
    with pytest.raises(InputError, match=r"store holds no valid record.*`bocb train` or `make demo`"):
        write_outputs(tabulate(read_store(store)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_store_of_bad_records_says_why(store, tmp_path, capsys):
    (repository,) = publish(store, [make_record()])
    overwrite(store, repository, "seeds/1/record.json", "{")
    assert main(["aggregate", "--store", str(store.root), "--out", str(tmp_path / "out")]) == 2
    assert "Invalid JSON" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(store, tmp_path):
    publish(store, [make_record()])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"^cannot write .*choose another folder"):
        write_outputs(tabulate(read_store(store)), tmp_path / "file" / "out")


@pytest.fixture(scope="module")
def full_store(tmp_path_factory) -> LocalStore:
    store = LocalStore(tmp_path_factory.mktemp("full"))
    publish(store, mixed_records())
    baseline = make_floor()
    add = {baseline.path(): baseline.to_json().encode()}
    store.commit(f"local/{baseline.repository()}", add, parent=None, message="floors")
    overwrite(store, f"local/{make_record('tiny_vit', 'sgdm').repository()}", "seeds/8/record.json", '{"<script>": NaN')
    return store


@pytest.fixture(scope="module")
def outputs(full_store, tmp_path_factory) -> Outputs:
    return write_outputs(tabulate(read_store(full_store)), tmp_path_factory.mktemp("outputs") / "new" / "folder")


def test_all_files_are_written(outputs):
    assert [path.name for path in outputs.paths] == FILES
    assert sorted(path.name for path in outputs.paths[0].parent.iterdir()) == FILES
    assert written(outputs, "heatmap.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in written(outputs, "heatmap.svg").read_bytes()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_missing_and_diverged_are_never_numbers(outputs, kind):
    path = outputs.paths[FILES.index(f"coupling.{kind}")]
    frame = pd.read_csv(path) if kind == "csv" else pd.read_parquet(path)
    frame = frame.set_index(["backbone", "optimizer"])
    assert len(frame) == 16
    assert frame.status.value_counts().to_dict() == {
        "completed": 12,
        "diverged": 1,
        "partial": 1,
        "interrupted": 1,
        "missing": 1,
    }
    scores = ["test_top1", "test_top1_low", "test_top1_high", "test_loss", "train_loss"]
    assert frame.loc[frame.status != "completed", scores].isna().all().all()
    assert frame.loc[frame.status == "completed", scores].notna().all().all()
    assert np.isfinite(frame.loc[frame.status == "completed", scores].to_numpy(float)).all()
    survivors = frame.survivor_top1.dropna()
    assert survivors.index.tolist() == [("tiny_vit", "lars")] and survivors.tolist() == [80.0]
    row = frame.loc[("tiny_mobilenet", "adamw")]
    assert (row.n, row.seeds, row.data_revision) == (3, "1 2 3", "2337f0b")
    assert row.config_hash == make_record("tiny_mobilenet", "adamw").config_hash
    assert row.test_top1 == pytest.approx((1640 + 1610 + 1590) / 60)
    assert row.test_top1_low < row.test_top1 < row.test_top1_high
    assert pd.isna(frame.loc[("tiny_mobilenet", "lars")].config_hash)


def test_csv_and_parquet_hold_the_same(outputs):
    csv, parquet = pd.read_csv(outputs.paths[0]), pd.read_parquet(written(outputs, "coupling.parquet"))
    assert csv.columns.tolist() == parquet.columns.tolist()
    again = pd.read_csv(io.StringIO(parquet.to_csv(index=False)))
    pd.testing.assert_frame_equal(csv, again)


def test_the_report_holds_every_number_with_its_origin(full_store):
    """What every page holds is tested in tests/page; here: it is the store's that was just read."""
    contents = read_store(full_store)
    html = report_html(tabulate(contents, Wanted(100))).decode()
    shown = summary_inside(html)
    table = shown["tables"][0]
    assert shown["open"] == table["id"] and table["kind"] == "records" and shown["source"] == contents.uri
    assert shown["study"] == "published-cifar100", "the study stands beside it"
    rows = build_tables(mixed_records())[0].rows
    means = sorted(row.mean for row in rows if row.shown and row.mean is not None)
    assert sorted(mean for mean in table["cells"]["mean"] if mean is not None) == pytest.approx(means, abs=5.1e-5)
    hashes = {row.config_hash for row in rows if row.shown and row.config_hash}
    assert hashes == {digest for digest in table["cells"]["hash"] if digest}
    assert table["headlines"]["primary"].startswith("Primary statistic (the default")
    assert {"chance, 10 classes", "logistic regression on pixels"} <= {
        f["text"].partition(":")[0] for f in table["floors"]
    }
    assert table["revision"].startswith("2337f0b") and table["ledger"]
    assert any(item["path"] == "seeds/8/record.json" for item in shown["quarantined"])
    assert html == report_html(tabulate(contents, Wanted(100))).decode(), "equal records give equal bytes"


def test_the_terminal_text_has_table_contrast_and_quarantine(outputs):
    text = " ".join(outputs.text.split())  # wherever the lines break
    for expected in ("diverged 2/2", "80.0 (1/2)", "interrupted", "–", "± ", "(3)", "seeds 1, 2, 3"):
        assert expected in text
    for expected in ("Primary contrast", "points, 95 % [", "quarantined, in no table (1)", "seeds/8/record.json"):
        assert expected in text
    assert max(map(len, outputs.text.splitlines())) <= 120
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_equal_records_give_equal_files(full_store, tmp_path, outputs):
    again = write_outputs(tabulate(read_store(full_store)), tmp_path / "again")
    assert [p.read_bytes() for p in again.paths] == [p.read_bytes() for p in outputs.paths]


def test_each_data_set_setting_and_revision_has_its_table(tmp_path):
    records = [*make_grid({("tiny_vit", "sgdm"): (1500, 1510)}), make_record("tiny_vit", setting="long")]
    records.append(make_record("tiny_vit", data=make_data(revision="abcdef0")))
    outputs = write_outputs(tabulate(StoreContents("memory", records)), tmp_path)
    figures = [path.name for path in outputs.paths if path.suffix == ".png"]
    assert figures == [
        "heatmap-fashion_mnist_subset-demo-abcdef0.png",
        "heatmap-fashion_mnist_subset-long-2337f0b.png",
        "heatmap.png",
    ]
    assert len(pd.read_csv(outputs.paths[0])) == 3


def test_tables_scores_marks_and_ledger_are_built_once(store, tmp_path, monkeypatch, capsys):
    """Once for each of two tables, whoever needs them; counted wherever a module has the function under its name."""
    publish(store, [*make_grid({("tiny_vit", "sgdm"): (1500, 1510)}), make_record("tiny_vit", setting="long")])
    calls: Counter[str] = Counter()

    def counted(function):
        def call(*given, **more):
            calls[function.__name__] += 1
            return function(*given, **more)

        return call

    for function in (build_tables, scores_of, ledger):
        holders = [
            m for n, m in sys.modules.items() if n.startswith("bocb_hf") and vars(m).get(function.__name__) is function
        ]
        assert len(holders) >= 2  # where it is defined, and where it is used
        for module in holders:
            monkeypatch.setattr(module, function.__name__, counted(function))
    monkeypatch.setattr(Marks, "of", counted(Marks.of))
    arguments = ["--store", str(store.root), "--out", str(tmp_path / "out"), "--draws", "100", "--rules", "paper"]
    assert main(["aggregate", *arguments]) == 0
    assert calls == {"build_tables": 1, "scores_of": 2, "ledger": 2, "of": 2}


def test_the_recipe_runs_without_torch(full_store, tmp_path):
    recipe = Path(__file__).resolve().parents[2] / "recipes" / "aggregate.py"
    # not `sys.modules["torch"] = None`, which scipy takes for a torch that it may ask for Tensor
    without_torch = """
import runpy, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError(f"No module named {name!r}")

sys.meta_path.insert(0, Blocker())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    arguments = ["--store", str(full_store.root), "--out", str(tmp_path / "out")]
    command = [sys.executable, "-c", without_torch, str(recipe), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Primary statistic" in done.stdout and len(done.stdout.splitlines()) <= 40
    assert (tmp_path / "out" / "report.html").is_file()
