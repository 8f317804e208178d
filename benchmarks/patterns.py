"""What the instrument of weight patterns costs beside WeightWatcher, on the same files in one run, at equal α.

    python benchmarks/patterns.py --weightwatcher PYTHON > benchmarks/patterns.txt

writes a randomly initialised ResNet-50 and ViT-B/16 as safetensors and gives each to both tools, in turn and each in a
process of its own. PYTHON is an interpreter that has weightwatcher and its dependencies (an environment of its own:
``pip install weightwatcher`` drags much); without it only this project is measured. CPU seconds are those of all
threads of the process; they are what a loaded machine leaves comparable. Memory is the peak of the resident set above
that before the first file was opened.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NETWORKS = ("resnet50", "vit_base_patch16_224")
TOLERANCE = 1e-4  # relative, of α; records keep 6 digits, and both tools compute in float64
THREADS = os.environ.get("BENCHMARK_THREADS", "2")


def write_network(name: str, folder: Path) -> None:
    """Writes an untrained network of timm."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    state = timm.create_model(name).state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "model.safetensors")


def write_large_layer(folder: Path) -> None:
    """Writes one layer of 4,096 × 9,216."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    save_file({"fc.weight": torch.randn(4096, 9216) / 96}, folder / "model.safetensors")


class Watch:
    """Seconds, CPU seconds and peak memory of this process from now on."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        self.baseline = self._status("VmRSS")
        self.started, self.used = time.perf_counter(), _cpu()

    @staticmethod
    def _status(field: str) -> int:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return 1024 * int(line.split()[1])
        raise RuntimeError(f"no {field}")

    def result(self) -> dict[str, float]:
        """What was used, in seconds and bytes."""
        found = {"wall": time.perf_counter() - self.started, "cpu": _cpu() - self.used}
        return found | {"peak": self._status("VmHWM") - self.baseline}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure_ours(folder: Path, kernels: Any) -> dict[str, Any]:
    """α of each layer by this project, with what it took."""
    import numpy as np

    from bocb_hf.patterns.measure import is_layer, measure_layer
    from bocb_hf.patterns.tensors import find_weights, read_headers

    _ = np.linalg.eigvalsh(np.eye(3)) @ np.ones(3)  # the libraries' threads and buffers are there before the baseline
    measure_layer("warm.weight", np.random.default_rng(0).normal(size=(40, 50)))
    watch = Watch()
    fits: dict[str, Any] = {}
    largest = side = 0
    for name, tensor in read_headers(find_weights(folder)).items():
        if is_layer(name, tensor.shape):
            weight = tensor.read()
            largest = max(largest, weight.nbytes)
            matrices = [weight.shape[:2]] if kernels == "slices" else [(len(weight), weight.size // len(weight))]
            side = max(side, *(min(shape) for shape in matrices))
            found = measure_layer(name, weight, kernels, tensor.widen)
            del weight
            if found is not None and found.fit is not None:
                fits[name.removesuffix(".weight")] = found.fit.model_dump()
    return watch.result() | {"fits": fits, "largest": largest, "workspace": 2 * 8 * side**2}


def measure_weightwatcher(folder: Path) -> dict[str, Any]:
    """α of each layer by WeightWatcher with its defaults, with what it took."""
    import contextlib
    import io
    import logging

    with contextlib.redirect_stdout(io.StringIO()):
        import weightwatcher  # pyright: ignore[reportMissingImports] - of the extra `comparison`
    logging.disable(logging.CRITICAL)
    watch = Watch()
    with contextlib.redirect_stdout(io.StringIO()):
        details = weightwatcher.WeightWatcher().analyze(model=str(folder))
    result: dict[str, Any] = watch.result()
    columns = (details["longname"], details["alpha"], details["D"], details["num_evals"], details["status"])
    fits = {n: {"alpha": a, "D": d, "evals": int(e), "status": s} for n, a, d, e, s in zip(*columns, strict=True)}
    return result | {"fits": fits, "version": weightwatcher.__version__}


def measure_method(folder: Path) -> dict[str, Any]:
    """The spectrum of the one large layer by our method and by singular values, in float64."""
    import numpy as np

    from bocb_hf.patterns.measure import spectra
    from bocb_hf.patterns.power_law import fit_tail
    from bocb_hf.patterns.tensors import read_headers

    (tensor,) = read_headers([folder / "model.safetensors"]).values()
    weight = tensor.read()
    watch = Watch()
    ours, _ = spectra(weight)
    fit = fit_tail(ours)
    result = {"ours": watch.result() | {"alpha": fit.exponent}}
    watch = Watch()
    singular = np.square(np.linalg.svd(weight.astype(np.float64), compute_uv=False))
    exact = fit_tail(singular)
    result["svd"] = watch.result() | {"alpha": exact.exponent}
    return result | {"error": float(np.abs(ours / singular - 1).max()), "largest": weight.nbytes}


def run(python: str, *words: str) -> dict[str, Any]:
    """One measurement in a process of its own, with ``THREADS`` threads."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), THREADS)
    environment = os.environ | threads | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [python, __file__, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise RuntimeError(f"{words}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Lines on how far the exponents of both agree."""
    equal, apart, small, missing = [], [], [], []
    for name, fit in theirs["fits"].items():
        own = ours["fits"].get(name)
        if own is None or own["exponent"] is None or fit["status"] == "failed":
            missing.append(name)
        elif fit["evals"] < 20:
            small.append(name)
        else:
            difference = abs(own["exponent"] / fit["alpha"] - 1)
            (equal if difference <= TOLERANCE else apart).append((difference, name))
    worst = max((d for d, _ in equal), default=0.0)
    lines = [f"  α equal within {TOLERANCE:g} for {len(equal)} of {len(theirs['fits'])} layers (at most {worst:.1e})"]
    if apart:
        lines.append("  not equal: " + ", ".join(f"{name} ({d:.1e})" for d, name in apart))
    if small:
        lines.append("  fewer than 20 eigenvalues, where WeightWatcher corrects for small n: " + ", ".join(small))
    if missing:
        lines.append("  without an exponent in one of both: " + ", ".join(missing))
    only = sorted(ours["fits"].keys() - theirs["fits"].keys())
    if only:
        lines.append("  layers that WeightWatcher leaves out: " + ", ".join(only))
    return lines


def amounts(name: str, found: dict[str, Any]) -> str:
    """One line: what a measurement took."""
    return (
        f"  {name:34} {found['wall']:8.1f} s  {found['cpu']:8.1f} CPU s  {found['peak'] / 1e6:8.1f} MB above baseline"
    )


def main() -> None:
    """Measures all, or the one thing that a process of its own was started for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weightwatcher", metavar="PYTHON")
    parser.add_argument("--no-large-layer", action="store_true")
    parser.add_argument("part", nargs="*")
    given = parser.parse_args()
    if given.part:
        kind, folder, *rest = given.part
        parts = {"ours": measure_ours, "weightwatcher": measure_weightwatcher, "method": measure_method}
        print(json.dumps(parts[kind](Path(folder), *rest)))
        return
    print(
        f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {THREADS} threads a process"
    )
    with tempfile.TemporaryDirectory() as temporary:
        for network in NETWORKS:
            folder = Path(temporary) / network
            write_network(network, folder)
            rows = run(sys.executable, "ours", str(folder), "rows")
            slices = run(sys.executable, "ours", str(folder), "slices")
            print(f"\n{network}, random weights, {sum(1 for _ in slices['fits'])} layers")
            print(amounts("bocb analyze, kernels as rows", rows))
            print(amounts("bocb analyze, kernels as slices", slices))
            for name, found in (("rows", rows), ("slices", slices)):
                bound = 1.5 * found["largest"] + found["workspace"]
                print(
                    f"  memory, {name}: largest layer {found['largest'] / 1e6:.1f} MB, work space of two Gram matrices "
                    f"{found['workspace'] / 1e6:.1f} MB; peak is {found['peak'] / bound:.2f} of 1.5 layers + work space"
                )
            if given.weightwatcher:
                theirs = run(given.weightwatcher, "weightwatcher", str(folder))
                again = run(sys.executable, "ours", str(folder), "slices")
                print(amounts("bocb analyze, slices, once more", again))
                print(amounts(f"WeightWatcher {theirs['version']}", theirs))
                best = {key: min(slices[key], again[key]) for key in ("wall", "cpu")}
                print(
                    f"  WeightWatcher takes {theirs['cpu'] / best['cpu']:.1f} times the CPU time and "
                    f"{theirs['wall'] / best['wall']:.1f} times the wall time"
                )
                print("\n".join(compare(slices, theirs)), flush=True)
        if not given.no_large_layer:
            folder = Path(temporary) / "large"
            write_large_layer(folder)
            found = run(sys.executable, "method", str(folder))
            print("\none layer of 4,096 × 9,216, whole spectrum in float64")
            print(amounts("Gram matrix, eigenvalues (ours)", found["ours"]))
            print(amounts("singular values (numpy, gesdd)", found["svd"]))
            print(
                f"  largest relative difference of an eigenvalue {found['error']:.1e}; α {found['ours']['alpha']} and "
                f"{found['svd']['alpha']}"
            )
    print(f"\nload of the machine after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
