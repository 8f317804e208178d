"""What a page may lead with: one comparison, its answer and what to do next, above the tables.

``bocb compare`` fills it. Every text of it is shown as text.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LeadRow:
    """One optimizer of a comparison; numbers are None where it has none.

    Attributes:
        optimizer: Its id.
        label: Its name for people.
        mark: ``★``, ``☆`` or nothing.
        lr: Its learning rate.
        top1: Mean test top-1 in points.
        n: Completed final runs.
        diverged: Final runs that diverged.
        loses: Points below the best one.
        low: Lower end of the 95 % interval of ``loses``.
        high: Its upper end.
        tried: The learning rates that were tried, in rising order.
        edge: Whether its rate is the lowest or highest of them.
        seconds: Mean wall time of a run.
        why: Why it has no place; None where it has one.
    """

    optimizer: str
    label: str
    mark: str
    lr: float | None
    top1: float | None
    n: int
    diverged: int
    loses: float | None
    low: float | None
    high: float | None
    tried: tuple[float, ...]
    edge: bool
    seconds: float | None
    why: str | None


@dataclass(frozen=True)
class Step:
    """Something to do next: a sentence, and the commands that do it."""

    text: str
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lead:
    """The block above the tables.

    Attributes:
        title: What was compared.
        sentence: The answer in one sentence.
        table: Id of the table that holds its runs; None where no run has ended yet.
        backbone: Its backbone in that table.
        rows: The optimizers, the best first.
        notes: Legend and floors.
        next: What to do next.
        decided: Each decision with its reason.
        cuts: What was cut to fit into the time.
    """

    title: str
    sentence: str
    table: str | None
    backbone: str | None
    rows: tuple[LeadRow, ...]
    notes: tuple[str, ...]
    next: tuple[Step, ...]
    decided: tuple[str, ...]
    cuts: tuple[str, ...]
