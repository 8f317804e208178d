"""Finds the other optimizers of a backbone, which a card names as its neighbours."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from bocb_hf.errors import InputError
from bocb_hf.runs.card import CardBlock, PeerEntry, Peers
from bocb_hf.store.protocol import ReadStore
from bocb_hf.store.read import read_card

_Group = tuple[str, str, str, tuple[str, ...], tuple[str, ...]]


def find_peers(store: ReadStore, wanted: Sequence[str]) -> Mapping[str, Peers | None]:
    """Finds the neighbours of repositories, from the cards of their store.

    Two cells are neighbours when they differ in nothing but the optimizer: same namespace, data set, data revision,
    setting, backbone and starting weights.

    Args:
        store: The store of the repositories.
        wanted: The repositories whose neighbours are wanted.

    Returns:
        The neighbours by repository; None for a repository without any.
    """
    groups: dict[_Group, list[PeerEntry]] = {}
    places: dict[str, _Group] = {}
    for repository in store.repositories():
        try:
            block = read_card(store, repository)
        except (InputError, OSError, UnicodeDecodeError):
            continue
        group = _group(repository, block)
        places[repository] = group
        groups.setdefault(group, []).append(_entry(repository, block))
    today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    found: dict[str, Peers | None] = {}
    for repository in wanted:
        group = groups[places[repository]] if repository in places else []
        entries = [entry for entry in group if entry.repository != repository]
        found[repository] = Peers(as_of=today, entries=sorted(entries, key=lambda e: e.optimizer)) if entries else None
    return found


def _group(repository: str, block: CardBlock) -> _Group:
    where = f"{repository.split('/')[0]} {block.dataset}"
    return where, block.setting, block.backbone, tuple(block.data_revisions), tuple(block.pretrained)


def _entry(repository: str, block: CardBlock) -> PeerEntry:
    """Returns a neighbour with its mean over completed runs; no mean where configurations differ or a run diverged."""
    done = [run for run in block.runs if run.status == "completed" and run.value is not None]
    one = len({run.config_hash for run in done}) == 1 and all(run.status == "completed" for run in block.runs)
    mean = sum(run.value or 0.0 for run in done) / len(done) if one else None
    return PeerEntry(repository=repository, optimizer=block.optimizer, n=len(done), top1=mean)
