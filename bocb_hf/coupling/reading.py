"""What an interval or a test of a table is over: training alone, or tuning and training together.

Final runs of the chosen rates can tell only what these rates give. What the procedure gives, tuning included, takes
trials with two or more tuning seeds (``tuning_noise.py``); then both are said, and the procedure's comes first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.tuning import ONE_SEED, Tuning

GIVEN = "given the tuned rates"
BOTH = "of tuning and training"
NO_TRIALS = "this source holds no trials"


@dataclass(frozen=True)
class Reading:
    """What intervals and tests are over.

    Attributes:
        reason: Why the part of tuning cannot be known; None where it is.
    """

    reason: str | None

    @property
    def both(self) -> bool:
        """Whether tuning is a part of the noise."""
        return self.reason is None

    @property
    def text(self) -> str:
        """The reading in words."""
        return BOTH if self.both else GIVEN

    @property
    def sentence(self) -> str:
        """The reading as a sentence, with what would allow more."""
        if self.both:
            return (
                f"Intervals and tests are {BOTH}: the choice of the rates is drawn again from the trials, and what it "
                "moves is a part of the noise."
            )
        more = "; two or more tuning seeds would tell it" if self.reason is not None and ONE_SEED in self.reason else ""
        return (
            f"Intervals and tests are {GIVEN}: what tuning adds to the noise cannot be known, for {self.reason}{more}."
        )


def reading_of(tuning: Tuning | None, needed: NDArray[np.bool_]) -> Reading:
    """Returns what intervals and tests over some cells are over.

    Args:
        tuning: The trials; None where the source tells of none.
        needed: The cells, shape (B, O).
    """
    if tuning is None or not needed.any():
        return Reading(NO_TRIALS)
    return Reading(tuning.reason(needed))
