"""The groups of figures of ``gpu.py``; each prints a line of JSON for every figure.

python benchmarks/gpu_figures.py <group> <cuda or cpu> [tiny]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    *("torch", "timm", "transformers", "accelerate", "numpy", "pydantic", "pyyaml", "click", "filelock", "jinja2"),
    *("datasets", "pyarrow", "pillow", "safetensors", "huggingface_hub", "psutil", "pytorch_optimizer", "nvidia-ml-py"),
)
CELLS = {False: (1, 4, 8, 16), True: (1, 2)}  # processes that share the device
NETWORKS = {
    False: (("resnet50", 256), ("convnext_tiny", 256), ("deit_small_patch16_224", 256)),
    True: (("tiny_resnet", 8),),
}
_CELL = "import sys; sys.path.insert(0, sys.argv[1]); import gpu_figures; gpu_figures.train_cells(*sys.argv[2:])"


def say(figure: str, **values: Any) -> None:
    """Prints one figure."""
    rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in values.items()}
    print(json.dumps({"figure": figure} | rounded), flush=True)


def environment(device: str, tiny: bool) -> None:
    """Device and versions."""
    import torch

    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU; --device cpu measures without one")
    properties = torch.cuda.get_device_properties(0) if device == "cuda" else None
    say(
        "environment",
        device=properties.name if properties else "cpu",
        memory_gb=properties.total_memory / 2**30 if properties else 0.0,
        cores=os.cpu_count(),
        tiny=tiny,
        load=os.getloadavg()[0],
        **found,
    )


def configure(folder: Path, name: str, tiny: bool, **changes: dict[str, Any]) -> Any:
    """A short run on the embedded images, with sections of the configuration changed."""
    from bocb_hf.runs.config import RunConfig

    given: dict[str, dict[str, Any]] = {
        "backbone": {"name": "tiny_resnet"},
        "optimizer": {"name": "adamw"},
        "data": {"name": str(make_pictures(folder)) if tiny else "fashion_mnist_subset", "image_size": 32},
        "training": {"epochs": 2 if tiny else 3, "batch_size": 16 if tiny else 64},
        "augmentation": {"crop_padding": 4, "horizontal_flip": True},
        "runtime": {"tracker": "none", "store": str(folder / name), "state_dir": str(folder / f"{name}-state")},
    }
    for section, values in changes.items():
        given[section] = given[section] | values
    return RunConfig.model_validate({"setting": "demo", "seed": 1} | given)


def make_pictures(folder: Path) -> Path:
    """Makes 96 pictures of two classes, dark and bright ones, in the folders of their splits and classes."""
    import numpy as np
    from PIL import Image

    root, generator = folder / "pictures", np.random.default_rng(0)
    for split, count in (("train", 32), ("validation", 8), ("test", 8)):
        for label, level in (("dark", 50), ("bright", 200)):
            place = root / split / label
            if place.is_dir():
                continue
            place.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(level - 40, level + 40, size=(32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")
    return root


def checks(device: str, tiny: bool) -> None:
    """Whether a run completes and learns in each precision and form, resumes to the same weights, and is metered."""
    from bocb_hf.engine.run import train_run

    learnt: dict[str, Any] = {}
    precisions = ("fp32", "bf16", "fp16") if device == "cuda" else ("fp32",)
    forms: dict[str, dict[str, dict[str, Any]]] = {p: {"training": {"precision": p}} for p in precisions}
    half = "bf16"
    if device == "cuda":
        forms["channels_last"] = {"training": {"precision": half}, "runtime": {"channels_last": True}}
        forms["tf32"] = {"runtime": {"tf32": True}}
        forms["compile_model"] = {"training": {"precision": half}, "runtime": {"compile_model": True}}
        forms["cuda_graphs"] = {
            **{"training": {"precision": half}},
            **{"runtime": {"compile_model": True, "cuda_graphs": True}},
        }
        forms["compile_optimizer"] = {"runtime": {"compile_optimizer": True}}
    forms["deterministic"] = {"runtime": {"deterministic": True}}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, changes in forms.items():

            def attempt(name: str = name, changes: dict[str, dict[str, Any]] = changes) -> dict[str, Any]:
                record = learnt[name] = train_run(configure(folder, name, tiny, **changes))
                loss, top1 = record.metrics.train_loss, record.metrics.test_top1
                assert record.status == "completed" and loss is not None and top1 is not None
                assert loss.initial is not None and loss.last is not None and loss.last < loss.initial, "did not learn"
                return {"top1": top1.last, "images_per_second": record.cost.images_per_second}

            check(name, attempt)
        check("resume", lambda: resume(folder, tiny, learnt["deterministic"].weights_sha256))
        if device == "cuda":
            check("energy", lambda: energy(learnt))


def check(name: str, attempt: Callable[[], dict[str, Any]]) -> None:
    """Prints whether something works; its failure ends nothing else."""
    started = time.perf_counter()
    try:
        found = attempt() | {"passed": True}
    except Exception as error:
        found = {"passed": False, "reason": f"{type(error).__name__}: {error}"[:400]}
    say(f"check {name}", seconds=time.perf_counter() - started, **found)


def resume(folder: Path, tiny: bool, undisturbed: str) -> dict[str, Any]:
    """A run that is stopped midway and continued ends with the weights of the one that was not."""
    import signal

    from bocb_hf.engine.interrupt import StopSignal
    from bocb_hf.engine.run import train_run

    config = configure(folder, "resume", tiny, runtime={"deterministic": True})
    stop = StopSignal()

    def on_step(done: int, total: int) -> None:
        if done == total // 2:
            stop.received = signal.SIGTERM

    stopped = train_run(config, stop, on_step)
    assert stopped.status == "interrupted", f"the run was not stopped, but is {stopped.status}"
    record = train_run(config)
    assert record.weights_sha256 == undisturbed, "the weights are not those of the run that was not stopped"
    return {"stopped_step": stopped.stopped_step, "of": record.total_steps}


def energy(learnt: dict[str, Any]) -> dict[str, Any]:
    """The driver's counter was read, and gives a power that a GPU can draw."""
    record = learnt["fp32"]
    assert record.cost.energy_source == "nvml", f"the energy comes from {record.cost.energy_source}"
    watts = record.cost.energy_joules / record.cost.wall_seconds
    assert 10 < watts < 2000, f"{watts:.0f} W"
    return {"watts": watts}


