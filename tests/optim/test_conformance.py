"""The conformance suite over the whole registry, and proof that it finds optimizers that are wrong."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import timm
import torch

from bocb_hf import cli
from bocb_hf.errors import InputError
from bocb_hf.optim import CATEGORIES, OPTIMIZERS
from bocb_hf.optim import hyperparameters as hp
from bocb_hf.optim.build import build_optimizer
from bocb_hf.optim.conformance import bench as cb
from bocb_hf.optim.conformance.suite import CHECKS, run_check
from bocb_hf.optim.conformance.update import compare_with_reference
from bocb_hf.optim.param_groups import hidden_matrices, split_parameters
from bocb_hf.optim.references import references
from bocb_hf.optim.resolve import resolve_optimizer, resolve_row
from bocb_hf.optim.row import Centre, OptimizerRow

REFERENCES = references()
STUDY = {
    "a": ["sgdm", "sgdp", "lion"],
    "b": ["adam", "adamax", "nadam", "adamw", "lamb", "radam", "adamp", "adan"],
    "c": ["adabound", "lars", "adafactor", "adabelief", "novograd", "sophia"],
    "d": ["adagrad", "adadelta", "rmsprop"],
}
COUPLED = {"sgdm", "adam", "adamax", "nadam", "adagrad", "adadelta", "rmsprop"}

# Every exception and every check that has nothing to check is listed here, so that none creeps in.
# what torch.compile takes whole; written down here once more, so that a row cannot lose it unseen
COMPILED = {
    *("lion", "adamax", "nadam", "lamb", "radam", "adan", "adabound", "lars", "adabelief", "sophia", "adadelta"),
    *("rmsprop", "radabelief", "sophiaupstream", "muon", "schedulefreesgd", "mars", "adopt", "cadamw", "clion"),
    *("nadamw", "laprop", "stableadamw", "signum", "adamuon", "nadamuon", "normuon", "scion"),
}
# a second or two each to compile, and made of what a row beside them is made of: `make test-slow` compiles these
COMPILED_SLOWLY = {
    *("radabelief", "sophiaupstream", "cadamw", "clion", "nadamw", "laprop", "stableadamw", "signum"),
    *("adamuon", "nadamuon", "normuon", "scion"),
}
EXCEPTIONS = {("soap", "accumulation"), ("splus", "accumulation"), ("kron", "independent")}
EXCEPTIONS |= {("prodigy", check) for check in ("group_decay", "decay", "independent", "step_size")}
EXCEPTIONS |= {(name, "gradient_kept") for name in ("schedulefreesgd", "schedulefreeadamw")}
SWITCHING = {"schedulefreesgd", "schedulefreeadamw", "splus"}
SPLIT = {"muon", "adamuon", "nadamuon", "normuon", "scion"}
ONE_PATH = {"sgdp", "sgdpupstream", "adamp", "adabound", "adafactor", "novograd", "sophia", "sophiaupstream"}
ONE_PATH |= {"soap", "shampoo", "kron", "mars", "splus", "distributedshampoo"} | SPLIT
UNCOUNTED = {"sgdm", "larsupstream", "sgdp", "sgdpupstream", "lion", "clion", "lars", "sophia", "sophiaupstream", "sam"}
UNCOUNTED |= {"scion"}


def not_applicable(name: str, check: str) -> bool:
    return (
        (check == "paths" and name in ONE_PATH)
        or (check == "add_group" and name in SPLIT)
        or (check == "evaluated_weights" and name not in SWITCHING)
        or (check == "compiled" and name not in COMPILED)
        or (check == "counter" and name in UNCOUNTED)
        or (check == "gradient_kept" and name in ("sam", "samadamw"))
        or (check in ("group_lr", "lr_scale") and name == "prodigy")
    )


# rows


def test_the_study_is_complete() -> None:
    assert [name for names in STUDY.values() for name in names] == OPTIMIZERS.names()[:20]
    for category, names in STUDY.items():
        assert {OPTIMIZERS.get(name).category for name in names} == {category}
    # AdaBound's row says that its authors' code, and so this one, does not do what the study's table says
    decays = {name: OPTIMIZERS.get(name).decay for names in STUDY.values() for name in names}
    assert {name for name, decay in decays.items() if decay == "coupled"} == COUPLED | {"adabound"}
    assert "study's table: decoupled" in OPTIMIZERS.get("adabound").variant


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_row_is_complete(name: str) -> None:
    row = OPTIMIZERS.get(name)
    assert row.category in CATEGORIES
    assert row.id == row.id.lower() and row.id.isalnum()
    assert row.paper and row.implementation and row.variant and row.why
    for setting in row.centres:
        lr, decay = row.lr_grid(setting), row.decay_grid(setting)
        centre = row.centre(setting)
        assert len(lr) == len(decay) == 5
        assert lr == sorted(set(lr)) and decay == sorted(set(decay))
        assert lr[2] == centre.lr and centre.weight_decay in (decay[0], decay[2])
    # the row is data: a hyper-parameter cannot be changed behind its back
    with pytest.raises(ValueError, match="frozen"):
        setattr(row.hyperparameters(), next(iter(row.hyperparameters.model_fields)), 0.5)


def test_what_published_records_depend_on() -> None:
    """Centres of the demo and the names and defaults of hyper-parameters are in hashes of published records."""
    demo = {name: OPTIMIZERS.get(name).centre("demo") for name in ("sgdm", "adamw", "lamb", "lars", "rmsprop")}
    assert {name: (c.lr, c.weight_decay) for name, c in demo.items()} == {
        "sgdm": (0.1, 1e-4),
        "adamw": (3e-3, 0.05),
        "lamb": (1e-2, 0.02),
        "lars": (3.0, 1e-4),
        "rmsprop": (1e-3, 1e-4),
    }
    assert {name: OPTIMIZERS.get(name).hyperparameters().model_dump() for name in demo} == {
        "sgdm": {"momentum": 0.9},
        "adamw": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
        "lamb": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-6},
        "lars": {"momentum": 0.9, "trust_coefficient": 1e-3, "eps": 1e-8},
        "rmsprop": {"alpha": 0.99, "eps": 1e-8},
    }


def test_rows_need_neither_torch_nor_the_extra() -> None:
    code = "import sys, bocb_hf.optim; print([m for m in ('torch', 'timm', 'pytorch_optimizer') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    monkeypatch.delitem(sys.modules, "bocb_hf.optim.pytorch_optimizer_native", raising=False)
    with pytest.raises(InputError, match=r"pip install 'bocb-hf\[optimizers\]'"):
        cb.make_bench(OPTIMIZERS.get("soap"), cb.start(cb.SMALL))


# the suite


def test_every_optimizer_has_a_reference() -> None:
    assert set(REFERENCES) == set(OPTIMIZERS.names())


# the first moments of a wide tensor have a null space, and its basis is the choice of the decomposition
CASES = [(n, s) for n in OPTIMIZERS.names() for s in ("small", "wide") if s == "small" or n not in ("soap", "splus")]


@pytest.mark.parametrize(("name", "shapes"), CASES)
def test_update_against_the_equations(name: str, shapes: str) -> None:
    reference, tolerance = REFERENCES[name]
    compare_with_reference(OPTIMIZERS.get(name), reference, tolerance, cb.SMALL if shapes == "small" else cb.WIDE)


@pytest.mark.parametrize(
    ("name", "given"),
    [("prodigy", {"safeguard_warmup": True}), ("ademamix", {"warmup_steps": 12}), ("adopt", {"clip_exp": 0.1})],
)
def test_update_with_other_hyperparameters(name: str, given: dict[str, Any]) -> None:
    compare_with_reference(OPTIMIZERS.get(name), *REFERENCES[name], cb.SMALL, given)


def checks() -> list[Any]:
    """Every check of every row, in the order of the rows."""
    return [
        pytest.param(
            name,
            check,
            marks=pytest.mark.slow if check == "compiled" and name in COMPILED_SLOWLY else (),
            id=f"{name}-{check}",
        )
        for name in OPTIMIZERS.names()
        for check in CHECKS
    ]


@pytest.mark.parametrize(("name", "check"), checks())
def test_optimizer_conforms(name: str, check: str) -> None:
    outcome = run_check(OPTIMIZERS.get(name), check)
    expected = "not applicable" if not_applicable(name, check) else "pass"
    expected = "unchecked" if (name, check) in EXCEPTIONS else expected
    assert outcome.status == expected, outcome.detail
    assert outcome.detail


def test_exceptions_are_known() -> None:
    assert {(row.id, check) for row in OPTIMIZERS for check in row.exceptions} == EXCEPTIONS
    with pytest.raises(InputError, match="no check resmue"):
        run_check(dataclasses.replace(OPTIMIZERS.get("sgdm"), exceptions={"resmue": "a typing error"}), "resume")


# the suite finds what is wrong


class Wrong(torch.optim.Optimizer):
    """SGD with momentum and decoupled decay, with one fault."""

    def __init__(self, groups: list[dict[str, Any]], lr: float, momentum: float, fault: str) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "foreach": False})
        self.fault, self.hidden, self.first_lr = fault, {}, lr

    @torch.no_grad()
    # narrower than in the base class, as it is called here
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            lr = self.first_lr if self.fault == "ignores the schedule" else group["lr"]
            for p in group["params"]:
                decay = 0.1 if self.fault == "decays what is exempt" else group["weight_decay"]
                if p.grad is None:
                    if self.fault == "decays what has no gradient":
                        p.mul_(1 - lr * decay)
                    continue
                grad = p.grad.nan_to_num() if self.fault == "swallows NaN" else p.grad
                state = self.hidden if self.fault == "hides its state" else self.state[p]
                key = p if self.fault == "hides its state" else "momentum"
                buffer = state.setdefault(key, torch.zeros_like(p))
                momentum = 0.9 if self.fault == "drops a hyper-parameter" else group["momentum"]
                buffer.mul_(momentum).add_(grad)
                if self.fault == "another sum" and group["foreach"]:
                    buffer.mul_(1.001)
                step = buffer * (1.001 if self.fault == "another update" else 1.0)
                if self.fault == "raises on infinity" and not step.isfinite().all():
                    raise ValueError("not finite")
                p.mul_(1 - lr * decay).sub_(lr * (-step if self.fault == "goes up" else step))


def build_wrong(fault: str) -> Callable[[list[dict[str, Any]], float, hp.SgdmHyperparameters], Wrong]:
    return lambda groups, lr, h: Wrong(groups, lr, h.momentum, fault)


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("ignores the schedule", "lr_change"),
        ("ignores the schedule", "group_lr"),
        ("decays what is exempt", "group_decay"),
        ("decays what has no gradient", "unused"),
        ("swallows NaN", "gradient_nan"),
        ("hides its state", "resume"),
        ("hides its state", "memory"),
        ("drops a hyper-parameter", "hyperparameters"),
        ("another sum", "paths"),
        ("another update", "update"),
        ("raises on infinity", "gradient_nan"),
        ("goes up", "quadratic"),
        ("goes up", "rosenbrock"),
        ("goes up", "network"),
    ],
)
def test_the_suite_finds(fault: str, check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def check_with(fault: str) -> str:
        monkeypatch.setattr(sys.modules[__name__], "build_under_test", build_wrong(fault), raising=False)
        row = OptimizerRow(
            id="undertest",
            short="Under test",
            category="a",
            paper="-",
            implementation="-",
            variant="-",
            why="-",
            decay="decoupled",
            centres={"default": Centre(0.1, 0.0, "ours")},
            hyperparameters=hp.SgdmHyperparameters,
            build=f"{__name__}:build_under_test",
            state_floats=1,
            reference=f"{__name__}:decoupled_sgdm",
        )
        monkeypatch.setitem(OPTIMIZERS._rows, row.id, row)
        return run_check(row, check).status

    assert check_with("none") == "pass"
    assert check_with(fault) == "fail"


def decoupled_sgdm(case: Any) -> Any:
    """SGD with momentum on gradients alone, then decay: the reference of ``Wrong`` without a fault."""
    from bocb_hf.optim.conformance.reference import each

    @each
    def update(w: Any, g: Any, s: dict[str, Any], t: int, lr: float, wd: float, h: Any) -> Any:
        s["m"] = h.momentum * s.get("m", 0 * w) + g
        return w * (1 - lr * wd) - lr * s["m"]

    return update(case)


def test_check_optimizer_prints_a_line_a_check(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    fast: Mapping[str, Any] = {name: CHECKS[name] for name in ("update", "memory", "lr_change")}
    monkeypatch.setattr("bocb_hf.optim.conformance.suite.CHECKS", fast)
    assert cli.main(["check-optimizer", "lion"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "LION (lion), category a" in lines[0]
    assert [line.split()[0] for line in lines[-4:]] == ["PASS", "PASS", "PASS", "conforms"]
    lion = OPTIMIZERS.get("lion")
    monkeypatch.setitem(OPTIMIZERS._rows, "lion", dataclasses.replace(lion, exceptions={"update": "no time"}))
    assert cli.main(["check-optimizer", "lion"]) == 3
    assert capsys.readouterr().out.splitlines()[-1].endswith("2 checks hold, but not checked: update")
    monkeypatch.setitem(OPTIMIZERS._rows, "lion", dataclasses.replace(lion, state_floats=3))
    assert cli.main(["check-optimizer", "lion"]) == 1
    assert "1 numbers a parameter of a 64 × 64 matrix; the row says 3" in capsys.readouterr().out
    assert cli.main(["check-optimizer", "loin"]) == 2
    assert "did you mean 'lion'" in capsys.readouterr().err


# parameter groups


def tiny_vit() -> torch.nn.Module:
    return timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=64, depth=1, num_heads=2)


def test_no_decay_rule() -> None:
    model = tiny_vit()
    groups = split_parameters(model, "norms_biases_embeddings")
    exempt = {name for name, _ in groups.no_decay}
    assert {"pos_embed", "cls_token", "norm.weight", "blocks.0.attn.qkv.bias"} <= exempt
    assert {name for name, _ in groups.decay} == {
        "patch_embed.proj.weight",
        "blocks.0.attn.qkv.weight",
        "blocks.0.attn.proj.weight",
        "blocks.0.mlp.fc1.weight",
        "blocks.0.mlp.fc2.weight",
        "head.weight",
    }
    assert split_parameters(model, "nothing").no_decay == []
    model.get_submodule("patch_embed").requires_grad_(False)
    assert "patch_embed.proj.weight" not in {n for n, _ in split_parameters(model, "nothing").decay}


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_no_decay_rule_reaches_the_optimizer(name: str) -> None:
    """Every parameter is in exactly one group, and its decay is that of the rule."""
    model = tiny_vit()
    groups = split_parameters(model, "norms_biases_embeddings")
    row = OPTIMIZERS.get(name)
    optimizer = build_optimizer(resolve_row(row, "default", 1e-3, 0.07), groups)
    decays = [(id(p), group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]]
    assert len(decays) == len(dict(decays)) == len(list(model.parameters()))
    for named, decay in ((groups.decay, 0.07), (groups.no_decay, 0.0)):
        assert {dict(decays)[id(p)] for _, p in named} == {decay}


@pytest.mark.parametrize(
    ("architecture", "hidden", "others"),
    [
        ("resnet18", ["layer1.0.conv1.weight", "layer4.1.conv2.weight"], ["conv1.weight", "fc.weight", "bn1.weight"]),
        (
            "mobilenetv2_100",
            ["blocks.1.0.conv_pw.weight", "conv_head.weight"],
            ["conv_stem.weight", "classifier.weight"],
        ),
        ("convnext_atto", ["stages.0.blocks.0.mlp.fc1.weight"], ["stem.0.weight", "stages.0.blocks.0.conv_dw.weight"]),
        ("vit_tiny_patch16_224", ["blocks.0.attn.qkv.weight"], ["patch_embed.proj.weight", "pos_embed", "head.weight"]),
        (
            "transnext_tiny",
            ["stages.0.blocks.0.attention.q.weight", "stages.0.blocks.0.attention.pool_proj.weight"],
            ["stages.0.blocks.0.attention.tokens", "stages.0.blocks.0.attention.position_bias.fc2.weight"],
        ),
        ("swinv2_tiny_window8_256", ["layers.0.blocks.0.attn.qkv.weight"], ["layers.0.blocks.0.attn.cpb_mlp.2.weight"]),
        ("vit_relpos_small_patch16_224", ["blocks.0.mlp.fc1.weight"], ["blocks.0.attn.rel_pos.mlp.fc2.weight"]),
        ("convit_tiny", ["blocks.0.attn.qk.weight"], ["blocks.0.attn.pos_proj.weight"]),
        ("levit_128s", ["stages.0.blocks.0.attn.qkv.linear.weight"], ["stages.0.blocks.0.attn.attention_biases"]),
        ("samvit_base_patch16", ["blocks.0.attn.qkv.weight"], ["blocks.0.attn.rel_pos_h", "pos_embed"]),
        ("lambda_resnet26rpt_256", ["stages.0.0.conv1_1x1.conv.weight"], ["stages.2.1.self_attn.pos_emb"]),
    ],
)
def test_hidden_matrices(architecture: str, hidden: list[str], others: list[str]) -> None:
    with torch.device("meta"):
        model = timm.create_model(architecture, num_classes=10)
    found = hidden_matrices(model)
    assert set(hidden) <= found and not set(others) & found
    assert set(hidden) | set(others) <= {name for name, _ in model.named_parameters()}


def test_a_joint_projection_and_a_recurrent_weight_are_matrices() -> None:
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.MultiheadAttention(8, 2), torch.nn.LSTM(8, 8), torch.nn.Embedding(5, 8),
        torch.nn.LayerNorm([4, 8]), torch.nn.Linear(8, 2),
    )  # fmt: skip
    assert hidden_matrices(model) == {*("1.in_proj_weight", "1.out_proj.weight", "2.weight_ih_l0", "2.weight_hh_l0")}


def test_hidden_matrices_of_any_module() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Linear(5, 6), torch.nn.Linear(6, 2))
    assert hidden_matrices(model) == {"1.weight"}


def test_muon_splits_a_network() -> None:
    model = tiny_vit()
    optimizer = build_optimizer(
        resolve_optimizer("muon", "default", 1e-3, 0.1), split_parameters(model, "norms_biases_embeddings")
    )
    names = {id(p): name for name, p in model.named_parameters()}
    split = {
        names[id(p)]: (group["matrix"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert split["blocks.0.attn.qkv.weight"] == (True, 0.1)
    assert split["head.weight"] == split["patch_embed.proj.weight"] == (False, 0.1)
    assert split["pos_embed"] == split["norm.weight"] == (False, 0.0)
