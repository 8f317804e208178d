"""Tuning distances from the centre of each optimizer's own grid, and the fairness ledger."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from builders import make_record
from hypothesis import given
from hypothesis import strategies as st

from bocb_hf.coupling.ledger import ledger, summarize, unequal
from bocb_hf.coupling.robustness import at_edge, best_configuration, mode, robustness, spacing
from bocb_hf.coupling.table import Table, build_tables
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.report.words.ledger import ledger_text
from bocb_hf.runs.record import RunRecord


def trials(
    backbone: str,
    optimizer: str,
    best: float,
    rates: Iterable[float],
    decays: Iterable[float] = (1e-4,),
    **more: object,
) -> list[RunRecord]:
    """Trials over rates × decays; the validation score falls with the distance from the best rate and first decay."""
    decays = list(decays)
    return [
        make_record(
            backbone, optimizer, role="trial", seed=0, lr=lr, weight_decay=decay, val_top1=80 - abs(lr - best) - 9 * i
        )
        for lr in rates
        for i, decay in enumerate(decays)
    ]


def table_of(*groups: list[RunRecord]) -> Table:
    return build_tables([record for group in groups for record in group])[0]


def test_offsets_count_steps_from_the_optimizers_own_centre():
    # of `demo`: SGD-M 0.1, AdamW 3e-3
    table = table_of(
        trials("tiny_vit", "sgdm", 0.9, (0.0333, 0.1, 0.3, 0.9, 2.7)),
        trials("tiny_vit", "adamw", 0.001, (0.001, 0.003, 0.009), decays=(0.05,)),
    )
    found = {o.optimizer: o for o in robustness(table).offsets}
    assert (found["sgdm"].lr, found["sgdm"].edge) == (2, False)
    assert (found["adamw"].lr, found["adamw"].edge) == (-1, True)
    assert found["adamw"].weight_decay == 0


def test_another_spacing_of_the_grid_is_read_from_the_trials():
    table = table_of(trials("tiny_vit", "sgdm", 0.4, (0.05, 0.1, 0.2, 0.4, 0.8)))
    assert robustness(table).offsets[0].lr == 2  # 0.4 is two steps of a factor of 2


@pytest.mark.parametrize(
    ("tried", "step"),
    [
        ((0.0333, 0.1, 0.3, 0.9), 3.0),
        ((0.03, 0.1, 0.3), 3.0),
        ((0.05, 0.1, 0.4), 2.0),  # one value of the grid is not there
        ((0.1,), 7.0),
        ((0.0,), 7.0),
        ((0.0, 1e-5, 3e-5), 3.0),
        ((0.1, 0.11, 0.121), None),  # finer than any grid
        ((0.1, 0.2, 0.55, 0.9), None),
        (tuple(np.geomspace(0.01, 1, 25) * np.random.default_rng(0).uniform(0.8, 1.2, 25)), None),
    ],
)
def test_the_spacing_of_what_was_tried(tried, step):
    found = spacing(tried, 7.0)
    assert found is None if step is None else found == pytest.approx(step, rel=0.02)


def test_random_rates_are_counted_in_factors_of_three_from_the_centre():
    """The smallest ratio of two random rates is chance: counted in it, the best trial lay thousands of steps away."""
    generator = np.random.default_rng(1)
    rates = (0.1 * 3.0 ** generator.uniform(-2, 2, 25)).tolist()
    best = max(rates)
    table = table_of(
        trials("tiny_vit", "sgdm", best, rates), trials("tiny_resnet", "sgdm", 0.3, (0.0333, 0.1, 0.3, 0.9))
    )
    found = robustness(table)
    offsets = {o.backbone: o for o in found.offsets}
    assert (offsets["tiny_vit"].lr, offsets["tiny_vit"].gridded) == (round(math.log(best / 0.1, 3)), False)
    assert (offsets["tiny_resnet"].lr, offsets["tiny_resnet"].gridded) == (1, True)
    assert found.ungridded == 1 and all(v <= 2 for d in found.by_optimizer for v in d.values.values())


@pytest.mark.parametrize(
    ("optimizer", "decays", "steps", "edge"),
    [
        ("sgdm", (1e-4,), 0, False),  # one value, the centre: not tuned
        ("sgdm", (3e-4, 1e-4, 3e-5), 1, True),
        ("sgdm", (1e-4, 3e-4, 3e-5), 0, False),
        ("adam", (0.0, 1e-5, 3e-5), 0, False),  # its centre is no decay: nothing lies below
        ("adam", (3e-5, 0.0, 1e-5), 2, True),
    ],
)
def test_weight_decay(optimizer, decays, steps, edge):
    lr = OPTIMIZERS.get(optimizer).centre("demo").lr
    found = robustness(table_of(trials("tiny_vit", optimizer, lr, (lr / 3, lr, lr * 3), decays)))
    (offset,) = found.offsets
    assert (offset.weight_decay, offset.edge) == (steps, edge)
    assert found.decay_tuned == (len(decays) > 1)


def test_steps_are_counted_from_the_centre_of_the_grid_that_a_run_took():
    """AdamP's decay is 0.1 in the demo's grid of ours, 0 in the study's; older records name none and took that."""
    records = trials("tiny_vit", "adamp", 1e-3, (1e-3, 3e-3), (0.0333, 0.1))
    for grid, steps in (("ours", -1), ("released", 8), (None, 8)):
        (offset,) = robustness(table_of([record.model_copy(update={"grid": grid}) for record in records])).offsets
        assert (offset.lr, offset.weight_decay) == (0, steps)


