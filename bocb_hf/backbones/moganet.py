"""MogaNet, a network of gated convolutions of several orders (Li et al., arXiv 2211.03295).

Equations and widths are the paper's; what it leaves open follows the authors' code (github.com/Westlake-AI/MogaNet,
Apache-2.0; this is an implementation of our own). With the same weights the outputs of both are equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from timm.layers.drop import DropPath
from timm.layers.weight_init import trunc_normal_
from timm.models import generate_default_cfgs, register_model
from torch import Tensor, nn
from torch.nn import functional

from bocb_hf.backbones.pyramid import (
    Pyramid,
    build_pyramid,
    describe_pretrained,
    drop_path_rates,
    split_stem_stride,
    stage_reductions,
)

SCALE = 1e-5  # LayerScale and the decomposition gates start here, as in the authors' code

default_cfgs = generate_default_cfgs({"moganet_small": describe_pretrained(first_conv="stem.0", classifier="fc")})


class ChannelScale(nn.Module):
    """Learned factor of each channel of a map (N, C, H, W); it is one-dimensional, so weight decay leaves it alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((channels,), SCALE))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor[:, None, None]


class MultiOrderConv(nn.Module):
    """Depth-wise convolutions of three reaches over 1/8, 3/8 and 4/8 of the channels (Section 4.2).

    All channels go through a 5×5 convolution. The second group then goes through a 5×5 convolution of dilation 2, and
    the third through a 7×7 convolution of dilation 3. A 1×1 convolution mixes all groups.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % 8:
            raise ValueError(f"MogaNet splits channels into eighths; {channels} is no multiple of 8")
        self.split = [channels // 8, channels * 3 // 8, channels // 2]
        _, middle, high = self.split
        self.low = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.middle = nn.Conv2d(middle, middle, 5, padding=4, dilation=2, groups=middle)
        self.high = nn.Conv2d(high, high, 7, padding=9, dilation=3, groups=high)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        low, middle, high = self.low(x).split(self.split, dim=1)
        return self.mix(torch.cat([low, self.middle(middle), self.high(high)], dim=1))  # (N, C, H, W)


class GatedAggregation(nn.Module):
    """The token mixer: feature decomposition, then SiLU(gate) · SiLU(multi-order context) (Section 4.2).

    The input is added to the output, inside the block's own shortcut, as in the authors' code.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project_in = nn.Conv2d(channels, channels, 1)
        self.decompose = ChannelScale(channels)
        self.gate = nn.Conv2d(channels, channels, 1)
        self.context = MultiOrderConv(channels)
        self.project_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.project_in(x)  # (N, C, H, W)
        # this emphasises differences from the channel's mean, since trivial interactions are global averages
        y = functional.silu(y + self.decompose(y - y.mean(dim=(2, 3), keepdim=True)))
        return x + self.project_out(functional.silu(self.gate(y)) * functional.silu(self.context(y)))


class ChannelAggregation(nn.Module):
    """The feed-forward part with a 3×3 depth-wise convolution and channel reallocation (Section 4.3)."""

    def __init__(self, channels: int, hidden: int, drop_rate: float) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.gather = nn.Conv2d(hidden, 1, 1)
        self.allocate = ChannelScale(hidden)
        self.reduce = nn.Conv2d(hidden, channels, 1)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(functional.gelu(self.depthwise(self.expand(x))))  # (N, hidden, H, W)
        x = x + self.allocate(x - functional.gelu(self.gather(x)))  # the gathered map is (N, 1, H, W)
        return self.drop(self.reduce(x))  # (N, C, H, W)


class MogaBlock(nn.Module):
    """A block of two halves, each with batch norm before it, and LayerScale and stochastic depth after it."""

    def __init__(self, channels: int, ratio: int, drop_rate: float, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.mixer = GatedAggregation(channels)
        self.scale1 = ChannelScale(channels)
        self.norm2 = nn.BatchNorm2d(channels)
        self.ffn = ChannelAggregation(channels, ratio * channels, drop_rate)
        self.scale2 = ChannelScale(channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.scale1(self.mixer(self.norm1(x))))
        return x + self.drop_path(self.scale2(self.ffn(self.norm2(x))))


class MogaNet(Pyramid):
    """The MogaNet classifier.

    Args:
        num_classes: Classes of the head; 0 gives pooled features.
        in_chans: Input channels.
        widths: Channels of each stage, multiples of 8.
        depths: Blocks of each stage.
        ratios: Expansion of each stage's feed-forward part.
        stem_stride: Reduction by the stem of two 3×3 convolutions: 4 in the paper, 2 or 1 for small images.
        drop_rate: Dropout in the feed-forward part, as in the authors' code.
        drop_path_rate: Stochastic depth of the last block, rising linearly from 0.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        widths: Sequence[int] = (64, 128, 320, 512),
        depths: Sequence[int] = (2, 3, 12, 2),
        ratios: Sequence[int] = (8, 8, 4, 4),
        stem_stride: int = 4,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        first, second = split_stem_stride(stem_stride)
        stem = nn.Sequential(
            nn.Conv2d(in_chans, widths[0] // 2, 3, stride=first, padding=1),
            nn.BatchNorm2d(widths[0] // 2),
            nn.GELU(),
            nn.Conv2d(widths[0] // 2, widths[0], 3, stride=second, padding=1),
            nn.BatchNorm2d(widths[0]),
        )
        rates = iter(drop_path_rates(drop_path_rate, sum(depths)))
        stages: list[nn.Module] = []
        for stage, (width, depth, ratio) in enumerate(zip(widths, depths, ratios, strict=True)):
            layers: list[nn.Module] = []
            if stage > 0:
                layers += [nn.Conv2d(widths[stage - 1], width, 3, stride=2, padding=1), nn.BatchNorm2d(width)]
            layers += [MogaBlock(width, ratio, drop_rate, next(rates)) for _ in range(depth)]
            stages.append(nn.Sequential(*layers, nn.BatchNorm2d(width)))
        reductions = stage_reductions(stem_stride, len(depths))
        super().__init__(stem, stages, widths, reductions, nn.Identity(), num_classes, drop_rate=0.0)
        self.apply(_initialise)


def _initialise(module: nn.Module) -> None:
    """Draws convolutions from N(0, 2/fan-out) and the head from a truncated N(0, 0.02²), and sets biases to 0.

    The authors' code does the same.
    """
    if isinstance(module, nn.Conv2d):
        fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
    elif isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


@register_model
def moganet_small(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MogaNet-S of the paper."""
    depths = kwargs.pop("depths", (2, 3, 12, 2))
    return build_pyramid(MogaNet, "moganet_small", pretrained, depths, **kwargs)
