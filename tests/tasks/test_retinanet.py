"""RetinaNet: the loss against torchvision's own, boxes against its postprocessing, pyramids on kinds of backbones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from builders import make_data
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.retinanet import RetinaNet as Reference
from torchvision.ops import box_iou

from bocb_hf.backbones.build import BackboneSource, resolve_backbone
from bocb_hf.errors import InputError
from bocb_hf.optim.param_groups import split_parameters
from bocb_hf.runs.config import BackboneConfig
from bocb_hf.runs.identity import BackboneIdentity
from bocb_hf.runs.tasks import DetectionOptions
from bocb_hf.tasks.detection import Detection
from bocb_hf.tasks.features import Maps, build_maps, choose_levels
from bocb_hf.tasks.retinanet import RetinaNet, find_boxes, retinanet_loss

OPTIONS = DetectionOptions(channels=16)


def maps_of(name: str, size: int = 64, **args: Any) -> Maps:
    return build_maps(resolve_backbone(BackboneConfig(name=name, args=args), 0.0, size), seed=0)


def network_of(name: str, categories: int = 3, options: DetectionOptions = OPTIONS, **args: Any) -> RetinaNet:
    maps = maps_of(name, **args)
    torch.manual_seed(0)
    return RetinaNet(maps, categories, options)


@pytest.fixture(scope="module")
def network() -> RetinaNet:
    return network_of("tiny_resnet").eval()


def targets_of(*boxes: list[list[float]]) -> list[dict[str, torch.Tensor]]:
    return [{"boxes": torch.tensor(some).reshape(-1, 4), "labels": torch.arange(len(some)) % 3} for some in boxes]


def test_the_loss_is_that_of_torchvision(network: RetinaNet) -> None:
    outputs = network(torch.randn(3, 3, 64, 96, generator=torch.Generator().manual_seed(0)))
    targets = targets_of([[4.0, 6, 40, 44], [50, 5, 90, 60]], [], [[10.0, 10, 22, 23]])
    matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
    matched = [
        matcher(box_iou(t["boxes"], outputs["anchors"]))
        if len(t["boxes"])
        else torch.full((len(outputs["anchors"]),), -1)
        for t in targets
    ]
    raw = {key: outputs[key] for key in ("cls_logits", "bbox_regression")}
    expected = sum(network.head.compute_loss(targets, raw, [outputs["anchors"]] * 3, matched).values())
    found = retinanet_loss(outputs, targets)
    # its type allows None, which it is not here
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)  # type: ignore[union-attr]
    assert float(found.detach()) > 0


def test_boxes_are_those_of_torchvision(network: RetinaNet) -> None:
    generator = torch.Generator().manual_seed(1)
    outputs = network(torch.randn(2, 3, 64, 96, generator=generator))
    outputs["cls_logits"] = torch.randn(outputs["cls_logits"].shape, generator=generator) * 2 - 3
    outputs["bbox_regression"] = torch.randn(outputs["bbox_regression"].shape, generator=generator) * 0.2
    found = find_boxes(outputs, [(60, 90), (64, 96)], OPTIONS)
    plain = Reference.__new__(Reference)
    torch.nn.Module.__init__(plain)
    plain.score_thresh, plain.topk_candidates, plain.nms_thresh, plain.detections_per_img = 0.05, 1000, 0.5, 100
    plain.box_coder = network.head.regression_head.box_coder
    split = {k: list(outputs[k].split(outputs["levels"], dim=1)) for k in ("cls_logits", "bbox_regression")}
    anchors = [list(outputs["anchors"].split(outputs["levels"]))] * 2
    expected = plain.postprocess_detections(split, anchors, [(60, 90), (64, 96)])
    for one, other in zip(found, expected, strict=True):
        assert len(one["boxes"]) == 100
        for key in ("boxes", "scores", "labels"):
            assert torch.allclose(one[key].float(), other[key].float(), atol=1e-4), key


KINDS: dict[str, tuple[dict[str, Any], int]] = {
    "tiny_resnet": ({}, 3),
    "tiny_mobilenet": ({}, 3),
    "tiny_convnext": ({}, 3),
    "tiny_vit": ({}, 1),
    "tiny_vgg": ({}, 3),
    "resnet10t": ({}, 3),
    "swin_tiny_patch4_window7_224": ({"embed_dim": 24, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 2]}, 3),
}


@pytest.mark.parametrize("name", KINDS)
def test_any_kind_of_backbone_makes_five_levels(name: str) -> None:
    args, levels = KINDS[name]
    size = 128 if name.startswith(("swin", "resnet10")) else 64
    network = network_of(name, size=size, **args).train()
    assert len(network.pyramid.chosen) == levels
    x = torch.randn(2, 3, 64, 96)
    outputs = network(x)
    assert len(outputs["levels"]) == 5 and sum(outputs["levels"]) == len(outputs["anchors"])
    loss = retinanet_loss(outputs, targets_of([[4.0, 6, 40, 44]], [[10.0, 10, 22, 23]]))
    loss.backward()
    without = [n for n, p in network.named_parameters() if p.grad is None]
    assert without == [], "every parameter takes part, so that processes can share gradients"
    # the smallest anchor of a level has four times its stride
    stride = network.backbone.reductions[network.pyramid.chosen[0]] / (2 if network.pyramid.simple else 1)
    first = outputs["anchors"][: outputs["levels"][0]]
    assert float(first[3, 2] - first[3, 0]) == pytest.approx(4 * stride, abs=1.5)


def test_weight_decay_and_matrices_see_the_whole_network() -> None:
    network = network_of("tiny_vit")
    exempt = network.no_weight_decay()
    assert exempt == {"backbone.body.model.pos_embed", "backbone.body.model.cls_token"} & exempt and exempt
    groups = split_parameters(network, "norms_biases_embeddings")
    assert exempt <= {name for name, _ in groups.no_decay}
    outer = {"head.classification_head.cls_logits.weight", "head.regression_head.bbox_reg.weight"}
    assert not outer & groups.matrices and "backbone.body.model.patch_embed.proj.weight" not in groups.matrices
    assert "backbone.body.model.blocks.0.attn.qkv.weight" in groups.matrices


def test_levels_are_8_16_32_where_a_backbone_has_them() -> None:
    assert choose_levels([2, 4, 8, 16, 32]) == [2, 3, 4]
    assert choose_levels([4, 8, 16]) == [0, 1, 2]
    assert choose_levels([16]) == [0]


def test_frozen_norm_keeps_the_statistics_of_the_backbone_alone() -> None:
    network = network_of("tiny_resnet", options=OPTIONS.model_copy(update={"frozen_norm": True})).train()
    kinds = {type(m).__name__: m.training for m in network.backbone.modules() if "BatchNorm" in type(m).__name__}
    assert kinds == {"BatchNorm2d": False}
    assert network.head.training and network.pyramid.training
    assert all(p.requires_grad for p in network.parameters())
    assert not network.eval().training


def test_a_backbone_without_maps_is_refused() -> None:
    source = resolve_backbone(BackboneConfig(name="mixer_s32_224"), 0.0, 224)
    with pytest.raises(InputError, match=r"backbone\.name: 'mixer_s32_224' does not take images of any size"):
        Detection(OPTIONS).build(source, make_data(num_classes=2), 0)
    transformed = BackboneIdentity(
        name="transformers:a/b", architecture="transformers:vit", args={}, pretrained=None, pretrained_sha256=None
    )
    with pytest.raises(InputError, match="is a model of transformers"):
        build_maps(BackboneSource(transformed, "unknown", None, None), 0)
