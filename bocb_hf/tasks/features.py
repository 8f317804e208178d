"""Feature maps of any timm backbone, and what makes a pyramid of them.

A hierarchical backbone gives one map for each reduction. An isotropic one, such as ViT, has one reduction only; its
last map becomes three by the simple feature pyramid of ViTDet (Li et al. 2022, arXiv 2203.16527, Section 3).
"""

from __future__ import annotations

import dataclasses
import inspect
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, cast

from timm.layers.norm import LayerNorm2d
from timm.models._features import FeatureGetterNet, FeatureListNet
from torch import Tensor, nn
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelP6P7

from bocb_hf.backbones.build import BackboneSource, build_classifier, create_from_scratch
from bocb_hf.backbones.definition import TRANSFORMERS
from bocb_hf.errors import InputError

LEVELS = 3  # maps of the backbone that a feature pyramid is built on
_WANTED = (8, 16, 32)  # their reductions, where the backbone has these
# arguments by which timm's isotropic and windowed transformers take images of any size
_FLEXIBLE: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False})


class Maps(nn.Module):
    """The feature maps of a backbone.

    Args:
        model: A classifier of timm or of this project; its head is taken off.
        name: Name of the backbone in an error.

    Attributes:
        channels: Channels of each map.
        reductions: Side in input pixels of one position of each map, rising; one entry for an isotropic backbone.

    Raises:
        InputError: The backbone has no feature maps.
    """

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        info = cast("list[dict[str, Any]]", list(getattr(model, "feature_info", None) or ()))
        if not info:
            raise InputError(
                f"backbone.name: {name!r} has no feature maps (timm's feature_info); take another backbone"
            )
        last: dict[int, int] = {}
        for place, entry in enumerate(info):
            last[int(entry["reduction"])] = place  # of several maps of one reduction the deepest
        places = [last[reduction] for reduction in sorted(last)]
        getter: Any = FeatureGetterNet if hasattr(model, "forward_intermediates") else FeatureListNet
        more: dict[str, Any] = {} if getter is FeatureGetterNet else {"flatten_sequential": True}
        try:
            self.body = getter(model, out_indices=tuple(places), **more)
        except (AssertionError, KeyError, RuntimeError, ValueError) as error:
            raise InputError(f"backbone.name: {name!r} gives no feature maps: {error}") from error
        exempt = cast("set[str]", getattr(model, "no_weight_decay", set)())
        self._exempt = {n for n, _ in self.named_parameters() if any(n.endswith(f".{name}") for name in exempt)}
        self.channels = [int(info[place]["num_chs"]) for place in places]
        self.reductions = [int(info[place]["reduction"]) for place in places]

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that the backbone itself exempts from weight decay."""
        return self._exempt

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps (B, C, H/r, W/r) of images (B, 3, H, W), one for each reduction r."""
        return list(self.body(x))


def build_maps(source: BackboneSource, seed: int) -> Maps:
    """Builds the backbone with its starting weights, if it has any, and takes its head off.

    ``starting_weights`` of the result says what it took of them; the classifier counts as drawn.

    Raises:
        InputError: The backbone cannot be built, or has no feature maps.
    """
    identity = source.identity
    if identity.architecture.startswith(TRANSFORMERS):
        raise InputError(
            f"backbone.name: {identity.name!r} is a model of transformers, which has no feature maps here; take a "
            "backbone of timm"
        )
    known = inspect.signature(type(create_from_scratch(identity, 2, 0)).__init__).parameters
    more = next((args for args in _FLEXIBLE if args.keys() <= known.keys()), {})
    args = more | identity.args
    model = build_classifier(dataclasses.replace(source, identity=identity.model_copy(update={"args": args})), 2, seed)
    maps = Maps(model, identity.name)
    # modules take any attribute
    maps.starting_weights = getattr(model, "starting_weights", None)  # type: ignore[assignment]
    return maps


class SimplePyramid(nn.Module):
    """Three maps of half, equal and double the reduction from the last map of an isotropic backbone.

    Args:
        channels: Channels of the map.
        out_channels: Channels of the three maps.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        half = max(channels // 2, 8)
        scales: list[nn.Module] = [
            nn.ConvTranspose2d(channels, half, kernel_size=2, stride=2),
            nn.Identity(),
            nn.MaxPool2d(kernel_size=2, stride=2),
        ]
        self.levels = nn.ModuleList(
            nn.Sequential(
                scale,
                nn.Conv2d(half if place == 0 else channels, out_channels, kernel_size=1, bias=False),
                LayerNorm2d(out_channels),
                nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
                LayerNorm2d(out_channels),
            )
            for place, scale in enumerate(scales)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Three maps (B, out_channels, ·, ·) of the last of ``maps``, the finest first."""
        return [level(maps[-1]) for level in self.levels]


class Pyramid(nn.Module):
    """Five maps of equal channels from the maps of a backbone: three of it, and two that are strided further (P6, P7).

    Args:
        channels: Channels of each map of the backbone.
        reductions: Reduction of each of these maps.
        out_channels: Channels of the five maps.
    """

    def __init__(self, channels: Sequence[int], reductions: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.chosen = choose_levels(reductions)
        self.simple = len(self.chosen) == 1
        extra = LastLevelP6P7(out_channels, out_channels)
        if self.simple:
            self.simple_levels = SimplePyramid(channels[-1], out_channels)
            self.further = extra
        else:
            self.fpn = FeaturePyramidNetwork([channels[k] for k in self.chosen], out_channels, extra)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Five maps (B, out_channels, ·, ·), the finest first."""
        if not self.simple:
            named = OrderedDict((str(k), maps[k]) for k in self.chosen)
            return list(self.fpn(named).values())
        levels = self.simple_levels(maps)
        found, _ = self.further(list(levels), list(levels), [str(k) for k in range(LEVELS)])
        return list(found)


def choose_levels(reductions: Sequence[int]) -> list[int]:
    """Positions of the maps that a pyramid is built on: reductions of 8, 16 and 32, else the deepest three."""
    if len(reductions) == 1:
        return [0]
    if all(wanted in reductions for wanted in _WANTED):
        return [list(reductions).index(wanted) for wanted in _WANTED]
    return list(range(len(reductions)))[-LEVELS:]


def freeze_statistics(module: nn.Module) -> None:
    """Puts batch norm into evaluation mode, so that it neither uses nor keeps the statistics of small batches."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.train(False)
