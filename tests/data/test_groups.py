"""Draws in which copies of an image stay together."""

from __future__ import annotations

import numpy as np
import pytest

from bocb_hf.data.groups import draw_apart, explain_apart, label_groups
from bocb_hf.data.labels import draw_by_class

LABELS = np.arange(90) % 3


def joined(*groups: tuple[int, ...]) -> np.ndarray:
    """Group numbers of 90 images, of which these are copies of each other."""
    found = np.arange(90)
    for rows in groups:
        found[list(rows)] = rows[0]
    return found


def test_without_copies_it_is_the_old_draw() -> None:
    expected = draw_by_class(LABELS, 0.2, 1)
    for groups in (None, np.arange(90)):
        for one, other in zip(draw_apart(LABELS, groups, 0.2, 1), expected, strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize("seed", range(5))
def test_no_group_lies_on_both_sides(seed: int) -> None:
    generator = np.random.default_rng(seed)
    groups = joined(*(tuple(sorted(map(int, rows))) for rows in generator.permutation(90)[:60].reshape(15, 4)))
    kept, held = draw_apart(LABELS, groups, 0.2, seed)
    assert np.array_equal(np.sort(np.concatenate((kept, held))), np.arange(90))
    assert not np.intersect1d(groups[kept], groups[held]).size
    assert len(np.unique(groups[held])) == round(0.2 * len(np.unique(groups)))
    assert set(LABELS[held]) == {0, 1, 2}
    assert np.array_equal(held, draw_apart(LABELS, groups, 0.2, seed)[1])


def test_an_image_with_hundreds_of_copies_is_trained_on() -> None:
    labels = np.array([0] * 500 + [0] * 20 + [1] * 20)
    groups = np.arange(540)
    groups[:500] = 0
    for seed in range(8):
        _, held = draw_apart(labels, groups, 0.2, seed)
        assert held.min() >= 500
        assert len(held) == 8  # a fifth of the forty images that are no copies


def test_two_images_of_a_class_are_drawn_even_if_one_has_copies() -> None:
    labels, groups = np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 2, 3, 4, 5, 6])
    kept, held = draw_apart(labels, groups, 0.4, 0)
    assert set(labels[kept]) == set(labels[held]) == {0, 1}


def test_a_class_of_one_image_and_its_copies_is_refused() -> None:
    labels, groups = np.array([0] * 4 + [1] * 6), np.array([0, 0, 0, 0, 4, 5, 6, 7, 8, 9])
    with pytest.raises(ValueError, match="least populated"):
        draw_apart(labels, groups, 0.3, 0)
    error = str(explain_apart(labels, groups, 0.3, ("cat", "dog"), "data.test_fraction"))
    assert "data.test_fraction: cannot draw 0.3 of 7 images" in error
    assert "only one has 'cat'" in error
    assert "of 10 images; copies of an image count once" in error


def test_a_group_has_the_label_of_most_of_its_images() -> None:
    labels, groups = np.array([2, 1, 1, 0, 2]), np.array([0, 0, 0, 3, 3])
    assert label_groups(labels, groups).tolist() == [1, 0]  # the lower of equals
