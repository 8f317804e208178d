"""Does a pattern say more of a cell than its backbone and its optimizer do? Pure statistics of arrays.

What is predicted (a score, or whether the cell failed) and what predicts it are tables of backbones × optimizers. Both
lose their main effects first, so that what is left is interaction. Each backbone is left out in turn: the effects of
optimizers and the sign of the relation come from the others alone, and the rank correlation of prediction and outcome
over the optimizers of that backbone says how good the prediction is. Under the null hypothesis the pattern of a
backbone over optimizers has nothing to do with its outcomes over them, so the rows of one table may be permuted against
those of the other; backbones are permuted, and never cells, since cells of a backbone belong together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bocb_hf.coupling.additive import fit_additive
from bocb_hf.errors import InputError

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]

MIN_BACKBONES = 3  # two to learn a sign from, and one to try it on
BOOTSTRAP_FROM = 5  # backbones from which they are resampled; with fewer there is no interval over them
_MIN_CELLS = 3  # optimizers of a backbone that a rank correlation needs
_CHUNK = 512  # permutations that are worked on together
_ROUNDING = 1e-10  # what is smaller than this share of a table's largest value is rounding


@dataclass(frozen=True, eq=False)
class View:
    """One table of outcomes beside the tables of what may predict them.

    Attributes:
        outcome: What is to be predicted, shape (B, O); NaN where it is not known.
        features: What may predict it, by name, shape (B, O) each; NaN where it is not known.
    """

    outcome: _Floats
    features: Mapping[str, _Floats]


@dataclass(frozen=True)
class Finding:
    """How well one feature predicts one outcome.

    Attributes:
        outcome: Name of the outcome.
        feature: Name of the feature.
        correlation: Mean rank correlation over the backbones left out; None where nothing could be predicted.
        low: Lower end of its 95 % interval over backbones; None with too few of them.
        high: Upper end.
        p: Share of the permutations with as high a correlation.
        adjusted: The same for the highest correlation of all that was tried (Westfall and Young 1993).
        backbones: Backbones that could be predicted.
    """

    outcome: str
    feature: str
    correlation: float | None
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None
    backbones: int


@dataclass(frozen=True)
class Answer:
    """The findings, the highest correlation first, and what the permutations can show.

    Attributes:
        findings: One for each feature of each outcome.
        tried: How many of them could be computed, which is what ``adjusted`` corrects for.
        backbones: Backbones of the tables.
        optimizers: Optimizers of the tables.
        permutations: Permutations that were looked at.
        exact: Whether these are all that there are.
    """

    findings: tuple[Finding, ...]
    tried: int
    backbones: int
    optimizers: int
    permutations: int
    exact: bool

    @property
    def smallest_p(self) -> float:
        """The smallest p that so many permutations can give."""
        return 1 / self.permutations

    def predicting(self, level: float = 0.05) -> list[Finding]:
        """The findings whose adjusted p is at most the level."""
        return [f for f in self.findings if f.adjusted is not None and f.adjusted <= level]


@dataclass(frozen=True, eq=False)
class _Relation:
    """What is needed of one feature and one outcome for every permutation.

    Attributes:
        ranks: Rank correlation of backbone k's feature with backbone i's outcome, shape (B, B); NaN where unknown.
        products: Sum over optimizers of feature times outcome, of backbone l without k and of backbone j without i,
            shape (B, B, B, B) as (k, l, i, j).
    """

    ranks: _Floats
    products: _Floats


def ask(questions: Mapping[str, Sequence[View]], most: int = 5000, draws: int = 2000, seed: int = 0) -> Answer:
    """Asks of every feature whether it predicts each outcome.

    Args:
        questions: Views by the name of their outcome. The correlation of a feature is its mean over the views, such as
            features of one half of the seeds with outcomes of the other half, and the reverse.
        most: Permutations that are drawn, where there are more; else all are taken.
        draws: Draws of the bootstrap over backbones.
        seed: Seed of both.

    Raises:
        InputError: There are fewer than three backbones, or no feature at all.
    """
    shapes = {view.outcome.shape for views in questions.values() for view in views}
    if len(shapes) != 1:
        raise InputError(f"prediction: the tables have {len(shapes)} shapes; give outcomes of the same cells")
    ((count, optimizers),) = shapes
    if count < MIN_BACKBONES:
        raise InputError(f"prediction: {count} backbones are too few to leave one out; train at least {MIN_BACKBONES}")
    generator = np.random.default_rng(seed)
    orders, exact = _orders(count, most, generator)
    weights = generator.multinomial(count, np.full(count, 1 / count), draws)
    found: list[tuple[str, str, list[_Relation]]] = []
    for outcome, views in questions.items():
        left = [_left_out(view.outcome) for view in views]
        for name in dict.fromkeys(name for view in views for name in view.features):
            relations = [
                _relate(_left_out(view.features[name]), outcomes)
                for view, outcomes in zip(views, left, strict=True)
                if name in view.features
            ]
            found.append((outcome, name, relations))
    if not found:
        raise InputError("prediction: there is no feature; records need patterns, a sharpness or a curve")
    statistics = np.array([_mean([_permuted(r, orders) for r in relations]) for _, _, relations in found])
    known = np.isfinite(statistics[:, 0])
    highest = np.where(np.isfinite(statistics), statistics, -np.inf)
    best = highest[known].max(axis=0) if known.any() else highest.max(axis=0)
    findings: list[Finding] = []
    for (outcome, name, relations), line, there in zip(found, highest, known, strict=True):
        predicted = int(np.isfinite(_mean([np.diagonal(r.ranks) for r in relations])).sum())
        if not there:
            findings.append(Finding(outcome, name, None, None, None, None, None, predicted))
            continue
        value = float(line[0])
        reached = value - 1e-12
        p, adjusted = float((line >= reached).mean()), float((best >= reached).mean())
        low, high = _interval(relations, weights, value, predicted)
        findings.append(Finding(outcome, name, value, low, high, p, adjusted, predicted))
    findings.sort(key=lambda f: (f.correlation is None, -(f.correlation or 0.0)))
    return Answer(tuple(findings), int(known.sum()), count, optimizers, len(orders), exact)


def _orders(count: int, most: int, generator: np.random.Generator) -> tuple[_Ints, bool]:
    """Permutations of the backbones, shape (P, B), the identity first; and whether these are all."""
    if math.factorial(count) <= most:
        return np.array(list(permutations(range(count))), np.int64), True
    drawn = np.argsort(generator.random((most - 1, count)), axis=1)
    return np.concatenate([np.arange(count)[None], drawn]).astype(np.int64), False


def _left_out(table: _Floats) -> tuple[_Floats, _Floats]:
    """Takes the main effects off a table, each backbone left out in turn.

    Args:
        table: Shape (B, O); NaN where unknown.

    Returns:
        Residuals of the other backbones, shape (B, B, O), 0 where unknown and in the row left out; and the row left out
        less the optimizers' effects among the others, shape (B, O), centred, NaN where unknown. Of a row that is all
        one value, such as the failures of a backbone without one, there is nothing to predict, so it is unknown, too;
        and so is one of which the effects leave nothing but rounding.
    """
    count, optimizers = table.shape
    rest, own = np.zeros((count, count, optimizers)), np.full(table.shape, np.nan)
    for b in range(count):
        others = np.delete(np.arange(count), b)
        part = table[others]
        columns = np.isfinite(part).any(axis=0)
        lines = np.isfinite(part).any(axis=1)
        if columns.sum() < 2 or lines.sum() < 2:
            continue
        grid = part[np.ix_(lines, columns)]
        try:
            fit = fit_additive(grid, np.isfinite(grid))
        except InputError:  # what is left falls apart into cells that nothing joins
            continue
        residual = np.zeros_like(part)
        least = _ROUNDING * float(np.nanmax(np.abs(grid)))
        residual[np.ix_(lines, columns)] = np.where(np.abs(fit.interaction) > least, fit.interaction, 0.0)
        rest[b, others] = residual
        row = np.full(optimizers, np.nan)
        row[columns] = table[b, columns] - fit.optimizer
        finite = np.isfinite(row)
        if finite.any() and np.ptp(table[b, finite]) > 0 and np.ptp(row[finite]) > least:
            own[b] = row - row[finite].mean()
    return rest, own


def _relate(feature: tuple[_Floats, _Floats], outcome: tuple[_Floats, _Floats]) -> _Relation:
    (rest_x, own_x), (rest_y, own_y) = feature, outcome
    count, optimizers = own_x.shape
    products = rest_x.reshape(-1, optimizers) @ rest_y.reshape(-1, optimizers).T
    return _Relation(_rank_correlations(own_x, own_y), products.reshape((count,) * 4))


def _rank_correlations(one: _Floats, other: _Floats) -> _Floats:
    """Spearman's correlation of each row with each row over the cells that both know, shape (B, B)."""
    found = np.full((len(one), len(other)), np.nan)
    if np.isfinite(one).all() and np.isfinite(other).all():
        a, b = (_standardised(np.asarray(stats.rankdata(_flat(x), axis=1))) for x in (one, other))
        return a @ b.T
    for k, x in enumerate(one):
        for i, y in enumerate(other):
            both = np.isfinite(x) & np.isfinite(y)
            if both.sum() >= _MIN_CELLS:
                pair = _flat(np.array([x[both], y[both]]))
                a, b = _standardised(np.asarray(stats.rankdata(pair, axis=1)))
                found[k, i] = float(a @ b)
    return found


