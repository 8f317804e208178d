"""Records of other tasks than classification, made of records of classification."""

from __future__ import annotations

import json
from typing import Any

from bocb_hf.runs.identity import Identity
from bocb_hf.runs.naming import make_run_id
from bocb_hf.runs.record import RunRecord, parse_record
from bocb_hf.runs.tasks import TASKS

DETAILS = {"AP50": 55.0}


def as_task(record: RunRecord, task: str = "detection", images: int = 40) -> RunRecord:
    """The same run as one of another task: its top-1 becomes the score of that task.

    Args:
        record: A run of a classifier.
        task: A row of ``TASKS``.
        images: Number of images that the score is of.
    """
    data: dict[str, Any] = json.loads(record.to_json())
    data["identity"]["data"]["num_classes"] = 1
    data["identity"]["task"] = {"name": task, "options": TASKS.get(task).resolve({})}
    data["config_hash"] = Identity.model_validate_json(json.dumps(data["identity"])).config_hash()
    data["run_id"] = make_run_id(data["config_hash"], record.seed)
    changed: dict[str, Any] = {"score": TASKS.get(task).metric}
    for name, value in data["metrics"].items():
        if value is None or name.endswith("top5"):
            continue
        unit = "loss" if name.endswith("loss") else "percent"
        changed[name.replace("top1", "score")] = value | {"unit": unit, "n": images}
    if "test_score" in changed:
        changed["test_details"] = DETAILS
    curve = data["curve"]
    data["metrics"], data["correctness"], data["val_correctness"] = changed, None, None
    data["curve"] = curve | {"train_top1": [], "val_top1": [], "val_score": curve["val_top1"]}
    return parse_record(json.dumps(data).encode(), "record")
