"""Imports every architecture of this project, which registers it with timm.

The architectures are built with timm's own ``build_model_with_cfg``, so that
``import bocb_hf; timm.create_model("local-dir:...", pretrained=True)`` loads the weights. A plain wrapper function that
drops ``pretrained`` would return random weights without a warning.
"""

from __future__ import annotations

from bocb_hf.backbones import alexnet, metaformer_s12, moganet, small_input, tiny_networks, transnext, unireplknet

MODULES = (alexnet, metaformer_s12, moganet, small_input, tiny_networks, transnext, unireplknet)
