"""Names and places: ids of runs, names of repositories, paths of floors."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Any

from bocb_hf.runs.identity import BackboneIdentity, CellKey, DataIdentity
from bocb_hf.schema import canonical_json


def make_run_id(config_hash: str, seed: int) -> str:
    """Returns the id of a run, ``<config hash>-<seed>``."""
    return f"{config_hash}-{seed}"


@lru_cache(maxsize=4096)
def repository_name(dataset: str, setting: str, backbone: str, optimizer: str) -> str:
    """Name of a cell's repository, within the Hub's rules (at most 96 characters of ``[A-Za-z0-9._-]``)."""
    raw = [dataset, setting, backbone, optimizer]
    parts = [re.sub(r"[^a-z0-9_]+", "-", part.lower().split(":", 1)[-1]).strip("-") or "x" for part in raw]
    name = "-".join(["bocb", *parts])
    if len(name) > 90 or parts != raw or any("-" in part for part in parts):
        # a name that was shortened or rewritten, or holds the separator, could be that of another cell too
        digest = hashlib.sha256("\0".join(raw).encode()).hexdigest()[:6]
        name = f"{name[:83].rstrip('-')}-{digest}"
    return name


def own_repository_name(cell: CellKey) -> str:
    """Name of a cell's repository where the plain name is taken by a cell of the same four names.

    It ends in six digits of a hash of what those two cells do not share: the data and the starting weights.
    """
    digest = hashlib.sha256(canonical_json({"data": cell.data, "start": cell.start}).encode()).hexdigest()[:6]
    return f"{repository_name(*cell.names)[:89].rstrip('-')}-{digest}"


def is_repository_name(name: str, dataset: str, setting: str, backbone: str, optimizer: str) -> bool:
    """Whether a repository of a cell of these four names may be called so, whatever its data and starting weights."""
    plain = repository_name(dataset, setting, backbone, optimizer)
    return name == plain or re.fullmatch(re.escape(plain[:89].rstrip("-")) + "-[0-9a-f]{6}", name) is not None


def floor_repository_name(dataset: str) -> str:
    """Name of the repository of a data set's floors."""
    return repository_name(dataset, "baselines", "pixels", "none").replace("-pixels-none", "")


def floor_path(kind: str, data: DataIdentity, backbone: BackboneIdentity | None = None, seed: int | None = None) -> str:
    """Returns where a floor of exactly these data and this untrained network lies in its data set's repository."""
    what: Any = data.model_dump(mode="json")
    if backbone is not None:
        what = [what, backbone.model_dump(mode="json"), seed]
    digest = hashlib.sha256(canonical_json(what).encode()).hexdigest()[:12]
    return f"baselines/{kind}-{digest}.json"
