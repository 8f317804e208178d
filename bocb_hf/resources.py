"""Finds the files that lie beside the package in a checkout and inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

from bocb_hf.errors import InputError

_PACKAGE = Path(__file__).resolve().parent


def resource_root() -> Path:
    """The folder that holds ``recipes/`` and ``model_cards/``."""
    packed = _PACKAGE / "_resources"
    return packed if packed.is_dir() else _PACKAGE.parent


def resource(relative: str) -> Path:
    """Path of a shipped file or folder, for example ``recipes/train.py``.

    Raises:
        InputError: It is not there, so the installation is broken.
    """
    path = resource_root() / relative
    if not path.exists():
        raise InputError(f"{relative} is missing from this installation ({resource_root()}); reinstall bocb-hf")
    return path


def find_config(name: str, folder: str) -> Path:
    """Resolves a configuration given as a path or as a shipped name.

    Args:
        name: A path to a YAML file, or a shipped one without folder and ending (``fashion_mnist_subset/demo``).
        folder: The shipped folder to search: ``recipes/configs`` or ``recipes/sweeps``.

    Raises:
        InputError: Neither exists; the message lists the shipped names.
    """
    given = Path(name)
    if given.is_file():
        return given
    root = resource(folder)
    # the documented `recipes/configs/x.yaml` also works away from a checkout, where only the packed copy exists
    relative = name.removeprefix(folder + "/").removesuffix(".yaml") + ".yaml"
    if (root / relative).is_file():
        return root / relative
    shipped = ", ".join(str(p.relative_to(root).with_suffix("")) for p in sorted(root.rglob("*.yaml")))
    raise InputError(f"no configuration file {name!r}; give a path to a YAML file or one of: {shipped}")