def test_distances_by_hand():
    """Offsets of the rates: SGD-M 0, 0, 1; AdamW 0, −1, −1 on three backbones."""
    sgd = {"tiny_vit": 0.1, "tiny_resnet": 0.1, "tiny_convnext": 0.3}
    adamw = {"tiny_vit": 0.003, "tiny_resnet": 0.001, "tiny_convnext": 0.001}
    groups = [trials(b, "sgdm", lr, (0.01, 0.0333, 0.1, 0.3, 0.9)) for b, lr in sgd.items()]
    groups += [trials(b, "adamw", lr, (0.000333, 0.001, 0.003, 0.009), (0.05,)) for b, lr in adamw.items()]
    found = robustness(table_of(*groups))
    by_optimizer = {d.name: d for d in found.by_optimizer}
    assert by_optimizer["sgdm"].mode == (0, 0)
    assert dict(by_optimizer["sgdm"].values) == {"tiny_resnet": 0, "tiny_convnext": 1, "tiny_vit": 0}
    assert by_optimizer["adamw"].mode == (-1, 0)
    assert dict(by_optimizer["adamw"].values) == {"tiny_resnet": 0, "tiny_convnext": 0, "tiny_vit": 1}
    by_backbone = {d.name: d for d in found.by_backbone}
    # a tie of 0 and −1 on the ResNet: the one at the centre is the mode
    assert by_backbone["tiny_resnet"].mode == (0, 0)
    assert dict(by_backbone["tiny_resnet"].values) == {"sgdm": 0, "adamw": 1}


def test_a_tie_goes_to_the_lower_loss_and_then_to_the_lower_rate():
    tied = [
        make_record(role="trial", seed=0, lr=lr, val_top1=70, val_loss=loss) for lr, loss in ((0.3, 0.4), (0.1, 0.5))
    ]
    assert best_configuration(tied) == (0.3, 1e-4)
    equal = [make_record(role="trial", seed=0, lr=lr, val_top1=70, val_loss=0.5) for lr in (0.3, 0.1)]
    assert best_configuration(equal) == (0.1, 1e-4)


def test_a_configuration_that_halving_gave_up_is_not_the_best():
    tried = [(0.1, 0, 71), (0.3, 0, 72), (0.9, 0, 70.5), (0.1, 1, 69), (0.3, 1, 68)]
    trials = [make_record(role="trial", seed=seed, lr=lr, val_top1=top1) for lr, seed, top1 in tried]
    assert best_configuration(trials) == (0.1, 1e-4)


def test_pairs_without_an_offset_are_listed_with_the_reason():
    diverged = [
        make_record("tiny_vit", "adamw", role="trial", seed=0, lr=lr, status="diverged") for lr in (0.003, 0.01)
    ]
    stranger = trials("tiny_vit", "stranger", 0.1, (0.03, 0.1))
    table = table_of(diverged, stranger, trials("tiny_resnet", "adamw", 0.003, (0.001, 0.003, 0.009)))
    found = robustness(table)
    assert [(o.backbone, o.optimizer) for o in found.offsets] == [("tiny_resnet", "adamw")]
    assert dict(found.left_out) == {
        ("tiny_vit", "adamw"): "no trial completed",
        ("tiny_vit", "stranger"): "its optimizer has no row, so no centre",
        ("tiny_resnet", "stranger"): "its optimizer has no row, so no centre",
    }
    assert [d.name for d in found.by_backbone] == ["tiny_resnet"]


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=12))
def test_the_mode_is_a_most_frequent_value_and_does_not_depend_on_order(values):
    found = mode(values)
    assert values.count(found) == max(map(values.count, values))
    assert all(abs(found) <= abs(v) for v in values if values.count(v) == values.count(found))
    assert mode(sorted(values)) == found == mode(values[::-1])


