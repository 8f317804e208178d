"""Weights and records from elsewhere: what is not what it says is an error of one line, and nothing is run."""

from __future__ import annotations

import hashlib
import io
import json
import resource
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from builders import make_record
from cards import with_identity
from PIL import Image
from safetensors.torch import save
from torch import nn

from bocb_hf.backbones.build import create_from_scratch
from bocb_hf.data.augment import normalize
from bocb_hf.data.decode import Centre, Chunk, Decoder
from bocb_hf.engine.trained import TrainedClassifier, load_backbone
from bocb_hf.errors import InputError

ARGS: dict[str, Any] = {"depth": 1, "embed_dim": 16, "num_heads": 2, "img_size": 32, "patch_size": 8}
TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


def tensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file, with whatever length its header claims."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


HOSTILE: dict[str, bytes] = {
    "a header of 2^63 bytes": tensors(b"{}", length=2**63),
    "a header longer than the file": tensors(b"{}", length=10**8),
    "nothing": b"",
    "half a length": b"\1\0",
    "no JSON": tensors(b"x" * 10),
    "too deep": tensors(b'{"a":' * 50_000),
    "a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "an archive": b"PK\3\4" + bytes(100),
    "tensors that overlap": tensors({"a": TENSOR, "b": TENSOR}, bytes(4)),
    "a hole": tensors({"a": TENSOR | {"data_offsets": [4, 8]}}, bytes(8)),
    "a size that overflows": tensors({"a": TENSOR | {"shape": [2**40, 2**40]}}, bytes(4)),
    "a negative size": tensors({"a": TENSOR | {"shape": [-1]}}, bytes(4)),
    "an unknown type": tensors({"a": TENSOR | {"dtype": "PY"}}, bytes(4)),
    "other tensors": tensors({"a\x1b[2J\u202e" + "k" * 10_000: TENSOR}, bytes(4)),
    "no tensors": tensors({}),
}


def stored(folder: Path, content: bytes, args: dict[str, Any], architecture: str = "vit_tiny_patch16_224") -> str:
    """A repository whose record names exactly these weights."""
    record = with_identity(make_record("tiny_vit"), backbone={"args": args, "architecture": architecture})
    record = record.model_copy(update={"weights_sha256": hashlib.sha256(content).hexdigest()})
    place = folder / "seeds" / "1"
    place.mkdir(parents=True)
    (place / "record.json").write_text(record.to_json())
    (place / "model.safetensors").write_bytes(content)
    return str(folder)


@pytest.mark.parametrize("kind", HOSTILE)
def test_weights_that_are_none_are_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the weights of seed 1 do not fit its record") as raised:
        load_backbone(stored(tmp_path, HOSTILE[kind], ARGS), seed=1)
    assert str(raised.value).isprintable() and len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    "changed",
    [{"patch_size": 0}, {"num_heads": 0}, {"embed_dim": -1}, {"depth": "x"}, {"norm_layer": "os.system"}, {"x": 1}],
    ids=str,
)
def test_arguments_that_build_nothing_are_refused(changed: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"backbone\.args: timm cannot build"):
        load_backbone(stored(tmp_path, tensors({}), ARGS | changed), seed=1)


def network(**args: Any) -> dict[str, torch.Tensor]:
    """The tensors of the network that ``ARGS`` describe, or a changed one."""
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", num_classes=10, **(ARGS | args)).state_dict()


@pytest.fixture(scope="module")
def good() -> bytes:
    """Weights that fit ``ARGS``."""
    return save(network())


@pytest.fixture(scope="module")
def loaded(good: bytes, tmp_path_factory: pytest.TempPathFactory) -> TrainedClassifier:
    """What ``load_backbone`` gives of them."""
    model = load_backbone(stored(tmp_path_factory.mktemp("good"), good, ARGS), seed=1)
    assert isinstance(model, TrainedClassifier)
    return model


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"depth": 10**9}, "depth is larger than anything in the weights"),
        ({"depth": 4000}, "more modules than its weights can fill"),
        ({"embed_dim": 10**12}, "embed_dim is larger than anything"),
        ({"embed_dim": 4096, "mlp_ratio": 4000.0}, "more elements than its weights can fill"),
        ({"mlp_ratio": 1e300}, "mlp_ratio is larger than anything"),
        ({"img_size": 4096, "patch_size": 1}, "more elements than its weights can fill"),
        ({"reg_tokens": 10**8}, "reg_tokens is larger than anything"),
        ({"img_size": [32, 10**9]}, "img_size is larger than anything"),
        ({"depth": 2}, "do not fit its record: 12 tensors are not the same"),
        ({"embed_dim": 32}, "do not fit its record: .* tensors are not the same"),
    ],
    ids=str,
)
def test_a_record_that_asks_for_more_than_its_weights_is_refused_before_it_is_built(
    changed: dict[str, Any], message: str, good: bytes, tmp_path: Path
) -> None:
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(InputError, match=message):
        load_backbone(stored(tmp_path, good, ARGS | changed), seed=1)
    assert time.process_time() - started < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB


