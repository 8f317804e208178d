"""What a run resolves to: hyper-parameters that came later, the length of the run, and options that are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bocb_hf.engine.prepare import prepare_run
from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.build import build_optimizer
from bocb_hf.optim.conformance import bench as cb
from bocb_hf.optim.param_groups import ParamGroups
from bocb_hf.optim.resolve import ResolvedOptimizer, refuse_options, resolve_hyperparameters, resolve_optimizer
from bocb_hf.resources import find_config
from bocb_hf.runs.load_config import load_run_config


def prepare(*overrides: str) -> Any:
    path = find_config("fashion_mnist_subset/demo", "recipes/configs")
    return prepare_run(load_run_config(path, ["backbone.name=tiny_resnet", *overrides]))


def test_later_hyperparameters_leave_old_hashes_alone() -> None:
    assert "safeguard_warmup" not in resolve_hyperparameters(OPTIMIZERS.get("prodigy"), {})
    assert "warmup_share" not in resolve_hyperparameters(OPTIMIZERS.get("ademamix"), {})
    given = resolve_hyperparameters(OPTIMIZERS.get("prodigy"), {"safeguard_warmup": True})
    assert given["safeguard_warmup"] is True


def test_two_lengths_of_a_warm_up_are_refused() -> None:
    with pytest.raises(InputError, match="warmup_steps and warmup_share both"):
        resolve_hyperparameters(OPTIMIZERS.get("ademamix"), {"warmup_steps": 5, "warmup_share": 0.5})


def ademamix(total_steps: int | None, **given: Any) -> torch.optim.Optimizer:
    resolved = resolve_optimizer("ademamix", "demo", hyperparameters=given, total_steps=total_steps)
    parameter = torch.nn.Parameter(torch.ones(4, 3))
    return build_optimizer(resolved, ParamGroups([("matrix", parameter)], []))


def test_a_share_of_the_run_becomes_steps() -> None:
    assert ademamix(200, warmup_share=0.25).param_groups[0]["t_alpha_beta3"] == 50
    assert ademamix(200, warmup_steps=30).param_groups[0]["t_alpha_beta3"] == 30
    assert ademamix(200).param_groups[0]["t_alpha_beta3"] is None
    with pytest.raises(InputError, match="the length of the run is not known"):
        ademamix(None, warmup_share=0.25)


def test_a_run_knows_its_length_and_takes_its_grid() -> None:
    prepared = prepare("optimizer.name=ademamix", "optimizer.hyperparameters.warmup_share=1.0", "role=trial")
    resolved: ResolvedOptimizer = prepared.optimizer
    assert resolved.total_steps == len(prepared.data.train) // 64 * prepared.config.training.epochs
    model = prepared.build_model()
    assert prepared.build_optimizer(model).param_groups[0]["t_alpha_beta3"] == resolved.total_steps
    assert prepared.identity.optimizer.weight_decay == 0.1
    released = prepare("optimizer.name=ademamix", "optimizer.grid=released").identity
    assert released.optimizer.weight_decay == 0.0
    given = prepare("optimizer.name=ademamix", "optimizer.weight_decay=0.0").identity
    assert given.config_hash() == released.config_hash()  # the values decide, not where they are from


def test_prodigy_refuses_layer_decay() -> None:
    with pytest.raises(InputError, match=r"training\.layer_decay: prodigy cannot honour 0\.9: one estimate"):
        prepare("optimizer.name=prodigy", "training.layer_decay=0.9")
    prepare("optimizer.name=prodigy")


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_several_gradients_a_step_refuse_fp16(name: str) -> None:
    row = OPTIMIZERS.get(name)
    refused = False
    try:
        refuse_options(row, {"training.precision": "fp16"})
    except InputError:
        refused = True
    assert refused == bool(row.needs & {"closure", "hessian"})
    refuse_options(row, {"training.precision": "bf16", "training.layer_decay": None})


def test_layer_decay_reaches_both_parts_of_lars_and_the_bounds_of_adabound() -> None:
    parameters = {"matrix": torch.nn.Parameter(torch.ones(4, 3)), "vector": torch.nn.Parameter(torch.ones(4))}
    groups = ParamGroups(
        [("matrix", parameters["matrix"]), ("vector", parameters["vector"])],
        [],
        lr_scales={"matrix": 0.5, "vector": 0.5},
    )
    lars = build_optimizer(resolve_optimizer("lars", "default", 2.0), groups)
    assert [(group["lr"], group["lr_scale"]) for group in lars.param_groups] == [(1.0, 0.5), (1.0, 0.5)]
    adabound = build_optimizer(resolve_optimizer("adabound", "default", 2.0), groups)
    assert [(group["lr"], group["base_lr"]) for group in adabound.param_groups] == [(1.0, 2.0)]


def test_prodigy_is_not_called_element_wise() -> None:
    from bocb_hf.optim.conformance.suite import run_check

    assert "move in another way" in run_check(OPTIMIZERS.get("prodigy"), "elementwise").detail
    assert cb.RUN_STEPS == 24
