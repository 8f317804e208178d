"""Which optimizers a comparison tries: the anchors AdamW and SGD-M, and what ``bocb recommend`` names beside them."""

from __future__ import annotations

from collections.abc import Collection

from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.recommend.answer import Answer
from bocb_hf.recommend.answers import find_sources, recommend
from bocb_hf.recommend.tags import find_tags

ANCHORS = ("adamw", "sgdm")
BESIDE = 2  # optimizers that are tried beside the anchors
_BOUND = 1.0  # points of regret, the bound that ``bocb recommend`` has where none is given


def propose(backbone: str, options: Collection[str] = ()) -> tuple[tuple[str, ...], str]:
    """The optimizers to compare on a backbone, the most wanted first, and why these.

    The anchors come first, since a comparison without them could not be read beside any other; then the members of the
    recommended set, those of larger sets, and what is most worth a run.

    Args:
        backbone: The backbone, as the user named it.
        options: Options of the runs, such as ``training.precision=fp16``, that an optimizer may refuse.

    Returns:
        The ids, and a sentence.
    """
    try:
        answers, _ = recommend(find_tags(backbone), find_sources("paper", None), _BOUND)
    except InputError as error:
        return ANCHORS, f"AdamW and SGD-M alone, since nothing is recommended for this backbone ({error})"
    names: list[str] = []
    for given in answers[:1]:
        names += [name for name in _named(given) if _usable(name, options)]
    added = tuple(dict.fromkeys(name for name in names if name not in ANCHORS))[:BESIDE]
    why = f"AdamW and SGD-M as anchors, and {' and '.join(added)} from `bocb recommend`" if added else "the anchors"
    return (*ANCHORS, *added), why


def _named(given: Answer) -> list[str]:
    """Optimizers of an answer, the most promising first."""
    found = [*given.names(given.chosen)]
    for choice in given.choices:
        found += given.names(choice)
    return [*found, *(name for name, _ in given.probes)]


def _usable(name: str, options: Collection[str]) -> bool:
    """Whether an optimizer has a row here and refuses none of the options."""
    if name not in OPTIMIZERS:
        return False
    refused = OPTIMIZERS.get(name).refusals()
    return not any(option in refused or option.partition("=")[0] in refused for option in options)
