"""Runs ``bocb recommend``: which optimizers to try on a backbone, from the published table and from own records."""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from bocb_hf.aggregate import read_store
from bocb_hf.coupling.table import build_tables
from bocb_hf.errors import InputError
from bocb_hf.recommend.answer import Answer, answer
from bocb_hf.recommend.arguments import DEFAULT_STORE
from bocb_hf.recommend.source import Source, source_of
from bocb_hf.recommend.start import Start, find_start
from bocb_hf.recommend.tags import Tags, find_tags
from bocb_hf.recommend.words import answer_text, target_text
from bocb_hf.reference import SOURCE, published
from bocb_hf.resources import find_config
from bocb_hf.store import open_store
from bocb_hf.sweep.plan import load_plan


def run(arguments: argparse.Namespace) -> int:
    """Prints one answer for each source.

    Raises:
        InputError: An unknown backbone, an empty store, a bound that is no number of points, or no answer at all.
    """
    if not 0 <= arguments.max_regret <= 100:
        raise InputError(f"--max-regret: {arguments.max_regret:g} must lie between 0 and 100 points")
    if (arguments.plan is None) != (arguments.config is None):
        raise InputError("--plan and --config go together: a plan needs the setting to run under")
    target = find_tags(arguments.backbone)
    answers, refused = recommend(target, find_sources(arguments.source, arguments.store), arguments.max_regret)
    print(target_text(target))
    for given in answers:
        print("\n" + answer_text(given, starts_of(given, arguments.setting)))
    for line in refused:
        print(f"\nno answer from {line}")
    if not answers:
        raise InputError(f"no source can answer for {target.name!r}; run more cells, or use --source paper")
    if arguments.plan is not None:
        write_plan(arguments.plan, arguments.config, answers[0])
        print(f"\nwrote {arguments.plan}: bocb sweep {arguments.plan}")
    return 0


def recommend(target: Tags, sources: list[Source], bound: float) -> tuple[list[Answer], list[str]]:
    """The answers of all sources, those that hold the backbone itself first, and why the others have none."""
    answers: list[Answer] = []
    refused: list[str] = []
    for source in sources:
        try:
            answers.append(answer(source, target, bound))
        except InputError as error:
            refused.append(f"{source.label}: {error}")
    return sorted(answers, key=lambda a: not a.own), refused


def find_sources(which: str, store: str | None) -> list[Source]:
    """Own tables, the one with most runs first, then the published one.

    Args:
        which: ``paper``, ``store`` or ``both``.
        store: As the user named it; None takes the default one where it exists.

    Raises:
        InputError: A store that was asked for holds no valid record.
    """
    found: list[Source] = []
    if which != "paper" and (store is not None or which == "store" or Path(DEFAULT_STORE).is_dir()):
        uri = store or DEFAULT_STORE
        contents = read_store(open_store(uri))
        if not contents.records and (store is not None or which == "store"):
            raise InputError(f"--store: {uri} holds no valid record of a run; name another, or use --source paper")
        for table in build_tables(contents.records):
            found.append(source_of(table, f"own records in {uri}", uri))
    if which != "store":
        found.append(Source(f"published ({SOURCE})", published("cifar100")))
    return found


def starts_of(given: Answer, setting: str | None) -> list[Start | None]:
    """Where to start with each member of the answer."""
    source, target = given.source, given.target
    where = setting or (source.scores.setting if source.tried is not None else target.setting)
    name = target.row or target.name
    return [find_start(o, where, source.tried_with(o), name, given.reference) for o in given.names(given.chosen)]


def write_plan(path: Path, config: str, given: Answer) -> None:
    """Writes the members and the most promising other optimizer as a plan for the backbone.

    Raises:
        InputError: An unknown setting, an optimizer without a row, or a path that cannot be written.
    """
    find_config(config, "recipes/configs")
    optimizers = [*given.names(given.chosen), *(name for name, _ in given.probes[:1])]
    plan = {
        "name": "recommended",
        "config": config,
        "backbones": [given.target.name],
        "optimizers": optimizers,
        "tuning": {"points": 3, "factor": 3.0, "seed": 0, "max_extensions": 2},
        "final_seeds": [1, 2, 3],
    }
    head = (
        f"# Purpose:  {given.target.name} with the optimizers that `bocb recommend` names, from {given.source.label}\n"
        f"# Command:  bocb sweep {path}\n"
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + yaml.safe_dump(plan, sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise InputError(f"--plan: cannot write {path}: {error.strerror}; choose another path") from error
    load_plan(path)