def test_no_layer_is_counted_once_a_network_is_built(loaded: TrainedClassifier) -> None:
    assert loaded.record.seed == 1
    assert len(nn.Sequential(*(nn.Identity() for _ in range(3000)))) == 3000


@pytest.mark.parametrize("kind", ["transformers", "ours", "with batch norm"])
def test_networks_of_every_library_are_built_within_their_bounds(kind: str, tmp_path: Path) -> None:
    architectures: dict[str, tuple[str, dict[str, Any]]] = {
        "transformers": (
            "transformers:vit",
            {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
            | {"image_size": 32, "patch_size": 8},
        ),
        "ours": ("transnext_tiny", {"widths": [8, 8, 8, 8], "depths": [1] * 4, "heads": [1] * 4, "stem_stride": 1}),
        "with batch norm": ("tiny_resnet", {}),
    }
    architecture, args = architectures[kind]
    record = with_identity(make_record("tiny_vit"), backbone={"args": args, "architecture": architecture})
    model = create_from_scratch(record.identity.backbone, 10, seed=3)
    content = save({k.removeprefix("network."): v.contiguous() for k, v in model.state_dict().items()})
    loaded = load_backbone(stored(tmp_path, content, args, architecture), seed=1)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(pixels), model.eval()(pixels))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    tensors = network()
    tensors["norm.weight"][3] = value
    with pytest.raises(InputError, match=r"1 tensors of the weights of seed 1 hold NaN or an infinity.* norm\.weight"):
        load_backbone(stored(tmp_path, save(tensors), ARGS), seed=1)


def test_integers_in_place_of_weights_are_refused(tmp_path: Path) -> None:
    tensors = network()
    tensors["norm.weight"] = tensors["norm.weight"].to(torch.int8)
    with pytest.raises(InputError, match=r"do not fit its record: norm\.weight \(int8 in the file, float32 here\)"):
        load_backbone(stored(tmp_path, save(tensors), ARGS), seed=1)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I"])
@pytest.mark.parametrize("turned", [1, 6])
def test_a_picture_gives_the_logits_of_the_evaluation(mode: str, turned: int, loaded: TrainedClassifier) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (24, 40, 3)).astype(np.uint8)
    image = Image.fromarray(noise)
    if mode.startswith("I"):
        image = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    exif = Image.Exif()
    exif[0x0112] = turned
    file = io.BytesIO()
    (image if mode.startswith("I") else image.convert(mode)).save(file, kind, exif=exif)
    # as the evaluation decodes it from its file
    rule = Centre(32)
    encoded = {"bytes": file.getvalue(), "path": None}
    pixels = Decoder("a test", rule)[Chunk([encoded])]
    assert isinstance(pixels, torch.Tensor), pixels
    data = loaded.record.identity.data
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (data.mean, data.std))
    with torch.inference_mode():
        expected = loaded(normalize(pixels, mean, std))
    opened = Image.open(io.BytesIO(file.getvalue()))
    assert torch.equal(loaded.logits([opened]), expected)


def test_a_picture_of_unknown_range_is_refused_by_its_place(loaded: TrainedClassifier) -> None:
    with pytest.raises(InputError, match="image 1: Pillow opens it in mode 'F'"):
        loaded.logits([Image.new("RGB", (32, 32)), Image.new("F", (32, 32))])


@pytest.mark.parametrize("name", ["checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained"])
def test_arguments_that_load_something_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="would load or name something beside the weights"):
        load_backbone(stored(tmp_path, tensors({}), ARGS | {name: "/etc/passwd"}), seed=1)
