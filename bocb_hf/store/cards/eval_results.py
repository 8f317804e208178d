"""``.eval_results/bocb.yaml``, a score for the Hub's benchmark pages; written only where a repository has opted in.

The Hub shows such a file for data sets that have registered a benchmark only, under the task that the data set names
(https://huggingface.co/docs/hub/eval-results). The file is a projection of the records like the card, and changes in
the same commit; this project never reads it back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from bocb_hf.coupling.statistics import estimate
from bocb_hf.data import DATASETS
from bocb_hf.runs import strict_yaml
from bocb_hf.runs.record import RunRecord, wilson_interval


def benchmark_dataset(name: str) -> str | None:
    """Returns the data set of the Hub whose whole test split a name means; None for a folder or a part of one."""
    if (row := DATASETS.find(name)) is not None:
        return row.hub_id if row.embedded is None else None
    return name if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith("local/") else None


def render_eval_results(repository: str, finals: Sequence[RunRecord], task: str) -> bytes | None:
    """Renders the file for the weights at the root: those of the completed run with the lowest seed, never the best.

    Args:
        repository: ``namespace/name``.
        finals: Records of final runs of one cell.
        task: Id of the task in the benchmark of the data set.

    Returns:
        The file, or None where no run completed, or where the images are not those of a data set of the Hub.
    """
    completed = sorted((r for r in finals if r.status == "completed"), key=lambda r: r.seed)
    dataset = benchmark_dataset(completed[0].identity.data.name) if completed else None
    if dataset is None or completed[0].correctness is None:  # the benchmarks of the Hub that are known here count bits
        return None
    record, bits = completed[0], completed[0].correctness
    assert bits is not None  # a completed final run has these bits
    low, high = wilson_interval(bits.k, bits.n)
    notes = (
        f"top-1 in percent of the weights at the root (seed {record.seed}), split {record.test_split}, read once; 95 % "
        f"interval over {bits.n} images {low:.2f} to {high:.2f}; configuration {record.config_hash}"
    )
    same = [r for r in completed if r.config_hash == record.config_hash]
    if len(same) > 1:
        pooled = estimate([100 * r.correctness.k / r.correctness.n for r in same if r.correctness], None)
        interval = pooled.interval()
        notes += f"; mean over n = {len(same)} seeds ({', '.join(str(r.seed) for r in same)}) {pooled.mean:.2f}"
        notes += f", 95 % interval {interval.low:.2f} to {interval.high:.2f} given the tuned rates" if interval else ""
    entry = EvalResultEntry(
        dataset_id=dataset,
        task_id=task,
        value=100 * bits.k / bits.n,
        dataset_revision=record.identity.data.revision,
        date=record.finished_at,
        source_url=f"https://huggingface.co/{repository}/blob/main/{record.path()}",
        source_name="record of the run",
        notes=notes,
    )
    return strict_yaml.dump(eval_result_entries_to_yaml([entry])).encode()
