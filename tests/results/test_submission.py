"""A row in the leaderboard: offered, judged, merged, published."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import click
import pandas as pd
from builders import make_record
from hub_client import HubClient
from hub_server import HubServer
from published import publish
from submissions import MINE, PLACE, RESULTS, merge, offer, own, push, table

from bocb_hf.backbones import BACKBONES
from bocb_hf.cli import bocb as commands
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.page.read import LeaderboardFile
from bocb_hf.resources import config_files
from bocb_hf.results.card import results_card
from bocb_hf.results.submission.document import Submission, parse_submission
from bocb_hf.store.cards.text import render_card
from bocb_hf.store.local import LocalStore


def test_a_run_is_pushed_submitted_validated_merged_and_published(
    hub: HubServer, results: Any, bocb: Any, tmp_path: Path
) -> None:
    mine = [own("bob", seed=seed) for seed in (1, 2)] + [make_record(seed=0, role="trial")]
    sha = push(hub, "bob", *mine)
    push(hub, "lab", own("lab", optimizer="adamw"))
    status, out = bocb("submit", MINE, "--to", RESULTS)
    assert status == 0, out
    assert f"fine: {PLACE}: 2 final run(s) and 1 trial(s) of {MINE}" in out
    assert "submitted: " in out and out.rstrip().endswith("/lab/results/discussions/1")
    assert set(results.files) == {"README.md"}, "nothing counts before it is merged"
    proposed = results.commits[results.branches["refs/pr/1"]]
    assert set(proposed) == {"README.md", PLACE}
    submission = offer(sha, *mine)
    assert proposed[PLACE].content == submission.to_json().encode()
    # what a maintainer's automatic check runs, without any token
    status, out = bocb("validate", RESULTS, "--revision", "refs/pr/1", token=None)
    assert (status, out.splitlines()[-1]) == (0, "1 file(s) checked, 0 wrong"), out
    merge(results)
    assert bocb("submit", MINE, "--to", RESULTS)[1].splitlines()[-1] == f"there already: {PLACE}"
    command = ("publish", "--store", "hf://lab", "--to", RESULTS, "--draws", "100")
    status, out = bocb(*command, token="hf_writer")
    assert status == 0 and "4 records, 0 quarantined" in out, out
    assert hub.count("author=bob") == 0, "a stranger's namespace is never listed"
    assert sorted(set(table(results, "records")["repository"])) == [
        MINE,
        f"lab/{make_record(optimizer='adamw').repository()}",
    ]
    cells = table(results, "leaderboard").query("kind == 'cell' and namespace == namespace")
    assert sorted(cells["namespace"]) == ["bob", "lab"]
    shown = json.loads(gzip.decompress(results.files["data/page/summary.json.gz"].content))
    assert shown["source"] == RESULTS and shown["tables"][0]["namespaces"] == ["bob", "lab"]
    assert shown["chunks"][-1] == len(results.files["data/page/details.bin"].content)
    _check_card(results, tmp_path)


def test_the_documented_path_from_training_to_the_leaderboard(
    hub: HubServer, hub_client: HubClient, results: Any, bocb: Any, sections: dict[str, Any], tmp_path: Path
) -> None:
    """Real weights and a real record: what training writes is what the check wants."""
    train = """
from bocb_hf.engine.run import train_run
from bocb_hf.runs.load_config import build_run_config
result = train_run(build_run_config(sections, [])).repository()
"""
    name = hub_client(train, None, sections=sections)
    push = ("push", "--to", "hf://bob", "--store", sections["runtime"]["store"])
    for words in (push, ("submit", f"bob/{name}", "--to", RESULTS), ("validate", RESULTS, "--revision", "refs/pr/1")):
        status, out = bocb(*words)
        assert status == 0, out
    merge(results)
    status, out = bocb("publish", "--store", "hf://lab", "--to", RESULTS, "--draws", "100", token="hf_writer")
    assert status == 0 and "1 records, 0 quarantined" in out, out
    (tmp_path / "board.parquet").write_bytes(results.files["data/leaderboard.parquet"].content)
    own_board = next(iter(LeaderboardFile(tmp_path / "board.parquet").boards.values()))
    (cell,) = own_board.cells.values()
    assert (cell.repository, cell.level, cell.n) == (f"bob/{name}", "self-reported", 1)


def _check_card(results: Any, folder: Path) -> None:
    """The data card configures the viewer: the library that the Hub's viewer uses finds every table by its name."""
    import datasets

    for path, file in results.files.items():
        (folder / "copy" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "copy" / path).write_bytes(file.content)
    copy, cache = str(folder / "copy"), str(folder / "cache")
    assert datasets.get_dataset_config_names(copy) == ["leaderboard", "coupling", "records"]
    assert datasets.get_dataset_default_config_name(copy) == "leaderboard"
    for name in ("leaderboard", "coupling", "records"):
        loaded: Any = datasets.load_dataset(copy, name, split="train", cache_dir=cache)
        assert len(loaded) == len(table(results, name)), name
    text = results.files["README.md"].content.decode()
    assert "size_categories:\n- n<1K\n" in text and "license: apache-2.0" in text
    assert "\n2 owners.\n" in text and f"--to {RESULTS}" in text and "\n| verified | 0 |" in text


