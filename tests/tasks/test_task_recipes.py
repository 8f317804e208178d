"""The recipes of detection and pose as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from warm import run_warm

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["backbone.name=tiny_vit", "optimizer.name=adamw", "optimizer.lr=1e-3", "runtime.tracker=none"]
SMALL = ["data.image_size=48", "task.options.long_side=64", "task.options.channels=16"]
QUICK = [
    *("training.epochs=2", "training.schedule=cosine", "training.step_epochs=[]", "runtime.threads=1"),
    *("training.warmup_epochs=0", "runtime.workers=0"),
]

pytest.importorskip("faster_coco_eval", reason="the evaluator is not installed: pip install 'bocb-hf[detection]'")


def start(task: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_warm([str(ROOT / f"recipes/{task}.py"), *words], folder, PYTHONPATH=str(ROOT))


def test_the_recipe_of_detection_trains_the_small_setting(scenes: Path, tmp_path: Path) -> None:
    words = ["--config", "coco/retinanet_small", f"data.name={scenes}", *NAMES, *SMALL, *QUICK]
    ended = start("detection", tmp_path, *words)
    assert ended.returncode == 0, ended.stderr
    assert "completed: run" in ended.stdout and "  AP " in ended.stdout and "AP50 " in ended.stdout


def test_a_recipe_refuses_the_setting_of_another_task(scenes: Path, tmp_path: Path) -> None:
    ended = start("pose", tmp_path, "--config", "coco/retinanet_small", f"data.name={scenes}", *NAMES)
    assert ended.returncode == 2
    assert "task: long_side: unknown key" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.slow
def test_two_processes_train_the_detector_of_one(scenes: Path, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launcher += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    recipe = [str(ROOT / "recipes/detection.py"), "--config", "coco/retinanet_small", f"data.name={scenes}"]
    found = []
    for name, command in (("one", [sys.executable]), ("two", launcher)):
        (tmp_path / name).mkdir()
        environment = os.environ | {"ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(
            [*command, *recipe, *NAMES, *SMALL, *QUICK],
            cwd=tmp_path / name,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        (weights,) = (tmp_path / name).glob("outputs/store/models/local/*/seeds/0/model.safetensors")
        found.append(load_file(weights))
    one, two = found
    assert one.keys() == two.keys()
    # float32 sums in another order; both are the same run
    assert max(float((one[key].float() - two[key].float()).abs().max()) for key in one) < 1e-5
