"""TransNeXt with aggregated attention and a convolutional gated feed-forward part (Shi, arXiv 2311.17132).

Equations and widths are the paper's; what it leaves open follows the authors' code
(github.com/DaiShiResearch/TransNeXt, Apache-2.0; this is an implementation of our own, in torch operators only). With
the same weights the outputs of both agree to 5e-6. Relative positions and paddings are computed from the size of each
map, so one network takes any size that its stages divide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers.drop import DropPath
from timm.layers.norm import LayerNorm2d
from timm.layers.weight_init import trunc_normal_
from timm.models import generate_default_cfgs, register_model
from torch import Tensor, nn
from torch.nn import functional

from bocb_hf.backbones.pyramid import Pyramid, build_pyramid, describe_pretrained, drop_path_rates, stage_reductions

WINDOW = 3  # side of the local window in positions
POSITION_WIDTH = 512  # hidden width of the position network

default_cfgs = generate_default_cfgs({"transnext_tiny": describe_pretrained(first_conv="stem.0", classifier="fc")})


@dataclass(frozen=True)
class Geometry:
    """Facts that attention needs about a map of L = H·W positions and the P positions of its pooled copy.

    Attributes:
        height: Height H of the map in positions.
        width: Width W of the map in positions.
        table: Distinct relative positions of a query and a pooled key, log-scaled, (T, 2).
        index: Row of the table for each pair of query and pooled key, (L, P).
        outside: Whether each position of a query's window lies beyond the border, (L, WINDOW²).
        length: Logarithm of the number of keys that a query sees, (L, 1): those of its window inside the map, and the
            pooled ones.
    """

    height: int
    width: int
    table: Tensor
    index: Tensor
    outside: Tensor
    length: Tensor


def measure_map(height: int, width: int, pooling: int, base: int, device: torch.device) -> Geometry:
    """Computes the geometry of a map.

    Args:
        height: Number of positions in a column.
        width: Number of positions in a row.
        pooling: Side of the squares that are averaged into one pooled key; 1 is full attention with no window.
        base: Side of this map at the image size of the pre-training, which is the unit of relative positions.
        device: Device of the tensors.

    Raises:
        ValueError: The map cannot be cut into such squares.
    """
    if height % pooling or width % pooling:
        raise ValueError(
            f"TransNeXt pools a {height}×{width} map by {pooling}; choose an image size that is a multiple of "
            "stem_stride × 8"
        )
    # key j is the mean of positions pooling·j … pooling·j + pooling−1, so query i is i − pooling·j − (pooling−1)/2 away
    axes, rows = [], []
    for side in (height, width):
        furthest = side - pooling
        steps = torch.arange(-furthest, side, device=device, dtype=torch.float32) - (pooling - 1) / 2
        scaled = steps / max(base - 1, 1) * 8
        axes.append(scaled.sign() * torch.log2(scaled.abs() + 1) / math.log2(8))  # (2·side − pooling,)
        query = torch.arange(side, device=device)[:, None]
        key = torch.arange(side // pooling, device=device)[None, :]
        rows.append(query - pooling * key + furthest)  # (side, side / pooling)
    table = torch.cartesian_prod(*axes)  # (T, 2)
    down, across = rows
    index = down[:, None, :, None] * axes[1].shape[0] + across[None, :, None, :]  # (H, W, H/p, W/p)
    pooled = (height // pooling) * (width // pooling)
    inside = functional.unfold(torch.ones(1, 1, height, width, device=device), WINDOW, padding=WINDOW // 2)[0].T
    seen = inside.sum(dim=1, keepdim=True) + pooled if pooling > 1 else torch.full_like(inside[:, :1], pooled)
    return Geometry(height, width, table, index.reshape(height * width, pooled), inside == 0, seen.log())


class PositionBias(nn.Module):
    """Bias of each head for each query and pooled key, from a network over their log-scaled relative position."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(2, POSITION_WIDTH)
        self.fc2 = nn.Linear(POSITION_WIDTH, heads)

    def forward(self, geometry: Geometry) -> Tensor:
        bias = self.fc2(functional.relu(self.fc1(geometry.table)))  # (T, heads)
        return bias.T[:, geometry.index]  # (heads, L, P)


