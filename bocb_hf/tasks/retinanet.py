"""RetinaNet (Lin et al. 2017, arXiv 1708.02002) on the feature maps of any backbone, with torchvision's parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image, sigmoid_focal_loss

from bocb_hf.runs.tasks import DetectionOptions
from bocb_hf.tasks.features import Maps, Pyramid, freeze_statistics

_FOREGROUND, _BACKGROUND = (
    0.5,
    0.4,
)  # intersection over union with a box, of anchors that hold and do not hold an object
_OCTAVES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
_ASPECTS = (0.5, 1.0, 2.0)
_LEVELS = 5
_CANDIDATES = 1000  # boxes of a level that go into the suppression


class RetinaNet(nn.Module):
    """A backbone, a feature pyramid, and heads for classes and boxes.

    Args:
        maps: The backbone.
        categories: Number of categories K.
        options: Options of the task.
    """

    def __init__(self, maps: Maps, categories: int, options: DetectionOptions) -> None:
        super().__init__()
        self.backbone = maps
        self.pyramid = Pyramid(maps.channels, maps.reductions, options.channels)
        self.head = RetinaNetHead(options.channels, len(_OCTAVES) * len(_ASPECTS), categories)
        self.frozen_norm = options.frozen_norm
        chosen = self.pyramid.chosen
        first = maps.reductions[chosen[0]] // (2 if self.pyramid.simple else 1)
        sides = [options.anchor_scale * max(first, 1) * 2**level for level in range(_LEVELS)]
        sizes = tuple(tuple(int(side * octave) for octave in _OCTAVES) for side in sides)
        self.anchors = AnchorGenerator(sizes, (_ASPECTS,) * _LEVELS)
        self.starting_weights = getattr(maps, "starting_weights", None)
        # where optimizers of matrices look for the last layers (``optim.param_groups.hidden_matrices``)
        self.pretrained_cfg = {"classifier": ("head.classification_head.cls_logits", "head.regression_head.bbox_reg")}

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that the backbone itself exempts from weight decay."""
        return {f"backbone.{name}" for name in self.backbone.no_weight_decay()}

    def train(self, mode: bool = True) -> RetinaNet:
        """Sets the mode; with ``frozen_norm`` the backbone's batch norm stays in evaluation mode."""
        super().train(mode)
        if self.frozen_norm:
            freeze_statistics(self.backbone)
        return self

    def forward(self, x: Tensor) -> dict[str, Any]:
        """Raw outputs for normalised images (B, 3, H, W).

        Returns:
            ``cls_logits`` (B, A, K) and ``bbox_regression`` (B, A, 4) of the A anchors of all levels, ``anchors``
            (A, 4) as corners in pixels, and ``levels``, the number of anchors of each level.
        """
        maps = self.pyramid(self.backbone(x))
        outputs = self.head(maps)
        height, width = x.shape[-2:]
        anchors = self.anchors(ImageList(x[:1], [(height, width)]), [m[:1].float() for m in maps])[0]
        each = self.head.classification_head.num_anchors
        levels = [m.shape[-2] * m.shape[-1] * each for m in maps]
        return {**outputs, "anchors": anchors, "levels": levels}


def retinanet_loss(outputs: Mapping[str, Any], targets: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Focal loss of the classes plus the L1 loss of the boxes, each over the anchors of objects, mean over the images.

    It is that of torchvision's heads; with an object, an anchor is compared whose intersection over union is 0.5 or
    more, or the highest of the object. What lies between 0.4 and 0.5 counts for nothing.

    Args:
        outputs: Outputs of ``RetinaNet``.
        targets: ``boxes`` (n, 4) as corners in pixels and ``labels`` (n,) of each image.
    """
    anchors = outputs["anchors"]
    matcher = Matcher(_FOREGROUND, _BACKGROUND, allow_low_quality_matches=True)
    matched: list[Tensor] = []
    for target in targets:
        if target["boxes"].numel() == 0:
            matched.append(torch.full((len(anchors),), -1, dtype=torch.int64, device=anchors.device))
        else:
            matched.append(matcher(box_iou(target["boxes"], anchors)))
    logits, offsets = outputs["cls_logits"].float(), outputs["bbox_regression"].float()
    coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
    total = logits.new_zeros(())
    for target, index, logit, offset in zip(targets, matched, logits, offsets, strict=True):
        objects = (index >= 0).nonzero()[:, 0]
        truth = torch.zeros_like(logit)
        truth[objects, target["labels"][index[objects]]] = 1
        counted = index != Matcher.BETWEEN_THRESHOLDS
        wanted = coder.encode_single(target["boxes"][index[objects]], anchors[objects])
        focal = sigmoid_focal_loss(logit[counted], truth[counted], reduction="sum")
        total = total + (focal + l1_loss(offset[objects], wanted, reduction="sum")) / max(1, len(objects))
    return total / len(targets)


@torch.no_grad()
def find_boxes(
    outputs: Mapping[str, Any], sizes: Sequence[tuple[int, int]], options: DetectionOptions
) -> list[dict[str, Tensor]]:
    """Turns raw outputs into detections.

    Args:
        outputs: Outputs of ``RetinaNet``.
        sizes: Height and width of each image in the input, without padding.
        options: Options of the task.

    Returns:
        For each image ``boxes`` (n, 4) as corners in input pixels, ``scores`` (n,) falling, and ``labels`` (n,).
    """
    coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
    found: list[dict[str, Tensor]] = []
    classes = outputs["cls_logits"].shape[-1]
    for place, size in enumerate(sizes):
        boxes, scores, labels = list[Tensor](), list[Tensor](), list[Tensor]()
        parts = (outputs["cls_logits"][place], outputs["bbox_regression"][place], outputs["anchors"])
        for logits, offsets, anchors in zip(*(part.split(outputs["levels"]) for part in parts), strict=True):
            probable = logits.float().sigmoid().flatten()  # (anchors · K,)
            kept = (probable > options.score_threshold).nonzero()[:, 0]
            top = probable[kept].topk(min(_CANDIDATES, len(kept)))
            index = kept[top.indices]
            row = index // classes
            decoded = coder.decode_single(offsets[row].float(), anchors[row])
            boxes.append(clip_boxes_to_image(decoded, size))
            scores.append(top.values)
            labels.append(index % classes)
        box, score, label = torch.cat(boxes), torch.cat(scores), torch.cat(labels)
        keep = batched_nms(box, score, label, options.nms_threshold)[: options.most_detections]
        found.append({"boxes": box[keep], "scores": score[keep], "labels": label[keep]})
    return found
