"""torchvision's AlexNet (Krizhevsky, arXiv 1404.5997) as a timm model."""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn
from torchvision.models import AlexNet as TorchvisionAlexNet

from bocb_hf.backbones.pyramid import describe_pretrained

SMALLEST = 64  # side in pixels; below 63, the last max-pool would get a map smaller than its window

default_cfgs = generate_default_cfgs(
    {"alexnet": describe_pretrained(first_conv="features.0", classifier="classifier.6", min_input_size=(3, 64, 64))}
)


class AlexNet(TorchvisionAlexNet):
    """AlexNet with timm's interface; layers, names and initialisation are torchvision's.

    Args:
        num_classes: Classes of the head; 0 gives the features before it (N, 4096).
        in_chans: Input channels.
        drop_rate: Dropout before each of the two hidden layers.
    """

    def __init__(self, num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.5) -> None:
        super().__init__(num_classes=max(num_classes, 1), dropout=drop_rate)
        self.num_features = self.head_hidden_size = 4096
        if in_chans != 3:
            self.features[0] = nn.Conv2d(in_chans, 64, 11, stride=4, padding=2)
        self.num_classes = num_classes
        if num_classes == 0:
            self.classifier[6] = nn.Identity()
        # feature maps are taken at the last ReLU before each max-pool, and at the last max-pool
        self.feature_info = [
            {"num_chs": channels, "reduction": reduction, "module": f"features.{layer}"}
            for channels, reduction, layer in ((64, 4, 1), (192, 8, 4), (256, 16, 11), (256, 32, 12))
        ]

    def get_classifier(self) -> nn.Module:
        """The head, as timm's models return it."""
        return self.classifier[6]

    def reset_classifier(self, num_classes: int) -> None:
        """Replaces the head."""
        self.num_classes = num_classes
        self.classifier[6] = nn.Linear(self.num_features, num_classes) if num_classes > 0 else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """Maps images (N, in_chans, H, W) to the last map: (N, 256, 6, 6) for 224 px.

        Raises:
            ValueError: The images are smaller than ``SMALLEST``.
        """
        if min(x.shape[-2:]) < SMALLEST:
            raise ValueError(f"AlexNet takes images of at least {SMALLEST} px, not {x.shape[-2]}×{x.shape[-1]}")
        return self.features(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Maps the last map to logits (N, num_classes), or to the features before the head (N, 4096)."""
        x = self.avgpool(x).flatten(1)  # (N, 9216)
        return self.classifier[:6](x) if pre_logits else self.classifier(x)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (N, in_chans, H, W) to logits (N, num_classes)."""
        return self.forward_head(self.forward_features(x))


@register_model
def alexnet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """AlexNet as torchvision has it: the one-tower form with 64 to 256 channels."""
    features = {"out_indices": (0, 1, 2, 3), "flatten_sequential": True}
    return build_model_with_cfg(AlexNet, "alexnet", pretrained, feature_cfg=features, **kwargs)
