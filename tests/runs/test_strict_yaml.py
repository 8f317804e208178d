"""YAML that is only data: numbers are numbers, and nothing is doubled, tagged, repeated by reference or huge."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bocb_hf.errors import InputError
from bocb_hf.runs import strict_yaml
from bocb_hf.runs.strict_yaml import MAX_BYTES, MAX_VALUES, dump, parse, parse_file


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E-3", 0.001),
        ("-2e5", -2e5),
        ("+1e+2", 100.0),
        ("1.5e-8", 1.5e-8),
        ("1.e3", 1000.0),
        ("0.1", 0.1),
        (".5", 0.5),
    ],
)
def test_scientific_notation_is_a_float(text: str, value: float) -> None:
    read = parse(text, "x")
    assert isinstance(read, float)
    assert read == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("true", True),
        ("null", None),
        ("", None),
        ('"1e-3"', "1e-3"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("1e-3x", "1e-3x"),
        # no field is a date, and JSON could not hold one
        ("2024-01-01", "2024-01-01"),
    ],
)
def test_other_scalars_keep_their_type(text: str, value: Any) -> None:
    read = parse(text, "x")
    assert type(read) is type(value)
    assert read == value


@pytest.mark.parametrize("text", ["a: 1\na: 2", "x: {a: 1, b: 2, a: 1}", "- a: 1\n  a: 1", "1: a\n1: b"])
def test_duplicate_keys_are_errors_at_any_depth(text: str) -> None:
    with pytest.raises(InputError, match=r"some\.yaml: not valid YAML: duplicate key"):
        parse(text, "some.yaml")


def test_the_place_of_a_duplicate_is_named() -> None:
    with pytest.raises(InputError, match="line 3"):
        parse("a: 1\nb: 2\na: 3\n", "x")


def test_keys_must_be_plain_values() -> None:
    with pytest.raises(InputError, match="keys must be plain values"):
        parse("? [1, 2]\n: x", "x")


def billion_laughs(levels: int = 40) -> str:
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize("text", [billion_laughs(), "a: &x 1\nb: *x", "&x [*x]", "a: &x {b: 1}\nc:\n  <<: *x"])
def test_aliases_are_refused_before_they_expand(text: str) -> None:
    start = time.perf_counter()
    with pytest.raises(InputError, match="aliases are not allowed"):
        parse(text, "x")
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch HACKED']",
        "!!python/name:os.system",
        "a: !!python/tuple [1, 2]",
        "!custom 1",
        "!!binary aGk=",
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!!timestamp nonsense",
        '!!int ""',
        "!!bool maybe",
        "? !!str a\n: 1",
    ],
)
def test_tags_are_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="tags are not allowed"):
        parse(text, "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        "a: [1",
        "a: b: c",
        "\ta: 1",
        "a: 1\n---\nb: 2",
        "\x00",
        "a: <<",
        "<<: {a: 1}",
        "%YAML 9.0\n---\na",
        "=: 1",
        "0x_",
    ],
)
def test_malformed_documents_are_input_errors(text: str) -> None:
    with pytest.raises(InputError, match="x: not valid YAML"):
        parse(text, "x")


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    start = time.perf_counter()
    with pytest.raises(InputError):
        parse("[" * 20_000, "x")
    assert time.perf_counter() - start < 5


def test_a_huge_integer_is_an_error() -> None:
    with pytest.raises(InputError):
        parse("9" * 10_000, "x")


def test_the_size_is_limited_in_bytes() -> None:
    fits = '"' + "é" * ((MAX_BYTES - 2) // 2) + '"'
    assert len(fits.encode()) == MAX_BYTES
    assert len(parse(fits, "x")) == (MAX_BYTES - 2) // 2
    with pytest.raises(InputError, match=r"x: larger than 1000000 bytes"):
        parse(fits + " ", "x")


def test_the_number_of_values_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs the parser far more than its two bytes: a megabyte of them took half a minute."""
    assert MAX_VALUES == 50_000
    monkeypatch.setattr(strict_yaml, "MAX_VALUES", 500)
    fits = f"[{'1,' * 499}]"  # the list itself is one
    assert len(parse(fits, "x")) == 499
    with pytest.raises(InputError, match="x: not valid YAML: more than 500 values"):
        parse(fits[:-1] + "1]", "x")


def test_nan_and_infinity_are_read_as_floats_so_that_the_field_can_refuse_them_by_name() -> None:
    assert math.isnan(parse(".nan", "x"))
    assert parse("-.inf", "x") == -math.inf
    assert parse("1e999", "x") == math.inf


def test_files_that_cannot_be_read_are_input_errors(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: é".encode("latin-1"))
    for path in (latin, tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(InputError, match="cannot be read") as raised:
            parse_file(path)
        assert str(path) in str(raised.value)


def test_a_file_is_read_as_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_bytes("name: é\nlr: 3e-4\n".encode())
    assert parse_file(path) == {"name": "é", "lr": 0.0003}


# PyYAML turns the line breaks of Unicode into spaces, and lone surrogates have no bytes; no field of ours holds them
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\x85\u2028\u2029")
scalars = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**30), max_value=10**30)
    | st.floats(allow_nan=False)
    | st.text(characters, max_size=30)
    | st.from_regex(r"[-+]?[0-9_]{1,3}\.?[0-9_]{0,3}[eE]?[-+]?[0-9]{0,3}", fullmatch=True)
    | st.from_regex(r"[0-9a-f]{12}(-[0-9])?", fullmatch=True)
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(characters, max_size=10), inner, max_size=4),
    max_leaves=15,
)


@settings(max_examples=100)
@given(documents)
@example({"config_hash": "12345678e901"})
@example({"run_id": "12345678901e-1"})
@example(["1e5", "1_0e2", "+1E+5", "1.5", "0x10", "1:30", "on", "~", "<<", "=", "2024-01-01", "-", ""])
@example([1e-5, 1e22, -0.0, 5e-324, 1.7976931348623157e308])
def test_what_is_dumped_is_read_back_with_its_types(document: Any) -> None:
    read = parse(dump(document), "x")
    assert read == document
    # == takes 1, 1.0 and True for equal, and -0.0 for 0.0
    assert repr(read) == repr(document)


def test_a_shared_object_is_written_twice_and_keys_keep_their_order() -> None:
    shared = [1, 2]
    text = dump({"z": shared, "a": shared})
    assert text == "z:\n- 1\n- 2\na:\n- 1\n- 2\n"
