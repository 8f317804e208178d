"""What to do after a comparison: where the best checkpoint lies, and the commands that train it longer and push it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from bocb_hf.compare.answer import Answer
from bocb_hf.compare.folder import Folder
from bocb_hf.page.lead import Step
from bocb_hf.runs.record import RunRecord
from bocb_hf.store.contents import StoreContents
from bocb_hf.sweep.plan import SweepPlan

LONGER = 4  # times the epochs of the comparison


def next_steps(answer: Answer, contents: StoreContents, plan: SweepPlan, folder: Folder, command: str) -> list[Step]:
    """Returns what to do next.

    Args:
        answer: The answer.
        contents: The store of the comparison.
        plan: Its plan.
        folder: Its folder.
        command: The command that goes on with it.
    """
    if answer.best is None:
        return [Step("Go on:", (command,))]
    entry = answer.entry(answer.best)
    record = next(
        r
        for r in contents.records
        if r.role == "final"
        and r.identity.optimizer.name == answer.best
        and r.identity.optimizer.lr == entry.lr
        and r.seed == entry.seeds[0]
    )
    place = contents.places["final", record.run_id].rpartition("/")[0]
    repository = place.rpartition("/seeds/")[0]
    kept = folder.store / "models"
    return [
        Step(f"Checkpoint (seed {record.seed}, the lowest: no seed is picked by its test score): {kept / place}"),
        Step(f"Its card, with the lines that load it in timm and transformers: {kept / repository / 'README.md'}"),
        Step("Train it longer:", (longer_command(plan, record, LONGER * record.identity.training.epochs),)),
        Step("Push everything:", (shlex.join(["bocb", "push", "--store", str(folder.store)]) + " --to hf://<you>",)),
        Step(
            "Go on comparing, or look at how far it is from another shell:",
            (command, shlex.join(["bocb", "status", str(folder.plan_file)])),
        ),
    ]


def longer_command(plan: SweepPlan, record: RunRecord, epochs: int) -> str:
    """The command that trains a run's configuration for more epochs, into a store of its own."""
    beside = ("training.epochs=", "runtime.store=", "runtime.state_dir=")
    pairs = [pair for pair in plan.overrides if not pair.startswith(beside)]
    own = [
        f"backbone.name={plan.backbones[0]}",
        f"optimizer.name={record.identity.optimizer.name}",
        f"optimizer.lr={record.identity.optimizer.lr!r}",
        f"optimizer.weight_decay={record.identity.optimizer.weight_decay!r}",
        f"training.epochs={epochs}",
        f"seed={record.seed}",
    ]
    return shlex.join(["bocb", "train", "--config", str(plan.config), *pairs, *own])


def lines_of(steps: Sequence[Step]) -> list[str]:
    """Returns steps as lines of a terminal: each sentence, and its commands below it."""
    return [line for step in steps for line in (step.text, *(f"  {command}" for command in step.commands))]
