"""What a user asks of a comparison. Importing this needs no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bocb_hf.errors import InputError

SHORTEST = 30.0  # seconds below which not even the data are read
LONGEST = 30 * 24 * 3600.0
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Asked:
    """A comparison as it is asked for; None leaves a decision to the command.

    Attributes:
        data: A folder, or a data set's id on the Hub.
        backbone: A timm name, with a tag or not, a Hub id, or a folder with weights.
        seconds: The time that it may take.
        scratch: Whether weights that the name has are left alone.
        out: Folder of the comparison; None is one below ``outputs/compare``.
        setting: Name of a generic setting.
        optimizers: Ids of the optimizers; empty takes the anchors and what is recommended.
        rates: Learning rates of each grid.
        seeds: Final seeds of each optimizer.
        test_fraction: Share of train that is drawn as test split where there is none.
        revision: Commit of a Hub id.
    """

    data: str
    backbone: str
    seconds: float
    scratch: bool = False
    out: Path | None = None
    setting: str | None = None
    image_size: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    precision: str | None = None
    optimizers: tuple[str, ...] = ()
    rates: int | None = None
    seeds: int | None = None
    workers: int | None = None
    test_fraction: float | None = None
    revision: str | None = None
    image_column: str | None = None
    label_column: str | None = None

    def decided(self) -> dict[str, Any]:
        """What the user has decided that decides the runs, by the name of its flag; only what was given."""
        beside = ("data", "backbone", "seconds", "out", "workers", "scratch")
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in beside}
        found = {name: value for name, value in given.items() if value not in (None, ())}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def parse_time(text: str) -> float:
    """Reads a time such as ``30m``, ``90s``, ``2h`` or ``1h30m`` as seconds.

    Raises:
        InputError: The text is no time, or the time is too short or too long.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text.strip().lower())
    if not parts or "".join(f"{number}{unit}" for number, unit in parts) != text.strip().lower():
        raise InputError(f"--time: {text!r} is no time; write 30m, 90s, 2h or 1h30m")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not SHORTEST <= seconds <= LONGEST:
        raise InputError(f"--time: {text} must lie between {SHORTEST:.0f}s and 30d")
    return seconds
