"""Failed, collapsed, Eq. 1 and the top four."""

from __future__ import annotations

import numpy as np
from simulated import simulate

from bocb_hf.coupling.failure import equation_1, find_failures, top
from bocb_hf.coupling.published import published
from bocb_hf.coupling.scores import make_scores


def test_published_figures():
    table = published()
    found = find_failures(table)
    assert (int(equation_1(table).sum()), int(found.failed.sum())) == (258, 51)
    assert found.marked.all() and not found.half_width.any()
    names = [(table.backbones[b], table.optimizers[o]) for b, o in np.argwhere(found.collapsed)]
    assert names == [
        ("mobilenetv2_100", "adagrad"), ("moganet_small", "lars"), ("unireplknet_tiny", "lars"),
        ("caformer_s12", "adagrad"),
    ]  # fmt: skip
    assert (top(table).sum(axis=1) == 4).all()


def test_eq_1_by_hand():
    """R = 60, 70, 72, 74, 80: the quartiles are 70 and 74, so γ = 3 is the smaller and 77 the line."""
    table = make_scores([[60.0, 70, 72, 74, 80]], ["b"], list("vwxyz"), unit="percent")
    assert equation_1(table).tolist() == [[True, True, True, True, False]]
    assert equation_1(table, gamma=8).tolist() == [[True, True, True, True, False]]
    narrow = make_scores([[60.0, 79.5, 79.6, 79.9, 80]], ["b"], list("vwxyz"), unit="percent")
    assert equation_1(narrow).tolist() == [[True, True, False, False, False]]  # the line is 80 − 0.4


def test_an_interval_that_reaches_the_line_is_no_failure():
    values = 70 + 0.01 * np.random.default_rng(0).normal(size=(6, 6, 3))
    values[0, 0] = [66, 67.4, 68.9]
    table = make_scores(values, list("abcdef"), list("uvwxyz"), unit="percent")
    found = find_failures(table)
    assert found.below[0, 0] and found.half_width[0, 0] > 1
    assert not found.failed.any()


def test_diverged_is_failed_partial_is_not_ranked_and_missing_is_neither():
    status = np.array([["completed", "diverged", "partial", "missing", "completed"]])
    table = make_scores(
        [[80.0, np.nan, 50.0, np.nan, 12.0]], ["b"], list("vwxyz"), unit="percent", status=status, num_classes=10
    )
    found = find_failures(table)
    assert found.failed.tolist() == [[False, True, False, False, True]]
    assert found.collapsed.tolist() == [[False, False, False, False, True]]
    assert found.partial.tolist() == [[False, False, True, False, False]]
    assert equation_1(table).tolist() == [[False, True, False, False, True]]
    assert top(table, 1).tolist() == [[True, False, False, False, False]]


def test_ties_share_the_last_place_of_the_top():
    table = make_scores([[80.0, 79, 79, 70]], ["b"], list("wxyz"), unit="percent")
    assert top(table, 2).tolist() == [[True, True, True, False]]


def test_order_changes_nothing():
    rng = np.random.default_rng(1)
    _, table = simulate(rng, 6, 7, 2, "collapsed")
    rows, columns = rng.permutation(6), rng.permutation(7)
    other = table.select([table.backbones[i] for i in rows], [table.optimizers[i] for i in columns])
    for rule in (equation_1, top, lambda t: find_failures(t).failed):
        assert np.array_equal(rule(table)[rows][:, columns], rule(other))