def test_one_seed_or_several_repositories(hub: HubServer, results: Any, bocb: Any) -> None:
    push(hub, "bob", own("bob", seed=1), own("bob", seed=2))
    other = own("bob", optimizer="adamw")
    push(hub, "bob", other)
    status, out = bocb("submit", MINE, f"bob/{other.repository()}", "--seed", "1", "--to", RESULTS)
    assert status == 0 and "1 final run(s)" in out
    proposed = results.commits[results.branches["refs/pr/1"]]
    assert len(proposed) == 3
    assert parse_submission(proposed[PLACE].content, PLACE).records == [own("bob", seed=1).sha256()]
    status, out = bocb("submit", MINE, "--seed", "3", "--to", RESULTS)
    assert status == 2 and "no final run of seed 3 is listed; it has 1, 2" in out
    status, out = bocb("submit", MINE, "--to", RESULTS, "--dry-run")
    assert status == 0 and f'{PLACE}: {{"records":[' in out and "refs/pr/2" not in results.branches
    status, out = bocb("submit", "bob/nothing", "--to", RESULTS)
    assert status == 2 and "bob/nothing" in out
    status, out = bocb("submit", MINE, "--to", "hf://datasets/lab/none")
    assert status == 2 and "hf://datasets/lab/none" in out


def test_publishing_a_local_store_counts_submissions_beside_it(
    hub: HubServer, results: Any, bocb: Any, tmp_path: Path
) -> None:
    record = own("bob", seed=1)
    sha = push(hub, "bob", record)
    hub.put("lab/results", {PLACE: offer(sha, record).to_json().encode()}, kind="datasets")
    mine = make_record(optimizer="adamw")
    folder = tmp_path / "store/models/local" / mine.repository()
    (folder / "seeds/1").mkdir(parents=True)
    (folder / mine.path()).write_text(mine.to_json())
    (folder / "README.md").write_text(render_card(f"local/{mine.repository()}", [mine], []))
    command = ("publish", "--store", str(tmp_path / "store"), "--to", RESULTS, "--draws", "100")
    status, out = bocb(*command, token="hf_writer")
    assert status == 0, out
    assert sorted(table(results, "records")["repository"]) == [MINE, f"local/{mine.repository()}"]


def test_a_reader_counts_what_was_merged_when_asked_to(hub: HubServer, results: Any, bocb: Any, tmp_path: Path) -> None:
    mine, theirs, trial = own("lab", seed=1), own("bob", seed=2), make_record(seed=0, role="trial")
    push(hub, "lab", mine)
    push(hub, "bob", theirs, trial)
    assert bocb("submit", MINE, "--to", RESULTS)[0] == 0
    merge(results)
    command = ["aggregate", "--store", "hf://lab", "--results", RESULTS, "--draws", "100", "--out", str(tmp_path / "o")]

    def read(*words: str) -> tuple[int, str, str]:
        """Exit status, what was printed, and the seeds of the one cell."""
        status, out = bocb(*command, *words)
        return status, out, pd.read_parquet(tmp_path / "o" / "coupling.parquet")["seeds"].item()

    status, out, seeds = read()
    assert (status, seeds) == (0, "1") and "1 merged submission(s) are not counted; --submissions counts them" in out
    status, out, seeds = read("--submissions")
    assert (status, seeds) == (0, "1 2") and "not counted" not in out
    before = len(hub.requests)
    status, _, seeds = read("--submissions", "--offline")
    assert (status, seeds) == (0, "1 2") and len(hub.requests) == before, "from the cache, and nobody is asked"
    # beside a local store too
    command[2] = str(tmp_path / "local")
    publish(LocalStore(tmp_path / "local"), tmp_path, make_record(seed=3))
    assert read("--submissions")[::2] == (0, "2 3") and read()[::2] == (0, "3")
    for words, reason in (
        (["--submissions", "--cards"], "leave out --cards"),
        (["--submissions", "--results", "hf://lab"], "is no data set of the Hub"),
    ):
        status, out, _ = read(*words)
        assert status == 2 and reason in out
    status, out = bocb("aggregate", "--store", "hf://lab", "--submissions")
    assert status == 2 and "name the data set that holds them with --results" in out


def test_a_submission_is_what_its_file_says() -> None:
    record = make_record()
    good = offer("a" * 40, record)
    assert parse_submission(good.to_json().encode(), PLACE) == good
    assert set(json.loads(good.to_json())) == {"schema_version", "repository", "revision", "records"}
    many = Submission(
        schema_version=1, repository=MINE, revision="a" * 40, records=sorted(f"{n:064x}" for n in range(1000))
    )
    assert len(many.to_json()) < 100_000, "the largest that the model allows is one that is read"


def test_the_data_card_of_an_empty_data_set() -> None:
    from bocb_hf.store.contents import StoreContents

    rows: dict[str, int] = {f"data/{name}.parquet": 1500 for name in ("leaderboard", "coupling", "records")}
    text = results_card(RESULTS, StoreContents("x"), rows, "2026-01-01")
    assert "size_categories:\n- 1K<n<10K\n" in text and "\n0 owners.\n" in text


def test_every_documented_command_can_be_typed() -> None:
    root = Path(__file__).resolve().parents[2]
    guide = (root / "CONTRIBUTING.md").read_text().split("## A row in the leaderboard")[1].split("\n## ")[0]
    cards = [(root / "model_cards" / f"{name}_card.md.jinja").read_text() for name in ("results", "space")]
    lines = [line for text in (guide, *cards) for line in text.splitlines() if line.startswith("bocb ")]
    assert {line.split()[1] for line in lines} == {"train", "push", "submit", "validate"}
    for line in lines:
        words = re.sub(r"\{\{.*?\}\}", RESULTS, line.split("  #")[0]).translate(str.maketrans("", "", "<>")).split()[1:]
        _, command, rest = commands.resolve_command(click.Context(commands), words)
        assert command is not None
        command.make_context(words[0], list(rest))  # parses and checks, and runs nothing
        for word in words:
            key, _, value = word.partition("=")
            assert key != "backbone.name" or value in BACKBONES, line
            assert key != "optimizer.name" or value in OPTIMIZERS, line
        if words[0] == "train":
            assert words[2] in config_files("recipes/configs")
