"""What a training process keeps of the memory that it has freed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

# Page faults of a round that fills and frees 6 × 20 MiB, after some rounds in which the allocator adjusts itself.
ROUNDS = """
import resource, sys
from bocb_hf.engine.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    filled = [b"x" * (20 * 2**20) for _ in range(6)]
    del filled
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(min([faults() for _ in range(8)][4:]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_what_a_step_frees_is_not_mapped_anew_in_the_next_one() -> None:
    """From an allocator that gives all of it back; by default that depends on what happens to lie where."""
    command = [sys.executable, "-c", ROUNDS]
    gives_back = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    kept, returned = (
        int(subprocess.check_output([*command, how], env=os.environ | gives_back)) for how in ("keep", "return")
    )
    assert 10 * kept < returned  # how many pages that is, the kernel decides
