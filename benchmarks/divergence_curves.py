"""Trains the trials of the demo without ever ending one early, and keeps their loss curves.

    python benchmarks/divergence_curves.py [steps ...] > tests/engine/divergence_curves.json

Each backbone × optimizer of the demo is trained with the tuning seed at the learning rates of its grid and beyond it:
``steps`` are powers of the grid's factor around the centre (default: -1 0 1 2 3, about 20 minutes on one core). A run
ends only where its loss is not finite. A curve holds the mean loss of every ``THIN`` steps, so that the means of whole
epochs follow from it; ``tests/engine/test_divergence.py`` tests the rules of divergence on them.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bocb_hf.engine.portable import limit_instructions

limit_instructions()  # before torch is imported

from bocb_hf.engine.divergence import DivergenceRule  # noqa: E402 - see above
from bocb_hf.engine.progress import Progress  # noqa: E402 - see above
from bocb_hf.engine.run import train_run  # noqa: E402 - see above
from bocb_hf.optim import OPTIMIZERS  # noqa: E402 - see above
from bocb_hf.resources import find_config  # noqa: E402 - see above
from bocb_hf.runs.load_config import load_run_config  # noqa: E402 - see above
from bocb_hf.sweep.plan import SweepPlan, load_plan  # noqa: E402 - see above

THIN = 3  # divides the 93 steps of an epoch


class Recorder(Progress):
    """Keeps every loss, and ends a run for no other reason than a loss that is not finite."""

    losses: list[float] = []  # noqa: RUF012 - of the run in progress

    def watch(self, losses: list[float], rule: DivergenceRule) -> bool:
        """As ``Progress.watch``, under a rule that judges nothing before the end."""
        Recorder.losses += losses
        return super().watch(losses, DivergenceRule(rule.reference))

    def end_epoch(self, rule: DivergenceRule, last: bool) -> None:
        """As ``Progress.end_epoch``, without a verdict."""
        super().end_epoch(DivergenceRule(rule.reference), last=False)


def train(plan: SweepPlan, backbone: str, optimizer: str, power: int, folder: str) -> dict[str, Any]:
    """One trial; its curve ends with the last whole part before a loss that is not finite."""
    path = find_config(plan.configs[0], "recipes/configs")
    names = [f"backbone.name={backbone}", f"optimizer.name={optimizer}", f"seed={plan.tuning.seeds[0]}", "role=trial"]
    places = [f"runtime.store={folder}/store", f"runtime.state_dir={folder}/state", "runtime.tracker=none"]
    setting = load_run_config(path, names).setting
    lr = float(f"{OPTIMIZERS.get(optimizer).centre(setting).lr * plan.tuning.factor**power:.4g}")
    overrides = [*names, *plan.overrides, *places, "runtime.threads=1", f"optimizer.lr={lr!r}"]
    Recorder.losses = []
    record = train_run(load_run_config(path, overrides))
    return curve(backbone, optimizer, lr, Recorder.losses, record.total_steps, record.identity.training.epochs)


def curve(
    backbone: str, optimizer: str, lr: float, losses: Sequence[float | None], total: int, epochs: int
) -> dict[str, Any]:
    """A run as it is kept: means of ``THIN`` losses, and the step whose loss was not finite, if there was one."""
    bad = next((i for i, loss in enumerate(losses) if loss is None or not math.isfinite(loss)), None)
    known = [loss for loss in losses[:bad] if loss is not None]
    parts = [known[i : i + THIN] for i in range(0, len(known) - THIN + 1, THIN)]
    return {
        "backbone": backbone,
        "optimizer": optimizer,
        "lr": lr,
        "steps_per_epoch": total // epochs,
        "epochs": epochs,
        "not_finite_at": None if bad is None else bad + 1,
        "loss": [float(f"{sum(part) / THIN:.4g}") for part in parts],
    }


def main(argv: Sequence[str]) -> int:
    """Prints the curves as JSON, one run a line."""
    import bocb_hf.engine.loop as loop

    loop.Progress = Recorder  # type: ignore[misc] - watched here only
    plan = load_plan(Path(find_config("demo", "recipes/sweeps")))
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for power in map(int, argv or ("-1", "0", "1", "2", "3")):
            for optimizer in plan.optimizers:
                for backbone in plan.backbones:
                    runs.append(train(plan, backbone, optimizer, power, folder))
                    print(f"{backbone} × {optimizer} × {runs[-1]['lr']:g}", file=sys.stderr)
    print("[\n" + ",\n".join(json.dumps(run) for run in runs) + "\n]")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
