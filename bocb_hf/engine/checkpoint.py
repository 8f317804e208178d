"""Resume state on disk: written atomically, checked when read, outside the repository folder.

The state is accelerate's own (safetensors for weights, pickles for optimizer and progress). It is written and read by
this machine only and never published.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator
from safetensors import SafetensorError

from bocb_hf.errors import InputError

log = logging.getLogger(__name__)
_MANIFEST = "manifest.json"
KEEP = 2  # number of states that are kept: the newest, and the one before it in case the newest is damaged


def save(accelerator: Accelerator, folder: Path, step: int) -> None:
    """Saves the state of everything that was prepared or registered with ``accelerator``.

    A crash at any moment leaves the earlier states readable.

    Raises:
        InputError: The disk is full or the folder cannot be written.
    """
    target, partial = folder / f"step-{step:010d}", folder / f"partial-{step:010d}"
    if accelerator.is_main_process:
        with writing(folder):
            for path in (partial, target):
                shutil.rmtree(path, ignore_errors=True)
            partial.mkdir(parents=True)
    accelerator.wait_for_everyone()  # every process writes its own generator state into the folder
    with writing(folder):
        accelerator.save_state(str(partial))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        with writing(folder):
            files = sorted(path for path in partial.rglob("*") if path.is_file())  # FSDP may save shards in folders
            manifest = {path.relative_to(partial).as_posix(): _digest(path) for path in files}
            with (partial / _MANIFEST).open("w", encoding="utf-8") as file:
                json.dump(manifest, file)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(target)
            for old in _states(folder)[KEEP:]:
                shutil.rmtree(old, ignore_errors=True)
    accelerator.wait_for_everyone()


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Inside this context, the many errors of a full or read-only disk become one that says what to do.

    Raises:
        InputError: Something below ``folder`` could not be written.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        # torch's file writer raises a plain RuntimeError, and so does a lost process or a broken device
        if isinstance(error, RuntimeError) and "PytorchStreamWriter" not in str(error):
            raise
        raise InputError(
            f"runtime.state_dir: cannot write below {folder}: {error}; free some space or choose another folder, then "
            "run the same command again: it continues from the last good state"
        ) from error


def load_newest(accelerator: Accelerator, folder: Path) -> bool:
    """Restores the newest undamaged state.

    Returns:
        Whether a state was restored. A damaged state is named in the log, and the one before it is read.

    Raises:
        InputError: There are states, and all of them are damaged.
    """
    states = _states(folder)
    for path in states:
        problem = _damage(path)
        if problem is None:
            accelerator.load_state(str(path))
            return True
        log.warning("resume state %s is damaged (%s); trying the one before it", path, problem)
    if states:
        raise InputError(
            f"runtime.state_dir: every saved state in {folder} is damaged; delete that folder to start anew"
        )
    return False


def _states(folder: Path) -> list[Path]:
    """Complete states, newest first."""
    return sorted(folder.glob("step-*"), reverse=True) if folder.is_dir() else []


def _damage(path: Path) -> str | None:
    """Describes what is wrong with a saved state; None if it is whole."""
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        for name, digest in manifest.items():
            if _digest(path / name) != digest:
                return f"{name} has changed"
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
