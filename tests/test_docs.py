"""README and the pages: every link leads somewhere, every command shown is one, and every page is in README's index."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import click
import pytest
import yaml
from house import ROOT

import bocb_hf
from bocb_hf import cli
from bocb_hf.errors import InputError
from bocb_hf.resources import config_files

PAGES = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES]
SHELL = re.compile(r"```bash\n(.*?)```", re.DOTALL)
# what a reader replaces; a list of choices or an ellipsis stands for one of its words
PLACEHOLDERS = {
    "<repository>": "repository",
    "<org>": "org",
    "<you>": "you",
    "<organisation>": "org",
    "...": "data.name=x",
}
PLACEHOLDERS |= {
    "<results>": "results",
    "<space>": "space",
    "<task>": "task",
    "<cell>": "cell",
    "<n>": "1",
    "<id>": "id",
}
PLACEHOLDERS |= {"<data>": "data", "<commit>": "0" * 40}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def slug(title: str) -> str:
    """The anchor that GitHub makes of a heading."""
    plain = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title).lower().replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    outside = re.sub(r"^```.*?^```", "", text_of(path), flags=re.DOTALL | re.MULTILINE)
    return {slug(line.lstrip("#").strip()) for line in outside.splitlines() if re.match(r"#+ ", line)}


def links(path: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```", "", text_of(path), flags=re.DOTALL | re.MULTILINE))


def split(line: str) -> list[list[str]]:
    """The words of each command in a line of a shell, and of those that it gives to ``bash -c``."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split, words, found = True, list[str](), list[list[str]]()
    for word in [*lexer, ";"]:
        if set(word) <= set("();<>|&"):
            found += [words, *(split(words[-1]) if "bash" in words and words[-2] == "-c" else [])] if words else []
            words = []
        else:
            words.append(word)
    return found


def commands(path: Path) -> list[list[str]]:
    """The words of each command in the shell blocks of a document, with placeholders filled in."""
    found: list[list[str]] = []
    for block in SHELL.findall(text_of(path)):
        for line in block.replace("\\\n", " ").splitlines():
            for mark, word in PLACEHOLDERS.items():
                line = line.replace(mark, word)
            found += split(line)
    return found


ALL = [(path, words) for path in DOCUMENTS for words in commands(path)]
BOCB = [(path, words[words.index("bocb") + 1 :]) for path, words in ALL if "bocb" in words[:-1]]
LAUNCHED = [(path, words) for path, words in ALL if any(word.startswith("recipes/") for word in words)]
SCRIPTS = [(path, words) for path, words in ALL if words[0] == "python" and words[1].endswith(".py")]


def test_readme_begins_with_the_two_commands_and_is_short() -> None:
    lines = text_of(ROOT / "README.md").splitlines()
    assert len(lines) <= 200
    assert [line.split("#")[0].strip() for line in lines[2:6]] == ["```bash", "make demo", "make test", "```"]


def test_every_page_is_in_the_index_of_readme() -> None:
    section = text_of(ROOT / "README.md").partition("## Documents\n")[2].partition("\n## ")[0]
    listed = re.findall(r"\]\((docs/[^)#]+)\)", section)
    assert sorted(listed) == [name_of(path) for path in PAGES], "every page once"
    assert len(PAGES) >= 15


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    for link in links(path):
        if re.match(r"https?://", link):
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        assert target.exists(), f"{name_of(path)}: {link} is not there"
        assert target.is_relative_to(ROOT)
        assert not anchor or anchor in anchors(target), f"{name_of(path)}: {link} names no heading"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_page_has_one_title_and_is_no_dead_end(path: Path) -> None:
    text = text_of(path)
    assert text.startswith("# ")
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    assert len(re.findall(r"^# ", outside, re.MULTILINE)) == 1
    assert [link for link in links(path) if not link.startswith("http")], "no link to the rest"


def test_files_named_in_the_text_are_there() -> None:
    """``benchmarks/x.txt`` and the like between backticks, unless a command makes them."""
    for path in [ROOT / "README.md", *PAGES]:
        for name in re.findall(r"`((?:benchmarks|docs|recipes|tests|bocb_hf)/[\w./-]+)`", text_of(path)):
            assert (ROOT / name).exists() or (ROOT / "bocb_hf" / name).exists(), f"{name_of(path)}: {name}"


