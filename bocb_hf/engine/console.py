"""Runs a training as a person starts it, with log, progress bar, signals and exit status.

torch is imported only when a run trains, so that a mistake in the arguments is answered at once.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys

from tqdm import tqdm

from bocb_hf.engine.interrupt import StopSignal
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.record import RunRecord

EXIT_OK, EXIT_INPUT, EXIT_INTERRUPTED = 0, 2, 130


def stop_with_launcher() -> None:
    """Asks Linux for SIGTERM when accelerate's launcher dies, since that passes no signal on to an only child."""
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ  # set by the launcher, never by a user's shell
    if launched and sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def show_log(level: int) -> None:
    """Prints log messages of the run itself from ``level`` on, and of its libraries only warnings and errors."""
    logging.basicConfig(level=level, format="%(message)s")
    # huggingface_hub 2 sends its requests through httpx2, other clients and earlier versions through httpx
    for noisy in ("httpx", "httpx2", "huggingface_hub", "timm", "accelerate"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def train_visibly(config: RunConfig, main_process: bool = True) -> RunRecord:
    """``train_run`` with a progress bar, stopped by SIGTERM and SIGINT."""
    from bocb_hf.engine.run import train_run

    with StopSignal() as stop, tqdm(unit="step", disable=not main_process, file=sys.stderr) as bar:

        def on_step(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return train_run(config, stop, on_step)