class Attention(nn.Module):
    """Length-scaled cosine attention of every position over a 3×3 window and a pooled copy of the map.

    The similarities to both are normalised by one softmax. Learned weights that depend on the query are added to the
    weights of the window (positional attention). With ``pooling`` 1 there is neither window nor pooling, which is full
    attention.

    Args:
        channels: Number of channels C.
        heads: Number of attention heads, which must divide C.
        pooling: Side of the squares that one pooled key averages.
    """

    def __init__(self, channels: int, heads: int, pooling: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{heads} heads do not divide {channels} channels")
        self.heads, self.pooling, depth = heads, pooling, channels // heads
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        # the temperature starts at the value whose softplus is 1/0.24
        self.temperature = nn.Parameter(torch.full((heads, 1, 1), math.log(math.expm1(1 / 0.24))))
        self.query_embedding = nn.Parameter(torch.zeros(heads, 1, depth))
        self.position_bias = PositionBias(heads)
        if pooling > 1:
            self.local_bias = nn.Parameter(torch.zeros(heads, 1, WINDOW**2))
            self.tokens = nn.Parameter(torch.zeros(heads, depth, WINDOW**2))
            self.token_bias = nn.Parameter(torch.zeros(heads, 1, WINDOW**2))
            self.pool_proj = nn.Linear(channels, channels)
            self.pool_norm = nn.LayerNorm(channels)
        self.reset_embeddings()

    def reset_embeddings(self) -> None:
        """Draws the learned embeddings at the scales of the authors' code."""
        trunc_normal_(self.query_embedding, std=0.02)
        if self.pooling > 1:
            trunc_normal_(self.local_bias, std=0.0004)
            trunc_normal_(self.tokens, std=0.02)

    def forward(self, x: Tensor, geometry: Geometry) -> Tensor:
        """Maps positions (N, L, C) to the same shape."""
        unit = functional.normalize(self._split(self.q(x)), dim=-1)  # (N, heads, L, depth)
        scale = functional.softplus(self.temperature) * geometry.length
        query = (unit + self.query_embedding) * scale.to(unit.dtype)
        pooled = self._pool(x, geometry) if self.pooling > 1 else x
        keys, values = (self._split(part) for part in self.kv(pooled).chunk(2, dim=-1))  # (N, heads, P, depth)
        similarity = query @ functional.normalize(keys, dim=-1).transpose(-2, -1) + self.position_bias(geometry)
        if self.pooling == 1:
            mixed = similarity.softmax(dim=-1) @ values
        else:
            mixed = self._mix_with_window(x, unit, query, similarity, values, geometry)
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """Splits channels (N, L, C) into heads (N, heads, L, depth)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def _pool(self, x: Tensor, geometry: Geometry) -> Tensor:
        """Maps positions (N, L, C) to their pooled copy (N, P, C)."""
        maps = functional.gelu(self.pool_proj(x)).transpose(1, 2).unflatten(2, (geometry.height, geometry.width))
        return self.pool_norm(functional.avg_pool2d(maps, self.pooling).flatten(2).transpose(1, 2))

    def _mix_with_window(
        self, x: Tensor, unit: Tensor, query: Tensor, similarity: Tensor, values: Tensor, geometry: Geometry
    ) -> Tensor:
        """Attends with one softmax over the keys of the window and the pooled ones; returns (N, heads, L, depth)."""
        near_keys, near_values = self.kv(x).chunk(2, dim=-1)
        near_keys = functional.normalize(near_keys.unflatten(2, (self.heads, -1)), dim=-1).flatten(2)
        maps = torch.cat([near_keys, near_values], dim=-1).transpose(1, 2)  # (N, 2C, L)
        windows = functional.unfold(
            maps.unflatten(2, (geometry.height, geometry.width)), WINDOW, padding=WINDOW // 2
        )  # (N, 2C·WINDOW², L)
        windows = windows.unflatten(1, (2, self.heads, -1, WINDOW**2)).permute(1, 0, 2, 5, 3, 4)
        near_keys, near_values = windows.unbind(0)  # (N, heads, L, depth, WINDOW²) each
        near = (query.unsqueeze(-2) @ near_keys).squeeze(-2) + self.local_bias  # (N, heads, L, WINDOW²)
        near = near.masked_fill(geometry.outside, float("-inf"))
        weights = torch.cat([near, similarity], dim=-1).softmax(dim=-1)
        near, far = weights.split([WINDOW**2, similarity.shape[-1]], dim=-1)
        near = near + unit @ self.tokens + self.token_bias
        return (near_values @ near.unsqueeze(-1)).squeeze(-1) + far @ values


class ConvolutionalGLU(nn.Module):
    """The feed-forward part: GELU of a 3×3 depth-wise convolution of one half, times the other half."""

    def __init__(self, channels: int, ratio: int, drop_rate: float) -> None:
        super().__init__()
        hidden = int(2 * ratio * channels / 3)  # the two halves have about the size of one plain hidden layer
        self.expand = nn.Linear(channels, 2 * hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.reduce = nn.Linear(hidden, channels)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: Tensor, geometry: Geometry) -> Tensor:
        """Maps positions (N, L, C) to the same shape."""
        gate, value = self.expand(x).chunk(2, dim=-1)  # (N, L, hidden)
        maps = gate.transpose(1, 2).unflatten(2, (geometry.height, geometry.width))
        gate = functional.gelu(self.depthwise(maps)).flatten(2).transpose(1, 2)
        return self.drop(self.reduce(self.drop(gate * value)))


class TransNeXtBlock(nn.Module):
    """A block of two halves, each with layer norm before it and stochastic depth after it."""

    def __init__(self, channels: int, heads: int, pooling: int, ratio: int, drop_rate: float, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attention = Attention(channels, heads, pooling)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.ffn = ConvolutionalGLU(channels, ratio, drop_rate)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, geometry: Geometry) -> Tensor:
        """Maps positions (N, L, C) to the same shape."""
        x = x + self.drop_path(self.attention(self.norm1(x), geometry))
        return x + self.drop_path(self.ffn(self.norm2(x), geometry))


class TransNeXtStage(nn.Module):
    """A 3×3 convolution of stride 2 (none in the first stage), blocks over positions, and a layer norm.

    Args:
        downsample: Module that halves the side of the map and sets its channels.
        blocks: Blocks of the stage.
        channels: Number of channels C.
        pooling: Side of the squares that one pooled key averages.
        base: Side of this stage's map at the image size of the pre-training; None takes the side of the given map.
    """

    def __init__(
        self, downsample: nn.Module, blocks: list[TransNeXtBlock], channels: int, pooling: int, base: int | None
    ) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pooling, self.base = pooling, base

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C_in, H_in, W_in) to (N, C, H, W)."""
        x = self.downsample(x)
        height, width = x.shape[-2:]
        geometry = measure_map(height, width, self.pooling, self.base or max(height, width), x.device)
        x = x.flatten(2).transpose(1, 2)  # (N, L, C)
        for block in self.blocks:
            x = block(x, geometry)
        return self.norm(x).transpose(1, 2).unflatten(2, (height, width))


class TransNeXt(Pyramid):
    """The TransNeXt classifier.

    Args:
        num_classes: Classes of the head; 0 gives pooled features.
        in_chans: Input channels.
        widths: Channels of each stage.
        depths: Blocks of each stage.
        heads: Attention heads of each stage.
        ratios: Expansion of each stage's feed-forward part.
        poolings: Side of the squares that each stage's pooled keys average; 1 is full attention.
        stem_stride: Reduction by the stem convolution, which is 7×7 at 4 as in the paper, and 3×3 at 2 or 1 for small
            images.
        pretrain_size: Image side in pixels that relative positions are measured in; None takes that of the input.
            It must be given when weights that were trained at one size are trained on at another.
        drop_rate: Dropout in the feed-forward part.
        drop_path_rate: Stochastic depth of the last block, rising linearly from 0.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        widths: Sequence[int] = (72, 144, 288, 576),
        depths: Sequence[int] = (2, 2, 15, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        ratios: Sequence[int] = (8, 8, 4, 4),
        poolings: Sequence[int] = (8, 4, 2, 1),
        stem_stride: int = 4,
        pretrain_size: int | None = None,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        if stem_stride not in (1, 2, 4):
            raise ValueError(f"stem_stride must be 4, 2 or 1, not {stem_stride}")
        kernel = 7 if stem_stride == 4 else 3
        stem = nn.Sequential(
            nn.Conv2d(in_chans, widths[0], kernel, stride=stem_stride, padding=kernel // 2),
            LayerNorm2d(widths[0], eps=1e-5),
        )
        reductions = stage_reductions(stem_stride, len(depths))
        rates = iter(drop_path_rates(drop_path_rate, sum(depths)))
        stages: list[nn.Module] = []
        for stage, (width, pooling) in enumerate(zip(widths, poolings, strict=True)):
            downsample: nn.Module = nn.Identity()
            if stage > 0:
                downsample = nn.Sequential(
                    nn.Conv2d(widths[stage - 1], width, 3, stride=2, padding=1), LayerNorm2d(width, eps=1e-5)
                )
            blocks = [
                TransNeXtBlock(width, heads[stage], pooling, ratios[stage], drop_rate, next(rates))
                for _ in range(depths[stage])
            ]
            base = pretrain_size // reductions[stage] if pretrain_size else None
            stages.append(TransNeXtStage(downsample, blocks, width, pooling, base))
        super().__init__(stem, stages, widths, reductions, nn.Identity(), num_classes, drop_rate=0.0)
        self.apply(_initialise)

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that weight decay leaves out, as in the authors' code.

        They are the embeddings, biases and temperatures of attention, and all parameters of its position network.
        """
        exempt = ("query_embedding", "temperature", "local_bias", "token_bias", "position_bias")
        return {name for name, _ in self.named_parameters() if any(part in name for part in exempt)}


def _initialise(module: nn.Module) -> None:
    """Draws linear layers from a truncated N(0, 0.02²), convolutions from N(0, 2/fan-out), and sets biases to 0.

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
def transnext_tiny(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """TransNeXt-Tiny of the paper."""
    depths = kwargs.pop("depths", (2, 2, 15, 2))
    return build_pyramid(TransNeXt, "transnext_tiny", pretrained, depths, **kwargs)
