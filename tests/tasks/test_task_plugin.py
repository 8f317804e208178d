"""A task of somebody else's package, from the command line to the loaded checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from warm import BOCB, run_warm

from bocb_hf.errors import InputError
from bocb_hf.runs.card import parse_card
from bocb_hf.runs.record import read_record
from bocb_hf.runs.tasks import TASKS, TaskRow

SETTING = {
    "setting": "squares",
    "data": {"name": "squares", "image_size": 32},
    "training": {"epochs": 6, "batch_size": 8},
    "task": {"name": "toy_segmentation", "options": {"side": 10}},
    "runtime": {"tracker": "none", "threads": 1, "log_every": 1},
}


def test_a_plugin_adds_a_task_that_trains_through_the_one_loop(tmp_path: Path) -> None:
    (tmp_path / "squares.yaml").write_text(yaml.safe_dump(SETTING))
    names = ["backbone.name=tiny_resnet", "optimizer.name=adamw", "optimizer.lr=0.01"]
    words = ["--plugin", "toy_segmentation", "train", "--config", "squares.yaml", *names]
    tests = str(Path(__file__).resolve().parents[1])
    path = f"{tests}:{Path(tests).parent}"
    for role, seed in (("trial", 100), ("final", 1)):
        ended = run_warm(["-c", BOCB, *words, f"role={role}", f"seed={seed}"], tmp_path, PYTHONPATH=path)
        assert ended.returncode == 0, ended.stderr
        assert "completed: run" in ended.stdout and "  IoU " in ended.stdout
    listed = run_warm(["-c", BOCB, "--plugin", "toy_segmentation", "list", "tasks"], tmp_path, PYTHONPATH=path)
    assert "toy_segmentation  IoU, %" in listed.stdout and "side" in listed.stdout

    (folder,) = (tmp_path / "outputs/store/models/local").iterdir()
    # this process has not imported the plug-in, and reads the record and the card all the same
    assert "toy_segmentation" not in TASKS
    record = read_record(folder / "seeds/1/record.json", "record")
    assert record.identity.task.options == {"side": 10} and record.metrics.name == "IoU"
    assert record.metrics.test is not None and record.metrics.test.last is not None
    assert record.metrics.test.last > 50, "the squares are found"
    assert 0.2 < (record.reference_loss or 0) < 0.4, "entropy of 100 of 1024 pixels"
    card = (folder / "README.md").read_text(encoding="utf-8")
    block = parse_card(card, "card")
    assert (block.task, block.metric) == ("toy_segmentation", "IoU") and "| IoU (%) |" in card
    assert block.trials[0].value is not None

    code = f"""
import toy_segmentation, bocb_hf, numpy
from PIL import Image
model = bocb_hf.load_backbone({str(folder)!r}, seed=1)
pixels = numpy.full((32, 32, 3), 40, numpy.uint8)
pixels[8:18, 12:22] += 120
print(model.predict([Image.fromarray(pixels)])[0][9:17, 13:21].float().mean().item())
"""
    loaded = run_warm(["-c", code], tmp_path, PYTHONPATH=path)
    assert loaded.returncode == 0, loaded.stderr
    assert float(loaded.stdout.strip().splitlines()[-1]) > 0.8, "it finds a square that it has not seen"
    import bocb_hf

    with pytest.raises(InputError, match="unknown task 'toy_segmentation'"):
        bocb_hf.load_backbone(str(folder), seed=1)
    assert json.loads((folder / "seeds/1/config.json").read_text())["task"] == "toy_segmentation"


def test_a_task_has_one_id() -> None:
    with pytest.raises(InputError, match="task 'detection' is registered already"):
        TASKS.add(TaskRow(id="detection", metric="x", what="x", build="x:y"))
