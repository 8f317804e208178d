"""What the conformance suite does not reach of the rows of 2026."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import pytorch_optimizer as po
import timm
import torch
from torch import nn

from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.added import ADDED_ROWS
from bocb_hf.optim.build import build_optimizer
from bocb_hf.optim.conformance import bench as cb
from bocb_hf.optim.conformance.reference import Case
from bocb_hf.optim.conformance.update import compare_with_reference
from bocb_hf.optim.distributed_shampoo import inverse_root, merged_shape
from bocb_hf.optim.param_groups import ParamGroups, split_parameters
from bocb_hf.optim.references import references
from bocb_hf.optim.references.added import scion as scion_reference
from bocb_hf.optim.resolve import resolve_hyperparameters, resolve_row

REFERENCES = references()


def test_every_added_row_has_decay_centres_whose_grid_differs() -> None:
    assert len(ADDED_ROWS) == 11
    for row in ADDED_ROWS:
        assert row.decay == "decoupled"
        decays = row.decay_grid("default")
        assert decays[0] > 0 and len(set(decays)) == 5


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("muon", {"adjust_lr": "original", "nesterov": False}),
        ("adamuon", {"sign": False}),
        ("nadamuon", {"nesterov": False}),
        ("normuon", {"nesterov": False, "second_momentum": 0.5}),
        ("splus", {"max_dim": 4, "interval": 3}),
        ("splus", {"max_dim": 3, "interval": 2}),
        ("distributedshampoo", {"max_dim": 1024, "interval": 100}),
        ("distributedshampoo", {"max_dim": 3, "interval": 5}),
    ],
)
def test_equations_with_other_hyperparameters(name: str, changes: dict[str, Any]) -> None:
    row = dataclasses.replace(OPTIMIZERS.get(name), checked_with=changes)
    reference, tolerance = REFERENCES[name]
    compare_with_reference(row, reference, tolerance, cb.SMALL)


def test_an_option_that_came_later_is_left_out_of_the_hash_at_its_default() -> None:
    row = OPTIMIZERS.get("muon")
    assert "coefficients" not in resolve_hyperparameters(row, {})
    assert "coefficients" not in resolve_hyperparameters(row, {"coefficients": "muon"})
    assert resolve_hyperparameters(row, {"coefficients": "polar_express"})["coefficients"] == "polar_express"
    with pytest.raises(InputError, match="coefficients"):
        resolve_hyperparameters(row, {"coefficients": "quintic"})


def test_a_muon_of_before_the_choice_of_coefficients_resumes() -> None:
    tensors = cb.start(cb.SMALL)
    bench = cb.make_bench(OPTIMIZERS.get("muon"), tensors)
    cb.run_noise(bench, 2)
    saved = copy.deepcopy(bench.optimizer.state_dict())
    for group in saved["param_groups"]:
        del group["coefficients"]
    later = cb.make_bench(OPTIMIZERS.get("muon"), bench.values())
    later.optimizer.load_state_dict(saved)
    later.steps = bench.steps
    a, b = cb.run_noise(later, 2), cb.run_noise(bench, 2)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_soap_goes_on_from_what_the_package_saved() -> None:
    """The package keeps the momentum outside of the eigenbasis; ours turns it when it first meets it."""
    row, tensors = OPTIMIZERS.get("soap"), cb.start(cb.SMALL)
    ours, theirs = (cb.make_bench(row, tensors, weight_decay=0.1) for _ in range(2))
    theirs.optimizer = po.SOAP(theirs.optimizer.param_groups)
    cb.run_noise(theirs, 13)
    ours.optimizer.load_state_dict(copy.deepcopy(theirs.optimizer.state_dict()))
    for name, value in theirs.values().items():
        ours.parameters[name].data.copy_(value)
    ours.steps = theirs.steps
    before = theirs.values()
    a, b = cb.run_noise(ours, 15), cb.run_noise(theirs, 15)  # over the renewal at step 20
    for name in a:
        assert (a[name] - b[name]).abs().max() <= 1e-5 * (b[name] - before[name]).abs().max()


# Scion


def test_scion_has_a_norm_for_each_kind_of_layer() -> None:
    """Hidden matrix, first convolution, depthwise filter, head, embedding, vector: three steps of the equations."""
    shapes = {"hidden": (4, 6), "stem": (6, 3, 2, 2), "depthwise": (5, 1, 3, 3), "head": (3, 4), "bias": (5,)}
    tensors = cb.start(shapes)
    parameters = {name: nn.Parameter(t.clone()) for name, t in tensors.items()}
    named = list(parameters.items())
    groups = ParamGroups([p for p in named if p[1].ndim > 1], named[-1:], frozenset({"hidden"}))
    row = OPTIMIZERS.get("scion")
    optimizer = build_optimizer(resolve_row(row, "default", 1e-2, 1.0), groups)
    for t in range(3):
        for i, p in enumerate(parameters.values()):
            p.grad = cb.noise(p.shape, t, i)
        optimizer.step()
    case = Case(
        start=[t.numpy() for t in tensors.values()],
        decays=[1.0, 1.0, 1.0, 1.0, 0.0],
        matrices=[True, False, False, False, False],
        gradient=lambda values, t: [cb.noise(v.shape, t - 1, i).numpy() for i, v in enumerate(values)],
        hessian_gradient=lambda values, t: [],
        batch_size=1,
        lr=lambda t: 1e-2,
        base_lr=1e-2,
        steps=3,
        h=row.hyperparameters(),
    )
    for found, expected in zip(parameters.values(), scion_reference(case).trained, strict=True):
        np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=1e-6)


def test_scion_takes_each_vector_of_an_embedding_by_itself() -> None:
    tokens = nn.Parameter(torch.zeros(1, 3, 4, dtype=torch.float64))
    optimizer = build_optimizer(
        resolve_row(OPTIMIZERS.get("scion"), "default", 1.0, 1.0), ParamGroups([], [("pos_embed", tokens)])
    )
    tokens.grad = torch.tensor([[[1.0, 1, 1, 1], [3, -3, 3, -3], [0, 0, 0, 0]]], dtype=torch.float64)
    optimizer.step()
    expected = -25 * torch.tensor([[[1.0, 1, 1, 1], [1, -1, 1, -1], [0, 0, 0, 0]]], dtype=torch.float64)
    torch.testing.assert_close(tokens.detach(), expected, rtol=1e-6, atol=0)


# SPlus


def test_splus_evaluates_while_a_parameter_never_had_a_gradient() -> None:
    used, unused = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(4))
    optimizer: Any = build_optimizer(
        resolve_row(OPTIMIZERS.get("splus"), "default"), ParamGroups([("used", used)], [("unused", unused)])
    )
    optimizer.eval()  # before the first step there is no average, and the weights stay
    assert torch.equal(used.detach(), torch.ones(3, 2))
    optimizer.train()
    used.grad = torch.ones(3, 2)
    optimizer.step()
    trained = used.detach().clone()
    for _ in range(2):  # a second call changes nothing
        optimizer.eval()
    assert torch.equal(unused.detach(), torch.ones(4))
    # the average of one step is that step's weights before their decay
    decayed = 1 - 0.2 * 2 / 5 * 0.1
    torch.testing.assert_close(used.detach() * decayed, trained)
    for _ in range(2):
        optimizer.train()
    assert torch.equal(used.detach(), trained)


# Distributed Shampoo


@pytest.mark.parametrize(
    ("shape", "merged"),
    [
        ((), (1,)),
        ((7,), (7,)),
        ((4, 3), (12,)),
        ((64, 64), (64, 64)),
        ((64, 3, 7, 7), (64, 147)),
        ((512, 512, 3, 3), (512, 512, 9)),
        ((96, 1, 5, 5), (96, 25)),
        ((1, 197, 384), (197, 384)),
        ((2048, 512, 1, 1), (2048, 512)),
    ],
)
def test_neighbouring_axes_are_merged(shape: tuple[int, ...], merged: tuple[int, ...]) -> None:
    assert merged_shape(shape, 1024) == merged


def test_a_root_of_a_singular_moment_stays_finite() -> None:
    vector = torch.ones(6, 1)
    root = inverse_root(vector @ vector.mT, 4, 1e-12)
    assert root.isfinite().all()
    assert inverse_root(torch.full((2, 2), torch.inf), 4, 1e-12).isnan().all()
    exact = inverse_root(torch.diag(torch.tensor([16.0, 81.0], dtype=torch.float64)), 4, 1e-12)
    torch.testing.assert_close(exact, torch.diag(torch.tensor([1 / 2, 1 / 3], dtype=torch.float64)))


def test_distributed_shampoo_is_adamw_until_the_first_root_and_keeps_its_step_size() -> None:
    tensors = cb.start({"matrix": (40, 30)})
    options = {"interval": 6, "max_dim": 30}
    ours, adamw = (
        cb.make_bench(OPTIMIZERS.get(name), tensors, weight_decay=0.1, lr=1e-2, hyperparameters=h)
        for name, h in (("distributedshampoo", options), ("adamw", {}))
    )
    for bench in (ours, adamw):
        cb.run_noise(bench, 5, slope=0.0)
    torch.testing.assert_close(ours.values()["matrix"], adamw.values()["matrix"], rtol=0, atol=1e-12)
    before = adamw.values()["matrix"] * (1 - 1e-2 * 0.1)
    for bench in (ours, adamw):
        cb.run_noise(bench, 1, slope=0.0)
    steps = [bench.values()["matrix"] - before for bench in (ours, adamw)]
    # 40 rows are cut at 30: each block has the norm of AdamW's step there, in another direction
    for rows in (slice(0, 30), slice(30, 40)):
        a, b = (step[rows] for step in steps)
        assert float(a.norm() / b.norm()) == pytest.approx(1)
        assert float((a * b).sum() / (a.norm() * b.norm())) < 0.99


# names


def test_matrices_and_the_rest_reach_every_row_that_splits() -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=64, depth=1, num_heads=2)
    groups = split_parameters(model, "norms_biases_embeddings")
    rows = [row for row in OPTIMIZERS if "matrix_split" in row.needs]
    assert [row.id for row in rows] == ["muon", "adamuon", "nadamuon", "normuon", "scion"]
    for row in rows:
        optimizer = build_optimizer(resolve_row(row, "default"), groups)
        hidden = {id(p) for group in optimizer.param_groups if group["matrix"] for p in group["params"]}
        assert hidden == {id(p) for name, p in model.named_parameters() if name in groups.matrices}


def test_the_shampoo_of_2018_keeps_its_id() -> None:
    """Records that name it mean the paper of 2018; what is called Shampoo today has an id of its own."""
    assert OPTIMIZERS.get("shampoo").paper == "arXiv 1802.09568, Algorithm 2"
    assert OPTIMIZERS.get("shampoo").hyperparameters().model_dump() == {"eps": 1e-6, "interval": 1, "max_dim": 1200}
    assert OPTIMIZERS.get("distributedshampoo").paper == "arXiv 2309.06497, Algorithm 2"
