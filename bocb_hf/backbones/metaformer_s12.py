"""The S12 MetaFormers (Yu et al., arXiv 2210.13452), from timm's MetaFormer class.

They differ only in the token mixer: identity, pooling, separable convolution, attention, or convolution in the first
stages and attention in the last. timm registers PoolFormerV2-S12 itself; it is registered here once more under another
name, for its small-image stem.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timm.layers.weight_init import trunc_normal_
from timm.models import generate_default_cfgs, register_model
from timm.models.metaformer import (
    Attention,
    GroupNorm1NoBias,
    LayerNorm2dNoBias,
    LayerNormNoBias,
    MetaFormer,
    Pooling,
    SepConv,
)
from torch import nn

from bocb_hf.backbones.pyramid import build_pyramid, describe_pretrained, stage_reductions

# each token mixer with its norm; attention works on (N, L, C), the others on (N, C, H, W)
MIXERS: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "identity": (nn.Identity, GroupNorm1NoBias),
    "pooling": (Pooling, GroupNorm1NoBias),
    "conv": (SepConv, LayerNorm2dNoBias),
    "attention": (Attention, LayerNormNoBias),
}
DEPTHS = (2, 2, 6, 2)

default_cfgs = generate_default_cfgs(
    {
        **{
            name: describe_pretrained(first_conv="stem.conv", classifier="head.fc")
            for name in ("identityformer_s12", "poolformerv2_s12_small_input")
        },
        **{
            name: describe_pretrained(first_conv="stem.conv", classifier="head.fc.fc2")
            for name in ("convformer_s12", "attentionformer_s12", "caformer_s12")
        },
    }
)


class MetaFormerS12(MetaFormer):
    """timm's MetaFormer with mixers by name and a stem whose stride can be chosen.

    Args:
        mixers: Token mixer of each stage, keys of ``MIXERS``.
        depths: Blocks of each stage.
        dims: Channels of each stage; they differ, as timm's class shrinks the map only where they do.
        stem_stride: Stride of the stem: 4 gives the paper's 7×7 stem; 2 or 1, for small images, gives a 3×3 stem.
        **kwargs: Further arguments of timm's class.
    """

    def __init__(
        self,
        mixers: Sequence[str],
        depths: Sequence[int] = DEPTHS,
        dims: Sequence[int] = (64, 128, 320, 512),
        stem_stride: int = 4,
        **kwargs: Any,
    ) -> None:
        if stem_stride not in (1, 2, 4):
            raise ValueError(f"stem_stride must be 4, 2 or 1, not {stem_stride}")
        if len(set(dims)) != len(dims):
            raise ValueError(f"dims must differ from stage to stage, not {tuple(dims)}")
        chosen = [MIXERS[name] for name in mixers]
        super().__init__(
            depths=tuple(depths),
            dims=tuple(dims),
            token_mixers=[mixer for mixer, _ in chosen],
            norm_layers=[norm for _, norm in chosen],
            **kwargs,
        )
        if stem_stride != 4:
            stem = self.stem.conv
            self.stem.conv = nn.Conv2d(stem.in_channels, stem.out_channels, 3, stride=stem_stride, padding=1)
            trunc_normal_(self.stem.conv.weight, std=0.02)
            nn.init.zeros_(self.stem.conv.bias)  # type: ignore[arg-type] - this one has a bias
        for info, reduction in zip(self.feature_info, stage_reductions(stem_stride, len(depths)), strict=True):
            info["reduction"] = reduction


def _build(variant: str, pretrained: bool, mixers: Sequence[str], mlp_head: bool, kwargs: dict[str, Any]) -> nn.Module:
    # the paper's networks without convolution or attention end in a linear head
    depths = kwargs.pop("depths", DEPTHS)
    options = {"mixers": mixers[: len(depths)], "use_mlp_head": mlp_head} | kwargs
    return build_pyramid(MetaFormerS12, variant, pretrained, depths, **options)


@register_model
def identityformer_s12(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """IdentityFormer-S12, in which only the strided convolutions mix tokens."""
    return _build("identityformer_s12", pretrained, ["identity"] * 4, False, kwargs)


@register_model
def poolformerv2_s12_small_input(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """PoolFormerV2-S12 whose stem stride can be chosen."""
    return _build("poolformerv2_s12_small_input", pretrained, ["pooling"] * 4, False, kwargs)


@register_model
def convformer_s12(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ConvFormer-S12: inverted separable 7×7 convolutions."""
    return _build("convformer_s12", pretrained, ["conv"] * 4, True, kwargs)


@register_model
def attentionformer_s12(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """AttentionFormer-S12: full attention in every stage."""
    return _build("attentionformer_s12", pretrained, ["attention"] * 4, True, kwargs)


@register_model
def caformer_s12(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """CAFormer-S12: convolutions in the first two stages, attention in the last two."""
    return _build("caformer_s12", pretrained, ["conv", "conv", "attention", "attention"], True, kwargs)
