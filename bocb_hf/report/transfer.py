"""Writes three-way tables of transfer as files, and their words for a terminal."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bocb_hf.coupling.transfer import Transfer
from bocb_hf.files import write_atomically
from bocb_hf.report.tables import csv_bytes
from bocb_hf.report.words.transfer import answer_text, table_lines, title_text, transfer_text

WIDTH = 112


def write_transfer(found: Sequence[Transfer], out_dir: Path) -> list[Path]:
    """Writes ``transfer.csv``, one row for each cell of each table, and ``transfer.json``, what is said of them.

    Args:
        found: The tables with what was computed of them.
        out_dir: Folder to write to.

    Returns:
        The paths of the files; none where there is no table.

    Raises:
        CannotWrite: The folder cannot be written.
    """
    if not found:
        return []
    text = json.dumps([transfer_plain(each) for each in found], indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    files = {"transfer.csv": csv_bytes(transfer_frame(found)), "transfer.json": text.encode()}
    return [write_atomically(out_dir / name, content) for name, content in files.items()]


def transfer_frame(found: Sequence[Transfer]) -> pd.DataFrame:
    """Makes one row for each cell; a cell without a mean has a status and no number."""
    rows: list[dict[str, Any]] = []
    for each in found:
        table = each.table
        for b, backbone in enumerate(table.backbones):
            plot = each.plots[b]
            halves = plot.half_widths() if plot is not None else None
            for p, pretraining in enumerate(table.pretrainings):
                for f, optimizer in enumerate(table.optimizers):
                    values = table.values[b, p, f]
                    n = int(np.isfinite(values).sum())
                    mean = float(plot.means[p, f]) if plot is not None and not plot.given else None
                    if mean is None and n:
                        mean = float(np.nanmean(values))
                    half = float(halves[p, f]) if halves is not None and math.isfinite(halves[p, f]) else None
                    known = mean is not None and half is not None
                    rows.append(
                        {
                            "source": table.source,
                            "dataset": table.dataset,
                            "setting": table.setting,
                            "data_revision": table.revision,
                            "metric": table.metric,
                            "backbone": backbone,
                            "pretraining": pretraining,
                            "pretraining_optimizer": table.pretraining_optimizers[p],
                            "pretrained_on": table.pretrained_on,
                            "pretraining_setting": table.pretraining_setting,
                            "pretraining_epochs": table.epochs[p],
                            "optimizer": optimizer,
                            "same_optimizer": bool(table.matches[p, f]),
                            "config_hash": str(table.config_hashes[b, p, f]) or None,
                            "status": str(table.status[b, p, f]),
                            "n": n,
                            "pretraining_seeds": _joined(table.checkpoint_seeds.get((backbone, pretraining), ())),
                            "mean": mean,
                            "low": mean - half if known else None,  # type: ignore[operator] - not None
                            "high": mean + half if known else None,  # type: ignore[operator] - not None
                        }
                    )
    kinds = {"n": "Int64", "pretraining_epochs": "Int64", "same_optimizer": "boolean"}
    kinds |= dict.fromkeys(("mean", "low", "high"), "Float64")
    # kinds hold names of types, which the stubs of pandas list one by one
    columns = {k: pd.array([row[k] for row in rows], dtype=kinds.get(k, "string")) for k in rows[0]}  # pyright: ignore
    return pd.DataFrame(columns)


def transfer_plain(found: Transfer) -> dict[str, Any]:
    """Returns what is said of a table as nested dictionaries of finite numbers, text and None, for JSON."""
    table = found.table
    return {
        "title": title_text(found),
        "answer": answer_text(found),
        "sentences": transfer_text(found),
        "dataset": table.dataset,
        "setting": table.setting,
        "data_revision": table.revision,
        "pretrained_on": table.pretrained_on,
        "backbones": list(table.backbones),
        "pretrainings": list(table.pretrainings),
        "pretraining_optimizers": list(table.pretraining_optimizers),
        "pretraining_epochs": list(table.epochs),
        "optimizers": list(table.optimizers),
        "checkpoint_seeds": {f"{b} {p}": list(seeds) for (b, p), seeds in sorted(table.checkpoint_seeds.items())},
        "fine_tuning_seeds": list(table.fine_tuning_seeds),
        "given_these_checkpoints": found.given,
        "interaction": None if found.spread is None else asdict(found.spread),
        "shares_percent": None
        if found.shares is None
        else dict(zip(("pretraining", "fine_tuning", "interaction"), found.shares, strict=True)),
        "matching": None if found.matching is None else asdict(found.matching),
        "ranking": None if found.ranking is None else asdict(found.ranking),
        "backbone_parts": {
            backbone: None
            if plot is None
            else {
                "p_value": plot.p_value(found.spread.even if found.spread is not None else 1.0),
                "ms_interaction": plot.ms_interaction,
                "ms_noise": plot.noise,
                "df": [plot.interaction_df, plot.noise_df],
                "pretraining": plot.pretraining.tolist(),
                "fine_tuning": plot.fine_tuning.tolist(),
                "interaction": plot.interaction.tolist(),
            }
            for backbone, plot in zip(table.backbones, found.plots, strict=True)
        },
    }


def transfer_blocks(found: Sequence[Transfer]) -> list[str]:
    """Returns all that is to be said of each table, as text for a terminal."""
    blocks: list[str] = []
    for each in found:
        head = textwrap.wrap(title_text(each), WIDTH, break_on_hyphens=False)
        unit = f"test {each.table.metric} in points; rows: pre-training, columns: fine-tuning; mean"
        unit += (
            " ± half of the 95 % interval over pre-training and fine-tuning seeds (runs)"
            if not each.table.single
            else ""
        )
        blocks += [
            "\n".join([*head, "", *(line for sentence in answer_text(each) for line in item(sentence))]),
            "\n".join([*textwrap.wrap(unit, WIDTH), *table_lines(each)]),
            "\n".join(line for sentence in transfer_text(each) for line in item(sentence)),
        ]
    return blocks


def transfer_lead(found: Sequence[Transfer]) -> list[str]:
    """Returns the answer of the first table as lines, with an empty one before it; none where there is no table."""
    if not found:
        return []
    more = [f"{len(found) - 1} more table(s) of transfer: --full prints all."] if len(found) > 1 else []
    head = textwrap.wrap(title_text(found[0]), WIDTH, break_on_hyphens=False)
    return ["", *head, *(line for sentence in answer_text(found[0]) for line in item(sentence)), *more]


def item(sentence: str) -> list[str]:
    """Returns a sentence as an item of a list, broken into lines."""
    return textwrap.wrap(sentence, WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)


def _joined(values: Sequence[int]) -> str | None:
    return " ".join(map(str, values)) or None
