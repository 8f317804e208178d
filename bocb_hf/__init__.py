"""Which optimizer for this backbone, and how much does the choice matter?

Importing this needs no torch. It registers our architectures with timm, at once if timm is imported already and
otherwise as soon as it is, so that ``import bocb_hf; timm.create_model("local-dir:...", pretrained=True)`` works in
either order.
"""

from bocb_hf._timm_hook import register_with_timm

__version__ = "0.1.0"

register_with_timm()
