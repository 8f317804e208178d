"""The answer as one HTML page that needs no other file and sends no request: sentence, table, curves, decisions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from bocb_hf.compare.answer import Answer, Entry
from bocb_hf.compare.folder import Known
from bocb_hf.compare.words import floor_lines, legend
from bocb_hf.coupling.table import Floor
from bocb_hf.report.words.labels import optimizer_label
from bocb_hf.report.words.tables import fixed
from bocb_hf.runs.record import RunRecord

# the palette of Okabe and Ito, which people who see few colours can tell apart
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 420, 260, 52, 40, 26, 12
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.1rem; font-weight: 600; } .answer { font-size: 1.3rem; line-height: 1.4; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .8rem; border-bottom: 1px solid #8884; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } .note { color: #777; font-size: .9rem; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; } svg { max-width: 100%; height: auto; }
svg text { fill: currentColor; font: 12px system-ui, sans-serif; } svg .axis { stroke: currentColor; opacity: .4; }
pre { overflow-x: auto; padding: .8rem; background: #8881; border-radius: .4rem; } .key { margin-right: 1.2rem; }
"""


@dataclass(frozen=True)
class _Line:
    """One line of a plot: its colour, and its points (x, y)."""

    colour: str
    points: tuple[tuple[float, float], ...]
    marked: float | None = None  # the x of a point that stands out


def render(
    first: str,
    answer: Answer,
    below: Sequence[Floor],
    known: Known,
    records: Sequence[RunRecord],
    nexts: Sequence[str],
) -> str:
    """The page as HTML.

    Args:
        first: The answer in one sentence.
        answer: The answer.
        below: The floors.
        known: What was decided and cut.
        records: The runs.
        nexts: What to do next, as lines.
    """
    colours = {e.optimizer: _COLOURS[i % len(_COLOURS)] for i, e in enumerate(answer.entries)}
    keys = "".join(
        f'<span class="key"><svg width="14" height="10" aria-hidden="true"><rect width="14" height="10" '
        f'fill="{colours[e.optimizer]}"/></svg> {escape(optimizer_label(e.optimizer))}</span>'
        for e in answer.entries
    )
    plots = [
        _plot("Validation top-1 by learning rate", "learning rate", _by_rate(answer, records, colours), log=True),
        _plot("Validation top-1 by epoch, at the chosen rate", "epoch", _validation(answer, records, colours)),
        _plot("Training loss by epoch, final runs", "epoch", _losses(answer, records, colours)),
    ]
    notes = "".join(f"<p class=note>{escape(line)}</p>" for line in [*legend(answer), *floor_lines(answer, below)])
    return (
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n"
        '<meta name=viewport content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(f'{known.backbone} on {_short(known.data)}')}</title>\n<style>{_STYLE}</style>\n"
        f"<h1>{escape(known.backbone)} on {escape(_short(known.data))}</h1>\n<p class=answer>{escape(first)}</p>\n"
        f"<div class=scroll>{_table(answer)}</div>\n{notes}\n<p>{keys}</p>\n"
        f"<div class=plots>{''.join(filter(None, plots))}</div>\n"
        f"<h2>What to do next</h2>\n<pre>{escape(chr(10).join(nexts))}</pre>\n"
        f"<h2>What was decided</h2>\n{_items(known.reasons)}\n"
        + (f"<h2>What was cut to fit into the time</h2>\n{_items(known.cuts)}\n" if known.cuts else "")
        + "</html>\n"
    )


def _short(data: str) -> str:
    return data.rstrip("/").rpartition("/")[2] if data.startswith("/") else data


