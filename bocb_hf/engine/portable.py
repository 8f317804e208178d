"""Limits what a CPU computes with to the instructions of AVX2, before torch starts. Importing this needs no torch.

oneDNN, ATen and MKL each choose the newest instructions that the processor has: AVX2, AVX-512 or AMX. Each choice adds
floating-point numbers in another order, so the same run gives other weights. With these limits every x86 processor of
the last ten years computes the same numbers; newer ones lose some speed by it.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Sequence
from typing import NoReturn

from bocb_hf.errors import InputError
from bocb_hf.resources import resource

log = logging.getLogger(__name__)

# Each library reads its own variable when it is first used.
LIMITS = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "MKL_CBWR": "AVX2",
}


def limits_hold() -> bool:
    """Whether the environment variables are set, so that torch is limited if it was imported after that."""
    return all(os.environ.get(name) == value for name, value in LIMITS.items())


def limit_instructions() -> None:
    """Sets the limits for this process and those that it starts; they change nothing on a processor that is not x86.

    Raises:
        InputError: torch was imported before, without the limits.
    """
    if limits_hold():
        return
    if must_start_again():
        raise InputError(
            "runtime.portable: torch was imported before its instructions could be limited; start the run with "
            f"`bocb train` or recipes/train.py, or set {' '.join(f'{k}={v}' for k, v in LIMITS.items())} before python"
        )
    if platform.machine().lower() not in ("x86_64", "amd64"):
        log.warning(
            "runtime.portable limits x86 processors only; the weights that this one (%s) gives will differ from theirs",
            platform.machine(),
        )
    os.environ |= LIMITS


def must_start_again() -> bool:
    """Whether torch runs in this process without the limits, so that only a new process can run within them."""
    return "torch" in sys.modules and not limits_hold()


def start_again(arguments: Sequence[str]) -> NoReturn:
    """Replaces this process by ``recipes/train.py`` with these arguments, within the limits."""
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, str(resource("recipes/train.py")), *arguments]
    os.execve(sys.executable, command, os.environ | LIMITS)


def check_limited() -> None:
    """Checks that torch runs within the limits that ``runtime.portable`` promises.

    Raises:
        InputError: torch runs without the limits.
    """
    import torch

    limit_instructions()
    capability = torch.backends.cpu.get_cpu_capability()
    if "512" in capability:
        raise InputError(
            f"runtime.portable: torch computes with {capability} although it was told to use AVX2: the variables "
            f"{', '.join(LIMITS)} were set after it had started; set them before python starts"
        )
