"""Tags of a backbone: from its name, a folder or the Hub, and how alike two are."""

from __future__ import annotations

import json

import pytest
from huggingface_hub import constants

from bocb_hf.coupling.published import published
from bocb_hf.errors import InputError
from bocb_hf.recommend.tags import Tags, find_tags, known_tags, shared_tags, similarity
from bocb_hf.store import brief

TABLE = published("cifar100")


@pytest.mark.parametrize(
    ("name", "kind", "operator"),
    [
        ("resnet50", "CNN", "conv"),
        ("resnet152d", "CNN", "conv"),
        ("vgg19_bn", "CNN", "conv"),
        ("vit_base_patch16_224", "modern", "attention"),
        ("convnextv2_base", "modern", "dw conv (+GRN)"),
        ("swin_base_patch4_window7_224", "modern", "local attention"),
        ("caformer_s18", "modern", "sep. conv + attention"),
        ("levit_256", "unknown", "unknown"),
    ],
)
def test_tags_of_timm_names(name, kind, operator):
    found = find_tags(name)
    assert (found.kind, found.operator) == (kind, operator)
    assert (found.row == name) == (name == "resnet50")
    assert "row" in found.source or "name" in found.source


@pytest.mark.parametrize(
    ("config", "family"),
    [({"architecture": "convnext_base"}, "modern"), ({"model_type": "mobilenet_v2"}, "classical_cnn")],
)
def test_tags_of_a_folder(tmp_path, config, family):
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name in (str(tmp_path), f"transformers:{tmp_path}"):
        found = find_tags(name)
        assert found.family == family and "config.json" in found.source and found.row is None


@pytest.mark.parametrize("content", ["[1]", "{}", "{", '{"architecture": 3}'])
def test_a_config_that_tells_nothing_is_an_error(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json"):
        find_tags(str(tmp_path))


def test_a_model_on_the_hub(monkeypatch):
    asked: list[tuple[str, str]] = []

    def read(repository: str, file: str) -> bytes:
        asked.append((repository, file))
        return b'{"architecture": "resnet26d"}'

    monkeypatch.setattr(brief, "read_briefly", read)
    found = find_tags("hf-hub:somebody/my-model")
    assert asked == [("somebody/my-model", "config.json")]
    assert found.family == "classical_cnn" and "resnet26d" in found.source


def test_without_the_hub_the_repositorys_name_is_read_and_the_answer_says_so(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = find_tags("timm/convnext_tiny.fb_in22k")
    assert (found.kind, found.row) == ("modern", "convnext_tiny")
    assert "the Hub could not be asked for its config.json: HF_HUB_OFFLINE is set" in found.source
    assert find_tags("somebody/my-model").kind == "unknown"


@pytest.mark.parametrize("name", ["resnt50", "no such thing", "a/b/c", ""])
def test_a_wrong_name_is_an_error(name):
    with pytest.raises(InputError, match="backbone"):
        find_tags(name)
    with pytest.raises(InputError, match="did you mean 'resnet50'"):
        find_tags("resnt50")


def test_similarity():
    resnet, densenet, vit = (known_tags(n) for n in ("resnet50", "densenet121", "deit_small_patch16_224"))
    assert shared_tags(resnet, densenet) == 4 and shared_tags(resnet, vit) == 0
    cnns = [known_tags(b) for b in TABLE.backbones[1:7]]
    weights = similarity(resnet, [*cnns, vit])
    assert weights[-1] == 0 and weights.max() == 2 and (weights[:-1] >= 1).all()
    assert (similarity(resnet, [densenet, vit]) > 0).all()  # too few of its kind
    assert (similarity(Tags("x"), [densenet, vit]) == 1).all()
    assert shared_tags(Tags("x"), Tags("y")) == 0  # unknown is not a tag
