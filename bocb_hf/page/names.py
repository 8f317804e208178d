"""Names of backbones that people ask about, and the design that each stands for.

``names.txt`` lists timm's architectures and transformers' model types of image classifiers, so that a page knows them
where neither library is installed; ``python -m bocb_hf.page.names`` prints it anew.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from bocb_hf.backbones import STUDY
from bocb_hf.recommend.tags import UNKNOWN, Tags, known_tags

ASKED = "{backbone}"  # stands in a text for the name that was asked about
_LIST = Path(__file__).resolve().parent / "names.txt"


@cache
def known_names() -> tuple[str, ...]:
    """Returns the names of ``names.txt``, sorted."""
    return tuple(_LIST.read_text(encoding="utf-8").split())


@cache
def designs() -> tuple[tuple[str | None, Tags], ...]:
    """Returns every combination of tags that a name can lead to, with the backbone of the study that it is taken from.

    The first is that of a name which tells nothing of its design. Each target is named ``{backbone}``.
    """
    found: dict[tuple[str, ...], tuple[str | None, Tags]] = {(UNKNOWN,) * 4: (None, Tags(ASKED))}
    for row in STUDY:
        design = (row.family, row.stage_wise, row.block_wise, row.operator)
        tags = Tags(ASKED, *design, source=f"its name, as those of {row.short}")
        found.setdefault(design, (row.id, tags))
    return tuple(found.values())


def places() -> dict[str, int]:
    """Returns the place in ``designs`` of each known name and of each backbone of the study."""
    order = {tags.design: place for place, (_, tags) in enumerate(designs())}
    names = (*known_names(), *(row.id for row in STUDY))
    return {name: order.get(known_tags(name).design, 0) for name in sorted(set(names))}


def list_names() -> list[str]:
    """Returns the names that timm and transformers know, sorted; both must be installed."""
    import timm
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as TYPES

    from bocb_hf.backbones import OWN_ARCHITECTURES

    types = {name.replace("_", "") for name in TYPES}
    return sorted({*timm.list_models(), *types} - OWN_ARCHITECTURES)


if __name__ == "__main__":
    print("\n".join(list_names()))
