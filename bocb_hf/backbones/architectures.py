"""Imports every architecture of ours, which registers it with timm.

Built with timm's own ``build_model_with_cfg``: a plain wrapper function that drops ``pretrained`` would load random
weights in silence. This way ``import bocb_hf; timm.create_model("local-dir:...", pretrained=True)`` loads the weights.
"""

from __future__ import annotations

from bocb_hf.backbones import alexnet, metaformer_s12, moganet, small_input, tiny_networks, transnext, unireplknet

MODULES = (alexnet, metaformer_s12, moganet, small_input, tiny_networks, transnext, unireplknet)
