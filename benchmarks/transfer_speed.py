"""Training images a second of both recipes against plain loops with the same network, batch, threads and images.

    python benchmarks/transfer_speed.py > benchmarks/transfer_speed.txt
    python benchmarks/transfer_speed.py --memory >> benchmarks/transfer_speed.txt

The plain loop of detection is that of torchvision's references (``references/detection``): its ``RetinaNet`` with the
same backbone, pyramid and anchors, a ``DataLoader`` without workers that opens the image files, a list of images of
several sizes, ``GeneralizedRCNNTransform`` to the same sizes, SGD. torchvision has no loop for heat maps, so that of
pose is in the same style: a sample is cut out of its file and gets its heat maps in numpy, one by one, as the code of
the paper (arXiv 1804.06208) does it. Both loops of a task take turns in one process, and the order changes from turn to
turn; the ratio is that of each turn. ``--memory`` prints the highest resident memory of processes that run one of the
loops alone for two epochs.

The images are generated: squares on noise, 160 × 120 px. Growth with the image size: the same with sides of 64 to 256.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection.retinanet import RetinaNet as TorchvisionRetinaNet
from torchvision.transforms.functional import pil_to_tensor

from bocb_hf.engine.environment import peak_memory
from bocb_hf.engine.interrupt import StopSignal
from bocb_hf.engine.prepare import prepare_run
from bocb_hf.engine.run import train_run
from bocb_hf.runs.load_config import build_run_config
from bocb_hf.tasks.annotations import decode_upright
from bocb_hf.tasks.detection import DetectionSamples
from bocb_hf.tasks.heatmaps import STRIDE
from bocb_hf.tasks.pose_samples import PoseSamples

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from coco_scenes import write_folder  # the generated scenes of the tests

BATCH, TURNS, IMAGES = 8, 5, 64


def sections(folder: Path, task: str, side: int, epochs: int, work: Path) -> dict[str, Any]:
    """The configuration of the recipe."""
    options: dict[str, Any] = {"channels": 64}
    options |= {"long_side": side * 4 // 3} if task == "detection" else {"width": side, "rotation": 0.0, "scale": 0.0}
    return {
        "setting": "speed",
        "backbone": {"name": "resnet10t"},
        "optimizer": {"name": "sgdm", "lr": 1e-3, "weight_decay": 1e-4},
        "data": {"name": str(folder), "image_size": side},
        "training": {"epochs": epochs, "batch_size": BATCH},
        "augmentation": {"horizontal_flip": True},
        "task": {"name": task, "options": options},
        "runtime": {
            **{"store": str(work / "store"), "state_dir": str(work / "state"), "tracker": "none", "threads": 1},
            **{"workers": 0, "log_every": 1000, "supersede": True},
        },
    }


def recipe_speed(folder: Path, task: str, side: int) -> float:
    """Images a second of the recipe over two epochs, by its own record."""
    with tempfile.TemporaryDirectory() as work:
        config = build_run_config(sections(folder, task, side, 2, Path(work)))
        return train_run(config, StopSignal(())).cost.images_per_second


class Files(Dataset[Any]):
    """Images from their files, with their boxes, as torchvision's references give them to the loop."""

    def __init__(self, samples: DetectionSamples) -> None:
        self._samples, self._generator = samples, np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Any:
        photograph = self._samples.split.photographs[index]
        pixels = pil_to_tensor(decode_upright(photograph, "image")).float() / 255
        boxes = torch.tensor([one.box for one in photograph.annotations])
        if self._generator.random() < 0.5:
            pixels = pixels.flip(2)
            boxes = torch.stack(
                (pixels.shape[2] - boxes[:, 2], boxes[:, 1], pixels.shape[2] - boxes[:, 0], boxes[:, 3]), 1
            )
        return pixels, {"boxes": boxes, "labels": torch.tensor([one.label for one in photograph.annotations])}


class Crops(Dataset[Any]):
    """Crops from their files, with their heat maps made one by one in numpy."""

    def __init__(self, samples: PoseSamples, side: int, mean: Sequence[float], std: Sequence[float]) -> None:
        self._samples, self._side = samples, side
        self._mean, self._std = (torch.tensor(v).view(3, 1, 1) for v in (mean, std))

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Any:
        crop = self._samples.make(index, None)
        pixels = torch.from_numpy(crop.pixels.transpose(2, 0, 1).copy()).float() / 255
        size = self._side // STRIDE
        maps = np.zeros((len(crop.keypoints), size, size), np.float32)
        rows, columns = np.mgrid[:size, :size]
        for place, (x, y, seen) in enumerate(crop.keypoints):
            column, row = int(x / STRIDE + 0.5), int(y / STRIDE + 0.5)
            if seen:
                maps[place] = np.exp(-((columns - column) ** 2 + (rows - row) ** 2) / (2 * 2.0**2))
        return (pixels - self._mean) / self._std, torch.from_numpy(maps), torch.from_numpy(crop.keypoints[:, 2] > 0)


def collate(items: list[Any]) -> Any:
    """As torchvision's references join a batch of images of several sizes."""
    return tuple(zip(*items, strict=True))


