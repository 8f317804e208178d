"""Weight patterns in words: one line for each checkpoint, and one for each of its layers."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from statistics import fmean, median

from bocb_hf.patterns.analysis import Analysis, LayerRow
from bocb_hf.patterns.files import conventions
from bocb_hf.runs.patterns import OVERFIT, UNDERFIT, Kernels, LayerPattern

_ORDERS = {
    "forward": "in the order in which an image reaches them",
    "registered": "in the order of the network's definition",
    "name": "in the order of their names, since nothing says what network this is (--architecture does)",
}
_HEADER = ("#", "layer", "type", "stage", "entropy", "‖w‖₂", "energy", "stable rank", "α", "fit")
_LEFT = {1, 2, 3, 9}  # columns of text


def headline(found: Analysis) -> str:
    """What the layers of a checkpoint are like together, in one line."""
    if not found.rows:
        return f"{found.name}: {found.status}, so there are no weights"
    layers = found.patterns().layers
    score = "" if found.top1 is None else f", {found.metric} {found.top1:.2f}"
    if not layers:
        return f"{found.name}: none of {len(found.rows)} layers could be measured{score}"
    alphas = [layer.alpha for layer in layers if layer.alpha is not None]
    statuses = Counter(layer.fit.status for layer in layers if layer.fit is not None)
    fitted = f"α of {len(alphas)} of {len(found.rows)} layers"
    if alphas:
        low, high = sum(a < OVERFIT for a in alphas), sum(a > UNDERFIT for a in alphas)
        fitted += f": median {median(alphas):.2f}, {low} below {OVERFIT:g}, {high} above {UNDERFIT:g}"
    others = "".join(f", {n} {status}" for status, n in sorted(statuses.items()) if status != "ok")
    unread = len(found.rows) - len(layers)
    others += f", {unread} not measured" if unread else ""
    means = f"mean entropy {fmean(layer.entropy for layer in layers):.2f}, ‖w‖₂ {fmean(x.norm for x in layers):.3g}"
    return f"{found.name}: {means}, {fitted}{others}{score}"


def layer_table(found: Analysis) -> str:
    """The layers of a checkpoint as an aligned table, with where their order comes from."""
    rows = [_HEADER, *(_cells(row) for row in found.rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
    lines = [
        "  ".join(c.ljust(w) if i in _LEFT else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    return "\n".join([f"{len(found.rows)} layers, {_ORDERS[found.order]}", *(line.rstrip() for line in lines)])


def _cells(row: LayerRow) -> tuple[str, ...]:
    beginning = (str(row.place), row.name, row.kind, row.stage)
    pattern = row.pattern
    if pattern is None:
        return (*beginning, *("–",) * 5, row.problem or "")
    measures = (f"{pattern.entropy:.3f}", f"{pattern.norm:.4g}", _number(pattern.energy, 3))
    return (*beginning, *measures, _number(pattern.stable_rank, 2), _number(pattern.alpha, 2), _fit(pattern))


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _fit(pattern: LayerPattern) -> str:
    fit = pattern.fit
    if fit is None:
        return ""
    if fit.exponent is None or fit.tail is None or fit.distance is None:
        return f"{fit.status} ({fit.eigenvalues})"
    return f"{fit.status} (D {fit.distance:.3f}, tail {fit.tail} of {fit.eigenvalues})"


def pattern_text(analyses: Sequence[Analysis], kernels: Kernels, full: bool) -> str:
    """All checkpoints in lines; the layers where there is one checkpoint, or where all of them are asked for."""
    trained = [found for found in analyses if found.trained]
    blocks: list[str] = []
    for found in analyses:
        shown = bool(found.rows) and (full or (found.trained and len(trained) == 1))
        blocks.append(headline(found) + (f"\n\n{layer_table(found)}\n" if shown else ""))
    wrap = textwrap.TextWrapper(width=110, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
    stated = [wrap.fill(f"{name}: {said}") for name, said in conventions(kernels).items()]
    return "\n".join([*blocks, "", "What the numbers are:", *stated])
