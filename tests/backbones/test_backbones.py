"""The backbones: the matrix of tests is the registry, so that no row escapes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from backbone_cases import META, identity_of, images, resolve
from safetensors.torch import load_file
from torch import Tensor, nn

from bocb_hf.backbones import BACKBONES, OWN_ARCHITECTURES, SMALL_IMAGE, STUDY, TINY, BackboneRow, stem_for
from bocb_hf.backbones.architectures import MODULES
from bocb_hf.backbones.build import build_backbone, resolve_backbone
from bocb_hf.backbones.definition import check_backbone
from bocb_hf.engine.export import export_model
from bocb_hf.errors import InputError
from bocb_hf.optim.param_groups import split_parameters
from bocb_hf.runs.config import BackboneConfig

# Five to twenty seconds on a core for each graph, so `make test-slow` traces them. The default run traces what they are
# made of: shallow ones of ours, and the tiny rows of timm's ResNet, EfficientNet, ConvNeXt, ViT, Swin and MetaFormer.
SLOW_TO_TRACE = {
    *("resnet50", "resnet101", "densenet121", "mobilenetv2_100", "efficientnet_b0", "deit_small_patch16_224"),
    *("swin_tiny_patch4_window7_224", "convnext_tiny", "convnextv2_tiny"),
    *("moganet_small", "unireplknet_tiny", "transnext_tiny"),
    *("identityformer_s12", "poolformerv2_s12", "convformer_s12", "attentionformer_s12", "caformer_s12"),
    "mixer_s16_224",
}
# What makes them shallow, with one block of every kind.
SHALLOW: dict[str, dict[str, Any]] = {
    **{name: {"depths": [1, 1, 2, 1]} for name in ("moganet_small", "unireplknet_tiny", "transnext_tiny")},
    "caformer_s12": {"depths": [1, 1, 1, 1]},
    "mixer_s16_224": {"num_blocks": 2},
}
# timm's own networks of tens of millions of weights, whose blocks are those of a tiny row or of a smaller one of the
# study: the default run measures, trains and saves these, and `make test-slow` all.
AS_SMALLER_ONES = {
    *("resnet101", "deit_small_patch16_224", "swin_tiny_patch4_window7_224", "convnextv2_tiny"),
    *("mixer_s16_224", "identityformer_s12", "poolformerv2_s12", "convformer_s12", "attentionformer_s12"),
}
SLOW_TO_SAVE = AS_SMALLER_ONES | {"vgg13_bn"}  # hundreds of MB to train, write and read, as AlexNet's, which stays


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small batches gain nothing from threads, and processes side by side lose much."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rows(slow: frozenset[str] | set[str] = frozenset()) -> Any:
    """Parametrises over the registry; rows in ``slow`` run in the slow tests."""
    return pytest.mark.parametrize(
        "row", [pytest.param(r, marks=pytest.mark.slow if r.id in slow else (), id=r.id) for r in BACKBONES]
    )


def networks(slow: set[str]) -> Any:
    """As ``rows``, but what ``SHALLOW`` names is shallow, with the arguments for it, and whole in the slow tests."""
    found: list[Any] = []
    for row in BACKBONES:
        shallow = row.id in SHALLOW and row.id not in slow
        if shallow:
            found.append(pytest.param(row, SHALLOW[row.id], id=f"{row.id}-shallow"))
        found.append(pytest.param(row, {}, marks=pytest.mark.slow if shallow or row.id in slow else (), id=row.id))
    return pytest.mark.parametrize(("row", "args"), found)


def small_size(row: BackboneRow) -> int:
    return max(32, row.smallest)


def sketch(row: BackboneRow, image_size: int, **kwargs: Any) -> nn.Module:
    """The network that a row builds for a size, on the meta device."""
    architecture, args = stem_for(row, image_size)
    with META:
        return timm.create_model(architecture, **(args | kwargs))


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_the_registry_holds_the_study_and_the_tiny_rows() -> None:
    assert len(STUDY) == 21 and len(BACKBONES) == len(STUDY) + len(TINY)
    assert all(row.setting is not None and row.counted_at == (1000, 224) for row in STUDY)
    assert all(row.setting is None and row.parameters <= 1_000_000 for row in TINY)
    assert {row.family for row in TINY} == {row.family for row in STUDY}
    tiny = {(row.block_wise, row.operator) for row in TINY}
    assert tiny >= {
        ("plain", "conv"),
        ("bottleneck", "conv"),
        ("inverted bottleneck", "sep. conv"),
        ("MetaFormer", "local attention"),
        ("MetaFormer", "MLP"),
        ("MetaNeXt", "dw conv"),
        ("MetaNeXt", "dw conv (+GRN)"),
        *(("MetaFormer", operator) for operator in ("identity", "pooling", "sep. conv", "attention")),
    }


def test_published_tiny_rows_never_change() -> None:
    """Records in the wild name these; another network under the same id would be paired with them."""
    assert [(row.id, row.architecture, dict(row.args), row.parameters) for row in TINY[:4]] == [
        ("tiny_resnet", "tiny_resnet", {}, 78_042),
        ("tiny_mobilenet", "tiny_mobilenet", {}, 18_058),
        (
            "tiny_convnext",
            "convnext_atto",
            {"depths": [1, 1, 1, 1], "dims": [16, 32, 64, 128]},
            233_818,
        ),
        (
            "tiny_vit",
            "vit_tiny_patch16_224",
            {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 2},
            114_250,
        ),
    ]


def test_own_architectures_are_those_that_are_registered() -> None:
    registered = [name for module in MODULES for name in module.default_cfgs]
    assert sorted(registered) == sorted(OWN_ARCHITECTURES)
    used = {row.architecture for row in BACKBONES} | {
        row.small_input.architecture for row in BACKBONES if row.small_input
    }
    assert used >= OWN_ARCHITECTURES
    for name in OWN_ARCHITECTURES:
        with META:
            model: Any = timm.create_model(name, num_classes=3)
        cfg = model.pretrained_cfg
        first = [cfg["first_conv"]] if isinstance(cfg["first_conv"], str) else cfg["first_conv"]
        assert all(isinstance(model.get_submodule(key), nn.Conv2d) for key in first), name
        assert isinstance(model.get_submodule(cfg["classifier"]), nn.Linear | nn.Conv2d), name
        model.reset_classifier(0)
        with META:
            assert model(images(32 if name == "mixer_s16_small_input" else 64, META)).shape == (
                2,
                model.head_hidden_size,
            )


@rows()
def test_parameters_and_the_published_figure(row: BackboneRow) -> None:
    classes, size = row.counted_at
    assert count(sketch(row, size, num_classes=classes)) == row.parameters
    if row.paper_parameters is not None:
        deviation = 100 * (row.parameters / 1e6 / row.paper_parameters - 1)
        assert row.paper_note
        assert abs(deviation) <= 2 or f"({deviation:+.1f} %)" in row.paper_note, deviation
    else:
        assert row in TINY or row.paper_note, "say why there is no published figure"


@rows(AS_SMALLER_ONES)
def test_shapes_and_feature_maps(row: BackboneRow) -> None:
    classes, size = row.counted_at
    with META:
        assert sketch(row, size, num_classes=classes)(images(size, META)).shape == (2, classes)
    for side in {size, row.image_size, small_size(row)}:
        maps = len(row.pyramid)
        # an isotropic network's default is its last three blocks, of which a tiny one has two
        model: Any = sketch(row, side, features_only=True, **({"out_indices": maps} if row.pyramid_exception else {}))
        with META:
            features = model(images(side, META))
        reductions = model.feature_info.reduction()
        assert [f.shape[1] for f in _channels_first(row, features)] == model.feature_info.channels()
        for feature, reduction in zip(_channels_first(row, features), reductions, strict=True):
            # AlexNet pads less than it strides over
            assert all(abs(edge - side / reduction) <= 1 for edge in feature.shape[2:]), (side, reduction)
        if side == size:
            assert tuple(reductions) == row.pyramid
        assert bool(row.pyramid_exception) == (len(set(reductions)) == 1)
        assert list(reductions) == sorted(reductions)


def _channels_first(row: BackboneRow, features: list[Tensor]) -> list[Tensor]:
    # timm's Swin gives (N, H, W, C)
    return [f.permute(0, 3, 1, 2) for f in features] if "swin" in row.architecture else features


def gradient_sizes(row: BackboneRow) -> list[int]:
    """One size for each network that a row builds: that of small images, and the least that the full one takes."""
    if row.small_input is None:
        return [small_size(row)]
    return sorted({small_size(row), row.image_size if row.sized else min(row.image_size, SMALL_IMAGE + 32)})


@networks(SLOW_TO_SAVE)
def test_gradients_reach_every_parameter(row: BackboneRow, args: dict[str, Any]) -> None:
    for size in gradient_sizes(row):
        model = build_backbone(resolve(row, size, **args), 10, size, seed=3)
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                if not parameter.any():  # what starts at zero (heads, last norms, GRN) hides what is behind it
                    parameter.normal_(std=0.1)
        logits = model(images(size))
        assert logits.shape == (2, 10) and logits.isfinite().all()
        logits.square().sum().backward()
        gradients = {name: p.grad for name, p in model.named_parameters()}
        assert [name for name, g in gradients.items() if g is None or not g.isfinite().all() or not g.any()] == []


@pytest.mark.parametrize("row", TINY, ids=[row.id for row in TINY])
def test_initial_weights_depend_on_the_seed_only(row: BackboneRow) -> None:
    first, again, other = (build_backbone(resolve(row, 32), 10, 32, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(value, again[key]) for key, value in first.items() if "running" not in key)
    assert any(not torch.equal(value, other[key]) for key, value in first.items() if "running" not in key)


@rows()
def test_stochastic_depth_is_the_setting_s(row: BackboneRow) -> None:
    def largest(drop_path: float) -> float:
        source = resolve_backbone(BackboneConfig(name=row.id), drop_path, small_size(row))
        with META:
            model = timm.create_model(source.identity.architecture, **source.identity.args)
        return max(float(getattr(m, "drop_prob", None) or 0) for m in model.modules())

    assert largest(0.0) == 0
    if row.has_drop_path:
        # timm's EfficientNet divides by the number of blocks, not by one less
        assert largest(0.5) > 0.3
    else:
        with pytest.raises(InputError, match="no residual branches to drop"):
            largest(0.5)


@rows()
def test_weight_decay_reaches_convolutions_and_linear_layers_only(row: BackboneRow) -> None:
    """Of what is neither norm, bias, scale nor embedding; the authors of TransNeXt do decay its learned tokens."""
    model = sketch(row, small_size(row))
    groups = split_parameters(model, "norms_biases_embeddings")
    layers = {f"{name}.weight" for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    odd = {name.rpartition(".")[2] for name, _ in groups.decay if name not in layers}
    assert odd == ({"tokens"} if row.id == "transnext_tiny" else set())
    spared = {name for name, _ in groups.no_decay} & layers
    assert all("position_bias" in name for name in spared)


@rows(SLOW_TO_TRACE)
def test_compiles_without_a_graph_break(row: BackboneRow) -> None:
    size = small_size(row)
    model = sketch(row, size, num_classes=10, **({"drop_path_rate": 0.1} if row.has_drop_path else {})).train()
    _compile(model, size, row.compile_exception)


@pytest.mark.parametrize("name", SHALLOW)
def test_shallow_ones_compile(name: str) -> None:
    """One block of every kind; the full networks are slow to trace."""
    row = BACKBONES.get(name)
    paths = {"drop_path_rate": 0.1} if row.has_drop_path else {}
    _compile(sketch(row, small_size(row), num_classes=10, **SHALLOW[name], **paths).train(), small_size(row), "")


def _compile(model: nn.Module, size: int, exception: str) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    try:
        logits = compiled(images(size, META))  # not in the context of META, which dynamo would trace at every operation
    except Exception:
        assert exception
        raise
    assert not exception, "it compiles: remove the row's compile_exception"
    assert logits.shape == (2, 10)


@networks(SLOW_TO_SAVE)
def test_saved_weights_give_the_same_logits(row: BackboneRow, args: dict[str, Any], tmp_path: Path) -> None:
    from transformers import AutoModelForImageClassification

    size = small_size(row)
    source = resolve(row, size, **args)
    model = build_backbone(source, 10, size, seed=0)
    with torch.no_grad():
        model(images(size))  # batch statistics that are not their start
        pixels, expected = images(size), None
        expected = model.eval()(pixels)
    export_model(model, identity_of(source, size), tuple("abcdefghij"), tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    stored = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(value, stored[key]) for key, value in model.state_dict().items())
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    wrapped = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(loaded(pixels), expected)
        torch.testing.assert_close(wrapped(pixels).logits, expected)


# the small-image rule


@pytest.mark.parametrize("row", [r for r in BACKBONES if r.small_input], ids=lambda row: row.id)
def test_small_images_get_the_small_stem(row: BackboneRow) -> None:
    small, full = resolve(row, SMALL_IMAGE).identity, resolve(row, SMALL_IMAGE + 32).identity
    assert row.small_input is not None
    assert small.architecture == row.small_input.architecture and small.args.items() >= row.small_input.args.items()
    assert full.architecture == row.architecture and full.args.items() >= row.args.items()
    if row.sized:
        assert (small.args["img_size"], full.args["img_size"]) == (SMALL_IMAGE, SMALL_IMAGE + 32)
    else:
        # the study's two forms: 1 in the released code, 1/2 in print
        assert small.args["stem_stride"] == 1
        printed = resolve(row, 32, stem_stride=2).identity
        assert printed.args["stem_stride"] == 2
        sides = []
        for args in (small.args, printed.args):
            with META:
                model = timm.create_model(small.architecture, features_only=True, **args)
                sides.append([f.shape[2] for f in model(images(32, META))])
        assert sides[0][0] == 32 and [2 * side for side in sides[1]] == sides[0]


def test_every_study_row_has_a_small_stem_or_none_to_shrink() -> None:
    assert [row.id for row in STUDY if row.small_input is None] == ["alexnet", "vgg13_bn"]


def test_alexnet_names_the_size_that_it_needs() -> None:
    with pytest.raises(InputError, match="at least 64 px, not 32; choose 64 or more"):
        resolve(BACKBONES.get("alexnet"), 32)
    with pytest.raises(ValueError, match="at least 64 px"):
        timm.create_model("alexnet")(images(48))


def test_impossible_stems_are_refused() -> None:
    for name in ("resnet50", "moganet_small", "transnext_tiny", "convformer_s12"):
        source = resolve(BACKBONES.get(name), 32, stem_stride=3)
        with pytest.raises(InputError, match="stem_stride must be"):
            build_backbone(source, 10, 32, seed=0)
    source = resolve(BACKBONES.get("transnext_tiny"), 36)
    with pytest.raises(InputError, match="multiple of"):
        build_backbone(source, 10, 36, seed=0)


def test_imagenet_weights_and_the_small_stem() -> None:
    config = BackboneConfig(name="resnet50", pretrained="a1_in1k")
    with pytest.raises(InputError, match=r"weights of 'resnet50' need data\.image_size above 64"):
        resolve_backbone(config, 0.0, 32)


def test_unknown_backbone_suggests() -> None:
    with pytest.raises(InputError, match="did you mean 'tiny_resnet'"):
        check_backbone("tiny_resnt")
    with pytest.raises(InputError, match="did you mean 'resnet18'"):
        check_backbone("resnet18x")
    check_backbone("resnet18")
