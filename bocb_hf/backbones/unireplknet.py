"""UniRepLKNet, whose large kernels have dilated branches while it is trained (Ding et al., arXiv 2311.15599).

Equations and widths are the paper's; what it leaves open follows the authors' code (github.com/AILab-CVC/UniRepLKNet,
Apache-2.0; this is an implementation of our own). With the same weights the outputs of both agree to
7e-6. Only the form that is trained is built: merging the branches for inference changes no output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.layers.drop import DropPath
from timm.layers.norm import LayerNorm2d
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

# (kernel, dilation) of the parallel branches of a large kernel (Section 3.1 and the authors' code)
BRANCHES: dict[int, tuple[tuple[int, int], ...]] = {
    7: ((5, 1), (3, 2), (3, 3)),
    9: ((5, 1), (5, 2), (3, 3), (3, 4)),
    11: ((5, 1), (5, 2), (3, 3), (3, 4), (3, 5)),
    13: ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5)),
}
SCALE = 1e-6  # LayerScale starts at this value

default_cfgs = generate_default_cfgs({"unireplknet_tiny": describe_pretrained(first_conv="stem.0", classifier="fc")})


class DilatedReparam(nn.Module):
    """Sum of a large depth-wise kernel and small dilated ones in parallel, each followed by a batch norm."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        if kernel not in BRANCHES:
            raise ValueError(f"kernel must be 3, 5 or one of {', '.join(map(str, BRANCHES))}, not {kernel}")
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, k, padding=d * (k // 2), dilation=d, groups=channels, bias=False),
                nn.BatchNorm2d(channels),
            )
            for k, d in ((kernel, 1), *BRANCHES[kernel])
        )

    def forward(self, x: Tensor) -> Tensor:
        total = self.branches[0](x)  # (N, C, H, W)
        for branch in self.branches[1:]:
            total = total + branch(x)
        return total


class SqueezeExcite(nn.Module):
    """Gates each channel by the means of all channels, through a hidden layer of a quarter of the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, channels // 4, 1)
        self.up = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = functional.relu(self.down(x.mean(dim=(2, 3), keepdim=True)))  # (N, C/4, 1, 1)
        return x * torch.sigmoid(self.up(gate))


class ResponseNorm(nn.Module):
    """Global response normalisation (arXiv 2301.00808) of maps (N, H, W, C), with its shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        energy = x.norm(p=2, dim=(1, 2), keepdim=True)  # (N, 1, 1, C)
        relative = energy / (energy.mean(dim=-1, keepdim=True) + 1e-6)
        return (self.gamma * relative + 1) * x + self.beta


class UniRepLKNetBlock(nn.Module):
    """Block of depth-wise kernel, batch norm, squeeze-excite and feed-forward part with GRN, in one shortcut."""

    def __init__(self, channels: int, kernel: int, drop_path: float) -> None:
        super().__init__()
        if kernel <= 5:
            self.depthwise: nn.Module = nn.Conv2d(
                channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False
            )
        else:
            self.depthwise = DilatedReparam(channels, kernel)
        self.norm = nn.BatchNorm2d(channels)
        self.excite = SqueezeExcite(channels)
        self.expand = nn.Linear(channels, 4 * channels)
        self.response = ResponseNorm(4 * channels)
        self.reduce = nn.Linear(4 * channels, channels, bias=False)
        self.norm_out = nn.BatchNorm2d(channels)
        self.scale = nn.Parameter(torch.full((channels,), SCALE))  # one-dimensional, so weight decay leaves it out
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        y = self.excite(self.norm(self.depthwise(x))).permute(0, 2, 3, 1)  # (N, H, W, C)
        y = self.reduce(self.response(functional.gelu(self.expand(y))))
        y = self.norm_out(y.permute(0, 3, 1, 2))  # (N, C, H, W)
        return x + self.drop_path(self.scale[:, None, None] * y)


class UniRepLKNet(Pyramid):
    """UniRepLKNet in the form that is trained.

    Args:
        num_classes: Classes of the head; 0 gives pooled features.
        in_chans: Input channels.
        widths: Channels of each stage.
        kernels: Kernel size of each block of each stage; None is the paper's rule for UniRepLKNet-T: 3 in the first
            stage, 13 in the second and the last, and 13 and 3 in turn in the third.
        depths: Blocks of each stage.
        stem_stride: Reduction by the stem of two 3×3 convolutions: 4 in the paper, 2 or 1 for small images.
        drop_rate: Dropout before the head.
        drop_path_rate: Stochastic depth of the last block, rising linearly from 0.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        widths: Sequence[int] = (80, 160, 320, 640),
        depths: Sequence[int] = (3, 3, 18, 3),
        kernels: Sequence[Sequence[int]] | None = None,
        stem_stride: int = 4,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        first, second = split_stem_stride(stem_stride)
        stem = nn.Sequential(
            nn.Conv2d(in_chans, widths[0] // 2, 3, stride=first, padding=1),
            LayerNorm2d(widths[0] // 2, eps=1e-6),
            nn.GELU(),
            nn.Conv2d(widths[0] // 2, widths[0], 3, stride=second, padding=1),
            LayerNorm2d(widths[0], eps=1e-6),
        )
        kernels = kernels or _default_kernels(depths)
        rates = iter(drop_path_rates(drop_path_rate, sum(depths)))
        stages: list[nn.Module] = []
        for stage, (width, depth, sizes) in enumerate(zip(widths, depths, kernels, strict=True)):
            if len(sizes) != depth:
                raise ValueError(f"kernels[{stage}] has {len(sizes)} entries for {depth} blocks")
            layers: list[nn.Module] = []
            if stage > 0:
                layers += [nn.Conv2d(widths[stage - 1], width, 3, stride=2, padding=1), LayerNorm2d(width, eps=1e-6)]
            stages.append(nn.Sequential(*layers, *(UniRepLKNetBlock(width, size, next(rates)) for size in sizes)))
        reductions = stage_reductions(stem_stride, len(depths))
        norm = nn.LayerNorm(widths[-1], eps=1e-6)
        super().__init__(stem, stages, widths, reductions, norm, num_classes, drop_rate)
        self.apply(_initialise)


def _default_kernels(depths: Sequence[int]) -> list[list[int]]:
    first, second, third, last = depths
    return [[3] * first, [13] * second, [13 if block % 2 == 0 else 3 for block in range(third)], [13] * last]


def _initialise(module: nn.Module) -> None:
    """Draws weights from a truncated N(0, 0.02²) and sets biases to 0, as the authors' code does."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@register_model
def unireplknet_tiny(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """UniRepLKNet-T of the paper."""
    depths = kwargs.pop("depths", (3, 3, 18, 3))
    return build_pyramid(UniRepLKNet, "unireplknet_tiny", pretrained, depths, **kwargs)
