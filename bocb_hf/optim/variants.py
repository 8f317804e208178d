"""Variants of the study's optimizers under ids of their own: what its code really ran, and AdaBelief's package.

A faithful LARS, Sophia or SGDP may differ from the published row; these three reproduce the code behind that row.
"""

from __future__ import annotations

from bocb_hf.optim import hyperparameters as h
from bocb_hf.optim.row import Centre, OptimizerRow

VARIANT_ROWS: tuple[OptimizerRow, ...] = (
    OptimizerRow(
        id="radabelief",
        short="AdaBelief (rectified)",
        category="c",
        paper="arXiv 2010.07468",
        implementation="timm.optim.AdaBelief",
        variant="as adabelief, but rectified as in RAdam where ρ_t ≥ 5 and un-rectified momentum before: the default "
        "of the authors' package",
        why="exact",
        decay="decoupled",
        centres={"default": Centre(1e-3, 1e-2, "ours"), "demo": Centre(1e-3, 0.1, "ours")},
        released={"default": Centre(1e-3, 0.0, "released")},
        scaling="sqrt",
        hyperparameters=h.AdabeliefHyperparameters,
        build="bocb_hf.optim.timm_native:radabelief",
        state_floats=2,
        plain_decay=True,
        elementwise=True,
        compiles=True,
    ),
    OptimizerRow(
        id="larsupstream",
        short="LARS (study's code)",
        category="c",
        paper="the study's released code",
        implementation="torch.optim.SGD",
        variant="what the study published as LARS: its trust ratio is behind a flag that no configuration sets, which "
        "leaves SGD with momentum and coupled decay",
        why="the same arithmetic, fused",
        decay="coupled",
        centres={"default": Centre(0.1, 1e-4, "ours")},
        scaling="linear",
        shrinkage=10.0,
        hyperparameters=h.SgdmHyperparameters,
        build="bocb_hf.optim.torch_native:sgdm",
        state_floats=1,
        elementwise=True,
    ),
    OptimizerRow(
        id="sgdpupstream",
        short="SGDP (study's code)",
        category="a",
        paper="the study's released code",
        implementation="bocb_hf.optim.projected.SGDP",
        variant="as sgdp, but the momentum buffer itself is projected, in place",
        why="ours: timm mended it; sgdp with another place of the projection",
        decay="decoupled",
        centres={"default": Centre(0.1, 1e-4, "ours")},
        released={"default": Centre(0.1, 1e-5, "ours")},
        scaling="linear",
        shrinkage=10.0,
        hyperparameters=h.SgdpHyperparameters,
        build="bocb_hf.optim.projected:sgdpupstream",
        state_floats=1,
    ),
    OptimizerRow(
        id="sophiaupstream",
        short="Sophia (study's code)",
        category="c",
        paper="the study's released code",
        implementation="bocb_hf.optim.sophia.Sophia",
        variant="what the study published as Sophia: its Hessian stays 0, which leaves the sign of the momentum",
        why="ours, with no estimate ever made; its second state tensor stays 0, as upstream's does",
        decay="decoupled",
        centres={"default": Centre(1e-4, 0.1, "released"), "demo": Centre(1e-4, 1.0, "ours")},
        released={"default": Centre(1e-4, 0.1, "released")},
        scaling="sqrt",
        hyperparameters=h.SophiaUpstreamHyperparameters,
        build="bocb_hf.optim.sophia:build_upstream",
        state_floats=2,
        plain_decay=True,
        elementwise=True,
        compiles=True,
    ),
)
