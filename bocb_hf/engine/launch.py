"""Starts ``recipes/train.py`` through accelerate's launcher and waits for it. Importing this needs no torch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from bocb_hf.resources import resource


def launch_recipe(arguments: Sequence[str], cpu_processes: int | None = None) -> int:
    """Trains in new processes and returns the exit status of the recipe.

    Args:
        arguments: Command-line arguments of the recipe.
        cpu_processes: Number of processes on this machine's CPU; None leaves number and device to the launcher's
            configuration.
    """
    # --quiet, because the recipe has printed what is wrong and the launcher's own traceback would bury it
    command = [sys.executable, "-m", "accelerate.commands.launch", "--quiet"]
    environment = dict(os.environ)
    if cpu_processes is not None:
        # the launcher calls several local processes multi_gpu on any device; the variable makes them use the CPU
        kind = "--multi_gpu" if cpu_processes > 1 else "--cpu"
        command += [kind, "--num_processes", str(cpu_processes), "--num_machines", "1"]
        command += ["--mixed_precision", "no", "--dynamo_backend", "no"]  # defaults that the launcher would warn of
        environment["ACCELERATE_USE_CPU"] = "true"
    command += [str(resource("recipes/train.py")), *arguments]
    with subprocess.Popen(command, env=environment) as launcher:
        while True:
            try:
                return launcher.wait()
            except KeyboardInterrupt:  # the terminal interrupts the launcher too; wait while the run saves
                continue
