"""Describes software, kind of hardware and resources of a run, without host name, user name or path."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bocb_hf.engine.compiled_network import compiled_parts
from bocb_hf.engine.portable import limits_hold
from bocb_hf.runs.measurements import Environment
from bocb_hf.runs.runtime_config import RuntimeConfig
from bocb_hf.version import __version__

# Instruction sets that oneDNN distinguishes, from the oldest to the newest, each with the processor feature it needs.
_ONEDNN_ISA = {
    "SSE41": "sse4_1",
    "AVX": "avx",
    "AVX2": "avx2",
    "AVX2_VNNI": "avx_vnni",
    "AVX512_CORE": "avx512_bw",
    "AVX512_CORE_VNNI": "avx512_vnni",
    "AVX512_CORE_BF16": "avx512_bf16",
    "AVX512_CORE_FP16": "avx512_fp16",
    "AVX512_CORE_AMX": "amx_bf16",
    "AVX512_CORE_AMX_FP16": "amx_fp16",
}
_LIBRARIES = ("torch", "torchvision", "timm", "transformers", "accelerate", "datasets", "evaluate", "numpy")


def set_numerics(runtime: RuntimeConfig) -> None:
    """Sets every switch of torch that changes numbers, on or off: a warm worker may have run another setting before."""
    if runtime.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.use_deterministic_algorithms(runtime.deterministic)
    torch.backends.cudnn.benchmark = not runtime.deterministic
    torch.backends.cudnn.deterministic = runtime.deterministic
    torch.backends.cuda.matmul.allow_tf32 = runtime.tf32
    torch.backends.cudnn.allow_tf32 = runtime.tf32


def describe_environment(
    device: torch.device, processes: int, micro_batch: int, runtime: RuntimeConfig | None = None
) -> Environment:
    """Describes the software and hardware that a run executes on.

    Args:
        device: Device of this process.
        processes: Number of processes.
        micro_batch: Number of images that the network sees at once.
        runtime: Runtime configuration of the run, for its memory format and compilation.
    """
    return Environment(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        processes=processes,
        micro_batch=micro_batch,
        threads=torch.get_num_threads(),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        tf32=runtime is not None and runtime.tf32 and device.type == "cuda",
        channels_last=runtime is not None and runtime.channels_last,
        compiled=[] if runtime is None else compiled_parts(runtime),
        cpu_capability=torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else None,
        onednn_isa=onednn_isa() if device.type == "cpu" else None,
        processor=processor_name() if device.type == "cpu" else None,
        portable=device.type == "cpu" and limits_hold(),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        libraries={name: _version(name) for name in _LIBRARIES},
        code_version=__version__,
        code_commit=code_commit(),
    )


def onednn_isa() -> str | None:
    """The newest instruction set that oneDNN may use: of those of the processor, within ``ONEDNN_MAX_CPU_ISA``.

    Returns:
        oneDNN's name for it; None where the processor is not x86, or where torch (before 2.10) does not tell its
        features.
    """
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is None:
        return None
    found = capabilities()
    allowed = [name for name, feature in _ONEDNN_ISA.items() if found.get(feature)]
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    if limit in _ONEDNN_ISA:
        names = list(_ONEDNN_ISA)
        allowed = [name for name in allowed if names.index(name) <= names.index(limit)]
    return allowed[-1] if allowed else None


@functools.cache
def processor_name() -> str | None:
    """Product name of the processor, such as ``AMD EPYC 9B14``; None where the system does not tell it."""
    try:
        if sys.platform == "linux":
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
            name = next((line.partition(":")[2] for line in lines if line.startswith("model name")), "")
        elif sys.platform == "darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            name = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
        else:
            name = platform.processor()
    except (OSError, subprocess.SubprocessError):
        return None
    return " ".join("".join(c for c in name if c.isprintable()).split())[:100] or None


@functools.cache
def code_commit() -> str | None:
    """Commit of the checkout that this package runs from, with ``-dirty`` if files differ; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    commands = (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
    try:
        head, changes = (
            subprocess.run(["git", "-C", str(root), *c], capture_output=True, text=True, check=True, timeout=10).stdout
            for c in commands
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.strip() + ("-dirty" if changes.strip() else "")


def peak_memory(device: torch.device) -> int:
    """Largest memory use so far in bytes: memory allocated on a GPU, else the resident set of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":  # which has no module `resource`
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def count_flops(model: nn.Module, image_size: int, width: int | None = None) -> int:
    """Floating-point operations of one forward pass over one image, as torch counts them (2 for each multiply-add).

    Args:
        model: The network.
        image_size: Height of the image in pixels.
        width: Width of the image in pixels, where it is not the height.
    """
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, image_size, width or image_size, device=device))
    model.train(training)
    return counter.get_total_flops()


@functools.cache  # it reads and parses a file for each library, and a warm worker asks after every run
def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
