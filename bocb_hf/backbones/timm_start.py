"""Loads weights as timm does, and finds out which tensors of a file became tensors of the network."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import timm
from torch import Tensor, nn
from torch.nn.modules.module import _IncompatibleKeys

from bocb_hf.backbones.starting_weights import Fit, describe_misfit, not_finite
from bocb_hf.errors import InputError
from bocb_hf.optim.param_groups import classifier_layers


def build_from_tensors(
    architecture: str, args: Mapping[str, Any], num_classes: int, tensors: dict[str, Tensor], label_offset: int | None
) -> tuple[nn.Module, Fit]:
    """Builds a timm model and hands it tensors through timm's own conversion of checkpoints.

    By that conversion, older names are translated, and position embeddings of another image size are resampled.

    Args:
        architecture: timm's name of the model.
        args: Arguments of the model.
        num_classes: Number of classes of the head.
        tensors: Tensors of the file.
        label_offset: Number of classes before the first that counts (such as one of background), as the checkpoint's
            configuration says it, or None.

    Raises:
        InputError: The architecture's function in timm takes no weights.
    """
    # given the number of classes that is built, timm does not change the classifier; misfits are left out below
    overlay = {"state_dict": tensors, "num_classes": num_classes, "label_offset": label_offset}
    with _watched() as loads:
        model = timm.create_model(
            architecture, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=num_classes, **args
        )
    fits = [fit for loaded, fit in loads if loaded is model]
    if not fits:
        raise InputError(
            f"backbone.pretrained: the function that registers {architecture!r} loads no weights; it must pass "
            "pretrained and its other arguments on to timm's build_model_with_cfg"
        )
    for cfg in (model.pretrained_cfg, model.default_cfg):
        cfg.pop("state_dict", None)  # type: ignore[union-attr] - timm's are dictionaries
    return model, fits[-1]


@contextmanager
def _watched() -> Iterator[list[tuple[nn.Module, Fit]]]:
    """Notes, for every model that timm loads in this context, how the converted tensors fit those of the model.

    They are compared in ``load_state_dict``, because timm returns only the model, and only logs missing names.
    """
    loads: list[tuple[nn.Module, Fit]] = []
    original = nn.Module.load_state_dict

    def load(module: nn.Module, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> _IncompatibleKeys:
        if "state_dict" not in (getattr(module, "pretrained_cfg", None) or {}):
            return original(module, state_dict, *args, **kwargs)
        own = module.state_dict()
        misfits = {n: m for n, t in state_dict.items() if n in own and (m := describe_misfit(n, t, own[n]))}
        drawn = _drawn(module, state_dict.keys() - misfits.keys())
        fitting = {name: t for name, t in state_dict.items() if name in own and name not in misfits.keys() | drawn}
        result = original(module, fitting, strict=False)
        loads.append((module, _compare(own, state_dict, fitting, misfits, drawn, result.missing_keys)))
        return result

    nn.Module.load_state_dict = load  # type: ignore[method-assign] - for this call only
    try:
        yield loads
    finally:
        nn.Module.load_state_dict = original  # type: ignore[method-assign] - put back


def _drawn(model: nn.Module, given: Collection[str]) -> set[str]:
    """Names of the classifier's tensors that stay as they were drawn: a layer is either taken or drawn as a whole."""
    own, drawn = model.state_dict(), set[str]()
    for layer in classifier_layers(model):
        names = {name for name in own if name.startswith(f"{layer}.")}
        if not names <= set(given):
            drawn |= names
    return drawn


def _compare(
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    fitting: Mapping[str, Tensor],
    misfits: Mapping[str, str],
    drawn: Collection[str],
    absent: Collection[str],
) -> Fit:
    """Describes how the tensors of a file fit the network.

    Args:
        own: Tensors of the network.
        given: Tensors of the file, with the names that timm gives them.
        fitting: Tensors that were loaded.
        misfits: Descriptions of tensors that did not fit, by name.
        drawn: Names of tensors that stay as they were drawn.
        absent: Names of tensors that torch did not find.
    """
    weights = {name for name, tensor in own.items() if tensor.is_floating_point()}
    shared = {own[name].data_ptr() for name in fitting if own[name].numel()}  # to recognise one tensor under two names
    missing = (weights & set(absent)) - misfits.keys() - set(drawn)
    return Fit(
        taken=tuple(sorted(weights & fitting.keys())),
        missing=tuple(sorted(name for name in missing if own[name].data_ptr() not in shared)),
        misfits=tuple(misfits[name] for name in sorted(misfits.keys() - set(drawn))),
        broken=not_finite(fitting),
        drawn=tuple(sorted(weights & set(drawn))),
        unused=tuple(sorted(given.keys() - own.keys())),
    )