def _flat(table: _Floats) -> _Floats:
    """The table with what differs by rounding alone made equal, so that it ties."""
    scale = np.abs(table).max(axis=1, keepdims=True)
    return np.round(table / np.where(scale > 0, scale, 1.0), 10)


def _standardised(ranks: _Floats) -> _Floats:
    """Rows less their mean, of length 1; NaN for a row that is all one value."""
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    return centred / np.where(length > 0, length, np.nan)


def _permuted(relation: _Relation, orders: _Ints) -> _Floats:
    """The mean rank correlation for each permutation of the feature's backbones, shape (P,); NaN without any."""
    count = orders.shape[1]
    i, j = np.arange(count)[:, None], np.arange(count)[None, :]
    found = np.empty(len(orders))
    for first in range(0, len(orders), _CHUNK):
        order = orders[first : first + _CHUNK]
        slopes = relation.products[order[:, :, None], order[:, None, :], i, j].sum(axis=2)
        signs = np.where(slopes == 0, np.nan, np.sign(slopes))  # without a slope there is nothing to predict with
        found[first : first + _CHUNK] = _row_means(signs * relation.ranks[order, np.arange(count)])
    return found


def _row_means(table: _Floats) -> _Floats:
    """Mean of what is known in each row; NaN for a row that knows nothing."""
    finite = np.isfinite(table)
    n = finite.sum(axis=-1)
    return np.where(finite, table, 0.0).sum(axis=-1) / np.where(n > 0, n, np.nan)


