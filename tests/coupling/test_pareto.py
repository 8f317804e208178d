"""Non-dominated sets, with ties, failures and costs that cannot be compared."""

from __future__ import annotations

from itertools import product

import pytest
from builders import make_record
from hypothesis import given
from hypothesis import strategies as st

from bocb_hf.coupling.pareto import dominates, non_dominated, pareto
from bocb_hf.coupling.table import build_tables
from bocb_hf.runs.record import Status

POINTS = st.lists(st.tuples(st.integers(0, 5).map(float), st.integers(0, 5).map(float)), min_size=1, max_size=12)


@given(POINTS)
def test_the_front_dominates_everything_else_and_nothing_on_it(points):
    front = [p for p, on in zip(points, non_dominated(points), strict=True) if on]
    assert front
    assert not any(dominates(a, b) for a, b in product(front, front))
    for point in points:
        assert point in front or any(dominates(f, point) for f in front)


@given(POINTS)
def test_order_does_not_matter_and_equal_points_share_their_answer(points):
    answer = dict(zip(points, non_dominated(points), strict=True))
    assert non_dominated(points[::-1]) == [answer[p] for p in points[::-1]]
    assert non_dominated(points) == [answer[p] for p in points]


STATUSES: dict[float, Status] = {0.03: "completed", 0.3: "diverged"}


def cell(optimizer: str, correct: int, seconds: float, **more):
    return [make_record("tiny_vit", optimizer, seed=s, correct=correct, wall_seconds=seconds, **more) for s in (1, 2)]


def test_a_table_of_known_costs():
    records = [
        *cell("sgdm", 1600, 10),
        *cell("adamw", 1700, 20),
        *cell("lamb", 1650, 30),  # AdamW is better and cheaper
        *cell("rmsprop", 1600, 10),  # equal to SGD-M
        *cell("lars", 1900, 1, status="diverged"),
        make_record("tiny_vit", "adan", seed=1, correct=1990, wall_seconds=1),
        make_record("tiny_vit", "adan", seed=2, status="diverged"),
    ]
    front = pareto(build_tables(records)[0], "tiny_vit")
    assert {p.optimizer for p in front.points if p.on_front} == {"sgdm", "rmsprop", "adamw"}
    lamb = next(p for p in front.points if p.optimizer == "lamb")
    assert lamb.dominated_by == ("adamw",) and (lamb.mean, lamb.cost, lamb.n) == (82.5, 30, 2)
    assert dict(front.left_out) == {"lars": "diverged", "adan": "partial"}
    costs = [p.cost for p in front.points]
    assert costs == sorted(costs)


def test_tuning_counts_every_trial():
    records = [*cell("sgdm", 1600, 10), *cell("adamw", 1700, 20)]
    records += [
        make_record("tiny_vit", "sgdm", role="trial", seed=0, lr=lr, wall_seconds=7, status=status)
        for lr, status in STATUSES.items()
    ]
    front = pareto(build_tables(records)[0], "tiny_vit", "tuning")
    assert [(p.optimizer, p.cost) for p in front.points] == [("sgdm", 14)]
    assert dict(front.left_out) == {"adamw": "no tuning trial"}


def test_memory_of_different_machines_is_called_so():
    records = [*cell("sgdm", 1600, 10), *cell("adamw", 1700, 20)]
    elsewhere = [
        r.model_copy(
            update={
                "environment": r.environment.model_copy(update={"device": "NVIDIA X"}),
                "cost": r.cost.model_copy(update={"memory_kind": "device_allocated", "peak_memory_bytes": 2**20}),
            }
        )
        for r in cell("lamb", 1500, 30)
    ]
    front = pareto(build_tables([*records, *elsewhere])[0], "tiny_vit", "memory")
    assert next(p.cost for p in front.points if p.optimizer == "lamb") == 1
    assert any("different devices" in c for c in front.caveats) and any("different ways" in c for c in front.caveats)
    assert any("resident set" in c for c in pareto(build_tables(records)[0], "tiny_vit", "memory").caveats)


def test_an_unknown_backbone_is_no_front():
    with pytest.raises(KeyError):
        pareto(build_tables([make_record()])[0], "nothing")


def test_times_of_different_processors_are_called_so():
    def on(name, optimizer, seconds):
        return [
            r.model_copy(update={"environment": r.environment.model_copy(update={"processor": name})})
            for r in cell(optimizer, 1600, seconds)
        ]

    same = [*on("Xeon 2.8", "sgdm", 10), *on("Xeon 2.8", "adamw", 20)]
    assert pareto(build_tables(same)[0], "tiny_vit").caveats == ()
    other = pareto(build_tables([*same, *on("EPYC 9", "lamb", 5)])[0], "tiny_vit")
    assert other.caveats == ("measured on different devices (EPYC 9 × 1; Xeon 2.8 × 1)",)
    unnamed = pareto(build_tables([*same, *on(None, "lamb", 5)])[0], "tiny_vit")  # as in older records
    assert unnamed.caveats == ("measured on different devices (Test CPU × 1; Xeon 2.8 × 1)",)