def _items(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _table(answer: Answer) -> str:
    head = ("optimizer", "rate", "top-1", "n", "loses", "95 % of the loss", "rates tried", "seconds a run")
    losses = {loss.optimizer: loss for loss in answer.losses}
    rows: list[str] = []
    for e in answer.entries:
        loss = losses.get(e.optimizer)
        mark = "★ " if e.optimizer == answer.best else "☆ " if loss is not None and not loss.told else ""
        interval = loss.interval if loss is not None else None
        cells = [
            mark + optimizer_label(e.optimizer),
            f"{e.lr:.3g}" if e.top1 else "–",
            f"{e.mean:.2f}" if e.top1 else answer.unranked.get(e.optimizer, "–"),
            str(len(e.top1)),
            f"{loss.points:.2f}" if loss is not None else "",
            f"{fixed(interval.low, 1)} to {fixed(interval.high, 1)}" if interval is not None else "",
            ", ".join(f"{rate:.3g}" for rate in e.tried),
            f"{e.seconds:.0f}" if e.top1 else "",
        ]
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    return (
        "<table><thead><tr>"
        + "".join(f"<th>{name}</th>" for name in head)
        + "</tr></thead><tbody>"
        + "".join(rows)
        + "</tbody></table>"
    )


def _by_rate(answer: Answer, records: Sequence[RunRecord], colours: dict[str, str]) -> list[_Line]:
    lines: list[_Line] = []
    for e in answer.entries:
        scores: dict[float, list[float]] = {}
        for r in _of(e, records, "trial"):
            if r.metrics.val_top1 is not None and r.metrics.val_top1.last is not None:
                scores.setdefault(r.identity.optimizer.lr, []).append(r.metrics.val_top1.last)
        points = tuple((rate, sum(found) / len(found)) for rate, found in sorted(scores.items()))
        lines.append(_Line(colours[e.optimizer], points, None if math.isnan(e.lr) else e.lr))
    return lines


def _validation(answer: Answer, records: Sequence[RunRecord], colours: dict[str, str]) -> list[_Line]:
    return [
        _Line(colours[e.optimizer], _epochs(r, r.curve.val_step, r.curve.val_top1))
        for e in answer.entries
        for r in _of(e, records, "trial")
        if r.identity.optimizer.lr == e.lr
    ]


def _losses(answer: Answer, records: Sequence[RunRecord], colours: dict[str, str]) -> list[_Line]:
    return [
        _Line(colours[e.optimizer], _epochs(r, r.curve.step, r.curve.train_loss))
        for e in answer.entries
        for r in _of(e, records, "final")
        if r.identity.optimizer.lr == e.lr
    ]


def _of(entry: Entry, records: Sequence[RunRecord], role: str) -> list[RunRecord]:
    return [r for r in records if r.identity.optimizer.name == entry.optimizer and r.role == role]


def _epochs(record: RunRecord, steps: Sequence[int], values: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Points of a curve over epochs, at most 200 of them."""
    scale, every = record.identity.training.epochs / record.total_steps, max(1, len(steps) // 200)
    pairs = list(zip(steps, values, strict=False))[::every]
    return tuple((step * scale, value) for step, value in pairs if math.isfinite(value))


def _plot(title: str, below: str, lines: Sequence[_Line], log: bool = False) -> str:
    """A plot as SVG; empty without points."""
    points = [point for line in lines for point in line.points]
    if not points:
        return ""
    xs = [math.log10(x) if log else x for x, _ in points]
    x_low, x_high, y_low, y_high = min(xs), max(xs), min(y for _, y in points), max(y for _, y in points)
    x_span, y_span = (x_high - x_low) or 1.0, (y_high - y_low) or 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        across = ((math.log10(x) if log else x) - x_low) / x_span
        up = (y - y_low) / y_span
        inner = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return round(_LEFT + across * inner[0], 1), round(_HEIGHT - _BOTTOM - up * inner[1], 1)

    drawn: list[str] = []
    for line in lines:
        places = [at(*point) for point in line.points]
        path = " ".join(f"{x},{y}" for x, y in places)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="1.8"/>')
        if log or len(places) == 1:
            for (x, y), (rate, _) in zip(places, line.points, strict=True):
                drawn.append(f'<circle cx="{x}" cy="{y}" r="{6 if rate == line.marked else 3}" fill="{line.colour}"/>')
    ends = [10**x_low, 10**x_high] if log else [x_low, x_high]
    base, side = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    texts = [
        f'<text x="{_LEFT}" y="16">{escape(title)}</text>',
        f'<text x="{_LEFT}" y="{base + 18}">{ends[0]:.3g}</text>',
        f'<text x="{side}" y="{base + 18}" text-anchor="end">{ends[1]:.3g}</text>',
        f'<text x="{(_LEFT + side) / 2}" y="{base + 32}" text-anchor="middle">{escape(below)}</text>',
        f'<text x="{_LEFT - 6}" y="{base}" text-anchor="end">{y_low:.3g}</text>',
        f'<text x="{_LEFT - 6}" y="{_TOP + 10}" text-anchor="end">{y_high:.3g}</text>',
    ]
    axes = f'<path class="axis" d="M{_LEFT} {_TOP}V{base}H{side}" fill="none"/>'
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img" aria-label="{escape(title)}">'
        f"{axes}{''.join(drawn)}{''.join(texts)}</svg>"
    )
