"""How ``bocb submit`` and ``bocb validate`` print what was found about a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bocb_hf.schema import one_line

if TYPE_CHECKING:
    from bocb_hf.results.submission.review import Judgement


def print_judgement(found: Judgement) -> bool:
    """Prints one line for a good file, or one for each reason against it; returns whether there was a reason."""
    path = one_line(found.path)
    if not found.reasons:
        print(f"fine: {path}: {one_line(found.offer)}", flush=True)
    for reason in found.reasons:
        print(f"wrong: {path}: {one_line(reason)}", flush=True)
    return bool(found.reasons)
