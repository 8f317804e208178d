"""Whole cards: what the Hub reads from the metadata, and what people read below it.

``BOCB_UPDATE_GOLDEN=1 pytest tests/store/test_card_text.py`` rewrites ``tests/golden/card.md`` after a wanted change.
"""

from __future__ import annotations

import os
import re
import statistics
from pathlib import Path
from typing import Any

import pytest
from builders import make_data, make_record
from cards import SHAPES, body, front_matter, render, tuned, with_identity
from huggingface_hub import ModelCard

from bocb_hf.backbones import BACKBONES, OWN_ARCHITECTURES
from bocb_hf.runs.card import CardBlock, PeerEntry, Peers, make_block, parse_card
from bocb_hf.runs.measurements import StartingWeights
from bocb_hf.runs.record import RunRecord, wilson_interval
from bocb_hf.runs.retraction import make_retraction
from bocb_hf.store.cards.text import render_card

GOLDEN = Path(__file__).parents[1] / "golden" / "card.md"
REVISION = "2337f0bebb5963476df77a1aaafb5ca23570a538"


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
    found = StartingWeights(taken=45, drawn=["fc.bias", "fc.weight"], unused=3)
    told = render_card("me/x", [tuned(make_record("resnet18")).model_copy(update={"starting_weights": found})], [])
    row = "45; drawn anew: 2, such as fc.bias; of the file, 3 have no place in this network"
    assert f"| tensors that came from them | {row} |" in told
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


def test_the_tuning_table_says_what_was_chosen() -> None:
    trials = [make_record(seed=0, role="trial", lr=lr) for lr in (0.1, 0.3)]
    chosen = render_card("me/x", [make_record(lr=0.1)], trials)
    assert [row[0] for row in table_rows(chosen, "Tuning")] == ["**0.1**", "0.3"]
    assert "The configuration of the final runs is in bold." in chosen
    given = render_card("me/x", [make_record(lr=0.2)], trials)
    assert [row[0] for row in table_rows(given, "Tuning")] == ["0.1", "0.3"]
    assert "None of them has the configuration of the final runs, which was given." in given
    alone = render_card("me/x", [], trials)
    assert "in bold" not in alone and "None of them" not in alone


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
    assert f"Run `{gone.run_id}` is retracted and counts in no table: trained on ‹b›test‹/b› ¦ images" in text
    assert [row[0] for row in table_rows(text, "Result")] == ["2"]
    alone = render_card("me/x", [], [], [(gone, tombstone)])
    assert parse_card(alone, "x").runs == [] and "No final run yet" in alone


HTML = "<script>alert(1)</script>[x](javascript:alert(1))` # Title | a |"


def test_what_others_wrote_is_text_and_never_markup() -> None:
    record = make_record(status="diverged")
    environment = record.environment.model_copy(
        update={"device": HTML, "platform": HTML, "libraries": {"to<b>": "1|2"}}
    )
    record = record.model_copy(update={"reason": HTML, "environment": environment})
    record = with_identity(record, backbone={"args": {"a": HTML}}, data={"evaluation_split": HTML[:90]})
    record = RunRecord.model_validate(record.model_dump())
    text = body(render_card("me/x", [record], []))
    for sign in ("<script", "](javascript", "| a |", "to<b>", "1|2"):
        assert sign not in text
