"""Tiny backbones for laptops and tests, one for each design axis of the study. Importing this needs no torch.

They have at most a million parameters at 10 classes and 32 px; a 28 px image is resized to 32. They stand for a design,
not for the accuracy of the network that they are named after. The first four must never change, since records that were
made public name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bocb_hf.backbones.row import BackboneRow

_COUNTED_AT = (10, 32)

_CNNS = [
    BackboneRow(
        id="tiny_resnet",
        short="ResNet-tiny",
        family="classical_cnn",
        year=2016,
        stage_wise="hierarchical",
        block_wise="basic",
        operator="conv",
        residual="addition",
        architecture="tiny_resnet",
        parameters=78_042,
        counted_at=_COUNTED_AT,
        image_size=32,
        pyramid=(4, 8, 16),
        source="ours, after arXiv 1512.03385 Section 4.2 (widths 16/32/64, batch norm, one block a stage)",
    ),
    BackboneRow(
        id="tiny_mobilenet",
        short="MobileNet-tiny",
        family="classical_cnn",
        year=2018,
        stage_wise="hierarchical",
        block_wise="inverted bottleneck",
        operator="sep. conv",
        residual="addition",
        architecture="tiny_mobilenet",
        parameters=18_058,
        counted_at=_COUNTED_AT,
        image_size=32,
        pyramid=(2, 4, 8, 16),
        source="ours, after arXiv 1801.04381, from timm's EfficientNet builder",
    ),
]

_MODERN = [
    BackboneRow(
        id="tiny_convnext",
        short="ConvNeXt-tiny",
        family="modern",
        year=2022,
        stage_wise="hierarchical, patchify",
        block_wise="MetaNeXt",
        operator="dw conv",
        residual="pre-norm + LayerScale",
        architecture="convnext_atto",
        args={"depths": [1, 1, 1, 1], "dims": [16, 32, 64, 128]},
        parameters=233_818,
        counted_at=_COUNTED_AT,
        image_size=32,
        pyramid=(4, 8, 16, 32),
        source="timm's ConvNeXt (arXiv 2201.03545) with depths 1/1/1/1 and widths 16/32/64/128",
    ),
    BackboneRow(
        id="tiny_vit",
        short="ViT-tiny",
        family="modern",
        year=2021,
        stage_wise="isotropic, patchify",
        block_wise="MetaFormer",
        operator="attention",
        residual="pre-norm",
        architecture="vit_tiny_patch16_224",
        args={"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 2},
        parameters=114_250,
        counted_at=_COUNTED_AT,
        image_size=32,
        pyramid=(8, 8),
        pyramid_exception="an isotropic network keeps one resolution; its maps are those of its last blocks",
        source="timm's ViT (arXiv 2010.11929) with patch 8, width 64, depth 2, 2 heads",
    ),
]

_DESIGNS = [
    BackboneRow(
        id="tiny_vgg",
        short="VGG-tiny",
        family="primary_cnn",
        year=2015,
        stage_wise="-",
        block_wise="plain",
        operator="conv",
        residual="-",
        architecture="tiny_vgg",
        args={"widths": (8, 24, 48)},
        parameters=39_618,
        counted_at=_COUNTED_AT,
        image_size=32,
        pyramid=(2, 4, 8),
        source="ours, after arXiv 1409.1556 (pairs of 3×3 convolutions of widths 8/24/48, batch norm, linear head)",
    ),
    BackboneRow(
        id="tiny_bottleneck",
        short="Bottleneck-tiny",
        family="classical_cnn",
        year=2016,
        stage_wise="hierarchical",
        block_wise="bottleneck",
        operator="conv",
        residual="addition",
        architecture="resnet50_small_input",
        args={"layers": [1, 1, 1, 1], "channels": [8, 16, 32, 64], "stem_stride": 4},
        parameters=141_546,
        counted_at=_COUNTED_AT,
        image_size=32,
        pyramid=(2, 4, 8, 16, 32),
        source="timm's ResNet (arXiv 1512.03385), one block a stage, widths 32/64/128/256, its own stem",
    ),
    BackboneRow(
        id="tiny_densenet",
        short="DenseNet-tiny",
        family="classical_cnn",
        year=2017,
        stage_wise="hierarchical",
        block_wise="bottleneck",
        operator="conv",
        residual="concatenation",
        architecture="densenet121",
        args={"growth_rate": 12, "block_config": (2, 2, 2, 2)},
        parameters=62_146,
        counted_at=_COUNTED_AT,
        image_size=32,
        pyramid=(2, 4, 8, 16, 32),
        source="timm's DenseNet (arXiv 1608.06993), two layers a block, growth 12, its own stem",
    ),
    BackboneRow(
        id="tiny_mixer",
        short="Mixer-tiny",
        family="modern",
        year=2021,
        stage_wise="isotropic, patchify",
        block_wise="MetaFormer",
        operator="MLP",
        residual="pre-norm",
        architecture="mixer_s16_small_input",
        args={"patch_size": 4, "embed_dim": 64, "num_blocks": 2},
        sized=True,
        parameters=78_986,
        counted_at=_COUNTED_AT,
        image_size=32,
        pyramid=(4, 4),
        pyramid_exception="an isotropic network keeps one resolution; its maps are those of its last blocks",
        source="timm's MlpMixer (arXiv 2105.01601) with patch 4, width 64, depth 2",
    ),
    BackboneRow(
        id="tiny_swin",
        short="Swin-tiny",
        family="modern",
        year=2021,
        stage_wise="hierarchical, patchify",
        block_wise="MetaFormer",
        operator="local attention",
        residual="pre-norm",
        architecture="swin_tiny_patch4_window7_224",
        args={
            "patch_size": 4,
            "window_size": 4,
            "embed_dim": 32,
            "depths": [2, 2],
            "num_heads": [2, 4],
            "drop_path_rate": 0.0,  # set, since timm's default for Swin is 0.1, which no record would show
        },
        sized=True,
        parameters=136_822,
        counted_at=_COUNTED_AT,
        image_size=32,
        pyramid=(4, 8),
        source="timm's Swin (arXiv 2103.14030) with patch 4, window 4, depths 2/2 and widths 32/64",
    ),
    BackboneRow(
        id="tiny_convnextv2",
        short="ConvNeXtV2-tiny",
        family="modern",
        year=2023,
        stage_wise="hierarchical, patchify",
        block_wise="MetaNeXt",
        operator="dw conv (+GRN)",
        residual="pre-norm",
        architecture="convnextv2_atto",
        args={"depths": [1, 1, 1, 1], "dims": [16, 32, 64, 128]},
        parameters=235_498,
        counted_at=_COUNTED_AT,
        image_size=32,
        pyramid=(4, 8, 16, 32),
        source="timm's ConvNeXtV2 (arXiv 2301.00808) with depths 1/1/1/1 and widths 16/32/64/128",
    ),
]


def _metaformer(name: str, short: str, operator: str, architecture: str, parameters: int) -> BackboneRow:
    """Makes the row of a MetaFormer with one block a stage; these rows differ only in the token mixer."""
    args: Mapping[str, Any] = {
        "stem_stride": 4,
        "depths": [1, 1, 1],  # a fourth stage would see one token, of which pooling leaves nothing
        "dims": [32, 64, 128],
        "use_mlp_head": False,
    }
    return BackboneRow(
        id=name,
        short=short,
        family="modern",
        year=2024,
        stage_wise="hierarchical, patchify",
        block_wise="MetaFormer",
        operator=operator,
        residual="pre-norm + ResScale",
        architecture=architecture,
        args=args,
        parameters=parameters,
        counted_at=_COUNTED_AT,
        image_size=32,
        pyramid=(4, 8, 16),
        source="timm's MetaFormer (arXiv 2210.13452), depths 1/1/1, widths 32/64/128",
    )


_METAFORMERS = [
    _metaformer("tiny_identityformer", "IdentityFormer-tiny", "identity", "identityformer_s12", 271_504),
    _metaformer("tiny_poolformer", "PoolFormer-tiny", "pooling", "poolformerv2_s12_small_input", 271_504),
    _metaformer("tiny_convformer", "ConvFormer-tiny", "sep. conv", "convformer_s12", 379_478),
    _metaformer("tiny_attentionformer", "AttentionFormer-tiny", "attention", "attentionformer_s12", 357_520),
    _metaformer("tiny_caformer", "CAFormer-tiny", "sep. conv + attention", "caformer_s12", 366_932),
]

TINY: tuple[BackboneRow, ...] = (*_CNNS, *_MODERN, *_DESIGNS, *_METAFORMERS)
