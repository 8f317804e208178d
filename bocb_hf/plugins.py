"""Rows from other packages: entry points of the group ``bocb_hf.plugins``, or modules named with ``--plugin``.

A plug-in is a module that, when imported, adds rows: ``BACKBONES.add(...)``, ``OPTIMIZERS.add(...)``,
``DATASETS.add(...)``, ``TASKS.add(...)`` or ``register_setting(...)``. CONTRIBUTING.md has a complete example.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from bocb_hf.errors import InputError

GROUP = "bocb_hf.plugins"


def load_plugins(modules: Sequence[str] = ()) -> list[str]:
    """Imports every installed plug-in and the named modules, each once.

    Args:
        modules: Importable names; the working directory is searched too, as ``python -m`` does.

    Returns:
        The names of the modules, entry points first.

    Raises:
        InputError: A module is missing or fails, or one of its rows has the id of another.
    """
    names = [entry.value.partition(":")[0] for entry in metadata.entry_points(group=GROUP)]
    here = str(Path.cwd())
    if modules and here not in sys.path:
        sys.path.append(here)
    for name in dict.fromkeys([*names, *modules]):
        if name in sys.modules:
            continue
        try:
            importlib.import_module(name)
        except InputError as error:
            raise InputError(f"plug-in {name!r}: {error}") from error
        except Exception as error:  # the code of somebody else may raise anything
            raise InputError(
                f"plug-in {name!r} cannot be imported ({type(error).__name__}: {error}); check --plugin, or uninstall "
                "the package that announces it"
            ) from error
    return list(dict.fromkeys([*names, *modules]))
