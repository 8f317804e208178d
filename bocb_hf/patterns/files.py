"""The values of all layers as CSV and Parquet, each row with the conventions that it was measured by."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bocb_hf.patterns.analysis import Analysis
from bocb_hf.patterns.power_law import LILLIEFORS
from bocb_hf.runs.patterns import BINS, KERNELS, MIN_TAIL, OVERFIT, TOP_SHARE, UNDERFIT, Kernels

_COLUMNS: dict[str, pa.DataType] = {
    **dict.fromkeys(("checkpoint", "group", "backbone", "optimizer"), pa.string()),
    "seed": pa.int64(),
    "top1": pa.float64(),
    "metric": pa.string(),
    "trained": pa.bool_(),
    "order": pa.string(),
    "place": pa.int64(),
    **dict.fromkeys(("layer", "type", "stage", "shape"), pa.string()),
    **dict.fromkeys(("entropy", "norm", "energy", "stable_rank", "alpha"), pa.float64()),
    "alpha_status": pa.string(),
    "ks_distance": pa.float64(),
    **dict.fromkeys(("tail", "eigenvalues"), pa.int64()),
    "problem": pa.string(),
    "kernels": pa.string(),
    "bins": pa.int64(),
    "top_share": pa.float64(),
    "tail_rule": pa.string(),
}


def conventions(kernels: Kernels) -> dict[str, str]:
    """What the numbers mean, name by name, in sentences that stand in every output."""
    other: Kernels = "slices" if kernels == "rows" else "rows"
    return {
        "layer": "every tensor whose name ends in 'weight' and that has two rows and two columns or more",
        "kernels": f"{kernels}: {KERNELS[kernels]}; the other convention is {other}: {KERNELS[other]}",
        "entropy": f"−Σ p log p in nats of a histogram of {BINS} equal bins from the smallest to the largest weight",
        "norm": "‖w‖₂ over all weights of the layer",
        "energy": f"share of the variance over rows in the first {100 * TOP_SHARE:g} % of principal components",
        "stable_rank": "Σλ / max λ over the eigenvalues of WᵀW",
        "alpha": "exponent of p(λ) ∝ λ^−α by maximum likelihood on the tail of the spectrum of WᵀW; empty unless the "
        "status is ok",
        "tail_rule": "every eigenvalue but the largest is tried as λ_min, and the tail with the smallest "
        "max |F(λ_i) − i/n| is taken, as powerlaw and WeightWatcher have it",
        "alpha_status": f"too few eigenvalues: fewer than {MIN_TAIL} in the spectrum or in that tail; poor fit: its "
        f"Kolmogorov–Smirnov distance D has (D − 0.2/n)(√n + 0.26 + 0.5/√n) above {LILLIEFORS} (Lilliefors' test, 5 %)",
        "risk": f"the study, after WeightWatcher, reads α below {OVERFIT:g} as a risk of over-fitting and above "
        f"{UNDERFIT:g} of under-fitting",
    }


def rows_of(analyses: Sequence[Analysis]) -> list[dict[str, Any]]:
    """One dictionary for each layer, with every column of the files."""
    rows: list[dict[str, Any]] = []
    for found in analyses:
        run = {
            **{"checkpoint": found.name, "group": found.group, "backbone": found.backbone},
            **{"optimizer": found.optimizer, "seed": found.seed, "top1": found.top1, "metric": found.metric},
            **{"trained": found.trained, "order": found.order},
            **{"kernels": found.kernels, "bins": BINS, "top_share": TOP_SHARE, "tail_rule": "powerlaw"},
        }
        for row in found.rows:
            layer = {"place": row.place, "layer": row.name, "type": row.kind, "stage": row.stage}
            layer |= {"shape": "×".join(map(str, row.shape)), "problem": row.problem}
            if (pattern := row.pattern) is not None:
                layer |= {"entropy": pattern.entropy, "norm": pattern.norm, "energy": pattern.energy}
                layer |= {"stable_rank": pattern.stable_rank, "alpha": pattern.alpha}
                if (fit := pattern.fit) is not None:
                    layer |= {"alpha_status": fit.status, "ks_distance": fit.distance}
                    layer |= {"tail": fit.tail, "eigenvalues": fit.eigenvalues}
            rows.append({name: (run | layer).get(name) for name in _COLUMNS})
    return rows


def pattern_files(analyses: Sequence[Analysis], kernels: Kernels) -> dict[str, bytes]:
    """The files ``patterns.csv``, ``patterns.parquet`` and ``conventions.json``, by name."""
    rows, stated = rows_of(analyses), conventions(kernels)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(_COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    schema = pa.schema(list(_COLUMNS.items()), metadata={name: said.encode() for name, said in stated.items()})
    table = pa.Table.from_pylist(rows, schema=schema)
    parquet = io.BytesIO()
    pq.write_table(table, parquet)
    explained = json.dumps(stated, ensure_ascii=False, indent=2) + "\n"
    return {
        "patterns.csv": text.getvalue().encode(),
        "patterns.parquet": parquet.getvalue(),
        "conventions.json": explained.encode(),
    }
