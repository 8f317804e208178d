"""Optimizers: rows, builders, algorithms and their conformance suite; may import only what lies at the package's top.

Importing this needs no torch; ``bocb_hf.optim.build`` builds the optimizers.
"""

from __future__ import annotations

from bocb_hf.optim.added import ADDED_ROWS
from bocb_hf.optim.newer import NEWER_ROWS
from bocb_hf.optim.row import CATEGORIES, OptimizerRow
from bocb_hf.optim.study import STUDY_ROWS
from bocb_hf.optim.variants import VARIANT_ROWS
from bocb_hf.registry import Registry

__all__ = ["CATEGORIES", "OPTIMIZERS", "OptimizerRow"]

OPTIMIZERS: Registry[OptimizerRow] = Registry("optimizer", "optimizers")
for _row in (*STUDY_ROWS, *VARIANT_ROWS, *NEWER_ROWS, *ADDED_ROWS):
    OPTIMIZERS.add(_row)
