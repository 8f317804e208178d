"""Commands that a visitor can copy: to install, to train a cell, to train a run again, to submit."""

from __future__ import annotations

import shlex

from bocb_hf.backbones import BACKBONES
from bocb_hf.resources import config_files
from bocb_hf.schema import HUB_SCHEME

INSTALL = "pip install '.[train,optimizers]'  # in a clone of this project, for all commands of this page"
SUBMIT = (
    "bocb push --to hf://<you>",
    "bocb submit <you>/<repository> --to hf://datasets/<organisation>/<results>",
)


def train_words(dataset: str, setting: str, backbone: str) -> str:
    """Returns the first words of the command that trains a cell: the setting of its table, and the backbone.

    ``optimizer_words`` of the cell's optimizer follow them.
    """
    known = config_files("recipes/configs")
    name = f"{dataset}/{setting}"
    if name not in known:  # a published table: the setting that the study gave this backbone
        row = BACKBONES.find(backbone)
        name = f"{dataset}/{row.setting}" if row is not None else name
    if name not in known:
        name = "<your setting>.yaml"
    return f"bocb train --config {name} " + shlex.quote(f"backbone.name={backbone}")


def optimizer_words(optimizer: str) -> str:
    """Returns the last words of the command that trains a cell."""
    return f"{shlex.quote(f'optimizer.name={optimizer}')} seed=1"


def reproduce_command(origin: str, repository: str, path: str) -> str:
    """Returns the command that trains a run again from its record.

    Args:
        origin: The store of the table: a folder, a Parquet file of records, or ``hf://<namespace>``.
        repository: ``namespace/name``.
        path: Of the record in its repository.
    """
    quoted = shlex.quote(path)
    if origin.startswith(HUB_SCHEME):
        return f"hf download {shlex.quote(repository)} {quoted} --local-dir .\nbocb train --reproduce {quoted}"
    folder = origin if origin.endswith(".parquet") else f"{origin}/models"
    return f"bocb train --reproduce {shlex.quote(f'{folder}/{repository}/{path}')}"
