"""Which optimizer for this backbone, and how much does the choice matter?

Importing this needs no torch. It registers our architectures with timm, at once if timm is imported already and
otherwise as soon as it is, so that ``import bocb_hf; timm.create_model("local-dir:...", pretrained=True)`` works in
either order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bocb_hf._timm_hook import register_with_timm
from bocb_hf.version import __version__

if TYPE_CHECKING:
    from bocb_hf.engine.trained import TrainedClassifier, TrainedTask

__all__ = ["__version__", "load_backbone"]

register_with_timm()


def load_backbone(repository: str, *, seed: int, revision: str | None = None) -> TrainedClassifier | TrainedTask:
    """The trained network of one seed, ready to evaluate; see ``bocb_hf.engine.trained.load_backbone``.

    A classifier has ``logits(images)``; a network of another task, such as detection, has ``predict(images)``.
    """
    try:
        from bocb_hf.engine.trained import load_backbone as load
    except ImportError as error:
        from bocb_hf.errors import missing_extra

        raise missing_extra(error.name or "torch", "train") from None
    return load(repository, seed=seed, revision=revision)
