"""The block of a card: projected from records, read back equal, and refused when it is not ours."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from builders import make_bits, make_record
from cards import SHAPES, TRIALS, body, front_matter, render

from bocb_hf.errors import InputError
from bocb_hf.runs import strict_yaml
from bocb_hf.runs.card import make_block, parse_card, parse_metadata
from bocb_hf.store.cards.text import render_card

# round trip


@pytest.mark.parametrize("shape", SHAPES)
def test_a_card_is_read_back_equal_to_its_records(shape: str) -> None:
    finals, trials = SHAPES[shape]
    block = parse_card(render(shape), "README.md")
    assert block == make_block(finals, trials)
    assert [entry.seed for entry in block.runs] == sorted(record.seed for record in finals)
    for record in finals:
        (entry,) = [e for e in block.runs if e.seed == record.seed]
        assert (entry.run_id, entry.config_hash) == (record.run_id, record.config_hash)
        assert (entry.status, entry.record_sha256) == (record.status, record.sha256())
        assert entry.lr == record.identity.optimizer.lr
        if record.correctness is None:
            assert (entry.test_top1, entry.correct, entry.test_images) == (None, None, None)
        else:
            assert (entry.correct, entry.test_images) == (record.correctness.k, record.correctness.n)
            assert entry.test_top1 == 100 * record.correctness.k / record.correctness.n
    assert sorted(entry.config_hash for entry in block.trials) == sorted(record.config_hash for record in trials)


def test_the_order_of_the_records_does_not_matter() -> None:
    finals, trials = SHAPES["several seeds"]
    assert render_card("me/x", finals[::-1], trials[::-1]) == render_card("me/x", finals, trials)


def test_hashes_that_look_like_numbers_stay_strings() -> None:
    text = render("one seed")
    real = make_block(*SHAPES["one seed"]).runs[0].config_hash
    for odd in ("12345678e901", "123456789012", "12345678901e"):
        entry = make_block(*SHAPES["one seed"]).model_dump(mode="json")
        entry["runs"][0] |= {"config_hash": odd, "run_id": f"{odd}-1"}
        again = parse_card(f"---\n{strict_yaml.dump({'bocb': entry})}---\n", "README.md")
        assert again.runs[0].config_hash == odd
        assert again.runs[0].run_id == f"{odd}-1"
    assert real in text


@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_takes_at_most_two_kilobytes(shape: str) -> None:
    block = front_matter(render(shape))["bocb"]
    entries = block["runs"] + block["trials"]
    assert entries
    for entry in entries:
        assert len(strict_yaml.dump([entry]).encode()) <= 2048


def test_the_largest_entry_stays_under_two_kilobytes() -> None:
    entry = make_block([make_record()], []).runs[0]
    big = entry.model_copy(
        update={
            "seed": 2**31 - 1,
            "run_id": f"{entry.config_hash}-{2**31 - 1}",
            "test_top1": 100 / 3,
            "correct": 10**7,
            "test_images": 10**7,
            "lr": 1.2345678901234567e-300,
            "weight_decay": 1.2345678901234567e-300,
            "wall_seconds": 1.2345678901234567e300,
        }
    )
    assert len(strict_yaml.dump([big.model_dump(mode="json")]).encode()) <= 2048


def test_a_card_needs_records_of_one_cell() -> None:
    with pytest.raises(ValueError, match="one cell"):
        render_card("me/x", [make_record(), make_record(optimizer="adamw")], [])
    with pytest.raises(ValueError, match="one cell"):
        render_card("me/x", [], [])


def test_metadata_of_a_listing_is_read_as_a_card_is() -> None:
    metadata = front_matter(GOOD)
    assert parse_metadata(metadata, "x") == parse_card(GOOD, "x")
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for bad, reason in (
        (None, "no block `bocb`"),
        ({"bocb": {**metadata["bocb"], "backbone": "x" * 2_000_000}}, "larger than 1000000 bytes"),
        ({"bocb": {**metadata["bocb"], "runs": deep}}, "not a valid card"),
        ({"bocb": {**metadata["bocb"], "card_version": 9}}, "card version 9 is newer"),
    ):
        with pytest.raises(InputError, match=r"^lab/x: ") as raised:
            parse_metadata(bad, "lab/x")
        assert reason in str(raised.value)


# hostile and damaged cards

GOOD = render_card("me/x", [make_record(correct=make_bits(3, 7))], TRIALS[:1])


def edited(**changes: Any) -> str:
    """The good card with keys of its block changed; a dotted key goes into the first run."""
    metadata = front_matter(GOOD)
    for key, value in changes.items():
        if key.startswith("run_"):
            metadata["bocb"]["runs"][0][key.removeprefix("run_")] = value
        else:
            metadata["bocb"][key] = value
    return f"---\n{yaml.dump(metadata, Dumper=yaml.CSafeDumper)}---\n{body(GOOD)}"


LAUGHS = "\n".join(["l0: &l0 [ha, ha]"] + [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 40)])

HOSTILE: dict[str, tuple[str, str]] = {
    "empty": ("", "no YAML metadata between --- lines at the start"),
    "no front matter": ("# A model\n", "no YAML metadata"),
    "front matter later": ("\n" + GOOD, "no YAML metadata"),
    "never closed": ("---\nbocb: {}\n", "no YAML metadata"),
    "not ours": ("---\nlicense: mit\n---\n", "has no block `bocb`; this is not a card of ours"),
    "a list": ("---\n- 1\n---\n", "has no block `bocb`"),
    "nothing": ("---\n\n---\n", "has no block `bocb`"),
    "block is a list": ("---\nbocb: [1]\n---\n", "has no block `bocb`"),
    "block is a string": ("---\nbocb: hello\n---\n", "has no block `bocb`"),
    "block is empty": ("---\nbocb: {}\n---\n", "card_version: missing"),
    "duplicate key": (GOOD.replace("bocb:\n", "license: mit\nbocb:\n"), "duplicate key 'license'"),
    "duplicate key in the block": (GOOD.replace("  setting: demo\n", "  setting: demo\n" * 2), "duplicate key 'sett"),
    "alias bomb": (f"---\n{LAUGHS}\n---\n", "aliases are not allowed"),
    "python tag": ("---\nbocb: !!python/object/apply:os.getcwd []\n---\n", "tags are not allowed"),
    "too large": (f"---\nx: {'y' * 1_000_001}\n---\n", "larger than 1000000 bytes"),
    "broken YAML": ("---\nbocb: [1\n---\n", "not valid YAML"),
    "NaN": (edited(run_test_top1=float("nan")), "runs.0.test_top1: input should be a finite number"),
    "infinity": (edited(run_wall_seconds=float("inf")), "runs.0.wall_seconds: input should be a finite number"),
    "string for a number": (edited(run_test_top1="0.5"), "runs.0.test_top1: input should be a valid number"),
    "boolean for a count": (edited(run_correct=True), "runs.0.correct: input should be a valid integer"),
    "float for a count": (edited(run_correct=3.0), "runs.0.correct: input should be a valid integer"),
    "percent over 100": (edited(run_test_top1=100.1), "runs.0.test_top1: input should be less than or equal to 100"),
    "negative seed": (edited(run_seed=-1), "runs.0.seed: input should be greater than or equal to 0"),
    "bad hash": (edited(run_record_sha256="f" * 63), "runs.0.record_sha256: string should match pattern"),
    "path for a run": (edited(run_run_id="../../etc/passwd"), "runs.0.run_id: string should match pattern"),
    "unknown status": (edited(run_status="won"), "runs.0.status: input should be 'completed'"),
    "unknown key": (edited(run_points=1.0), "runs.0.points: unknown key"),
    "runs of the wrong type": (edited(runs={"a": 1}), "runs: input should be a valid array"),
    "run of the wrong type": (edited(runs=[3]), "runs.0: input should be an object"),
    "future version": (edited(card_version=2, anything=1), "card version 2 is newer than 1; upgrade bocb-hf"),
    "old version": (edited(card_version=0), "card_version: input should be 1"),
    "version as text": (edited(card_version="1"), "card_version: input should be 1"),
    "date": (edited(setting="2024-01-01").replace("'2024-01-01'", "2024-01-01"), "setting: string should match"),
    "score of other counts": (edited(run_correct=4), "test_top1 is 42.857"),
    "completed without a score": (edited(run_test_top1=None), "given exactly for a completed run"),
    "score of a run that diverged": (edited(run_status="diverged"), "given exactly for a completed run"),
    "count beyond any column": (edited(run_correct=10**30), "runs.0.correct: input should be less than or equal to"),
    "negative count": (edited(run_test_images=-5), "runs.0.test_images: input should be greater than"),
    "negative learning rate": (edited(run_lr=-1.0), "runs.0.lr: input should be greater than 0"),
    "negative time": (edited(run_wall_seconds=-1.0), "runs.0.wall_seconds: input should be greater than"),
    "run id of another seed": (edited(run_seed=5), "run_id is"),
    "a seed twice": (
        edited(runs=[front_matter(GOOD)["bocb"]["runs"][0] for _ in range(2)]),
        "a seed, or a trial, is listed twice",
    ),
    "a trial twice": (
        edited(trials=[front_matter(GOOD)["bocb"]["trials"][0] for _ in range(2)]),
        "a seed, or a trial, is listed twice",
    ),
    "codes for a terminal": (edited(dataset="\x1b[2J"), "dataset: string should match pattern"),
    "right to left": (edited(backbone="tiny\u202enet"), "backbone: string should match pattern"),
    "an unknown family": (edited(family="<b>"), "family: input should be"),
    "a revision that is none": (edited(data_revisions=["\x1b[31m"]), "data_revisions.0: string should"),
    "a key of codes": (edited(**{"\x1b[2J\u202e": 1}), "not a valid card:  [2J : unknown key"),
    "a key of a megabyte": (edited(**{"k" * 900_000: 1}), "not a valid card: kkk"),
    "surrogate": ('---\nbocb: {setting: "\\uD800"}\n---\n', "not a valid card"),
    "odd key": ("---\nbocb: {1: 2, null: 3}\n---\n", "not a valid card"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_card_that_is_not_valid_is_refused_with_the_reason(name: str) -> None:
    text, reason = HOSTILE[name]
    start = time.perf_counter()
    with pytest.raises(InputError, match=r"^me/x/README\.md: ") as raised:
        parse_card(text, "me/x/README.md")
    assert reason in str(raised.value)
    assert len(str(raised.value)) < 6000 and str(raised.value).isprintable()
    assert time.perf_counter() - start < 5


def test_text_and_foreign_metadata_around_the_block_do_not_matter() -> None:
    block = parse_card(GOOD, "x")
    assert parse_card(edited(), "x") == block
    assert parse_card(GOOD + "\n<script>alert(1)</script>\n---\nbocb: {}\n---\n", "x") == block
    assert parse_card(GOOD.replace("bocb:\n", "widget: [1, 2]\nbocb:\n"), "x") == block
