"""The mathematics of the architectures that we wrote."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from bocb_hf.backbones.transnext import measure_map
from bocb_hf.backbones.unireplknet import BRANCHES, DilatedReparam


@pytest.mark.parametrize("kernel", BRANCHES)
def test_dilated_branches_are_one_large_kernel(kernel: int) -> None:
    """UniRepLKNet, Eq. 1: a dilated kernel is a sparse large one, so the branches merge without a change of output."""
    torch.manual_seed(0)
    block = DilatedReparam(4, kernel).double().eval()
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.normal_()
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    merged, bias = torch.zeros(4, 1, kernel, kernel, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    for branch in block.branches:
        conv: Any = branch[0]  # type: ignore[index] - a sequence
        norm: Any = branch[1]  # type: ignore[index] - a sequence
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        dilation, side = conv.dilation[0], conv.kernel_size[0]
        edge = (kernel - dilation * (side - 1) - 1) // 2
        span = slice(edge, edge + dilation * (side - 1) + 1, dilation)
        merged[:, :, span, span] += conv.weight * scale.view(-1, 1, 1, 1)
        bias += norm.bias - norm.running_mean * scale
    x = torch.randn(1, 4, 20, 20, dtype=torch.float64)
    expected = nn.functional.conv2d(x, merged, bias, padding=kernel // 2, groups=4)
    torch.testing.assert_close(block(x), expected)


def test_transnext_geometry_against_pairs_of_positions() -> None:
    """Relative positions and windows of a 4×6 map pooled by 2, one pair after another."""
    height, width, pooling = 4, 6, 2
    geometry = measure_map(height, width, pooling, base=6, device=torch.device("cpu"))

    def scaled(difference: float) -> float:
        value = torch.tensor(difference / 5 * 8)
        return float(value.sign() * torch.log2(value.abs() + 1) / 3)

    for query in range(height * width):
        row, column = divmod(query, width)
        near = [(row + a, column + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        outside = [not (0 <= a < height and 0 <= b < width) for a, b in near]
        assert geometry.outside[query].tolist() == outside
        assert geometry.length[query].item() == pytest.approx(float(torch.tensor(9.0 - sum(outside) + 6).log()))
        for key in range(6):
            key_row, key_column = (2 * index + 0.5 for index in divmod(key, width // pooling))
            pair = geometry.table[geometry.index[query, key]].tolist()
            assert pair == pytest.approx([scaled(row - key_row), scaled(column - key_column)], abs=1e-6)
