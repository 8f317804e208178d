"""Backbones: rows, definitions and the networks that we write; may import ``runs`` and what lies below it.

Importing this needs no torch; ``bocb_hf.backbones.build`` builds the networks.
"""

from __future__ import annotations

from bocb_hf.backbones.row import SMALL_IMAGE, BackboneRow, Family, SmallInput, stem_for
from bocb_hf.backbones.study import STUDY
from bocb_hf.backbones.tiny import TINY
from bocb_hf.registry import Registry

__all__ = [
    "BACKBONES",
    "CNN_FAMILIES",
    "OWN_ARCHITECTURES",
    "SMALL_IMAGE",
    "STUDY",
    "TINY",
    "BackboneRow",
    "Family",
    "SmallInput",
    "stem_for",
]

# The families that the primary contrast counts as CNN; the aggregator uses them too.
CNN_FAMILIES: frozenset[str] = frozenset({"primary_cnn", "classical_cnn"})

# timm models that `import bocb_hf` registers (bocb_hf/backbones/architectures.py); all others are timm's own.
OWN_ARCHITECTURES: frozenset[str] = frozenset(
    {
        "alexnet",
        "attentionformer_s12",
        "caformer_s12",
        "convformer_s12",
        "convnext_tiny_small_input",
        "convnextv2_tiny_small_input",
        "densenet121_small_input",
        "efficientnet_b0_small_input",
        "identityformer_s12",
        "mixer_s16_small_input",
        "mobilenetv2_100_small_input",
        "moganet_small",
        "poolformerv2_s12_small_input",
        "repvgg_a1_small_input",
        "resnet101_small_input",
        "resnet50_small_input",
        "tiny_mobilenet",
        "tiny_resnet",
        "tiny_vgg",
        "transnext_tiny",
        "unireplknet_tiny",
    }
)

BACKBONES: Registry[BackboneRow] = Registry("backbone", "backbones")

for _row in (*STUDY, *TINY):
    BACKBONES.add(_row)
