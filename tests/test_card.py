"""Cards: rendered from records, read back equal, and refused when they are not ours.

``BOCB_UPDATE_GOLDEN=1 pytest tests/test_card.py`` rewrites ``tests/golden/card.md`` after a wanted change.
"""

from __future__ import annotations

import os
import re
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import make_bits, make_data, make_record
from huggingface_hub import ModelCard

from bocb_hf import strict_yaml
from bocb_hf.backbones import BACKBONES, OWN_ARCHITECTURES
from bocb_hf.card import CardBlock, PeerEntry, Peers, make_block, parse_card, parse_metadata
from bocb_hf.card_text import render_card
from bocb_hf.errors import InputError
from bocb_hf.naming import make_run_id
from bocb_hf.record import RunRecord, wilson_interval
from bocb_hf.retraction import make_retraction
from bocb_hf.schema import Frozen

GOLDEN = Path(__file__).parent / "golden" / "card.md"
REVISION = "2337f0bebb5963476df77a1aaafb5ca23570a538"

Records = tuple[list[RunRecord], list[RunRecord]]


def with_identity(record: RunRecord, **changes: Any) -> RunRecord:
    """The record with parts of its identity changed and its hash and id to match."""
    parts: dict[str, Any] = {}
    for section, fields in changes.items():
        part = getattr(record.identity, section)
        parts[section] = part.model_copy(update=fields) if isinstance(part, Frozen) else fields
    identity = record.identity.model_copy(update=parts)
    config_hash = identity.config_hash()
    update = {
        "identity": identity,
        "config_hash": config_hash,
        "run_id": make_run_id(config_hash, record.seed),
    }
    return RunRecord.model_validate(record.model_copy(update=update).model_dump())


def tuned(record: RunRecord) -> RunRecord:
    return with_identity(
        record,
        backbone={"name": "resnet18", "architecture": "resnet18", "pretrained": "timm/resnet18.a1_in1k"}
        | {"pretrained_sha256": "e" * 64},
    )


TRIALS = [make_record(seed=0, role="trial", lr=lr, val_top1=70 + 10 * lr) for lr in (0.3, 0.1, 0.03)]
SHAPES: dict[str, Records] = {
    "only trials": ([], TRIALS),
    "one seed": ([make_record()], []),
    "several seeds": ([make_record(seed=seed, correct=1600 + seed) for seed in (3, 1, 2)], TRIALS),
    "several hashes": ([make_record(seed=1), make_record(seed=2, lr=0.2, correct=1000)], []),
    "diverged": ([make_record(seed=1, status="diverged"), make_record(seed=2)], []),
    "only diverged": ([make_record(status="diverged")], [make_record(seed=0, role="trial", status="diverged")]),
    "interrupted": ([make_record(seed=4, status="interrupted")], []),
    "fine-tuned": ([tuned(make_record("resnet18"))], []),
    "unknown names": ([make_record("resnet18.a1_in1k", "madeup", data=make_data("org/images"))], []),
    # every one of these is a number to YAML unless it is quoted
    "number-like": ([make_record(setting="1e5", data=make_data("123", revision="1234567"))], []),
}


def render(shape: str) -> str:
    finals, trials = SHAPES[shape]
    return render_card(f"me/{(finals + trials)[0].repository()}", finals, trials)


def front_matter(text: str) -> dict[str, Any]:
    return yaml.safe_load(text.split("---\n")[1])


def body(text: str) -> str:
    return text.split("---\n", 2)[2]


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


# what the Hub reads


@pytest.mark.parametrize("shape", SHAPES)
def test_the_hub_library_accepts_the_metadata(shape: str) -> None:
    finals, trials = SHAPES[shape]
    first = (finals + trials)[0]
    data: Any = ModelCard(render(shape)).data
    assert data.library_name == "timm"
    assert data.pipeline_tag == "image-classification"
    assert data.license == "apache-2.0"
    assert {"bocb", "timm", "image-classification"} <= set(data.tags)
    assert f"backbone:{first.identity.backbone.name}" in data.tags
    assert f"optimizer:{first.identity.optimizer.name}" in data.tags
    completed = sorted((r for r in finals if r.status == "completed"), key=lambda r: r.seed)
    results = data.eval_results or []
    assert [result.metric_value for result in results] == [
        100 * r.correctness.k / r.correctness.n for r in completed if r.correctness
    ]
    for record, result in zip(completed, results, strict=True):
        assert result.metric_type == "accuracy"
        assert result.metric_name == f"top-1 (%), last weights, seed {record.seed}"
        assert result.task_type == "image-classification"
        assert result.dataset_name == record.identity.data.name
        assert result.dataset_split == "test"
        assert result.dataset_revision == record.identity.data.revision
    if results:
        assert data.model_name == first.repository()


def test_data_sets_are_named_as_the_hub_knows_them() -> None:
    assert front_matter(render("one seed"))["datasets"] == ["zalando-datasets/fashion_mnist"]
    assert front_matter(render("unknown names"))["datasets"] == ["org/images"]
    # a local folder is no data set of the Hub
    assert "datasets" not in front_matter(render("number-like"))


