"""Quick steps on bytes against torch's own."""

from __future__ import annotations

import torch

from bocb_hf.data.augment.levels import choose, to_levels


def test_floats_are_cut_to_levels_as_torch_cuts_them() -> None:
    values = torch.cat((torch.linspace(-300, 600, 9001), torch.arange(256.0), torch.tensor([255.9999, -0.5, 1e9])))
    assert torch.equal(to_levels(values.clone()), values.clamp(0, 255).to(torch.uint8))


def test_choosing_equals_where_for_all_bytes_and_broadcasts() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    first, second = levels.view(1, -1, 1), levels.view(1, 1, -1)
    condition = torch.tensor([True, False]).view(2, 1, 1)
    assert torch.equal(choose(condition, first, second), torch.where(condition, first, second))
