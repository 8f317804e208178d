"""One process of several that train with FSDP2 on the CPU, for ``test_sharding``.

accelerate offers FSDP on GPUs only, so the processes are taken for those of GPUs, whose device happens to be the CPU.
Beside that everything is what runs on GPUs, with gloo for NCCL.

    accelerate launch --config_file recipes/accelerate/fsdp.yaml ... sharded_process.py CONFIG RUNS

RUNS is a JSON list of runs of one configuration, which come one after another: overrides, and after how many steps to
stop, or null.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import DistributedType
from runs import StopAfter

from bocb_hf.engine import evaluation
from bocb_hf.engine.run import train_run
from bocb_hf.runs.load_config import load_run_config

SMALL_BATCH = 50  # of evaluation: of 101 images two processes take 51 and 50, which are two batches and one


def main(config: str, runs: str) -> None:
    """Trains."""
    state = PartialState(cpu=True)
    evaluation.BATCH = SMALL_BATCH
    for overrides, stop in json.loads(runs):
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        train_run(load_run_config(Path(config), overrides), None if stop is None else StopAfter(stop))
    state.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
