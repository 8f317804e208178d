"""Which parameters weight decay leaves alone, and which are hidden matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

from torch import nn

# As DeiT and ConvNeXt do; timm's no_weight_decay() adds what a backbone itself names.
_EMBEDDINGS = ("pos_embed", "cls_token", "dist_token", "relative_position_bias_table")


@dataclass(frozen=True)
class ParamGroups:
    """Trainable parameters by whether weight decay applies, as (name, parameter) in the model's order.

    ``matrices`` names those that ``hidden_matrices`` finds.
    """

    decay: list[tuple[str, nn.Parameter]]
    no_decay: list[tuple[str, nn.Parameter]]
    matrices: frozenset[str] = frozenset()


def split_parameters(model: nn.Module, rule: Literal["nothing", "norms_biases_embeddings"]) -> ParamGroups:
    """Splits trainable parameters by the setting's rule.

    Args:
        model: Any module; timm's ``no_weight_decay()`` is honoured when it has one.
        rule: ``nothing`` is exempt; or norms, biases and scales (one-dimensional), position embeddings, class tokens.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = hidden_matrices(model)
    if rule == "nothing":
        return ParamGroups(named, [], matrices)
    listed: set[str] = set(getattr(model, "no_weight_decay", set)())

    def exempt(name: str, parameter: nn.Parameter) -> bool:
        return parameter.ndim <= 1 or name in listed or any(part in name for part in _EMBEDDINGS)

    return ParamGroups(
        decay=[item for item in named if not exempt(*item)],
        no_decay=[item for item in named if exempt(*item)],
        matrices=matrices,
    )


def hidden_matrices(model: nn.Module) -> frozenset[str]:
    """Names of the matrices between the first layer and the head, as Muon's authors split a network.

    Left out are vectors, embeddings and class tokens, depthwise filters (a vector for each channel), the first layer
    and the head. timm names the last two (``first_conv``, ``classifier``); elsewhere they are the first and the last
    matrix.

    Args:
        model: Any module.
    """
    matrices = [
        name
        for name, p in model.named_parameters()
        if p.ndim >= 2 and p.shape[0] > 1 and p.shape[1] > 1 and not any(part in name for part in _EMBEDDINGS)
    ]
    config = cast("dict[str, Any]", getattr(model, "pretrained_cfg", None) or {})
    outer: set[str] = set()
    for key, position in (("first_conv", 0), ("classifier", -1)):
        layers = config.get(key) or ()
        names = {f"{layer}.weight" for layer in ((layers,) if isinstance(layers, str) else layers)}
        # a configuration of another variant of the architecture may name a layer that is not there
        outer |= (names & set(matrices)) or set(matrices[position:][:1])
    return frozenset(matrices) - outer
