"""``bocb verify``: measures the weights of a run again on its test split."""

from __future__ import annotations

from pathlib import Path

from bocb_hf.commands.command import command as declare
from bocb_hf.commands.verifications import hand_in, verification_options
from bocb_hf.errors import missing_extra


@declare("verify")
@verification_options(tolerance=0.1)
def command(repository: str, seed: int, data: str | None, tolerance: float, out: Path, propose: str | None) -> int:
    """Measures, writes the result and prints it.

    Raises:
        InputError: There is no such run, its weights cannot be measured, or the score does not hold.
    """
    try:
        from bocb_hf.engine.verify import verify_run
    except ImportError as error:
        raise missing_extra(error.name or "torch", "train") from None

    hand_in(verify_run(repository, seed, tolerance, data), seed, out, propose)
    return 0