def loop(device: str, tiny: bool) -> None:
    """Our loop beside the bare loop, as ``benchmarks/loop.py`` has it."""
    from loop import compare

    rounds, seconds = (2, 0.05) if tiny else (7, 0.5)
    for network in ("tiny_resnet",) if tiny else ("tiny_resnet", "tiny_convnext", "tiny_vit"):
        for precision in ("fp32", "bf16") if device == "cuda" else ("fp32",):
            found = compare(network, precision, 16 if tiny else 128, rounds, seconds)
            _say_pairs(f"loop {network} {precision}", found, 16 if tiny else 128)
    for network in ("tiny_resnet",) if tiny else ("tiny_resnet", "tiny_vit"):
        graphs(network, device, 16 if tiny else 64, 2 if tiny else 50)


def graphs(network: str, device: str, batch: int, steps: int) -> None:
    """Forward and backward passes of a small network: plain, compiled, and compiled and replayed as CUDA graphs."""
    import timm
    import torch

    from bocb_hf.backbones.definition import define_backbone
    from bocb_hf.engine.compiled_network import compile_network

    forms = ("plain", "compiled", "graphs") if device == "cuda" else ("plain",)
    images, labels = torch.randn(batch, 3, 32, 32, device=device), torch.zeros(batch, dtype=torch.int64, device=device)
    kind = define_backbone(network, 32)
    models = {
        form: timm.create_model(kind.architecture, num_classes=10, **kind.args).to(device).train() for form in forms
    }

    def seconds(form: str) -> float:
        started = time.perf_counter()
        for _ in range(steps):
            models[form].zero_grad()
            torch.nn.functional.cross_entropy(models[form](images), labels).backward()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    for form in forms:
        if form != "plain":
            compile_network(models[form], form == "graphs")
        seconds(form)  # compiles, records, warms up
    found = [{form: seconds(form) for form in forms} for _ in range(5)]
    for form in forms:
        ratios = sorted(one["plain"] / one[form] for one in found)
        rate = statistics.median(batch * steps / one[form] for one in found)
        name = f"{form} passes of {network}"
        say(name, images_per_second=rate, ratio=statistics.median(ratios), low=ratios[0], high=ratios[-1])


def _say_pairs(figure: str, found: list[Any], batch: int, **more: Any) -> None:
    ratios = sorted(pair.bare.wall / pair.ours.wall for pair in found)
    ours, bare = (statistics.median(batch * p.steps / getattr(p, who).wall for p in found) for who in ("ours", "bare"))
    say(figure, ours=ours, bare=bare, ratio=statistics.median(ratios), low=ratios[0], high=ratios[-1], **more)


def networks(device: str, tiny: bool) -> None:
    """The study's networks at its sizes: images a second in both loops, and what that is of the device's arithmetic."""
    import torch
    from loop import compare
    from timm import create_model
    from torch.utils.flop_counter import FlopCounterMode

    size = 32 if tiny else 224
    for name, batch in NETWORKS[tiny]:
        precision, rounds, seconds = "bf16" if device == "cuda" else "fp32", *((2, 0.05) if tiny else (4, 2.0))
        found = compare(name, precision, batch, rounds, seconds, size)
        more: dict[str, Any] = {}
        if not tiny:
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                create_model(name, num_classes=10)(torch.zeros(1, 3, size, size))
            ours = statistics.median(batch * p.steps / p.ours.wall for p in found)
            more["tflops"] = 3 * counter.get_total_flops() * ours / 1e12
        if not tiny and device == "cuda":
            more["of_matmul"] = more["tflops"] / matmul_tflops(device)
            more["memory_gb"] = torch.cuda.max_memory_allocated() / 2**30
        _say_pairs(f"network {name} {size} px, batch {batch}", found, batch, **more)