def test_a_fine_tuned_model_names_its_base() -> None:
    assert front_matter(render("fine-tuned"))["base_model"] == "timm/resnet18.a1_in1k"
    assert "base_model" not in front_matter(render("one seed"))
    assert "| starting weights | timm/resnet18.a1_in1k |" in render("fine-tuned")
    mixed = [tuned(make_record("resnet18", seed=1)), make_record("resnet18", seed=2)]
    assert "base_model" not in front_matter(render_card("me/x", mixed, []))


# what people read


def table_rows(text: str, title: str) -> list[list[str]]:
    """Cells of the first table under a heading, without its header."""
    lines = text.split(f"## {title}\n")[1].split("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return rows[2:]


def test_each_seed_has_a_row_with_its_own_interval() -> None:
    rows = table_rows(render("several seeds"), "Result")
    assert [row[0] for row in rows] == ["1", "2", "3"]
    for seed, row in enumerate(rows, start=1):
        low, high = wilson_interval(1600 + seed, 2000)
        assert row[1:5] == ["completed", f"{80 + seed / 20:.2f}", f"{low:.2f} – {high:.2f}", "2000"]
    assert "Mean over n = 3 seeds (1, 2, 3): 80.10 %" in render("several seeds")


def test_one_seed_is_a_mean_over_one() -> None:
    assert "Mean over n = 1 seed (1): 80.00 %" in render("one seed")


def test_several_hashes_are_shown_side_by_side_and_never_averaged() -> None:
    text = render("several hashes")
    one, two = SHAPES["several hashes"][0]
    assert one.config_hash != two.config_hash
    assert [(row[2], row[5].strip("`")) for row in table_rows(text, "Result")] == [
        ("80.00", one.config_hash),
        ("50.00", two.config_hash),
    ]
    assert "Mean" not in text
    assert "65.00" not in text


def test_a_diverged_run_has_no_number_and_its_reason() -> None:
    text = render("diverged")
    first, second = table_rows(text, "Result")
    assert first[1:5] == ["diverged at step 17 of 100", "–", "–", "–"]
    assert second[1:3] == ["completed", "80.00"]
    assert "Seed 1 diverged: the loss was not finite." in text
    # n counts what completed
    assert "Mean over n = 1 seed (2): 80.00 %" in text
    for shape in ("only diverged", "interrupted", "only trials"):
        assert "Mean" not in render(shape)
        assert "Load it" not in render(shape)
        assert "model-index" not in front_matter(render(shape))


def test_only_trials_say_so_and_show_their_validation_scores() -> None:
    text = render("only trials")
    assert "No final run yet" in text
    assert [row[0] for row in table_rows(text, "Tuning")] == ["0.03", "0.1", "0.3"]
    assert [row[3] for row in table_rows(text, "Tuning")] == ["70.30", "71.00", "73.00"]
    assert [row[3] for row in table_rows(render("only diverged"), "Tuning")] == ["diverged"]


def test_the_loading_snippet_uses_the_lowest_completed_seed() -> None:
    text = render("diverged")
    assert 'timm.create_model(f"local-dir:{folder}/seeds/2", pretrained=True)' in text
    assert f'snapshot_download("me/{SHAPES["diverged"][0][0].repository()}", allow_patterns="seeds/2/*")' in text
    assert "--reproduce seeds/2/record.json" in text


def test_the_snippet_imports_bocb_hf_exactly_for_our_architectures() -> None:
    ours = set()
    built = {(row.id, row.architecture) for row in BACKBONES}
    built |= {(row.id, row.small_input.architecture) for row in BACKBONES if row.small_input}
    for name, architecture in sorted(built):
        record = with_identity(make_record(name), backbone={"architecture": architecture})
        record = record.model_copy(update={"requires": "bocb_hf" if architecture in OWN_ARCHITECTURES else None})
        text = body(render_card("me/x", [record], []))
        blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        assert len(blocks) == 3
        imports = {f"import bocb_hf  # registers the architecture {architecture}\n" in block for block in blocks[:2]}
        assert imports == {architecture in OWN_ARCHITECTURES}
        assert blocks[2] == 'import bocb_hf\n\nmodel = bocb_hf.load_backbone("me/x", seed=1)\n'
        for block in blocks:
            compile(block, "snippet", "exec")
        if True in imports:
            ours.add(architecture)
    assert ours == set(OWN_ARCHITECTURES)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_text_has_no_gaps(shape: str) -> None:
    text = body(render(shape))
    assert "{{" not in text
    assert "{%" not in text
    assert "Undefined" not in text
    assert "\n\n\n" not in text
    assert text.endswith("```\n")
    assert render(shape).count("\n---\n") == 1


def golden_card() -> str:
    data = make_data(revision=REVISION)
    finals = [
        make_record(seed=1, correct=1600, data=data),
        make_record(seed=2, correct=1613, data=data),
        make_record(seed=3, status="diverged", data=data),
    ]
    trials = [make_record(seed=0, role="trial", lr=lr, val_top1=v, data=data) for lr, v in ((0.1, 81.5), (0.3, 79.25))]
    return render_card(f"somebody/{finals[0].repository()}", finals, trials)


def test_the_golden_card() -> None:
    """The whole text, so that a change of template or metadata is seen in a review."""
    if os.environ.get("BOCB_UPDATE_GOLDEN") == "1":
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(golden_card(), encoding="utf-8")
    assert golden_card() == GOLDEN.read_text(encoding="utf-8"), "if this is wanted: BOCB_UPDATE_GOLDEN=1 pytest"


def test_the_golden_card_is_still_read() -> None:
    """A card of an earlier installation: the reader must go on to accept it."""
    block = parse_card(GOLDEN.read_text(encoding="utf-8"), "card.md")
    assert isinstance(block, CardBlock)
    assert [entry.test_top1 for entry in block.runs] == [80.0, 80.65, None]


PEERS = Peers(
    as_of="2026-02-03",
    entries=[
        PeerEntry(repository="me/with-adamw", optimizer="adamw", n=3, top1=81.25),
        PeerEntry(repository="me/with-lars", optimizer="lars", n=0, top1=None),
    ],
)


def test_a_card_stands_among_the_other_optimizers_of_its_backbone() -> None:
    finals = [make_record(seed=seed, correct=1600 + seed) for seed in (1, 2, 3)]
    text = render_card("me/x", finals, [], (), PEERS)
    assert parse_card(text, "x") == make_block(finals, [], (), PEERS)
    rows = table_rows(text.replace("### Among the optimizers of this backbone", "## Among"), "Among")
    assert rows == [
        ["[AdamW](https://huggingface.co/me/with-adamw)", "3", "81.25"],
        ["**SGD-M** (this one)", "3", "80.10"],
        ["[LARS](https://huggingface.co/me/with-lars)", "0", "–"],
    ]
    assert "as read on 2026-02-03" in text
    assert "Among the optimizers" not in render("several seeds")


def test_three_seeds_have_an_interval_and_two_have_none() -> None:
    scores = [80.05, 80.10, 80.15]
    half = 4.302652729911275 * statistics.stdev(scores) / 3**0.5  # Student's t, 2 degrees of freedom
    assert f"95 % interval over seeds {80.10 - half:.2f} – {80.10 + half:.2f}" in render("several seeds")
    two = render_card("me/x", [make_record(seed=1, correct=1600), make_record(seed=2, correct=1610)], [])
    assert "So few seeds give no interval" in two


def test_a_withdrawn_run_is_named_and_counts_nowhere() -> None:
    gone, kept = make_record(seed=1, correct=100), make_record(seed=2)
    tombstone = make_retraction(gone, "trained on <b>test</b> | images")
    text = render_card("me/x", [kept], [], [(gone, tombstone)])
    assert parse_card(text, "x") == make_block([kept], [], [(gone, tombstone)])
    assert f"Run `{gone.run_id}` is withdrawn and counts in no table: trained on ‹b›test‹/b› ¦ images" in text
    assert [row[0] for row in table_rows(text, "Result")] == ["2"]
    alone = render_card("me/x", [], [], [(gone, tombstone)])
    assert parse_card(alone, "x").runs == [] and "No final run yet" in alone


HTML = "<script>alert(1)</script>[x](javascript:alert(1))`\n\n# Title\n| a |"


def test_what_others_wrote_is_text_and_never_markup() -> None:
    record = make_record(status="diverged")
    environment = record.environment.model_copy(
        update={"device": HTML, "platform": HTML, "libraries": {"to<b>": "1|2"}}
    )
    record = record.model_copy(update={"reason": HTML, "environment": environment})
    record = with_identity(record, backbone={"args": {"a": HTML}}, data={"evaluation_split": HTML[:90]})
    record = RunRecord.model_validate(record.model_dump())
    text = body(render_card("me/x", [record], []))
    for sign in ("<script", "](javascript", "\n# Title", "to<b>", "1|2"):
        assert sign not in text


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
    return f"---\n{yaml.safe_dump(metadata)}---\n{body(GOOD)}"


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
    "unknown key": (edited(run_score=1.0), "runs.0.score: unknown key"),
    "runs of the wrong type": (edited(runs={"a": 1}), "runs: input should be a valid array"),
    "run of the wrong type": (edited(runs=[3]), "runs.0: input should be an object"),
    "future version": (edited(card_version=2, anything=1), "card version 2 is newer than 1; upgrade bocb-hf"),
    "old version": (edited(card_version=0), "card_version: input should be 1"),
    "version as text": (edited(card_version="1"), "card_version: input should be 1"),
    "date": (edited(setting="2024-01-01").replace("'2024-01-01'", "2024-01-01"), "setting: string should match"),
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
    assert time.perf_counter() - start < 5


def test_text_and_foreign_metadata_around_the_block_do_not_matter() -> None:
    block = parse_card(GOOD, "x")
    assert parse_card(edited(), "x") == block
    assert parse_card(GOOD + "\n<script>alert(1)</script>\n---\nbocb: {}\n---\n", "x") == block
    assert parse_card(GOOD.replace("bocb:\n", "widget: [1, 2]\nbocb:\n"), "x") == block
