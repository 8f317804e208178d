"""Optimizers that people ask for in 2026, as rows. Categories follow the study's definition.

Where decay is decoupled and its source is ``ours``, the centre makes learning rate times decay that of AdamW, 5e-5,
unless the row says otherwise.
"""

from __future__ import annotations

from bocb_hf.optim import hyperparameters as h
from bocb_hf.optim.row import Centre, OptimizerRow

_TIMM = "bocb_hf.optim.timm_native:"
_EXTRA = "bocb_hf.optim.pytorch_optimizer_native:"
_BFLOAT16 = "a library's knows Newton-Schulz in bfloat16 alone, which is slow on most CPUs"

ADDED_ROWS: tuple[OptimizerRow, ...] = (
    OptimizerRow(
        id="nadamw",
        short="NAdamW",
        category="b",
        paper="Dozat, ICLR workshop 2016; AlgoPerf's baseline, arXiv 2306.07179",
        implementation="timm.optim.NAdamW",
        variant="as in AlgoPerf's baseline: the momentum looks ahead, β₁m + (1 − β₁)g, corrected by Adam's 1 − β₁ᵗ of "
        "the same step; no momentum schedule (torch's NAdam has one); decoupled decay",
        why="equals the equations; single-tensor loop",
        decay="decoupled",
        centres={"default": Centre(1e-3, 0.05, "ours"), "demo": Centre(1e-3, 0.1, "ours")},
        scaling="sqrt",
        hyperparameters=h.AdamHyperparameters,
        build=_TIMM + "nadamw",
        state_floats=2,
        plain_decay=True,
        elementwise=True,
        compiles=True,
    ),
    OptimizerRow(
        id="laprop",
        short="LaProp",
        category="b",
        paper="arXiv 2002.04839",
        implementation="timm.optim.LaProp",
        variant="momentum of normalised gradients, with the learning rate inside of it and of its bias correction, as "
        "in its authors' code; decay lr·λθ after the step (theirs: λθ, not scaled by the learning rate)",
        why="equals its authors' code but for the decay; single-tensor loop",
        decay="decoupled",
        centres={"default": Centre(4e-4, 0.125, "ours"), "demo": Centre(4e-4, 0.25, "ours")},
        scaling="sqrt",
        hyperparameters=h.LapropHyperparameters,
        build=_TIMM + "laprop",
        state_floats=2,
        plain_decay=True,
        elementwise=True,
        compiles=True,
    ),
    OptimizerRow(
        id="stableadamw",
        short="StableAdamW",
        category="b",
        paper="arXiv 2304.13013, Algorithm 2",
        implementation="pytorch_optimizer.StableAdamW",
        variant="learning rate over max(1, RMS(g/√v)) of each tensor, for step and decay, as in the paper (its "
        "authors' code leaves the decay alone); no compensated summation",
        why="equals the paper; timm's option leaves the decay alone and takes the root mean square after adding ε",
        decay="decoupled",
        centres={"default": Centre(1e-3, 0.05, "ours"), "demo": Centre(1e-3, 0.1, "ours")},
        scaling="sqrt",
        hyperparameters=h.StableAdamwHyperparameters,
        build=_EXTRA + "stableadamw",
        state_floats=2,
        compiles=True,
    ),
    OptimizerRow(
        id="signum",
        short="Signum",
        category="a",
        paper="arXiv 1802.04434, Algorithm 2",
        implementation="pytorch_optimizer.SignSGD",
        variant="sign of the gradients' average, sign(0) = 0; decoupled decay",
        why="equals the paper; single-tensor loop",
        decay="decoupled",
        centres={"default": Centre(1e-4, 0.5, "ours"), "demo": Centre(1e-4, 1.0, "ours")},
        scaling="sqrt",
        hyperparameters=h.SignumHyperparameters,
        build=_EXTRA + "signum",
        state_floats=1,
        plain_decay=True,
        elementwise=True,
        compiles=True,
    ),
    OptimizerRow(
        id="samadamw",
        short="SAM over AdamW",
        category="b",
        paper="arXiv 2010.01412; over AdamW: arXiv 2106.01548",
        implementation="pytorch_optimizer.SAM over torch.optim.AdamW",
        variant="as sam, with AdamW below",
        why="shares state and groups with the optimizer below, so that it resumes",
        decay="decoupled",
        centres={"default": Centre(1e-3, 0.05, "ours"), "demo": Centre(1e-3, 0.1, "ours")},
        scaling="sqrt",
        hyperparameters=h.SamAdamwHyperparameters,
        build=_EXTRA + "samadamw",
        state_floats=2,
        plain_decay=True,
        needs=frozenset({"closure"}),
    ),
    OptimizerRow(
        id="adamuon",
        short="AdaMuon",
        category="b",
        paper="arXiv 2507.11005, Algorithm 1",
        implementation="bocb_hf.optim.adaptive_muon.AdaMuon",
        variant="signs of the momentum (sign=false: the momentum, as in the paper's first version and in timm) by 5 "
        "Newton-Schulz steps, over the root of their second moment, to a root mean square of 0.2; split and AdamW as "
        "muon",
        why="ours: timm's leaves the sign out and gives the rest to NAdamW or AdamW by its own rules; " + _BFLOAT16,
        decay="decoupled",
        centres={"default": Centre(1e-3, 0.05, "ours"), "demo": Centre(1e-3, 0.1, "ours")},
        scaling="sqrt",
        hyperparameters=h.AdaMuonHyperparameters,
        build="bocb_hf.optim.adaptive_muon:adamuon",
        state_floats=2,
        plain_decay=True,
        needs=frozenset({"matrix_split"}),
        compiles=True,
    ),
    OptimizerRow(
        id="nadamuon",
        short="NAdaMuon",
        category="b",
        paper="arXiv 2507.11005, its authors' code",
        implementation="bocb_hf.optim.adaptive_muon.AdaMuon",
        variant="as adamuon, but the momentum looks ahead (Nesterov), the default of its authors' code; the rest by "
        "AdamW (timm's nadamuon: by NAdamW)",
        why="ours, as adamuon",
        decay="decoupled",
        centres={"default": Centre(1e-3, 0.05, "ours"), "demo": Centre(1e-3, 0.1, "ours")},
        scaling="sqrt",
        hyperparameters=h.NadaMuonHyperparameters,
        build="bocb_hf.optim.adaptive_muon:adamuon",
        state_floats=2,
        plain_decay=True,
        needs=frozenset({"matrix_split"}),
        compiles=True,
    ),
    OptimizerRow(
        id="normuon",
        short="NorMuon",
        category="b",
        paper="arXiv 2510.05491, Algorithm 1",
        implementation="bocb_hf.optim.adaptive_muon.NorMuon",
        variant="as muon, each row over the root of its second moment, to a root mean square of 0.2 as in the paper "
        "(its authors' code keeps Muon's norm); Nesterov as in their code; rows of convolutions are output channels "
        "(their code: rows of each kernel)",
        why="ours: " + _BFLOAT16,
        decay="decoupled",
        centres={
            "default": Centre(1e-3, 0.05, "ours"),
            "demo": Centre(1e-3, 0.1, "ours"),
            "laptop_study": Centre(3e-3, 0.05, "ours"),
        },
        scaling="sqrt",
        hyperparameters=h.NorMuonHyperparameters,
        build="bocb_hf.optim.adaptive_muon:normuon",
        state_floats=1 + 1 / 64,
        plain_decay=True,
        needs=frozenset({"matrix_split"}),
        compiles=True,
    ),
    OptimizerRow(
        id="scion",
        short="Scion",
        category="a",
        paper="arXiv 2502.07529, Algorithm 2",
        implementation="bocb_hf.optim.scion.Scion",
        variant="norms and radii of its authors' recipe for DeiT; weight decay 1 is their constrained step, 0 their "
        "unconstrained one, which is what the setting's exempt parameters get; initial weights stay the backbone's. "
        "The centre is their 6.4e-4 at batch 4,096, by the root of the batch to 128",
        why="ours: " + _BFLOAT16,
        decay="decoupled",
        centres={"default": Centre(1e-4, 1.0, "ours")},
        scaling="sqrt",
        hyperparameters=h.ScionHyperparameters,
        build="bocb_hf.optim.scion:build",
        state_floats=1,
        needs=frozenset({"matrix_split"}),
        compiles=True,
    ),
    OptimizerRow(
        id="splus",
        short="SPlus",
        category="b",
        paper="arXiv 2506.07254, Algorithm 1",
        implementation="bocb_hf.optim.splus.SPlus",
        variant="as its authors' code: eigenbases for matrices alone, so that a convolution takes the sign of its "
        "momentum; decay scaled like the step. Evaluation and checkpoint use the average of the weights. The centre's "
        "learning rate is its authors' advice for transformers; with their scale for matrices of 384 × 384 its product "
        "with the decay is AdamW's",
        why="ours: pytorch_optimizer's cannot evaluate while a parameter has had no gradient, and raises on infinity",
        decay="decoupled",
        centres={"default": Centre(0.2, 0.1, "ours")},
        scaling="sqrt",
        shrinkage=None,  # its learning rate, and with it the decay, is scaled by the shape of a matrix
        hyperparameters=h.SplusHyperparameters,
        build="bocb_hf.optim.splus:build",
        state_floats=6,
        needs=frozenset({"train_eval"}),
        checked_with={"interval": 4},
        exceptions={
            "accumulation": "moments of few gradients have a null space, whose eigenvectors rounding turns about",
        },
    ),
    OptimizerRow(
        id="distributedshampoo",
        short="Distributed Shampoo",
        category="b",
        paper="arXiv 2309.06497, Algorithm 2",
        implementation="bocb_hf.optim.distributed_shampoo.DistributedShampoo",
        variant="what won AlgoPerf: Adam's step until step 100, from then on Shampoo's direction at the size of Adam's "
        "step, block by block of at most 1024; roots every 100 steps; running averages, momentum, decoupled decay. "
        "The paper of 2018 is shampoo",
        why="ours: its authors' package is on no index; pytorch_optimizer's ScalableShampoo keeps Python objects in "
        "its state",
        decay="decoupled",
        centres={"default": Centre(1e-3, 0.05, "ours"), "demo": Centre(1e-3, 0.1, "ours")},
        scaling="sqrt",
        hyperparameters=h.DistributedShampooHyperparameters,
        build="bocb_hf.optim.distributed_shampoo:build",
        state_floats=6,
        plain_decay=True,
        checked_with={"interval": 4, "max_dim": 6},
    ),
)
