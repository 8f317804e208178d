"""``bocb analyze`` and ``bocb explain`` from their arguments to their files."""

from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import make_record, with_patterns
from safetensors.torch import save_file
from stored import publish

from bocb_hf.cli import main
from bocb_hf.results.dataset import records_parquet
from bocb_hf.store.contents import read_store
from bocb_hf.store.local import LocalStore


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    generator = torch.Generator().manual_seed(0)
    shapes = {"stem.weight": (12, 3, 3, 3), "blocks.0.fc.weight": (40, 60), "head.weight": (5, 40)}
    save_file({name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}, path)
    return path


def test_a_file_is_analysed(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", str(weights), "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert (
        re.search(r"2  blocks\.0\.fc\.weight +linear +block 0", said)
        and "3 layers, in the order of their names" in said
    )
    rows = list(csv.DictReader((tmp_path / "patterns.csv").open(encoding="utf-8")))
    assert [row["layer"] for row in rows] == ["stem.weight", "blocks.0.fc.weight", "head.weight"]
    assert rows[2]["alpha"] == "" and rows[2]["alpha_status"] == "too few eigenvalues"  # and no number on the terminal
    assert re.search(r"head\.weight .* –  too few eigenvalues", said)
    for name in ("ridges-mine", "alpha-mine"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert ElementTree.fromstring((tmp_path / f"{name}.svg").read_text()).tag.endswith("svg")
    assert (tmp_path / "patterns.parquet").exists() and "kernels: rows" in said


def test_slices_are_declared(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", str(weights), "--kernels", "slices", "--no-untrained", "--out", str(tmp_path)]) == 0
    assert "kernels: slices: a kernel is height × width matrices" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "patterns.csv").open(encoding="utf-8")))
    assert {row["kernels"] for row in rows} == {"slices"} and rows[0]["eigenvalues"] == "27"


def test_what_cannot_be_analysed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.bin").write_bytes(b"\x80")
    assert main(["analyze", str(tmp_path / "x.bin"), "--out", str(tmp_path / "out")]) == 2
    assert "never from a pickle" in capsys.readouterr().err
    assert main(["analyze", str(tmp_path / "nothing.safetensors"), "--out", str(tmp_path / "out")]) == 2
    assert "no such file or folder" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_store_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = LocalStore(tmp_path / "store")
    backbones, optimizers = ("tiny_resnet", "tiny_vit", "tiny_convnext", "tiny_mobilenet"), ("sgdm", "adamw", "lamb")
    generator, records = np.random.default_rng(0), []
    for backbone, optimizer in ((b, o) for b in backbones for o in optimizers):
        for seed in (1, 2):
            record = with_patterns(
                make_record(backbone, optimizer, seed=seed, correct=int(generator.integers(1500, 1600)))
            )
            assert record.patterns is not None
            layers = [x.model_copy(update={"norm": float(generator.uniform(1, 2))}) for x in record.patterns.layers]
            patterns = record.patterns.model_copy(update={"layers": layers})
            records.append(record.model_copy(update={"patterns": patterns}))
    publish(store, records)
    words = ["explain", "--store", str(store.root), "--out", str(tmp_path / "out"), "--draws", "100"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert re.search("(It does not, as far as|Yes, in these) 4 backbones × 3 optimizers", said)
    assert "n = 4 backbones: too few for an interval" in said and "runtime.inspect_at=[0.1]" in said
    answer = json.loads((tmp_path / "out" / "answer.json").read_text(encoding="utf-8"))
    assert answer["permutations"] == 24 and answer["exact"]
    # of the features only the norms vary other than by effects of optimizers
    known = {f["feature"] for f in answer["findings"] if f["correlation"] is not None}
    assert known == {"final log norm, mean over layers", "final log norm, spread over layers"}
    assert answer["tried"] == 2
    rows = list(csv.DictReader((tmp_path / "out" / "features.csv").open(encoding="utf-8")))
    assert len(rows) == 12 and float(rows[0]["early loss"]) == 2.0
    assert main(words) == 0 and capsys.readouterr().out == said  # seeded
    # a file of the same records gives the same answer
    contents = read_store(store)
    (file := tmp_path / "records.parquet").write_bytes(
        records_parquet(contents.records, contents.places, contents.levels)
    )
    assert main([*words, "--source", str(file)]) == 0 and capsys.readouterr().out == said


def test_published_tables_hold_no_patterns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--source", "paper"]) == 2
    assert "--source: published tables hold no patterns" in capsys.readouterr().err


def test_a_store_that_cannot_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = LocalStore(tmp_path / "store")
    publish(store, [make_record("tiny_vit", o) for o in ("sgdm", "adamw")])
    assert main(["explain", "--store", str(store.root), "--out", str(tmp_path / "out")]) == 2
    assert "1 backbones are too few" in capsys.readouterr().err
