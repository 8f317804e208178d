"""Which parameters weight decay leaves alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

# As DeiT and ConvNeXt do; timm's no_weight_decay() adds what a backbone itself names.
_EMBEDDINGS = ("pos_embed", "cls_token", "dist_token", "relative_position_bias_table")


@dataclass(frozen=True)
class ParamGroups:
    """Trainable parameters by whether weight decay applies, as (name, parameter) in the model's order."""

    decay: list[tuple[str, nn.Parameter]]
    no_decay: list[tuple[str, nn.Parameter]]


def split_parameters(model: nn.Module, rule: Literal["nothing", "norms_biases_embeddings"]) -> ParamGroups:
    """Splits trainable parameters by the setting's rule.

    Args:
        model: Any module; timm's ``no_weight_decay()`` is honoured when it has one.
        rule: ``nothing`` is exempt; or norms, biases and scales (one-dimensional), position embeddings, class tokens.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if rule == "nothing":
        return ParamGroups(named, [])
    listed: set[str] = set(getattr(model, "no_weight_decay", set)())

    def exempt(name: str, parameter: nn.Parameter) -> bool:
        return parameter.ndim <= 1 or name in listed or any(part in name for part in _EMBEDDINGS)

    return ParamGroups(
        decay=[item for item in named if not exempt(*item)],
        no_decay=[item for item in named if exempt(*item)],
    )
