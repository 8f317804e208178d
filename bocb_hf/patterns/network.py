"""Builds the network that a checkpoint is of, untrained: for the order of its layers, and to compare with.

What somebody else's file describes is built within the limits of ``backbones.bounds``, from timm, transformers and our
own architectures; no code of theirs is run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import bocb_hf.backbones.architectures  # noqa: F401 - registers our architectures
from bocb_hf.backbones import BACKBONES
from bocb_hf.backbones.bounds import Header, check_described, limited
from bocb_hf.backbones.build import create_from_scratch
from bocb_hf.backbones.definition import TRANSFORMERS, define_backbone
from bocb_hf.data.sampling import init_seed
from bocb_hf.errors import InputError
from bocb_hf.patterns.checkpoints import Checkpoint
from bocb_hf.patterns.measure import is_layer
from bocb_hf.patterns.tensors import StoredTensor
from bocb_hf.runs.config import RESERVED_ARGS
from bocb_hf.runs.identity import BackboneIdentity
from bocb_hf.schema import one_line

_SIDE = 224  # of an image, in pixels, where nothing says it


@dataclass(frozen=True)
class Described:
    """A network that can be built.

    Attributes:
        identity: Architecture and arguments.
        classes: Outputs of its head.
        side: Side of its images in pixels.
        module: Module whose import registers the architecture; None where nothing beside ours is needed.
    """

    identity: BackboneIdentity
    classes: int
    side: int
    module: str | None = None


@dataclass(frozen=True)
class Untrained:
    """An untrained network.

    Attributes:
        names: Names of its layers, in the order of ``order``.
        weights: Their weights by name; empty where only the order was asked for.
        order: ``forward``, the order in which one image reaches the layers; ``registered``, that of the definition,
            where the network does not take an image of its own size.
    """

    names: tuple[str, ...]
    weights: Mapping[str, NDArray[Any]]
    order: str


def describe(checkpoint: Checkpoint, tensors: Mapping[str, StoredTensor], architecture: str | None) -> Described | None:
    """Says what network a checkpoint is of; None where nothing beside it does.

    Args:
        checkpoint: The checkpoint.
        tensors: Its tensors.
        architecture: A backbone as ``bocb train`` takes it, where the user names one.

    Raises:
        InputError: The name is unknown, or the configuration describes no network.
    """
    if architecture is not None:
        row = BACKBONES.find(architecture)
        definition = define_backbone(architecture, _SIDE if row is None else row.image_size)
        built = _identity(architecture, definition.architecture, definition.args)
        known = timm.get_pretrained_cfg(built.architecture) if timm.is_model(built.architecture) else None
        side = row.image_size if row is not None else _SIDE if known is None else known.input_size[-1]
        return Described(built, _classes_of(known, tensors), side, None if row is None else row.module or None)
    if checkpoint.record is not None:
        given = checkpoint.record.identity
        return Described(given.backbone, given.data.num_classes, given.data.image_size, checkpoint.record.requires)
    if checkpoint.config is None:
        return None
    return _of_config(checkpoint)


def _identity(name: str, architecture: str, args: dict[str, Any]) -> BackboneIdentity:
    return BackboneIdentity(name=name, architecture=architecture, args=args, pretrained=None, pretrained_sha256=None)


def _of_config(checkpoint: Checkpoint) -> Described | None:
    config, path = checkpoint.config or {}, checkpoint.config_path
    try:
        if isinstance(config.get("architecture"), str):
            args = {k: v for k, v in dict(config.get("model_args") or {}).items() if k not in RESERVED_ARGS}
            side = int((config.get("pretrained_cfg") or {}).get("input_size", (3, 224, 224))[-1])
            identity = _identity(str(config["architecture"]), str(config["architecture"]), args)
            return Described(identity, int(config.get("num_classes", 1000)), side)
        if "model_type" in config and path is not None:
            side = config.get("image_size", 224)
            side = side if isinstance(side, int) else 224
            # transformers is imported only for its own models, since the import takes seconds
            from bocb_hf.backbones.transformers_classifier import read_definition

            architecture, args = read_definition(path, side)
            labels = config.get("num_labels") or len(config.get("id2label") or {}) or 2
            return Described(_identity(str(config["model_type"]), architecture, args), int(labels), side)
    except (TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: describes no network ({one_line(repr(error), 200)}); mend it or take it away"
        ) from None
    return None


def _classes_of(known: Any, tensors: Mapping[str, StoredTensor]) -> int:
    """The outputs of the head in the file, where timm's configuration says which tensor that is; else 1000."""
    head = None if known is None else known.classifier
    names = head if isinstance(head, list | tuple) else [head]
    found = [tensors[f"{name}.weight"].shape[0] for name in names if f"{name}.weight" in tensors]
    return found[0] if found else 1000