def matmul_tflops(device: str, side: int = 8192) -> float:
    """What one product of bf16 matrices reaches on this device, which is the peak that a network could."""
    import torch

    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    for _ in range(3):
        torch.matmul(a, a)
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(20):
        torch.matmul(a, a)
    torch.cuda.synchronize()
    return 20 * 2 * side**3 / (time.perf_counter() - started) / 1e12


def end_to_end(device: str, tiny: bool) -> None:
    """A whole epoch with DeiT's augmentation: our run beside a plain loop over timm's transforms and a DataLoader."""
    import torch
    from plain_epochs import plain_images_per_second

    from bocb_hf.engine.prepare import prepare_run
    from bocb_hf.engine.run import train_run

    deit = {
        **{"crop_padding": 0, "crop_scale": (0.08, 1.0), "horizontal_flip": True, "randaugment_magnitude": 9},
        **{"random_erasing": 0.25, "mixup_alpha": 0.8, "cutmix_alpha": 1.0},
    }
    precision = "bf16" if device == "cuda" else "fp32"
    for name in ("tiny_vit",) if tiny else ("tiny_vit", "deit_small_patch16_224"):
        with tempfile.TemporaryDirectory() as folder:
            changes = {"backbone": {"name": name}, "augmentation": deit, "training": {"precision": precision}}
            config = configure(Path(folder), "ours", tiny, **changes)
            plain = plain_images_per_second(prepare_run(config), torch.device(device), 1 if tiny else 2)
            record = train_run(config)
        ours = record.cost.images_per_second
        say(f"end to end {name}", ours=ours, plain=plain, ratio=ours / plain, waited=record.cost.waited_seconds)


def cells(device: str, tiny: bool) -> None:
    """Cells an hour with so many processes on one device, each warm and with its share of the cells."""
    base = 0.0
    for processes in CELLS[tiny]:
        each = 1 if tiny else 2
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", _CELL, str(Path(__file__).parent)]
            running = [
                subprocess.Popen(
                    [*command, f"{folder}/{i}", str(each), "tiny" if tiny else ""],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for i in range(processes)
            ]
            for process in running:  # all are warm before the clock starts
                assert process.stdout is not None
                if not any(line.strip() == "ready" for line in process.stdout):
                    raise SystemExit("a process ended before its first cell")
            started = time.perf_counter()
            for process in running:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            codes = [process.wait() for process in running]
            seconds = time.perf_counter() - started
        if any(codes):
            raise SystemExit(f"{processes} processes ended with {codes}")
        rate = 3600 * processes * each / seconds
        base = base or rate
        say(f"cells, {processes} at once", cells_an_hour=rate, ratio=rate / base)


def train_cells(folder: str, count: str, tiny: str) -> None:
    """Trains one cell to be warm, says so, and on a line of input so many more."""
    from bocb_hf.engine.run import train_run

    train_run(configure(Path(folder), "warm", tiny == "tiny"))
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(count)):
        train_run(configure(Path(folder), f"cell{number}", tiny == "tiny"))


def optimizers(device: str, tiny: bool) -> None:
    """A step of each optimizer beside torch's AdamW, on the parameters of ResNet-50."""
    import torch
    from optimizers import Stepper, build

    from bocb_hf.optim import OPTIMIZERS

    at = torch.device(device)
    model = torch.nn.Linear(8, 8).to(at) if tiny else build("resnet50")[0].to(at)
    adamw = Stepper(OPTIMIZERS.get("adamw"), model)
    ends = time.monotonic() + 0.8 * float(os.environ.get("BOCB_GPU_SECONDS", "60"))
    for name in ("sgdm", "lion") if tiny else OPTIMIZERS.names():
        if time.monotonic() > ends:
            say("optimizers", skipped=f"no time was left from {name} on")
            break
        stepper = Stepper(OPTIMIZERS.get(name), model)
        adamw.step(at)
        stepper.average_step(at)
        pairs = [(stepper.average_step(at), adamw.step(at)) for _ in range(3 if tiny else 7)]
        ratio = statistics.median(own / usual for own, usual in pairs)
        say(f"optimizer {name}", milliseconds=1e3 * statistics.median(own for own, _ in pairs), to_adamw=ratio)
        del stepper


if __name__ == "__main__":
    groups = {f.__name__: f for f in (environment, checks, loop, networks, end_to_end, cells, optimizers)}
    groups[sys.argv[1]](sys.argv[2], "tiny" in sys.argv[3:])
