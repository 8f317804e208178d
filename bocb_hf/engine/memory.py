"""Sets up the memory allocator of a process that trains on a CPU."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
_NEVER, _LARGEST = -1, 32 * 2**20


def keep_freed_memory() -> bool:
    """Lets glibc keep what a step frees for the next one; it changes no number.

    By default glibc hands the free end of the heap back to the system. Whether there is one depends on what happens to
    lie behind the freed memory. The next step then has every page of its activations mapped and zeroed anew: 40,000
    pages and 6 % of the processor time of a step of DeiT-Ti/4 on 64 images of 32 px. Tensors of more than 32 MiB still
    come from the system and go back to it.

    Returns:
        Whether this process has glibc's allocator.
    """
    mallopt: Any = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    # both thresholds are set, since setting one of them ends glibc's own adjustment of the other
    return mallopt is not None and mallopt(_MMAP_THRESHOLD, _LARGEST) == mallopt(_TRIM_THRESHOLD, _NEVER) == 1