@pytest.mark.parametrize(("path", "words"), BOCB, ids=[f"{name_of(p)}: {' '.join(w)[:60]}" for p, w in BOCB])
def test_a_command_that_is_shown_is_one(path: Path, words: list[str]) -> None:
    """The parser takes it, apart from modules and files that the reader has; nothing is run."""
    if words[:1] == ["--plugin"]:
        words = words[2:]
    command = cli.bocb.get_command(click.Context(cli.bocb), words[0])
    assert command is not None, words
    rest = [word for word in words[1:] if word != "my_plugin"]
    rest = [word for k, word in enumerate(rest) if word != "--plugin" and rest[k - 1] != "--plugin"]
    try:
        parsed = command.make_context(words[0], rest).params
    except InputError as error:
        pytest.fail(f"{name_of(path)}: {error}")
    if words[0] in ("sweep", "status") and not str(parsed["plan"]).endswith(".yaml"):
        assert parsed["plan"] in config_files("recipes/sweeps")
    if parsed.get("config"):
        assert parsed["config"] in [*config_files("recipes/configs"), "generic"]


@pytest.mark.parametrize(("path", "words"), LAUNCHED, ids=[f"{name_of(p)}: {' '.join(w)[:60]}" for p, w in LAUNCHED])
def test_a_recipe_that_is_shown_is_there(path: Path, words: list[str]) -> None:
    named = [word for word in words if word.startswith("recipes/")]
    assert all((ROOT / word).is_file() for word in named)
    assert words[:2] == ["accelerate", "launch"]
    assert words[words.index("--config") + 1] in config_files("recipes/configs")


@pytest.mark.parametrize(("path", "words"), SCRIPTS, ids=[f"{name_of(p)}: {w[1]}" for p, w in SCRIPTS])
def test_a_script_that_is_shown_is_there(path: Path, words: list[str]) -> None:
    assert (ROOT / words[1]).is_file()


def test_what_else_is_shown() -> None:
    """The targets of make, and the first words of all other commands, so that none is left out by its spelling."""
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    assert {words[1] for _, words in ALL if words[0] == "make"} <= targets
    known = {
        "make",
        "bocb",
        "python",
        "accelerate",
        "pip",
        "hf",
        "ray",
        "cd",
        ".",
        "exec",
        "eval",
        "flock",
        "/tmp/gpu0.lock",
    }
    known |= {"apt-get", "dpkg", "twine", "for", "seq", "do", "done", "9", "_BOCB_COMPLETE=fish_source", "source"}
    assert {words[0] for _, words in ALL} - known == set()
    assert len(BOCB) > 60 and len(LAUNCHED) >= 5


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_examples_in_python_and_yaml_can_be_read(path: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", text_of(path), re.DOTALL):
        ast.parse(block)
    for block in re.findall(r"```yaml\n(.*?)```", text_of(path), re.DOTALL):
        assert isinstance(yaml.safe_load(block), dict)


def test_the_citation_is_of_this_version_and_of_the_study() -> None:
    """What version 1.2.0 of the format requires, and what this file must say; cffconvert has checked all of it."""
    cited = yaml.safe_load(text_of(ROOT / "CITATION.cff"))
    assert cited.keys() >= {"cff-version", "message", "title", "authors"} and cited["cff-version"] == "1.2.0"
    assert (cited["type"], cited["license"], cited["version"]) == ("software", "Apache-2.0", bocb_hf.__version__)
    assert all("name" in author or "family-names" in author for author in cited["authors"])
    (study,) = cited["references"]
    assert study.keys() >= {"type", "title", "authors"} and study["url"].endswith("/2410.06373")
    assert study["doi"].endswith("arXiv.2410.06373") and study["year"] == 2024


def test_the_changelog_has_this_version() -> None:
    assert f"\n## {bocb_hf.__version__}\n" in text_of(ROOT / "CHANGELOG.md")


def test_the_parser_of_these_tests_finds_a_fault(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b` [c](d.md): e!\n```bash\n(flock 9; bocb train --x) 9> /tmp/y # z\nbocb a \\\n  b | head\n```\n"
    )
    assert commands(page) == [["flock", "9"], ["bocb", "train", "--x"], ["9"], ["/tmp/y"], ["bocb", "a", "b"], ["head"]]
    assert anchors(page) == {"a-b-c-e"} and links(page) == ["d.md"]
    assert cli.bocb.get_command(click.Context(cli.bocb), "a") is None
