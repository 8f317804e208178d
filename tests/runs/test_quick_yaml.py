"""The quick reader and writer of YAML give what PyYAML gives, or leave the document to it."""

from __future__ import annotations

import random
from typing import Any

import pytest
import yaml
from builders import make_record
from cards import render_card

from bocb_hf.errors import InputError
from bocb_hf.runs import strict_yaml, yaml_events, yaml_lines

LOADER, DUMPER = strict_yaml._Loader, strict_yaml._Dumper
PIECES = (
    *("a", "null", "~", "yes", "No", "1", "1e5", "12345678e901", "0x1f", "1.5", "-", "x-y", "a b", "a: b", "a:b", "#x"),
    *("x #y", "'q'", '"d"', "é", "😀", "top-1 (%), last", "", " x", "x ", "2026-01-01", "1:30", ".5", ".inf", "[x]"),
    *("{x", "a,b", "&a", "*b", "!c", "%d", "@e", "`f", "|g", ">h", "? x", "x:", "=", "<<", "0777", "1_000", "+1", "_"),
)


def card() -> str:
    finals = [make_record(seed=seed) for seed in (1, 2)]
    trials = [make_record(role="trial", seed=0, lr=lr) for lr in (0.0123, 0.1, 1e-5)]
    return render_card("me/x", finals, trials).split("---\n")[1]


def slow(text: str) -> Any:
    try:
        return yaml.load(text, Loader=LOADER)
    except (yaml.YAMLError, ValueError) as error:
        return type(error)


def quick(text: str) -> Any:
    return yaml_events.build(text, LOADER.yaml_implicit_resolvers, strict_yaml.MAX_VALUES)


def test_a_card_is_read_and_written_by_the_quick_ways() -> None:
    text = card()
    data = quick(text)
    assert data == slow(text) and data["bocb"]["trials"]
    assert (
        yaml_lines.dump(data, DUMPER, {})
        == text
        == yaml.dump(data, Dumper=DUMPER, sort_keys=False, allow_unicode=True, width=1000)
    )


def test_a_damaged_document_is_read_alike_or_left_undecided() -> None:
    """Seeded: a difference would let one installation read another number than the next."""
    rng = random.Random(0)
    text, decided = card()[:700], 0
    signs = [*"abc01: -[]{},'\"\n\t#|>&*!?%@`~.eE_=<", "\n  ", "\n- ", ": ", "é", "\ufeff", "\x85"]
    for _ in range(400):
        start = rng.randrange(len(text))
        some = text[start : start + 60]
        for _ in range(rng.randrange(4)):
            place = rng.randrange(len(some) + 1)
            some = some[:place] + rng.choice(signs) + some[place + rng.randrange(2) :]
        try:
            found = quick(some)
        except yaml_events.Undecided:
            continue
        decided += 1
        assert repr(found) == repr(slow(some)), some
    assert decided > 50


UNDECIDED = (
    *("a: &x 1", "a: !!str 1", "a: *x", "a: [b]", "a: |\n  b", "? [a]\n: b", "a: 1\na: 2", "--- a\n--- b"),
    *("%YAML 1.1\n---\na: 1", "<<: 1", "a:\tb", "\ufeffa: 1", "", "- " * 60 + "a"),
)


@pytest.mark.parametrize("text", UNDECIDED)
def test_what_needs_a_decision_is_left_undecided(text: str) -> None:
    with pytest.raises(yaml_events.Undecided):
        quick(text)


def test_more_values_than_allowed_are_left_undecided_and_then_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_yaml, "MAX_VALUES", 5)
    assert strict_yaml.parse("- a\n- b\n", "x") == ["a", "b"]
    with pytest.raises(InputError, match="more than 5 values"):
        strict_yaml.parse("- a\n- b\n- c\n- d\n- e\n", "x")


def test_without_libyaml_the_result_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = card()
    found = strict_yaml.parse(text, "x")
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    assert not yaml_events.available() and strict_yaml.parse(text, "x") == found


def test_data_are_written_as_pyyaml_writes_them() -> None:
    rng = random.Random(1)

    def some(depth: int) -> Any:
        if depth < 3 and rng.random() < 0.4:
            items = [some(depth + 1) for _ in range(rng.randrange(4))]
            return items if rng.random() < 0.5 else {f"k{i}": item for i, item in enumerate(items)}
        numbers = (None, True, rng.randrange(-9, 10**6), rng.random(), 1e-5 * rng.random(), 1e20, -0.0)
        return rng.choice((rng.choice(PIECES), rng.choice(numbers)))

    for _ in range(200):
        data = {rng.choice(("a", "b-c", "null", "1", "é")): some(0)}
        try:
            found = yaml_lines.dump(data, DUMPER, {})
        except yaml_lines.Undecided:
            assert "é" in data
            continue
        assert found == yaml.dump(data, Dumper=DUMPER, sort_keys=False, allow_unicode=True, width=1000)


@pytest.mark.parametrize("data", [{"a": "x" * 501}, {"a": "b\nc"}, {1: 2}, {"a": {3}}, [], {}])
def test_what_is_not_written_line_by_line_is_left_to_pyyaml(data: Any) -> None:
    with pytest.raises(yaml_lines.Undecided):
        yaml_lines.dump(data, DUMPER, {})