def plain_detection(folder: Path, side: int) -> Callable[[], float]:
    """The loop of torchvision's references; calling the result trains two epochs and returns images a second."""
    with tempfile.TemporaryDirectory() as work:
        prepared = prepare_run(build_run_config(sections(folder, "detection", side, 1, Path(work))))
    own: Any = prepared.build_model()

    class Backbone(torch.nn.Module):
        out_channels = 64

        def forward(self, x: torch.Tensor) -> Any:
            return {str(k): level for k, level in enumerate(own.pyramid(own.backbone(x)))}

    data = prepared.identity.data
    model = TorchvisionRetinaNet(
        Backbone(),
        data.num_classes,
        min_size=side,
        max_size=side * 4 // 3,
        image_mean=list(data.mean),
        image_std=list(data.std),
        anchor_generator=own.anchors,
        head=own.head,
    )
    parameters = list(own.parameters())
    optimizer = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, weight_decay=1e-4)
    loader = DataLoader(Files(prepared.data.train), BATCH, shuffle=True, collate_fn=collate, drop_last=True)

    def train() -> float:
        model.train()
        started, seen = time.perf_counter(), 0
        for _ in range(2):
            for images, targets in loader:
                loss = sum(model(list(images), list(targets)).values())
                optimizer.zero_grad()
                loss.backward()  # type: ignore[union-attr] - a sum of losses
                optimizer.step()
                loss.item()  # type: ignore[union-attr] - the references look at each loss
                seen += len(images)
        return seen / (time.perf_counter() - started)

    return train


def plain_pose(folder: Path, side: int) -> Callable[[], float]:
    """The loop in the style of the references; calling the result trains two epochs and returns persons a second."""
    with tempfile.TemporaryDirectory() as work:
        prepared = prepare_run(build_run_config(sections(folder, "pose", side, 1, Path(work))))
    model, data = prepared.build_model(), prepared.identity.data
    samples = prepared.data.train
    samples.holds = False
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    loader = DataLoader(Crops(samples, side, data.mean, data.std), BATCH, shuffle=True, drop_last=True)

    def train() -> float:
        model.train()
        started, seen = time.perf_counter(), 0
        for _ in range(2):
            for images, maps, weight in loader:
                loss = 0.5 * ((model(images) - maps) ** 2 * weight[..., None, None]).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                loss.item()
                seen += len(images)
        return seen / (time.perf_counter() - started)

    return train


def measure(folder: Path, task: str, side: int, turns: int) -> str:
    """One line: images a second of both loops and the ratio of each turn."""
    plain = (plain_detection if task == "detection" else plain_pose)(folder, side)
    plain()  # warms up
    recipe_speed(folder, task, side)
    ours: list[float] = []
    theirs: list[float] = []
    for turn in range(turns):
        for first in (turn % 2 == 0, turn % 2 == 1):
            if first:
                ours.append(recipe_speed(folder, task, side))
            else:
                theirs.append(plain())
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    values = f"{statistics.median(ours):8.1f} {statistics.median(theirs):8.1f} {statistics.median(ratios):6.2f}"
    return f"{task:10} {side:5} {values}  [{ratios[0]:.2f}, {ratios[-1]:.2f}]"


def lines(tasks: Sequence[str], sides: Sequence[int], turns: int) -> Iterator[str]:
    """The lines of the text."""
    with tempfile.TemporaryDirectory() as work:
        folder = write_folder(Path(work) / "scenes", IMAGES, 8, width=160, height=120)
        for task in tasks:
            for side in sides:
                yield measure(folder, task, side, turns)


def train_alone(task: str, side: int, which: str) -> None:
    """Trains with one of the loops and prints the highest resident memory of this process in MiB."""
    with tempfile.TemporaryDirectory() as work:
        folder = write_folder(Path(work) / "scenes", IMAGES, 8, width=160, height=120)
        if which == "recipe":
            recipe_speed(folder, task, side)
        else:
            (plain_detection if task == "detection" else plain_pose)(folder, side)()
    print(round(peak_memory(torch.device("cpu")) / 2**20))


def memory_lines(tasks: Sequence[str], sides: Sequence[int]) -> Iterator[str]:
    """The lines of the table of memory; each number is that of a process of its own."""
    yield f"\n{'task':10} {'side':>5} {'recipe':>8} {'plain':>8}   MiB at most, of a process each"
    for task in tasks:
        for side in sides:
            words = [sys.executable, __file__, "--tasks", task, "--sides", str(side), "--alone"]
            found = [
                subprocess.run([*words, which], capture_output=True, text=True, check=True).stdout.split()[-1]
                for which in ("recipe", "plain")
            ]
            yield f"{task:10} {side:5} {found[0]:>8} {found[1]:>8}"


def main() -> None:
    """Prints the text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--tasks", nargs="+", choices=("detection", "pose"), default=["detection", "pose"])
    parser.add_argument("--memory", action="store_true", help="measure memory instead")
    parser.add_argument("--alone", choices=("recipe", "plain"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.alone:
        train_alone(asked.tasks[0], asked.sides[0], asked.alone)
        return
    if asked.memory:
        for line in memory_lines(asked.tasks, asked.sides):
            print(line, flush=True)
        return
    print(f"resnet10t, batch {BATCH}, one thread, torch {torch.__version__}, {asked.turns} turns")
    print("images (detection) or persons (pose) a second, medians over the turns\n")
    print(f"{'task':10} {'side':>5} {'recipe':>8} {'plain':>8} {'ratio':>6}  [lowest, highest]")
    for line in lines(asked.tasks, asked.sides, asked.turns):
        print(line, flush=True)


if __name__ == "__main__":
    main()