def build_untrained(
    described: Described, tensors: Mapping[str, StoredTensor], seed: int, where: str, only_order: bool = False
) -> Untrained:
    """Builds a network with random weights and says in which order an image reaches its layers.

    The weights are those that a run of ``bocb train`` with that seed begins with.

    Args:
        described: The network.
        tensors: Tensors of the file; the network must have every layer of them in its shape, and needs no more room.
        seed: Seed of the initialisation.
        where: Name of the checkpoint, for an error.
        only_order: Whether the random weights are not asked for.

    Raises:
        InputError: The network cannot be built, needs a module that is not imported, or is not that of the weights.
    """
    identity = described.identity
    if described.module not in (None, "bocb_hf"):
        import sys

        if described.module not in sys.modules:
            raise InputError(f"{where}: this architecture needs the module {described.module}; pass --plugin with it")
    header = Header({name: tensor.shape for name, tensor in tensors.items()})
    wrong = f"{where}: the weights are not those of {identity.name!r}; name the network with --architecture"

    def build() -> nn.Module:
        model = create_from_scratch(identity, described.classes, init_seed(seed, identity.name))
        # of a network of transformers, what our wrapper holds is stored
        return cast(nn.Module, model.network) if identity.architecture.startswith(TRANSFORMERS) else model

    check_described(lambda: _Stored(build()), identity.args, header, wrong)
    with limited(header):
        model = build().eval()
    stored = stored_names(model)
    state = {stored[name]: tensor for name, tensor in model.state_dict().items()}
    for name, tensor in tensors.items():
        if is_layer(name, tensor.shape) and (name not in state or tuple(state[name].shape) != tensor.shape):
            raise InputError(f"{wrong} (it has no {one_line(name, 100)} of shape {list(tensor.shape)})")
    own = [name for name, tensor in state.items() if is_layer(name, tuple(tensor.shape))]
    reached = _forward_order(model, described.side)
    if reached is None:
        names, order = own, "registered"
    else:
        place = {module: k for k, module in enumerate(reached)}
        of_model = {file: name for name, file in stored.items()}
        names = sorted(own, key=lambda name: place.get(of_model[name].rpartition(".")[0], math.inf))
        order = "forward"
    weights = {} if only_order else {name: state[name].float().numpy() for name in names}
    return Untrained(tuple(names), weights, order)


class _Stored(nn.Module):
    """A network whose tensors have the names that its files give them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Tensor]:
        names = stored_names(self.model)
        return {names[name]: tensor for name, tensor in self.model.state_dict().items()}


def stored_names(model: nn.Module) -> dict[str, str]:
    """Returns the name in a file of each tensor of a network, which is another one for some networks of transformers.

    Since its version 5, some classes have other names than their files, which keep those of earlier versions. A tensor
    that is not stored as it is, but as several or as a part of another, keeps its own name.
    """
    state = model.state_dict()
    names = {name: name for name in state}
    if type(model).__module__.startswith("transformers."):
        from transformers.core_model_loading import revert_weight_conversion

        for name, tensor in state.items():
            found = list(revert_weight_conversion(cast(Any, model), {name: tensor}))
            names[name] = found[0] if len(found) == 1 else name
    return names


def _forward_order(model: nn.Module, side: int) -> list[str] | None:
    """Names of the modules in the order in which one black image reaches them; None where it cannot pass."""
    reached: dict[str, None] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, given: Any) -> None:
            reached.setdefault(name)

        return hook

    handles = [module.register_forward_pre_hook(note(name)) for name, module in model.named_modules()]
    image: Tensor = torch.zeros(1, 3, side, side)
    try:
        with torch.no_grad():
            model(image)
    except (RuntimeError, ValueError, TypeError, AssertionError, IndexError, AttributeError, KeyError):
        return None
    finally:
        for handle in handles:
            handle.remove()
    return list(reached)
