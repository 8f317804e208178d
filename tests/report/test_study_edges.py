"""The edge check of the laptop study: which rates lie at an edge, and what the trials beyond it change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from builders import make_record

from bocb_hf.report.tabulate import TableResults, Wanted, tabulate
from bocb_hf.resources import find_config
from bocb_hf.runs.record import RunRecord
from bocb_hf.runs.tuned import Tuned, TunedAxis
from bocb_hf.store.contents import StoreContents
from bocb_hf.sweep.cells import plan_cells, run_overrides
from bocb_hf.sweep.plan import load_plan
from bocb_hf.sweep.protocols import Trial

ROOT = Path(__file__).resolve().parents[2]
CENTRES = {"sgdm": 0.09, "adamw": 0.003}
TUNED = {
    name: Tuned(
        protocol="halving",
        selection="one_standard_error",
        seeds=(100, 101),
        axes=(TunedAxis(name="lr", centre=centre, factor=3.0),),
    )
    for name, centre in CENTRES.items()
}
# the last validation score of each rate; seed 101 has the better two
SCORES = {
    "sgdm": {0.03: (82.0, 82.4), 0.09: (78.0, 78.2), 0.27: (70.0,)},
    "adamw": {0.001: (70.0,), 0.003: (80.0, 80.2), 0.009: (79.0, 79.0)},
}
TOP1 = {
    ("tiny_resnet", "sgdm"): 1700,
    ("tiny_resnet", "adamw"): 1690,
    ("tiny_convnext", "sgdm"): 1600,
    ("tiny_convnext", "adamw"): 1620,
}


@pytest.fixture(scope="module")
def scripts() -> Mapping[str, ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import study_edges  # pyright: ignore[reportMissingImports] - of the benchmarks
        import study_trials  # pyright: ignore[reportMissingImports] - of the benchmarks

        return {"edges": study_edges, "trials": study_trials}


def trial(backbone: str, optimizer: str, lr: float, seed: int, score: float) -> RunRecord:
    return make_record(backbone, optimizer, role="trial", seed=seed, lr=lr, val_top1=score)


@pytest.fixture(scope="module")
def result() -> TableResults:
    """SGD-M chose 0.03, the lowest of its rates; AdamW 0.003, between the others."""
    records: list[RunRecord] = []
    for (backbone, optimizer), correct in TOP1.items():
        for lr, scores in SCORES[optimizer].items():
            records += [trial(backbone, optimizer, lr, 100 + k, score) for k, score in enumerate(scores)]
        rate = 0.03 if optimizer == "sgdm" else 0.003
        records += [
            make_record(backbone, optimizer, seed=seed, lr=rate, correct=correct + seed, tuned=TUNED[optimizer])
            for seed in (1, 2, 3)
        ]
    contents = StoreContents("here", records)
    contents.places.update({(r.role, r.run_id): f"me/{r.repository()}/{r.path()}" for r in records})
    return tabulate(contents, Wanted()).results[0]


@pytest.mark.parametrize(
    ("rate", "tried", "factor", "expected"),
    [
        (0.01, [0.01, 0.03, 0.09], 3.0, 0.003333),
        (0.09, [0.01, 0.03, 0.09], 3.0, 0.27),
        (0.03, [0.01, 0.03, 0.09], 3.0, None),
        (0.09, [0.09], 3.0, None),
        (0.05, [0.01, 0.03, 0.09], 3.0, None),
        (0.09, [0.01, 0.03, 0.09], None, None),
    ],
)
def test_only_a_rate_at_an_edge_has_one_beyond(
    scripts: Mapping[str, ModuleType], rate: float, tried: list[float], factor: float | None, expected: float | None
) -> None:
    assert scripts["edges"].beyond(rate, tried, factor) == expected


def test_cells_at_an_edge_are_named_before_anything_beyond_is_trained(
    scripts: Mapping[str, ModuleType], result: TableResults
) -> None:
    edges = scripts["edges"].find_edges(result, [])
    assert {(e.backbone, e.optimizer, e.rate, e.next_rate) for e in edges} == {
        (b, "sgdm", 0.03, 0.01) for b in ("tiny_resnet", "tiny_convnext")
    }
    (line,) = scripts["edges"].edge_lines(result, edges)
    assert line.startswith("- The final runs of 2 of 4 cells have a rate at an edge of its grid; ")
    assert line.endswith("are not trained yet.")


@pytest.mark.parametrize(("score", "turns"), [(82.5, False), (84.5, True)])
def test_the_gains_beyond_are_paired_by_seed_and_bound_the_contrast(
    scripts: Mapping[str, ModuleType], result: TableResults, score: float, turns: bool
) -> None:
    """The contrast is (0.5) − (−1.0) = 1.5 points; a gain of SGD-M on ConvNeXt takes away as much of it."""
    more = [trial("tiny_convnext", "sgdm", 0.01, seed, score) for seed in (100, 101)]
    edges = scripts["edges"].find_edges(result, more)
    found = {e.backbone: e for e in edges}["tiny_convnext"]
    assert found.gains == pytest.approx((score - 82.0, score - 82.4)) and found.tried == 2
    text = "\n".join(scripts["edges"].edge_lines(result, edges))
    least = 1.5 - (score - 82.2)
    sign = "−" if least < 0 else "+"
    assert f"The family contrast, +1.50 points, would lie between {sign}{abs(least):.2f} and +1.50" in text
    assert ("its sign could turn." in text) is turns and ("its sign could not turn." in text) is not turns
    assert "2 of 4 cells have a rate at an edge of its grid, 1 of them checked." in text


def test_a_loss_or_a_divergence_beyond_is_no_gain(scripts: Mapping[str, ModuleType], result: TableResults) -> None:
    more = [
        *(trial("tiny_convnext", "sgdm", 0.01, seed, 70.0) for seed in (100, 101)),
        make_record("tiny_resnet", "sgdm", role="trial", seed=100, lr=0.01, status="diverged"),
    ]
    edges = scripts["edges"].find_edges(result, more)
    assert [edge.gain for edge in edges] == [0.0, 0.0]
    text = "\n".join(scripts["edges"].edge_lines(result, edges))
    assert "Beyond it, 0 have a higher validation score" in text and "between +1.50 and +1.50" in text
    assert "| ResNet-tiny | SGD-M | 0.03 | 0.01 | no score |" in text


def test_trials_are_asked_for_beyond_the_edges_of_tuned_cells(
    scripts: Mapping[str, ModuleType], tmp_path: Path
) -> None:
    path = tmp_path / "plan.yaml"
    cells = {"backbones": ["tiny_resnet"], "optimizers": ["sgdm", "adamw"], "final_seeds": [1, 2]}
    tuning = {"protocol": "halving", "points": 3, "seeds": [100, 101], "max_extensions": 0}
    path.write_text(yaml.safe_dump({"name": "small", "config": "fashion_mnist_subset/demo", "tuning": tuning} | cells))
    plan = load_plan(find_config(str(path), "recipes/sweeps"))
    sgdm, adamw = plan_cells(plan, run_overrides(plan, 1, []))
    for cell, best in ((sgdm, 2), (adamw, 1)):
        for k, (values, seed) in enumerate((point, seed) for point in cell.space.points() for seed in (100, 101)):
            cell.trials[values, seed] = Trial(80.0 - abs(k // 2 - best), 0.5, 500)
    jobs = scripts["trials"].trials_beyond([sgdm, adamw])
    highest = float(sgdm.space.axes[0].values[-1])
    assert [(job.cell is sgdm, job.config.role, job.config.seed) for job in jobs] == [
        (True, "trial", 100),
        (True, "trial", 101),
    ]
    assert all(job.config.optimizer.lr == pytest.approx(3 * highest) for job in jobs)