def _mean(parts: Sequence[_Floats]) -> _Floats:
    """Mean over views of what is known."""
    return _row_means(np.stack(parts, axis=-1))


def _interval(
    relations: Sequence[_Relation], weights: _Ints, value: float, predicted: int
) -> tuple[float | None, float | None]:
    """95 % percentile interval over backbones drawn with replacement, widened for their small number.

    What a backbone's prediction learns from is drawn with it: a backbone never learns from a copy of itself. The
    percentiles are moved away from the estimate by √(n/(n−1)) · t/z, as Hesterberg has it ("What teachers should know
    about the bootstrap", 2015, Section 4.3).
    """
    if predicted < BOOTSTRAP_FROM:
        return None, None
    lines: list[_Floats] = []
    for relation in relations:
        count = len(relation.ranks)
        here = np.arange(count)
        pairs = relation.products[here[:, None], here[None, :], here[:, None], here[None, :]]  # (i, j)
        signs = np.sign(weights @ pairs.T)
        ranks = np.diagonal(relation.ranks)
        known = np.isfinite(ranks)
        total = (weights * known).sum(axis=1)
        drawn = (weights * signs * np.where(known, ranks, 0.0)).sum(axis=1)
        lines.append(drawn / np.where(total > 0, total, np.nan))
    drawn = _mean(lines)
    drawn = drawn[np.isfinite(drawn)]
    z, t = stats.norm.ppf(0.975), stats.t.ppf(0.975, predicted - 1)
    wider = math.sqrt(predicted / (predicted - 1)) * float(t / z)
    low, high = (float(q) for q in np.quantile(drawn, [0.025, 0.975]))
    return max(-1.0, value + wider * (low - value)), min(1.0, value + wider * (high - value))
