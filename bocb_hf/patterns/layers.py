"""What a layer is and where it stands: its type by its shape, its stage by its name, its place in the network."""

from __future__ import annotations

import re
from collections.abc import Iterable

# how the parts of a network are called, in timm, torchvision and transformers; the first that matches counts
_STAGE = re.compile(r"(?:^|\.)(?:stages?|layers?|features|stage)[._]?(\d+)(?=[._]|$)")
_ENCODER = re.compile(r"(?:^|\.)encoder\.layers?\.(\d+)\.(?!blocks?\.)")  # of transformers: blocks, but in its Swin
_BLOCK = re.compile(r"(?:^|\.)(?:blocks?|layers?)[._](\d+)(?=[._]|$)")
_STEM = re.compile(r"(?:^|\.)(?:stem\w*|conv1|conv_stem|patch_embed\w*|embeddings?|downsample_layers\.0|conv0)(?=\.|$)")
_HEAD = re.compile(r"(?:^|\.)(?:head\w*|fc|classifier|pre_logits|conv_head|last_linear)(?=\.|$)")


def kind_of(shape: tuple[int, ...]) -> str:
    """What a layer is, by the shape (out, in, ...) of its weight."""
    if len(shape) == 2:
        return "linear"
    if len(shape) < 4:
        return "1-d convolution" if len(shape) == 3 else "tensor"
    if shape[1] == 1 and max(shape[2:]) > 1:
        return "depthwise convolution"
    return "1×1 convolution" if set(shape[2:]) == {1} else "convolution"


def stage_of(name: str) -> str:
    """Where a layer stands by its name: ``stem``, ``stage 2``, ``block 11``, ``head``, or ``-`` where it does not say.

    Isotropic networks have blocks and no stages.
    """
    isotropic = _ENCODER.search(name)
    deep = _STAGE.search(name) if isotropic is None else None
    isotropic = isotropic or (_BLOCK.search(name) if deep is None else None)
    if isotropic is not None:
        return f"block {isotropic[1]}"
    if deep is not None:
        return f"stage {deep[1]}"
    if _HEAD.search(name):
        return "head"
    return "stem" if _STEM.search(name) else "-"


def natural(names: Iterable[str]) -> list[str]:
    """Names in the order in which people count: ``blocks.2`` before ``blocks.10``, the stem first and the head last."""

    def key(name: str) -> tuple[int, list[tuple[int, int, str]]]:
        end = {"stem": 0, "head": 2}.get(stage_of(name), 1)
        parts = re.findall(r"\d+|\D+", name)
        return end, [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]

    return sorted(names, key=key)
