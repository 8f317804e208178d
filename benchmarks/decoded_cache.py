"""Time, memory and size of the decoded cache for 10,000 to 1,000,000 small images.

    python benchmarks/decoded_cache.py > benchmarks/decoded_cache.txt

The images are those of the embedded subset of Fashion-MNIST with noise, as PNG in Parquet, decoded to 32 px. Every
number comes from a process of its own: one finds no cache and decodes, one finds the file (and opens it five times; the
median counts), one decodes while it reads.
"Own" memory is what no file backs, above what the process held once it had opened the data set; pages of the mapped
file are the system's, and shared. Needs about 6 GB in the folder for temporary files.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import io
import json
import logging
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bocb_hf.data import DATASETS

SHARD = 25_000
BATCH = 128
LONGEST = 5.0  # seconds of reading
ROUNDS = 5
NAME = "set"  # of the data set's folder


@functools.cache
def read_pixels() -> NDArray[np.uint8]:
    """The training images of the embedded set, (6000, 28, 28)."""
    table: Any = datasets.load_dataset(str(DATASETS.get("fashion_mnist_subset").embedded), split="train")
    return np.stack([np.asarray(image) for image in table["image"]])


def write_shard(job: tuple[Path, int, int]) -> None:
    """Writes ``count`` images, the pixels of which got noise of up to two levels."""
    path, seed, count = job
    generator = np.random.default_rng(seed)
    pixels = read_pixels()
    pixels = pixels[generator.integers(len(pixels), size=count)]
    noisy = (pixels + generator.integers(-2, 3, pixels.shape) * (pixels > 0)).clip(0, 255).astype(np.uint8)
    encoded: list[dict[str, Any]] = []
    for image in noisy:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="PNG")
        encoded.append({"bytes": buffer.getvalue(), "path": None})
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=10)})
    labels = generator.integers(10, size=count).tolist()
    datasets.Dataset.from_dict({"image": encoded, "label": labels}, features=features).to_parquet(path)


def write_set(folder: Path, count: int) -> None:
    """A data set of ``count`` training and 1,000 test images."""
    folder.mkdir(parents=True)
    shards = -(-count // SHARD)
    jobs = [
        (folder / f"train-{i:05d}-of-{shards:05d}.parquet", i, min(SHARD, count - i * SHARD)) for i in range(shards)
    ]
    jobs.append((folder / "test-00000-of-00001.parquet", shards, 1000))
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        pool.map(write_shard, jobs, chunksize=1)


def own_memory() -> int:
    """Bytes of this process that no file backs (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def cpu_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure(folder: Path, cache: Path, way: str) -> dict[str, float]:
    """Opens the train split of a folder in this process, and reads of it, for up to 5 s.

    Args:
        folder: Of the data set.
        cache: Folder of the decoded file.
        way: ``file``, or ``workers`` for a budget that the split does not fit.
    """
    from bocb_hf.data.batches import open_source
    from bocb_hf.data.decode import Centre
    from bocb_hf.data.hold import find_limits, hold_split
    from bocb_hf.data.labels import read_labels
    from bocb_hf.data.load import open_data
    from bocb_hf.data.source import Order
    from bocb_hf.runs.runtime_config import RuntimeConfig

    started = time.perf_counter()
    data = open_data(str(folder), None, streaming=False)
    columns = ("image", "label")
    read_labels(data, "train", "label")
    opened = time.perf_counter() - started
    before, spent = own_memory(), cpu_seconds()
    limits = find_limits(RuntimeConfig(cache_dir=str(cache), memory_budget_gb=8.0 if way == "file" else 1e-6))
    times: list[float] = []
    for _ in range(ROUNDS if any(cache.glob("*.safetensors")) else 1):
        hold_split.cache_clear()
        started = time.perf_counter()
        images = hold_split(data, "train", columns, Centre(32), None, limits)
        times.append(time.perf_counter() - started)
    spent, added = cpu_seconds() - spent, own_memory() - before
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    source = open_source(images, Order(len(images), BATCH, seed=0))
    started, batches = time.perf_counter(), 0
    for _ in source.steps(0, 0):
        batches += 1
        if time.perf_counter() - started > LONGEST:
            break
    read = BATCH * batches / (time.perf_counter() - started)
    added_reading = own_memory() - before
    source.close()
    return {
        "opened": opened,
        "held": statistics.median(times),
        "cpu": spent,
        "added": added,
        "added_reading": added_reading,
        "read": read,
        "peak": peak,
    }


def in_process(folder: Path, cache: Path, way: str) -> dict[str, float]:
    """``measure`` in a new process."""
    command = [sys.executable, __file__, "--measure", str(folder), str(cache), way]
    environment = os.environ | {"HF_DATASETS_CACHE": str(folder.parent / "arrow"), "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="for temporary files")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    datasets.disable_progress_bars()
    if arguments.measure:
        logging.disable()
        folder, cache, way = arguments.measure
        print(json.dumps(measure(Path(folder), Path(cache), way)))
        return
    versions = ", ".join(f"{n} {metadata.version(n)}" for n in ("torch", "datasets", "pillow", "safetensors"))
    print(f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}")
    print(f"{versions}; decoding workers as `runtime.workers` chooses: {min(os.cpu_count() or 1, 8)}")
    print(f"load of the machine before the start, over one minute: {os.getloadavg()[0]:.1f} (others share its cores)\n")
    head = (
        "images",
        "file MB",
        "decode s",
        "images/s",
        "CPU µs",
        "own MB",
        "peak MB",
        "open ms",
        "decode/open",
        "own MB",
    )
    print("{:>10}{:>9}{:>10}{:>10}{:>8}{:>8}{:>9}{:>9}{:>13}{:>8}".format(*head))
    reading: list[tuple[int, float, float]] = []
    for count in arguments.sizes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
            folder, cache = Path(temporary) / NAME, Path(temporary) / "cache"
            write_set(folder, count)
            cold = in_process(folder, cache, "file")
            if not list(cache.glob("*.safetensors")):
                raise SystemExit(f"{count} images are below the size that is kept in a file")
            warm = in_process(folder, cache, "file")
            (file,) = cache.glob("*.safetensors")
            print(
                f"{count:>10,}{file.stat().st_size / 1e6:>9,.0f}{cold['held']:>10.1f}{count / cold['held']:>10,.0f}"
                f"{1e6 * cold['cpu'] / count:>8.0f}{cold['added'] / 1e6:>8.0f}{cold['peak'] / 1e6:>9,.0f}"
                f"{1e3 * warm['held']:>9.1f}{cold['held'] / warm['held']:>13,.0f}{warm['added_reading'] / 1e6:>8.0f}",
                flush=True,
            )
            decoding = in_process(folder, cache, "workers")
            reading.append((count, warm["read"], decoding["read"]))
    print(f"\nreading in batches of {BATCH}, images/s\n")
    print("{:>10}{:>16}{:>20}{:>9}".format("images", "from the file", "decoded by workers", "ratio"))
    for count, rate, decoded in reading:
        print(f"{count:>10,}{rate:>16,.0f}{decoded:>20,.0f}{rate / decoded:>9.1f}")
    print("\nCPU µs: an image, over all processes; peak MB: libraries included, before anything is read")
    print("own MB: first of the process that decodes, then of one that opens the file and reads")


if __name__ == "__main__":
    main()
