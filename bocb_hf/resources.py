"""Finds the files that lie beside the package in a checkout and inside it in a wheel."""

from __future__ import annotations

import os
from pathlib import Path

from bocb_hf.errors import InputError
from bocb_hf.registry import suggestion

_PACKAGE = Path(__file__).resolve().parent


def resource_root() -> Path:
    """The folder that holds ``recipes/`` and ``model_cards/``."""
    packed = _PACKAGE / "_resources"
    return packed if packed.is_dir() else _PACKAGE.parent


def resource(relative: str) -> Path:
    """Path of a shipped file or folder, for example ``recipes/train.py``.

    Raises:
        InputError: The file or folder is not there, so the installation is broken.
    """
    path = resource_root() / relative
    if not path.exists():
        raise InputError(f"{relative} is missing from this installation ({resource_root()}); reinstall bocb-hf")
    return path


def cache_folder(given: str | None) -> Path:
    """``runtime.cache_dir``, or else ``bocb_hf`` in ``$HF_HOME``, ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if given is not None:
        return Path(given).expanduser()
    base = os.environ.get("HF_HOME") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "bocb_hf"


_SETTINGS: dict[str, Path] = {}  # the settings of plug-ins, by name


def register_setting(name: str, path: Path) -> None:
    """Makes a setting of a plug-in known by name, as ``<data set>/<setting>``.

    Raises:
        InputError: The name is taken, or the file does not exist.
    """
    if name in config_files("recipes/configs"):
        raise InputError(f"setting {name!r} is registered already; choose another name")
    if not path.is_file():
        raise InputError(f"setting {name!r}: there is no file {path}")
    _SETTINGS[name] = path


def config_files(folder: str) -> dict[str, Path]:
    """Every configuration by name: the shipped ones of a folder, then those of plug-ins."""
    root = resource(folder)
    shipped = {path.relative_to(root).with_suffix("").as_posix(): path for path in sorted(root.rglob("*.yaml"))}
    return shipped | (_SETTINGS if folder == "recipes/configs" else {})


def find_config(name: str, folder: str) -> Path:
    """Resolves a configuration given as a path or as a shipped name.

    Args:
        name: A path to a YAML file, or the name of a known one (``fashion_mnist_subset/demo``).
        folder: The shipped folder to search: ``recipes/configs`` or ``recipes/sweeps``.

    Raises:
        InputError: There is no such file and no such name; the message lists the known names.
    """
    given = Path(name)
    if given.is_file():
        return given
    known = config_files(folder)
    # the documented `recipes/configs/x.yaml` also works away from a checkout, where only the packed copy exists
    plain = name.removeprefix(folder + "/").removesuffix(".yaml")
    if plain in known:
        return known[plain]
    hint = suggestion(plain, known) or ";"
    raise InputError(f"no configuration file {name!r}{hint} give a path to a YAML file or one of: {', '.join(known)}")
