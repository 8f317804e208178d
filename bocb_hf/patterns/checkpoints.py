"""Finds the checkpoints that a path names: runs of a store, or any folder or file of safetensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from bocb_hf.errors import InputError
from bocb_hf.patterns.tensors import SUFFIX, WEIGHTS, find_weights, shard_names
from bocb_hf.runs.record import RunRecord, read_record
from bocb_hf.schema import one_line

RECORD, CONFIG = "record.json", "config.json"
_INDEX_SUFFIX = ".safetensors.index.json"


@dataclass(frozen=True)
class Checkpoint:
    """Weights that can be looked into.

    Attributes:
        name: What output calls it.
        files: The safetensors files; none for a run that left no weights.
        record: The record of the run; None for weights of anybody else.
        config: What a ``config.json`` beside the weights says; None without one.
        config_path: That file.
    """

    name: str
    files: tuple[Path, ...]
    record: RunRecord | None = None
    config: dict[str, Any] | None = None
    config_path: Path | None = None

    @property
    def backbone(self) -> str:
        """The backbone of the run, the architecture that the configuration names, or the checkpoint's name."""
        if self.record is not None:
            return self.record.identity.backbone.name
        config = self.config or {}
        return str(config.get("architecture") or config.get("model_type") or self.name)


def find_checkpoints(path: Path) -> list[Checkpoint]:
    """The checkpoints of a store, a repository of a cell, a folder of one seed, any other folder, or a file.

    Of a repository the final runs are taken, with those that left no weights, since they diverged; not its root, which
    is a copy of one of them.

    Raises:
        InputError: There is nothing of that name, no weights in safetensors, or a record that does not fit its weights.
    """
    if path.is_file():
        return [_one_file(path)]
    if not path.is_dir():
        raise InputError(
            f"{path}: there is no such file or folder; give a run's folder, a Hub id or a safetensors file"
        )
    if (path / RECORD).is_file():
        return [_run(path)]
    runs = [*_seeds(path)]
    if not runs and (path / "models").is_dir():
        runs = [run for repository in sorted((path / "models").glob("*/*")) for run in _seeds(repository)]
        if not runs:
            raise InputError(f"{path}: this store holds no final run; train one, or name another store")
    return runs or [_folder(path)]


def _seeds(repository: Path) -> Iterator[Checkpoint]:
    folders = [record.parent for record in repository.glob(f"seeds/*/{RECORD}")]
    for folder in sorted(folders, key=lambda f: (len(f.name), f.name)):
        yield _run(folder)


def _run(folder: Path) -> Checkpoint:
    record = read_record(folder / RECORD, str(folder / RECORD))
    name = f"{record.identity.backbone.name}, {record.identity.optimizer.name}, seed {record.seed}"
    if record.weights_sha256 is None:
        return Checkpoint(name, (), record)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise InputError(f"{folder}: its record is there, but no {WEIGHTS}; fetch it as well")
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != record.weights_sha256:
        raise InputError(f"{weights}: these are not the weights of the record beside them (SHA-256 {found})")
    return Checkpoint(name, (weights,), record)


def _folder(folder: Path) -> Checkpoint:
    return _described(folder.resolve().name, find_weights(folder), folder / CONFIG)


def _one_file(path: Path) -> Checkpoint:
    if path.name.endswith(_INDEX_SUFFIX):
        files = [path.parent / name for name in shard_names(path)]
        return _described(path.name.removesuffix(_INDEX_SUFFIX), files, path.parent / CONFIG)
    if path.suffix != SUFFIX:
        raise InputError(f"{path}: weights are read from {SUFFIX} only, never from a pickle; convert the file first")
    if (path.parent / RECORD).is_file() and path.name == WEIGHTS:
        return _run(path.parent)
    name = path.stem if path.name != WEIGHTS else path.resolve().parent.name
    return _described(name, [path], path.parent / CONFIG)


def _described(name: str, files: list[Path], config: Path) -> Checkpoint:
    name = one_line(name, 200)
    if not config.is_file():
        return Checkpoint(name, tuple(files))
    try:
        given = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{config}: cannot be read ({one_line(repr(error), 200)}); mend it or take it away") from error
    if not isinstance(given, dict):
        raise InputError(f"{config}: is no configuration of a model; mend it or take it away")
    return Checkpoint(name, tuple(files), None, cast(dict[str, Any], given), config)
