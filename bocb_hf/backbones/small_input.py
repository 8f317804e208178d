"""timm's networks with a stem for small images, registered as ``<timm's name>_small_input``.

The rule is that the stem reduces the image by ``stem_stride``, and all later layers stay as they are. The default, 1,
is the stride in the study's released code at 32 px; 2 is the stride in its paper. An isotropic network has no stages
after its stem, so its patches shrink instead, from 16 px to 4 px, which is about the same share of the image.

- ResNet, ConvNeXt: one 3×3 convolution in place of the stem's 7×7 or 4×4; no max-pool.
- DenseNet: one 3×3 convolution without norm or max-pool, as in the released code.
- MobileNetV2, EfficientNet, RepVGG: the stem's 3×3 convolution keeps its weights' shape and changes its stride. Their
  own stride is 2, so ``stem_stride`` 2 is the network as it is at 224 px.
- Mixer: the patch size.

Architectures of ours (``moganet``, ``unireplknet``, ``transnext``, the S12 MetaFormers) take ``stem_stride``
themselves; timm's ViT and Swin take ``patch_size`` and ``img_size``. VGG has no stem to change, and AlexNet keeps its
stem.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import timm
from timm.layers.weight_init import trunc_normal_
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.mlp_mixer import MlpMixer
from torch import nn

from bocb_hf.backbones.pyramid import describe_pretrained

_CONV_NEXT = describe_pretrained(32, first_conv="stem.0", classifier="head.fc")

default_cfgs = generate_default_cfgs(
    {
        "resnet50_small_input": describe_pretrained(32, first_conv="conv1", classifier="fc"),
        "resnet101_small_input": describe_pretrained(32, first_conv="conv1", classifier="fc"),
        "densenet121_small_input": describe_pretrained(32, first_conv="features.conv0", classifier="classifier"),
        "mobilenetv2_100_small_input": describe_pretrained(32, first_conv="conv_stem", classifier="classifier"),
        "efficientnet_b0_small_input": describe_pretrained(32, first_conv="conv_stem", classifier="classifier"),
        "repvgg_a1_small_input": describe_pretrained(
            32, first_conv=("stem.conv_kxk.conv", "stem.conv_1x1.conv"), classifier="head.fc"
        ),
        "convnext_tiny_small_input": _CONV_NEXT,
        "convnextv2_tiny_small_input": _CONV_NEXT,
        "mixer_s16_small_input": describe_pretrained(32, first_conv="stem.proj", classifier="head"),
    }
)

Shrink = Callable[[Any, int], None]


def _shrink_resnet(model: Any, stride: int) -> None:
    old: nn.Conv2d = model.conv1
    model.conv1 = nn.Conv2d(old.in_channels, old.out_channels, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()


def _shrink_densenet(model: Any, stride: int) -> None:
    old: nn.Conv2d = model.features.conv0
    model.features.conv0 = nn.Conv2d(old.in_channels, old.out_channels, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(model.features.conv0.weight)
    model.features.norm0 = nn.Identity()
    model.features.pool0 = nn.Identity()


def _shrink_convnext(model: Any, stride: int) -> None:
    old: nn.Conv2d = model.stem[0]
    model.stem[0] = nn.Conv2d(old.in_channels, old.out_channels, 3, stride=stride, padding=1)
    trunc_normal_(model.stem[0].weight, std=0.02)
    nn.init.zeros_(model.stem[0].bias)


def _stride_efficientnet(model: Any, stride: int) -> None:
    model.conv_stem.stride = (stride, stride)


def _stride_repvgg(model: Any, stride: int) -> None:
    for branch in (model.stem.conv_kxk, model.stem.conv_1x1):
        branch.conv.stride = (stride, stride)


def _make(base: str, shrink: Shrink, stem_reduction: int, stem_stride: int = 1, **kwargs: Any) -> nn.Module:
    """timm's network with its stem replaced.

    Args:
        base: timm's name of the network.
        shrink: Function that gives the network a stem of some stride.
        stem_reduction: Factor by which timm's stem reduces the image.
        stem_stride: Factor by which the new stem reduces it, 1 or 2; timm's own factor keeps timm's stem.
        **kwargs: Further arguments of timm's model.

    Raises:
        ValueError: The stride is another one.
    """
    if stem_stride not in (1, 2, stem_reduction):
        raise ValueError(f"stem_stride must be 1, 2 or that of {base} itself, {stem_reduction}; not {stem_stride}")
    model: Any = timm.create_model(base, **kwargs)
    if stem_stride == stem_reduction:
        return cast(nn.Module, model)
    shrink(model, stem_stride)
    for info in model.feature_info:
        # a feature map inside the old stem (after a reduction by 2 of 4) now comes after the only convolution of the
        # new stem
        info["reduction"] = max(info["reduction"] * stem_stride // stem_reduction, stem_stride)
    return cast(nn.Module, model)


def _build(
    base: str, shrink: Shrink, stem_reduction: int, pretrained: bool, kwargs: dict[str, Any], **features: Any
) -> nn.Module:
    make = partial(_make, base, shrink, stem_reduction)
    return build_model_with_cfg(make, f"{base}_small_input", pretrained, feature_cfg=features, **kwargs)


@register_model
def resnet50_small_input(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-50 with a 3×3 stem and no max-pool."""
    return _build("resnet50", _shrink_resnet, 4, pretrained, kwargs)


@register_model
def resnet101_small_input(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-101 with a 3×3 stem and no max-pool."""
    return _build("resnet101", _shrink_resnet, 4, pretrained, kwargs)


@register_model
def densenet121_small_input(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """DenseNet-121 with a 3×3 stem that has no norm and no max-pool."""
    return _build("densenet121", _shrink_densenet, 4, pretrained, kwargs, flatten_sequential=True)


@register_model
def mobilenetv2_100_small_input(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MobileNetV2 with a stem of stride 1."""
    return _build("mobilenetv2_100", _stride_efficientnet, 2, pretrained, kwargs, feature_cls="getter")


@register_model
def efficientnet_b0_small_input(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """EfficientNet-B0 with a stem of stride 1."""
    return _build("efficientnet_b0", _stride_efficientnet, 2, pretrained, kwargs, feature_cls="getter")


@register_model
def repvgg_a1_small_input(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """RepVGG-A1 with a stem of stride 1."""
    return _build("repvgg_a1", _stride_repvgg, 2, pretrained, kwargs, flatten_sequential=True)


@register_model
def convnext_tiny_small_input(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ConvNeXt-T with a 3×3 stem."""
    features = {"out_indices": (0, 1, 2, 3), "flatten_sequential": True}
    return _build("convnext_tiny", _shrink_convnext, 4, pretrained, kwargs, **features)


@register_model
def convnextv2_tiny_small_input(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ConvNeXtV2-T with a 3×3 stem."""
    features = {"out_indices": (0, 1, 2, 3), "flatten_sequential": True}
    return _build("convnextv2_tiny", _shrink_convnext, 4, pretrained, kwargs, **features)


@register_model
def mixer_s16_small_input(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Mixer-S with patches of 4 px; ``mixer_s16_224`` itself refuses another patch size."""
    options: dict[str, Any] = {"img_size": 32, "patch_size": 4, "num_blocks": 8, "embed_dim": 512} | kwargs
    return build_model_with_cfg(
        MlpMixer,
        "mixer_s16_small_input",
        pretrained,
        feature_cfg={"out_indices": 3, "feature_cls": "getter"},
        **options,
    )
