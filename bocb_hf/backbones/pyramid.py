"""The frame of this project's hierarchical architectures: stem, stages, pooling and linear head, as timm expects.

The stem and each stage keep the layout (N, C, H, W), so timm's ``features_only=True`` cuts a feature pyramid out of any
of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers.drop import calculate_drop_path_rates
from timm.models import build_model_with_cfg
from torch import Tensor, nn


class Pyramid(nn.Module):
    """A classifier of stages whose feature maps shrink.

    Args:
        stem: Module that maps images (N, in_chans, H, W) to (N, widths[0], H/stem_reduction, W/stem_reduction).
        stages: Modules in a row; stage i gives (N, widths[i], H/reductions[i], W/reductions[i]).
        widths: Number of channels of each stage.
        reductions: Side in input pixels of one position in each stage's map.
        head_norm: Norm that is applied to the pooled features (N, widths[-1]).
        num_classes: Classes of the head; 0 gives the pooled features.
        drop_rate: Dropout before the head.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[nn.Module],
        widths: Sequence[int],
        reductions: Sequence[int],
        head_norm: nn.Module,
        num_classes: int,
        drop_rate: float,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_features = self.head_hidden_size = widths[-1]
        self.feature_info = [
            {"num_chs": width, "reduction": reduction, "module": f"stages.{stage}"}
            for stage, (width, reduction) in enumerate(zip(widths, reductions, strict=True))
        ]
        self.stem = stem
        self.stages = nn.Sequential(*stages)
        self.head_norm = head_norm
        self.head_drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(widths[-1], num_classes) if num_classes > 0 else nn.Identity()

    def get_classifier(self) -> nn.Module:
        """The head, as timm's models return it."""
        return self.fc

    def reset_classifier(self, num_classes: int) -> None:
        """Replaces the head."""
        self.num_classes = num_classes
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes > 0 else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """Maps images (N, in_chans, H, W) to the last map (N, widths[-1], H/reductions[-1], W/reductions[-1])."""
        return self.stages(self.stem(x))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Maps the last map to logits (N, num_classes), or to the pooled features (N, widths[-1])."""
        x = self.head_drop(self.head_norm(x.mean(dim=(2, 3))))
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (N, in_chans, H, W) to logits (N, num_classes)."""
        return self.forward_head(self.forward_features(x))


def drop_path_rates(last: float, blocks: int) -> list[float]:
    """Stochastic depth of each block, rising linearly from 0 to ``last``."""
    return cast(list[float], calculate_drop_path_rates(last, blocks))


def stage_reductions(stem_stride: int, stages: int) -> list[int]:
    """Reduction of each stage's map when every stage after the first halves the side."""
    return [stem_stride * 2**stage for stage in range(stages)]


def split_stem_stride(stem_stride: int) -> tuple[int, int]:
    """Strides of a stem of two convolutions: 4 is 2 × 2, 2 is 2 × 1, 1 is 1 × 1.

    Raises:
        ValueError: The stride is none of these.
    """
    strides = {4: (2, 2), 2: (2, 1), 1: (1, 1)}
    if stem_stride not in strides:
        raise ValueError(f"stem_stride must be 4, 2 or 1, not {stem_stride}")
    return strides[stem_stride]


def describe_pretrained(input_size: int = 224, **kwargs: Any) -> dict[str, Any]:
    """timm's pretrained configuration of a model that has no published weights in timm's form."""
    return {
        "num_classes": 1000,
        "input_size": (3, input_size, input_size),
        "pool_size": None,
        "crop_pct": 1.0,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "license": "apache-2.0",
        **kwargs,
    }


def build_pyramid(
    model: Callable[..., nn.Module], variant: str, pretrained: bool, depths: Sequence[int], **kwargs: Any
) -> nn.Module:
    """Builds a model through timm's builder, with one feature map for each stage."""
    features = {"out_indices": tuple(range(len(depths))), "flatten_sequential": True}
    return build_model_with_cfg(model, variant, pretrained, feature_cfg=features, depths=depths, **kwargs)
