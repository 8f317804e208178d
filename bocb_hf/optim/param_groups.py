"""Says which parameters are trained, which weight decay leaves alone, which are hidden matrices, how fast each goes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from timm.models import group_parameters
from torch import nn

from bocb_hf.errors import InputError

# DeiT and ConvNeXt exempt these from decay; timm's no_weight_decay() adds what a backbone itself names.
_EMBEDDINGS = ("pos_embed", "cls_token", "dist_token", "relative_position_bias_table")

_MATRIX_LAYERS = (
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.MultiheadAttention, nn.RNNBase),
)
# Layers whose input is a position, as in TransNeXt, ConViT, Swin V2 (timm's and transformers') and ViTs of their kind
_OF_POSITIONS = re.compile(r"(^|\.)(pos_|position|rel_pos|relative_pos|continuous_position|cpb|meta_mlp)")


@dataclass(frozen=True)
class ParamGroups:
    """Holds trainable parameters by whether weight decay applies, as (name, parameter) in the model's order.

    ``matrices`` names those that ``hidden_matrices`` finds; ``lr_scales`` holds the factors of ``layer_scales``.
    """

    decay: list[tuple[str, nn.Parameter]]
    no_decay: list[tuple[str, nn.Parameter]]
    matrices: frozenset[str] = frozenset()
    lr_scales: Mapping[str, float] = field(default_factory=dict[str, float])


def split_parameters(
    model: nn.Module, rule: Literal["nothing", "norms_biases_embeddings"], layer_decay: float | None = None
) -> ParamGroups:
    """Splits trainable parameters by the setting's rule.

    Args:
        model: Any module; timm's ``no_weight_decay()`` is honoured when it has one.
        rule: ``nothing`` is exempt; or norms, biases and scales (one-dimensional), position embeddings, class tokens.
        layer_decay: Factor on the learning rate from each layer to the one before it.

    Raises:
        InputError: ``layer_decay`` for a network that does not say in which order its layers stand.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = hidden_matrices(model)
    scales = layer_scales(model, layer_decay) if layer_decay is not None else {}
    if rule == "nothing":
        return ParamGroups(named, [], matrices, scales)
    listed: set[str] = set(getattr(model, "no_weight_decay", set)())

    def exempt(name: str, parameter: nn.Parameter) -> bool:
        return parameter.ndim <= 1 or name in listed or any(part in name for part in _EMBEDDINGS)

    return ParamGroups(
        decay=[item for item in named if not exempt(*item)],
        no_decay=[item for item in named if exempt(*item)],
        matrices=matrices,
        lr_scales=scales,
    )


def layer_scales(model: nn.Module, layer_decay: float) -> dict[str, float]:
    """Returns each parameter's factor on the learning rate: ``layer_decay`` to the number of layers above (BEiT, 2021).

    Args:
        model: A network with timm's ``group_matcher``, which says what its layers are.
        layer_decay: Factor on the learning rate from each layer to the one before it, in (0, 1].

    Raises:
        InputError: The network has no ``group_matcher``.
    """
    if not hasattr(model, "group_matcher"):
        raise InputError(
            "training.layer_decay: this backbone does not say in which order its layers stand (timm's group_matcher); "
            "leave layer_decay out or take a timm model"
        )
    layers = cast("dict[str, int]", group_parameters(model, cast(Any, model).group_matcher(coarse=False), reverse=True))
    last = max(layers.values())
    return {name: layer_decay ** (last - layers.get(name, last)) for name, _ in model.named_parameters()}


def classifier_layers(model: nn.Module) -> list[str]:
    """Finds the layers that make the logits: those that timm names, else the last one with a matrix."""
    config = cast("dict[str, Any]", getattr(model, "pretrained_cfg", None) or {})
    named = config.get("classifier") or ()
    modules = dict(model.named_modules())
    found = [name for name in ((named,) if isinstance(named, str) else named) if name in modules]
    if not any(True for name in found for _ in modules[name].parameters()):
        found = [name.rpartition(".")[0] for name, p in model.named_parameters() if p.ndim >= 2][-1:]
    return found


def freeze_backbone(model: nn.Module) -> None:
    """Leaves only the classifier trainable (linear probe)."""
    model.requires_grad_(False)
    for name in classifier_layers(model):
        model.get_submodule(name).requires_grad_(True)


def train_mode(model: nn.Module) -> None:
    """Sets training mode, but evaluation mode for parts without a trainable parameter where the backbone is frozen.

    Thus a frozen network has no dropout and does not move the statistics of its batch norms.
    """
    model.train()
    if all(p.requires_grad for p in model.parameters()):
        return
    for module in model.modules():
        if not any(p.requires_grad for p in module.parameters()):
            module.train(False)


def hidden_matrices(model: nn.Module) -> frozenset[str]:
    """Finds the matrices between the first layer and the head, as Muon's authors split a network.

    A matrix is the weight of a linear layer, a convolution, an attention's joint projection or a recurrent layer. What
    merely has its shape is none: embeddings and tables of tokens or relative positions, class tokens, scales. Left out
    are also layers that compute a bias from positions, depthwise filters (a vector for each channel), the first layer
    and the head. timm names the last two (``first_conv``, ``classifier``); elsewhere they are the first and the last
    matrix.

    Args:
        model: Any module.
    """
    matrices = [
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if isinstance(module, _MATRIX_LAYERS) and not _OF_POSITIONS.search(path)
        for name, p in module.named_parameters(recurse=False)
        if p.ndim >= 2 and p.shape[0] > 1 and p.shape[1] > 1
    ]
    config = cast("dict[str, Any]", getattr(model, "pretrained_cfg", None) or {})
    outer: set[str] = set()
    for key, position in (("first_conv", 0), ("classifier", -1)):
        layers = config.get(key) or ()
        names = {f"{layer}.weight" for layer in ((layers,) if isinstance(layers, str) else layers)}
        # a configuration of another variant of the architecture may name a layer that is not there
        outer |= (names & set(matrices)) or set(matrices[position:][:1])
    return frozenset(matrices) - outer
