"""Training end to end at 32 px with DeiT's augmentation: our loop beside timm's and transformers'.

    python benchmarks/end_to_end.py --timm-train PATH > benchmarks/end_to_end.txt
    python benchmarks/end_to_end.py --timm-train PATH --groups tiny --precisions bf16 >> benchmarks/end_to_end.txt

All of them read the same class folders of 32×32 PNG, made of the embedded images, and train the same network on batches
of the same size with AdamW, resized crop, flip, RandAugment 9/0.5, erasing 0.25, mixup 0.8 or cutmix 1, and label
smoothing 0.1:

- ``ours``: our loop and our batched augmentation;
- ``padded``: the same with the study's crop at 32 px, from 4 pixels of padding, which timm's script does not have;
- ``synthetic``: our loop on inputs and targets that were made before, so that data cost nothing;
- ``timm``: timm's own ``train.py``, of which PATH is a copy that you obtained (the package has it not);
- ``transformers``: the loop of transformers' ``run_image_classification_no_trainer.py`` in our words: accelerate,
  images through ``datasets`` ``with_transform``, a plain ``DataLoader``; with timm's transforms of one image and its
  ``Mixup``.

A step of DeiT-Ti/4 took 5 to 8 % longer in our loop than in the peers', synthetic inputs or not, until
``bocb_hf.engine.memory``: glibc gave the freed activations back to the system after every step, in the peers' processes
less of them, by chance of what lay behind them on the heap. Per step of 64 images, one thread, processor seconds and
page faults (2026-11-22, a loaded machine): ours 2.15 (40,139), transformers 2.02 (7,400, in another run 21,823); both
without trimming 2.06 (0); ours since then 2.00 (0).

On a CPU the cores that train also augment: ``waited`` is what that costs. There are two groups of networks: ``small``
ones as they are studied at 32 px, and the ``tiny`` ones of our tests, of which a step takes so little that the
augmentation weighs ten times as much.

They alternate (``turns.py``). At equal precision each is as many runs as there are cores, of one thread each, which is
the faster way for all of them; timm and transformers have a data loader of one worker for each run besides. Then, for
the groups of ``--defaults``, our defaults against theirs: as many runs as cores in the precision of which ``--dry-run``
says that a step takes less on this machine, against one run on all cores in fp32.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import torch
from turns import Running, Turn, alternate

from bocb_hf.backbones import BACKBONES
from bocb_hf.data.source import Batch
from bocb_hf.runs.config import RunConfig

MEAN = STD = (0.5, 0.5, 0.5)
PRECISIONS = ("fp32", "bf16")
CELL = 20 * 6000  # images that a run of the laptop setting trains on
GROUPS: dict[str, dict[str, dict[str, Any]]] = {  # names of timm or of our rows, and what they are given
    "small": {
        "resnet18": {},
        "convnext_atto": {},
        "deit_tiny_patch16_224": {"img_size": 32, "patch_size": 4},
    },
    "tiny": {"tiny_resnet": {}, "tiny_convnext": {}, "tiny_vit": {}},
}
ARGS = GROUPS["small"] | GROUPS["tiny"]
DEIT = {
    "crop_scale": (0.08, 1.0),
    "horizontal_flip": True,
    "randaugment_magnitude": 9,
    "random_erasing": 0.25,
    "mixup_alpha": 0.8,
    "cutmix_alpha": 1.0,
}


class Job(NamedTuple):
    """What one process trains."""

    network: str
    batch: int
    precision: str
    threads: int
    workers: int


# --- the loops that run here, each in a process of its own


def report(waited: float) -> None:
    """Says that a step is done."""
    print(f"REPORT {waited:.6f}", flush=True)


def configure(job: Job, folder: str, padded: bool = False) -> RunConfig:
    """Our configuration of a job."""
    crop = {"crop_scale": None, "crop_padding": 4} if padded else {}
    return RunConfig.model_validate(
        {
            "setting": "deit",
            "backbone": {"name": job.network, "args": ARGS[job.network]},
            "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.05},
            "data": {"name": f"{folder}/images", "image_size": 32},
            "training": {
                "epochs": 10_000,
                "batch_size": job.batch,
                "label_smoothing": 0.1,
                "precision": job.precision,
            },
            "augmentation": DEIT | crop,
            "runtime": {"store": f"{folder}/store", "state_dir": f"{folder}/{os.getpid()}", "threads": job.threads},
        }
    )


class Made:
    """Stands for the source and the augmentation, with inputs and targets that were made before."""

    at_hand, exact_resume, waited_seconds = False, True, 0.0

    def __init__(self, images: int, batch: int, classes: int, device: torch.device) -> None:
        self.count = images
        self._inputs = torch.randn(batch, 3, 32, 32, device=device)
        self._targets = torch.softmax(torch.randn(batch, classes, device=device), dim=1)
        empty = torch.zeros(0, dtype=torch.int64)
        self._batch = Batch(torch.zeros(0, dtype=torch.uint8), empty, empty, cropped=True)

    def steps(self, epoch: int, first_step: int) -> Iterator[list[Batch]]:
        """One epoch."""
        for _ in range(first_step, self.count // len(self._inputs)):
            yield [self._batch]

    def close(self) -> None:
        """There is nothing to end."""

    def __call__(self, *_: object) -> tuple[torch.Tensor, torch.Tensor]:
        """As ``Augmenter``."""
        return self._inputs, self._targets


def train_ours(job: Job, folder: str, loop: str) -> None:
    """Our loop; without validation and with everything else that it does by default."""
    from accelerate import Accelerator

    from bocb_hf.engine.feed import Feed
    from bocb_hf.engine.interrupt import StopSignal
    from bocb_hf.engine.loop import Trainer
    from bocb_hf.engine.prepare import prepare_run

    prepared, synthetic = prepare_run(configure(job, folder, loop == "padded")), loop == "synthetic"
    accelerator = Accelerator(mixed_precision={"fp32": "no"}.get(job.precision, job.precision))
    model, data = prepared.build_model(), prepared.identity.data
    made = Made(len(prepared.data.train), job.batch, data.num_classes, accelerator.device)
    trainer = Trainer(
        model=model,
        optimizer=prepared.build_optimizer(model),
        row=prepared.optimizer.row,
        identity=prepared.identity,
        seed=0,
        runtime=prepared.config.runtime,
        accelerator=accelerator,
        source=made if synthetic else prepared.train_source(accelerator),
        validation=None,
        state_dir=prepared.state_dir,
        rule=prepared.divergence_rule(),
    )
    if synthetic:
        # steps as the trainer asks for them, from memory
        trainer.feed = Feed(made, made, trainer.plan.steps_per_epoch, job.batch, trainer.format)  # type: ignore[arg-type]
    seen = 0.0

    def on_step(done: int, total: int) -> None:
        nonlocal seen
        spent = trainer.progress.seconds.get("data", 0.0) + trainer.costs.timer.seconds["data"]
        spent += trainer.progress.waited_seconds + trainer.source.waited_seconds
        report(spent - seen)
        seen = spent

    trainer.run(StopSignal(), on_step)


def train_transformers(job: Job, folder: str) -> None:
    """What transformers' example does for a step, with the augmentation of all others."""
    import datasets
    from accelerate import Accelerator
    from timm.data.mixup import Mixup
    from timm.data.transforms_factory import transforms_imagenet_train
    from timm.loss.cross_entropy import SoftTargetCrossEntropy
    from torch.utils.data import DataLoader
    from transformers import get_scheduler

    from bocb_hf.backbones.build import build_backbone, resolve_backbone

    accelerator = Accelerator(mixed_precision={"fp32": "no"}.get(job.precision, job.precision))
    images: Any = datasets.load_dataset("imagefolder", data_dir=f"{folder}/images", split="train")
    classes = images.features["label"].num_classes
    change: Any = transforms_imagenet_train(
        32,
        color_jitter=0.0,
        auto_augment="rand-m9-mstd0.5-inc1",
        interpolation="bicubic",
        mean=MEAN,
        std=STD,
        re_prob=DEIT["random_erasing"],
        re_mode="pixel",
    )

    def transform(examples: dict[str, Any]) -> dict[str, Any]:
        pixels = [change(image.convert("RGB")) for image in examples["image"]]
        return {"pixels": pixels, "labels": examples["label"]}

    def collate(examples: list[dict[str, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.stack([e["pixels"] for e in examples]), torch.tensor([e["labels"] for e in examples])

    loader = DataLoader(
        images.with_transform(transform),
        shuffle=True,
        drop_last=True,
        collate_fn=collate,
        batch_size=job.batch,
        num_workers=job.workers,
        persistent_workers=job.workers > 0,
    )
    source = resolve_backbone(configure(job, folder).backbone, 0.0, 32)
    model = build_backbone(source, classes, 32, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = get_scheduler("cosine", optimizer, num_warmup_steps=0, num_training_steps=1_000_000)
    mix, loss_of = Mixup(0.8, 1.0, label_smoothing=0.1, num_classes=classes), SoftTargetCrossEntropy()
    model, optimizer, loader, schedule = accelerator.prepare(model, optimizer, loader, schedule)
    model.train()
    while True:
        total, started = 0.0, time.perf_counter()
        for pixels, labels in loader:
            inputs, targets = mix(pixels, labels)
            waited = time.perf_counter() - started
            with accelerator.accumulate(model):
                loss = loss_of(model(inputs), targets)
                total += loss.detach().float()
                accelerator.backward(loss)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            report(waited)
            started = time.perf_counter()


# --- and timm's

# registers our architectures, then runs the script as if it had been called
TIMM = "import runpy, sys, bocb_hf; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"


def timm_command(script: str, job: Job, folder: str, copy: int) -> list[str]:
    """timm's train.py with the same images, network and augmentation."""
    model, args = job.network, ARGS[job.network]
    if model in BACKBONES:
        row = BACKBONES.get(model)
        model, args = row.architecture, {**row.args, **args}
    options: dict[str, object] = {
        "data-dir": f"{folder}/images",
        "model": model,
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "val-split": "",
        "num-classes": 10,
        "batch-size": job.batch,
        "workers": job.workers,
        "opt": "adamw",
        "lr": 1e-3,
        "weight-decay": 0.05,
        "warmup-epochs": 0,
        "epochs": 10_000,
        "log-interval": 1,
        "aa": "rand-m9-mstd0.5-inc1",
        "train-interpolation": "bicubic",
        "color-jitter": 0,
        "reprob": DEIT["random_erasing"],
        "mixup": 0.8,
        "cutmix": 1.0,
        "smoothing": 0.1,
        "output": f"{folder}/timm{copy}",
        "checkpoint-hist": 1,
    }
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    words += ["--input-size", "3", "32", "32", "--mean", *map(str, MEAN), "--std", *map(str, STD)]
    if args:
        words += ["--model-kwargs", *(f"{key}={value!r}".replace(" ", "") for key, value in args.items())]
    if job.precision == "bf16":
        words += ["--amp", "--amp-dtype", "bfloat16"]
    return [sys.executable, "-c", TIMM, script, *words]


def write_images(folder: Path) -> None:
    """The embedded images as class folders of 32×32 PNG."""
    from PIL import Image

    from bocb_hf.data.images import Images, load_images
    from bocb_hf.runs.config import DataConfig

    data = load_images(DataConfig(name="fashion_mnist_subset", image_size=32), trial=False)
    for split, images, count in (("train", data.train, len(data.train)), ("test", data.test, 100)):
        assert isinstance(images, Images)
        for place in range(count):
            path = folder / split / f"class{int(images.labels[place])}" / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images.pixels[place].permute(1, 2, 0).numpy()).save(path)


def own_command(loop: str, job: Job, folder: str) -> list[str]:
    """This script as one of the loops."""
    return [sys.executable, __file__, "--loop", loop, "--job", json.dumps(job), "--folder", folder]


def show(turns: dict[str, list[Turn]], by: str) -> None:
    """One line for each loop; ratios are to the loop ``by``, within a round."""
    for name, found in turns.items():
        ratios = sorted(a.rate / b.rate for a, b in zip(found, turns[by], strict=True))
        rate, waited, loaders = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"  {name:<34}{rate:>8,.0f}{waited:>9.1f}{loaders:>9.1f}{statistics.median(ratios):>8.2f}", end="")
        print(f"  ({ratios[0]:.2f} to {ratios[-1]:.2f}){3600 * rate / CELL:>9.0f}", flush=True)


def find_faster(network: str, batch: int) -> str:
    """The precision in which a step takes less, as ``--dry-run`` measures it for a user to choose by."""
    from bocb_hf.backbones.build import build_backbone, resolve_backbone
    from bocb_hf.engine.dry_run import time_precisions
    from bocb_hf.runs.config import BackboneConfig

    torch.set_num_threads(1)
    source = resolve_backbone(BackboneConfig(name=network, args=ARGS[network]), 0.0, 32)
    model = build_backbone(source, 10, 32, seed=0)
    full, half = time_precisions(model, torch.optim.AdamW(model.parameters()), batch, 32, ())
    print(f"{network}, trial: bf16 has {full / half:.2f} times the speed of fp32")
    return "bf16" if half < full else "fp32"


def compare(network: str, arguments: argparse.Namespace, folder: str, defaults: bool) -> None:
    """Prints the tables of one network."""
    cores, script = os.cpu_count() or 1, arguments.timm_train

    def start(loop: str, job: Job, copies: int = 1) -> Callable[[], Running]:
        commands = [
            timm_command(script, job, folder, copy) if loop == "timm" else own_command(loop, job, folder)
            for copy in range(copies)
        ]
        return partial(Running, commands, job.threads, job.batch, folder)

    for precision in arguments.precisions:
        ours, theirs = (Job(network, arguments.batch, precision, 1, workers) for workers in (0, 1))
        jobs = {"synthetic": ours, "ours": ours, "padded": ours, "timm": theirs, "transformers": theirs}
        starts = {loop: start(loop, job, cores) for loop, job in jobs.items()}
        turns = alternate(starts, arguments.rounds, arguments.seconds)
        print(f"{network}, {precision}, {cores} runs of one thread, peers with a worker each")
        show(turns, "ours")
    if not defaults:
        return
    fastest = find_faster(network, arguments.batch)
    ours, theirs = Job(network, arguments.batch, fastest, 1, 0), Job(network, arguments.batch, "fp32", cores, 4)
    own = f"ours, {fastest}, {cores} runs of one thread"
    starts = {
        own: start("ours", ours, cores),
        "timm, fp32, 4 workers": start("timm", theirs),
        "transformers, fp32, no workers": start("transformers", theirs._replace(workers=0)),
    }
    print(f"{network}, defaults")
    show(alternate(starts, arguments.rounds, arguments.seconds), own)


def main() -> None:
    """Prints the tables, or is one of the loops."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timm-train", metavar="PATH", help="a copy of timm's train.py")
    parser.add_argument("--groups", nargs="+", default=list(GROUPS), choices=list(GROUPS))
    parser.add_argument("--networks", nargs="+", default=list(ARGS), choices=list(ARGS), help="of these groups")
    parser.add_argument("--precisions", nargs="+", default=["fp32"], choices=PRECISIONS, help="of the equal comparison")
    parser.add_argument("--defaults", nargs="*", default=["small"], choices=list(GROUPS), help="groups")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a turn")
    parser.add_argument("--loop", choices=["ours", "padded", "synthetic", "transformers"], help=argparse.SUPPRESS)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.loop is not None:
        job = Job(*json.loads(arguments.job))
        torch.set_num_threads(job.threads)
        if arguments.loop == "transformers":
            train_transformers(job, arguments.folder)
        train_ours(job, arguments.folder, arguments.loop)
        return
    if arguments.timm_train is None:
        parser.error("--timm-train: give a copy of timm's train.py")
    kind = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the processes are ended too
    versions = ", ".join(
        f"{n} {metadata.version(n)}" for n in ("torch", "timm", "transformers", "accelerate", "datasets", "pillow")
    )
    print(f"{datetime.date.today()}, {kind}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before")
    print(f"Python {platform.python_version()}, {versions}")
    print(f"batch {arguments.batch}, median of {arguments.rounds} turns of {arguments.seconds:g} s that alternate")
    print("waited: % of the time in which the loop that trains waits for or makes its inputs; loaders: % of the")
    print(
        "processor time that worker processes take; ratio to ours within a round, its range in brackets; cells an hour:"
    )
    print(f"{CELL:,} images each, start-up and evaluation left out; transformers: its example's loop in our words\n")
    print("  {:<34}{:>8}{:>9}{:>9}{:>8}{:>26}".format("", "images/s", "waited", "loaders", "ratio", "cells/h"))
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder) / "images")
        for group in arguments.groups:
            for network in GROUPS[group]:
                if network in arguments.networks:
                    compare(network, arguments, folder, group in arguments.defaults)
    print(f"load {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    sys.exit(main())