def test_an_edge_needs_several_values():
    assert not at_edge(0.1, [0.1])
    assert at_edge(0.1, [0.1, 0.2]) and at_edge(0.2, [0.1, 0.2]) and not at_edge(0.2, [0.1, 0.2, 0.3])


def budgeted(backbone: str, optimizer: str, rates: Iterable[float]) -> list[RunRecord]:
    group = trials(backbone, optimizer, 0.1, rates)
    return [*group, *(make_record(backbone, optimizer, seed=s, lr=0.1, wall_seconds=50.0) for s in (1, 2))]


def test_the_ledger_says_what_each_cell_got():
    table = table_of(
        budgeted("tiny_vit", "sgdm", (0.03, 0.1, 0.3)), budgeted("tiny_vit", "lars", (0.03, 0.1, 0.3, 0.9, 2.7))
    )
    entries = {e.optimizer: e for e in ledger(table)}
    assert entries["sgdm"].rates == (0.03, 0.1, 0.3) and entries["sgdm"].trials == 3 and not entries["sgdm"].edge
    assert entries["lars"].extensions == 2 and entries["lars"].tuning_seconds == 5 * 20 and entries["lars"].finals == 2
    assert entries["lars"].final_seconds == 100 and entries["lars"].epochs == (4,) and entries["lars"].steps == (100,)
    assert unequal(list(entries.values())) == ["trials 3 to 5", "learning rates tried 3 to 5"]
    text = ledger_text(list(entries.values()))
    assert text[1].split()[:4] == ["SGD-M", "1", "3", "3"] and "not equal: trials 3 to 5" in " ".join(text)
    assert len({len(line) for line in text[:3]}) == 1 and max(map(len, text)) <= 120


def test_an_equal_ledger_says_so():
    table = table_of(*(budgeted("tiny_vit", o, (0.03, 0.1, 0.3)) for o in ("sgdm", "lars")))
    assert unequal(ledger(table)) == []
    assert "equal trials, grids and epochs" in " ".join(ledger_text(ledger(table)))


@pytest.mark.parametrize(
    ("grids", "sentence"),
    [
        (("ours", "ours"), None),
        ((None, None), None),  # records from before there was another grid
        (("released", None), "Grid of every cell: released"),
        (("ours", "released"), "Grid: ours in 1, released in 1 cell(s)"),
        (("ours", None), "Grid: ours in 1, released in 1 cell(s)"),
    ],
)
def test_the_ledger_names_the_grid_where_it_is_not_ours_alone(grids, sentence):
    groups = [
        [r.model_copy(update={"grid": grid}) for r in budgeted("tiny_vit", optimizer, (0.03, 0.1, 0.3))]
        for optimizer, grid in zip(("sgdm", "lars"), grids, strict=True)
    ]
    entries = ledger(table_of(*groups))
    text = " ".join(" ".join(ledger_text(entries)).split())
    assert ("Grid" in text) == (sentence is not None) and (sentence or "") in text
    different = len({grid or "released" for grid in grids}) == 2
    assert ("grids ours and released" in unequal(entries)) == different


def test_a_longer_trial_is_an_unequal_budget():
    table = table_of(budgeted("tiny_vit", "sgdm", (0.03, 0.1, 0.3)))
    entries = ledger(table)
    assert "epochs 4 to 8" in unequal([entries[0], replace(entries[0], optimizer="x", epochs=(8,))])
    assert "update steps differ between the cells of a backbone" in unequal(
        [entries[0], replace(entries[0], optimizer="x", steps=(900,))]
    )


def test_the_summary_adds_up():
    groups = [budgeted(b, "sgdm", r) for b, r in (("tiny_vit", (0.03, 0.1)), ("tiny_resnet", (0.03, 0.1, 0.3, 0.9)))]
    entries = ledger(table_of(*groups, [make_record("tiny_vit", "lars", role="trial", seed=0, status="diverged")]))
    found = {s.optimizer: s for s in summarize(entries)}
    assert (found["sgdm"].cells, found["sgdm"].trials, found["sgdm"].extended, found["sgdm"].edges) == (2, (2, 4), 1, 1)
    assert found["sgdm"].tuning_seconds == sum(e.tuning_seconds for e in entries if e.optimizer == "sgdm") == 120
    assert (found["lars"].cells, found["lars"].diverged) == (1, 1)  # the missing cell is no entry
