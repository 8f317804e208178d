"""The backbones as rows. Importing this needs no torch; ``bocb_hf.backbones.build`` builds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bocb_hf.registry import Registry

# The study's three families (Section 3), and what to call a backbone that has no row.
Family = Literal["primary_cnn", "classical_cnn", "modern", "unknown"]

# The families that the primary contrast calls CNN (shared with the aggregator).
CNN_FAMILIES: frozenset[str] = frozenset({"primary_cnn", "classical_cnn"})

# timm models that `import bocb_hf` registers (bocb_hf/backbones/timm_models.py); all others are timm's own.
OWN_ARCHITECTURES: frozenset[str] = frozenset({"tiny_resnet", "tiny_mobilenet"})


@dataclass(frozen=True)
class BackboneRow:
    """One backbone.

    Attributes:
        id: Its name here: timm's own name where timm has the backbone.
        short: Its name in a table column.
        family: Family of the study; the primary contrast compares families.
        year: Year of the paper.
        stage_wise: Design across stages: ``hierarchical`` or ``isotropic``; ``patchify`` where the stem cuts patches.
        block_wise: Design of a block (``basic``, ``bottleneck``, ``MetaFormer`` ...).
        operator: The token mixer.
        residual: How the shortcut is joined.
        architecture: timm's model name that is built.
        args: Arguments for it beside ``num_classes``; plain JSON values.
        parameters: Exact parameter count at 10 classes and ``image_size``, pinned by a test.
        image_size: Side of the square input in pixels.
        source: Where the definition comes from.
    """

    id: str
    short: str
    family: Family
    year: int
    stage_wise: str
    block_wise: str
    operator: str
    residual: str
    architecture: str
    parameters: int
    image_size: int
    source: str
    args: Mapping[str, Any] = field(default_factory=dict)


BACKBONES: Registry[BackboneRow] = Registry("backbone", "backbones")

BACKBONES.add(
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
        image_size=32,
        source="ours, after arXiv 1512.03385 Section 4.2 (widths 16/32/64, batch norm, one block a stage)",
    )
)
BACKBONES.add(
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
        image_size=32,
        source="ours, after arXiv 1801.04381, from timm's EfficientNet builder",
    )
)
BACKBONES.add(
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
        image_size=32,
        source="timm's ConvNeXt (arXiv 2201.03545) with depths 1/1/1/1 and widths 16/32/64/128",
    )
)
BACKBONES.add(
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
        image_size=32,
        source="timm's ViT (arXiv 2010.11929) with patch 8, width 64, depth 2, 2 heads",
    )
)
