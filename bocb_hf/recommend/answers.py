"""Answers from every source that can give one; the command line and the leaderboard both ask here."""

from __future__ import annotations

from pathlib import Path

from bocb_hf.coupling.published import SOURCE, published
from bocb_hf.coupling.table import build_tables
from bocb_hf.errors import InputError
from bocb_hf.recommend.answer import Answer, answer
from bocb_hf.recommend.evidence import Evidence, evidence_of
from bocb_hf.recommend.start import Start, find_start
from bocb_hf.recommend.tags import Tags
from bocb_hf.schema import DEFAULT_STORE
from bocb_hf.store import open_store
from bocb_hf.store.contents import read_store


def recommend(target: Tags, sources: list[Evidence], bound: float) -> tuple[list[Answer], list[str]]:
    """Returns the answers of all sources, those that hold the backbone itself first, and why others have none."""
    answers: list[Answer] = []
    refused: list[str] = []
    for source in sources:
        try:
            answers.append(answer(source, target, bound))
        except InputError as error:
            refused.append(f"{source.label}: {error}")
    return sorted(answers, key=lambda a: not a.own), refused


def find_sources(which: str, store: str | None, study: Evidence | None = None) -> list[Evidence]:
    """Returns the sources to ask, in the order of trust for a backbone that none of them holds.

    Own tables come first, the one with most runs before the others; then the published table, whose networks are of
    usual sizes; then the laptop study, whose networks are tiny.

    Args:
        which: Which sources to ask: ``paper``, ``study``, ``store`` or ``all``.
        store: The store as the user named it; None takes the default one where it exists.
        study: The laptop study, which comes with the package (``page/locate.py``); None where it is not there.

    Raises:
        InputError: A store that was asked for holds no valid record, or the study was asked for and is not there.
    """
    found: list[Evidence] = []
    if which == "study" and study is None:
        raise InputError("--source study: this version comes without a run of the laptop study; ask another source")
    if which in ("store", "all") and (store is not None or which == "store" or Path(DEFAULT_STORE).is_dir()):
        uri = store or DEFAULT_STORE
        contents = read_store(open_store(uri))
        if not contents.records and (store is not None or which == "store"):
            raise InputError(f"--store: {uri} holds no valid record of a run; name another, or use --source paper")
        for table in build_tables(contents.records):
            found.append(evidence_of(table, f"own records in {uri}", uri))
    if which in ("paper", "all"):
        found.append(Evidence(f"published ({SOURCE})", published("cifar100")))
    if which in ("study", "all") and study is not None:
        found.append(study)
    return found


def starts_of(given: Answer, setting: str | None) -> list[Start | None]:
    """Returns where to start tuning with each member of the answer."""
    source, target = given.source, given.target
    where = setting or (source.scores.setting if source.tried is not None else target.setting)
    name = target.row or target.name
    return [find_start(o, where, source.tried_with(o), name, given.reference) for o in given.names(given.chosen)]
