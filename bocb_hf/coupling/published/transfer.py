"""The study's Table 3 as three-way tables: pre-training optimizer × fine-tuning optimizer on COCO.

Only ResNet-50 was pre-trained by several optimizers there, and only its detection has been published for them. Each of
these has its own recipe and its own number of epochs, so the table confounds optimizer with epochs.
"""

from __future__ import annotations

import numpy as np

from bocb_hf.coupling.published import Published, published
from bocb_hf.coupling.transfer import TransferTable

# label of a pre-training in the table's columns, its optimizer here, and its epochs; all three RSB recipes use LAMB
RECIPES: dict[str, tuple[str, int]] = {
    "SGD": ("sgdm", 100),
    "LARS": ("lars", 100),
    "A3": ("lamb", 100),
    "A2": ("lamb", 300),
    "A1": ("lamb", 600),
    "Adan": ("adan", 300),
    "AdamW": ("adamw", 300),
}


def published_transfer(name: Published) -> TransferTable | None:
    """The three-way table of a published one; None where no backbone was pre-trained by two optimizers.

    Args:
        name: The published table.
    """
    if name not in ("coco_pose", "coco_detection"):
        return None
    scores = published(name)
    columns: dict[str, dict[str, int]] = {}
    for place, column in enumerate(scores.backbones):
        backbone, _, level = column.partition(" (")
        columns.setdefault(backbone, {})[level.rstrip(")")] = place
    columns = {backbone: levels for backbone, levels in columns.items() if len(levels) > 1}
    if not columns:
        return None
    names = [level for level in RECIPES if any(level in levels for levels in columns.values())]
    values = np.full((len(columns), len(names), len(scores.optimizers), 1, 1), np.nan)
    for b, levels in enumerate(columns.values()):
        for level, place in levels.items():
            values[b, names.index(level), :, 0, 0] = scores.means[place]
    return TransferTable(
        source=scores.source,
        dataset=scores.dataset,
        setting=scores.setting,
        revision=scores.revision,
        metric=scores.metric,
        pretrained_on="imagenet1k",
        pretraining_setting="a recipe for each optimizer",
        backbones=tuple(columns),
        pretrainings=tuple(names),
        pretraining_optimizers=tuple(RECIPES[name][0] for name in names),
        epochs=tuple(RECIPES[name][1] for name in names),
        optimizers=scores.optimizers,
        values=values,
        status=np.where(np.isfinite(values[..., 0, 0]), "completed", "missing"),
        checkpoint_seeds={},
        fine_tuning_seeds=(),
        pretraining_scores=np.full((*values.shape[:2], 1), np.nan),
        config_hashes=np.full(values.shape[:3], "", np.str_),
        single=True,
        notes=(
            "The pre-training optimizer is confounded with epochs and recipe: 100 epochs for SGD, LARS and A3, 300 for "
            "A2 and Adan, 600 for A1; A1, A2 and A3 all use LAMB.",
            "Each value is the mean of 3 fine-tuning runs of one checkpoint whose spread is not published (n = 1), so "
            "noise cannot be separated from the interaction.",
        ),
    )
