"""The one statistic of a study that was named before its runs, and that its report leads with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

# the family contrast, the cost of coupling (points lost by one optimizer for all), or interaction's share of variance
PrimaryStatistic = Literal["contrast", "cost", "interaction"]
STATISTICS: tuple[PrimaryStatistic, ...] = get_args(PrimaryStatistic)


@dataclass(frozen=True)
class Primary:
    """The primary statistic of a table, and who named it, in words.

    Attributes:
        statistic: The statistic.
        named: ``by the plan demo``, ``on the command line`` or that it is the default.
    """

    statistic: PrimaryStatistic = "contrast"
    named: str = "the default, since no plan was named"
