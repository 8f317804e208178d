"""AdEMAMix with and without its warm-up of α and β₃, on the embedded images.

    python benchmarks/ademamix.py > benchmarks/ademamix.txt

The paper lets α rise from 0 and β₃ from β₁ over the whole run (``warmup_share=1``), in runs of 256,000 steps with β₃ =
0.9999, which remembers 10,000 steps. A run of the demo takes 279 steps. Each variant is tuned over AdEMAMix's
centre and that of AdamW's demo, and shown with its best one, by mean top-1 of the validation split over the seeds.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import statistics
import tempfile

import torch

from bocb_hf.engine.run import train_run
from bocb_hf.resources import find_config
from bocb_hf.runs.load_config import load_run_config

BACKBONES = ("tiny_resnet", "tiny_vit")
RATES = (1e-3, 3e-3)
VARIANTS = {
    "no warm-up, β₃ 0.9999": {},
    "warm-up over the run, β₃ 0.9999": {"warmup_share": 1.0},
    "warm-up over the run, β₃ 0.99": {"warmup_share": 1.0, "beta3": 0.99},
}


def score(backbone: str, hyperparameters: dict[str, float], lr: float, seed: int, folder: str) -> float:
    """Validation top-1 (percent) after the last epoch, 0 where the run diverged."""
    overrides = [
        f"backbone.name={backbone}",
        "optimizer.name=ademamix",
        f"optimizer.lr={lr!r}",
        "optimizer.weight_decay=0.05",
        f"seed={seed}",
        "role=trial",
        "runtime.tracker=none",
        "runtime.threads=1",
        f"runtime.store={folder}/store",
        f"runtime.state_dir={folder}/state",
        *(f"optimizer.hyperparameters.{name}={value!r}" for name, value in hyperparameters.items()),
    ]
    record = train_run(load_run_config(find_config("fashion_mnist_subset/demo", "recipes/configs"), overrides))
    top1 = record.metrics.val_top1
    return top1.last if record.status == "completed" and top1 is not None and top1.last is not None else 0.0


def main() -> None:
    """Prints a line for each backbone and variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    seeds = parser.parse_args().seeds
    print(
        f"{datetime.date.today()}, {platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"
    )
    print(f"fashion_mnist_subset/demo, weight decay 0.05, {seeds} seeds; best of the learning rates {RATES}")
    print(f"\n{'backbone':<14}{'variant':<34}{'lr':>7}  validation top-1 (each seed)")
    with tempfile.TemporaryDirectory() as folder:
        for backbone in BACKBONES:
            for variant, hyperparameters in VARIANTS.items():
                tried = {
                    lr: [score(backbone, hyperparameters, lr, seed, folder) for seed in range(seeds)] for lr in RATES
                }
                lr, values = max(tried.items(), key=lambda item: statistics.mean(item[1]))
                each = ", ".join(f"{value:.1f}" for value in values)
                print(f"{backbone:<14}{variant:<34}{lr:>7g}  {statistics.mean(values):.1f} ({each})", flush=True)


if __name__ == "__main__":
    main()
