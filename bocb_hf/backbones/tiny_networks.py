"""Tiny networks for which timm has no arguments: a plain one, a residual one, and inverted bottlenecks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timm.layers.drop import DropPath
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.efficientnet import EfficientNet
from timm.models.resnet import BasicBlock
from torch import Tensor, nn

from bocb_hf.backbones.pyramid import Pyramid, describe_pretrained, drop_path_rates


def _cfg(**kwargs: Any) -> dict[str, Any]:
    """timm's pretrained configuration of a 32 px model without published weights."""
    half = (0.5, 0.5, 0.5)
    return describe_pretrained(32, num_classes=10, mean=half, std=half, **kwargs)


default_cfgs = generate_default_cfgs(
    {
        "tiny_resnet": _cfg(first_conv="conv1", classifier="fc"),
        "tiny_mobilenet": _cfg(first_conv="conv_stem", classifier="classifier"),
        "tiny_vgg": _cfg(first_conv="stages.0.0", classifier="fc"),
    }
)


class TinyResNet(nn.Module):
    """Residual network of basic blocks with a small stem.

    The design is that of He et al. (arXiv 1512.03385, Section 4.2) with three stages, batch norm and 1×1 projection
    shortcuts. The stem is a 3×3 convolution of stride 2 and a max-pool of stride 2, so that a 32 px image enters the
    stages as 8×8.

    Args:
        num_classes: Classes of the head; 0 gives pooled features.
        in_chans: Input channels.
        widths: Channels of each stage.
        depth: Blocks a stage.
        drop_rate: Dropout before the head.
        drop_path_rate: Stochastic depth of the last block, rising linearly from 0.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 3,
        widths: tuple[int, ...] = (16, 32, 64),
        depth: int = 1,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_features = self.head_hidden_size = widths[-1]
        self.conv1 = nn.Conv2d(in_chans, widths[0], 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.act1 = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(2)
        self.feature_info: list[dict[str, Any]] = []
        rates = drop_path_rates(drop_path_rate, len(widths) * depth)
        inplanes, stages = widths[0], []
        for stage, width in enumerate(widths):
            blocks: list[nn.Module] = []
            for block in range(depth):
                stride = 2 if stage > 0 and block == 0 else 1
                shortcut = None
                if stride != 1 or inplanes != width:
                    conv = nn.Conv2d(inplanes, width, 1, stride=stride, bias=False)
                    shortcut = nn.Sequential(conv, nn.BatchNorm2d(width))
                rate = rates[stage * depth + block]
                path = DropPath(rate) if rate > 0 else None
                # timm annotates the path by its default of None
                blocks.append(BasicBlock(inplanes, width, stride, shortcut, drop_path=path))  # type: ignore[arg-type]
                inplanes = width
            stages.append(nn.Sequential(*blocks))
            self.feature_info.append({"num_chs": width, "reduction": 4 * 2**stage, "module": f"stages.{stage}"})
        self.stages = nn.Sequential(*stages)
        self.head_drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(inplanes, num_classes) if num_classes > 0 else nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def get_classifier(self) -> nn.Module:
        """The head, as timm's models return it."""
        return self.fc

    def reset_classifier(self, num_classes: int) -> None:
        """Replaces the head."""
        self.num_classes = num_classes
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes > 0 else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to the last feature map (N, widths[-1], H/16, W/16)."""
        x = self.maxpool(self.act1(self.bn1(self.conv1(x))))  # (N, widths[0], H/4, W/4)
        return self.stages(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Maps the last feature map to logits (N, num_classes), or to the pooled features."""
        x = self.head_drop(x.mean(dim=(2, 3)))
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to logits (N, num_classes)."""
        return self.forward_head(self.forward_features(x))


class TinyVGG(Pyramid):
    """Plain network of pairs of 3×3 convolutions with batch norm and ReLU, a max-pool after each pair, and no shortcut.

    The design is that of Simonyan and Zisserman (arXiv 1409.1556) with a linear head in place of the hidden layers,
    which would hold most of the parameters.

    Args:
        num_classes: Classes of the head; 0 gives pooled features.
        in_chans: Input channels.
        widths: Channels of each stage.
        drop_rate: Dropout before the head.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 3,
        widths: Sequence[int] = (16, 32, 64),
        drop_rate: float = 0.0,
    ) -> None:
        stages, channels = [], in_chans
        for width in widths:
            layers: list[nn.Module] = []
            for _ in range(2):
                conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
                layers += [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                channels = width
            stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        reductions = [2 ** (stage + 1) for stage in range(len(widths))]
        super().__init__(nn.Identity(), stages, widths, reductions, nn.Identity(), num_classes, drop_rate)


@register_model
def tiny_resnet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet with batch norm, widths of 16/32/64 and one block a stage."""
    features = {"out_indices": (0, 1, 2), "flatten_sequential": True}
    return build_model_with_cfg(TinyResNet, "tiny_resnet", pretrained, feature_cfg=features, **kwargs)


@register_model
def tiny_vgg(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Network of plain convolutions with widths of 16/32/64."""
    features = {"out_indices": (0, 1, 2), "flatten_sequential": True}
    return build_model_with_cfg(TinyVGG, "tiny_vgg", pretrained, feature_cfg=features, **kwargs)


@register_model
def tiny_mobilenet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Inverted bottlenecks of widths 16/24/40 and expansion 4, as in MobileNetV2 (arXiv 1801.04381)."""
    architecture = decode_arch_def([["ds_r1_k3_s2_e1_c16"], ["ir_r1_k3_s2_e4_c24"], ["ir_r1_k3_s2_e4_c40"]])
    defaults: dict[str, Any] = {
        "block_args": architecture,
        "stem_size": 8,
        "num_features": 128,
        "round_chs_fn": _keep_channels,
        "act_layer": nn.ReLU6,
    }
    features = {"out_indices": (0, 1, 2, 3), "feature_cls": "getter"}
    return build_model_with_cfg(EfficientNet, "tiny_mobilenet", pretrained, feature_cfg=features, **(defaults | kwargs))


def _keep_channels(channels: int, **_: Any) -> int:
    """Returns a width as it is given, where timm would round it to a multiple of 8."""
    return channels
