"""Commands that a visitor can copy: to train a cell, to train a run again, to submit."""

from __future__ import annotations

import shlex

from bocb_hf.backbones import BACKBONES
from bocb_hf.leaderboard.layout import TableInfo
from bocb_hf.leaderboard.read import CellRow, RunRow
from bocb_hf.resources import config_files
from bocb_hf.schema import HUB_SCHEME

SUBMIT = (
    "bocb push --to hf://<you>",
    "bocb submit <you>/<repository> --to hf://datasets/<organisation>/<results>",
)


def train_command(info: TableInfo, cell: CellRow) -> str:
    """Trains one run of a cell under the setting of its table."""
    setting = f"{info.dataset}/{info.setting}"
    if setting not in config_files("recipes/configs"):  # a published table: the setting that the study gave this one
        row = BACKBONES.find(cell.backbone)
        setting = f"{info.dataset}/{row.setting}" if row is not None else setting
    if setting not in config_files("recipes/configs"):
        setting = "<your setting>.yaml"
    words = [f"backbone.name={cell.backbone}", f"optimizer.name={cell.optimizer}", "seed=1"]
    return f"bocb train --config {setting} " + " ".join(map(shlex.quote, words))


def reproduce_command(info: TableInfo, run: RunRow) -> str:
    """Trains a run again from its record."""
    path = shlex.quote(run.info.path)
    if info.origin.startswith(HUB_SCHEME):
        return f"hf download {shlex.quote(run.repository)} {path} --local-dir .\nbocb train --reproduce {path}"
    return f"bocb train --reproduce {shlex.quote(f'{info.origin}/models/{run.repository}/{run.info.path}')}"
