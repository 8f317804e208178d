"""Blocks of figures of benchmarks/coverage.py: counted in columns on many tables, and printed with their errors."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from covered import Share

COVERAGE, ERRORS = (92.0, 98.0), (0.0, 6.0)  # limits in percent
MORE = 4  # times the tables of a column in which a figure lies outside
LABEL, WIDTH = 38, 9
Figures = dict[str, Share]
# the group (a regime of noise, say), the seeds, and how many tables; pickled, so a function of a module or a partial
Count = Callable[[str, int, int], Figures]


@dataclass(frozen=True)
class Block:
    """Figures by group and number of seeds: one column each, one line for each figure.

    Attributes:
        title: What the tables are: ``10 backbones × 8 optimizers``.
        count: Counts the figures of one column.
        groups: What stands above the columns, such as regimes of noise.
        seeds: The numbers of seeds in each group.
        lines: Words for each figure, in the order of lines; figures without words are left out.
        limits: Between which a figure should lie, in percent.
        repeat: Whether a column with a figure outside its limits is counted again on ``MORE`` times as many tables.
        free: Figures without limits, which never bring a mark or a repetition.
        width: Columns of text that a figure takes.
        together: Whether the columns of a group follow each other in one process, which can then share work.
    """

    title: str
    count: Count
    groups: Sequence[str]
    seeds: Sequence[int]
    lines: Mapping[str, str]
    limits: tuple[float, float] = COVERAGE
    repeat: bool = True
    free: frozenset[str] = frozenset()
    width: int = WIDTH
    together: bool = False


def print_block(block: Block, tables: int, jobs: int) -> None:
    """Counts and prints a block, its columns divided among processes, with a line on stderr for each column.

    Args:
        block: The block.
        tables: Tables of a column.
        jobs: Processes.
    """
    columns = [(group, seeds) for group in block.groups for seeds in block.seeds]
    found: list[Figures] = []
    started = time.perf_counter()
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        counted = pool.map(partial(_count, block, tables), columns, chunksize=len(block.seeds) if block.together else 1)
        for (group, seeds), figures in zip(columns, counted, strict=True):
            found.append(figures)
            texts = ", ".join(f"{name} {share.value:.1f} ± {share.error:.1f}" for name, share in figures.items())
            name = f"{block.title} {group} {seeds}"
            print(f"{time.perf_counter() - started:.0f} s, {name}: {texts}", file=sys.stderr, flush=True)
    print()
    width = block.width
    print(f"{block.title:<{LABEL}}" + "".join(f"{group:>{width * len(block.seeds)}}" for group in block.groups))
    print(f"{'seeds':<{LABEL}}" + "".join(f"{seeds:>{width}}" for _ in block.groups for seeds in block.seeds))
    for name, text in block.lines.items():
        if any(name in figures for figures in found):
            limits = (-float("inf"), float("inf")) if name in block.free else block.limits
            cells = [cell_text(figures[name], *limits) if name in figures else "– " for figures in found]
            print((f"{text:<{LABEL}}" + "".join(f"{cell:>{width}}" for cell in cells)).rstrip(), flush=True)


def _count(block: Block, tables: int, column: tuple[str, int]) -> Figures:
    """What is counted on so many tables, or on these and more where a figure lies outside the limits."""
    found = block.count(*column, tables)
    low, high = block.limits
    inside = all(low <= share.value <= high for name, share in found.items() if name not in block.free)
    return found if inside or not block.repeat else block.count(*column, MORE * tables)


def cell_text(share: Share, low: float, high: float) -> str:
    """``95.3(7)``, with a mark where it lies beyond the limits by more than its error."""
    outside = share.value < low - 1.96 * share.error or share.value > high + 1.96 * share.error
    return f"{share.value:.1f}({max(1, round(10 * share.error))}){'!' if outside else ' '}"
