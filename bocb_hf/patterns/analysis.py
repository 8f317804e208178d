"""Looks into checkpoints layer by layer, and puts an untrained network beside each architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from bocb_hf.errors import InputError, missing_extra
from bocb_hf.patterns.checkpoints import Checkpoint
from bocb_hf.patterns.layers import kind_of, natural, stage_of
from bocb_hf.patterns.measure import as_patterns, is_layer, measure_layer
from bocb_hf.patterns.tensors import StoredTensor, read_headers
from bocb_hf.runs.patterns import Kernels, LayerPattern, WeightPatterns
from bocb_hf.schema import one_line

UNTRAINED = "random initialisation"


@dataclass(frozen=True)
class LayerRow:
    """One layer.

    Attributes:
        place: Place in the network, from 1.
        name: Name of the tensor.
        kind: Type of the layer, see ``layers.kind_of``.
        stage: Where it stands, see ``layers.stage_of``.
        shape: Shape of the weight.
        pattern: What was measured; None where ``problem`` says why not.
        problem: Why nothing was measured; None where something was.
    """

    place: int
    name: str
    kind: str
    stage: str
    shape: tuple[int, ...]
    pattern: LayerPattern | None
    problem: str | None = None


@dataclass(frozen=True)
class Analysis:
    """The layers of one checkpoint, or of an untrained network.

    Attributes:
        name: What output calls it.
        backbone: Its backbone or architecture.
        group: What is drawn in one figure: runs of one data set, setting and backbone, with their untrained network.
        order: Where the order of the layers comes from: ``forward`` (one image was passed through the network),
            ``registered`` (the network's definition) or ``name``.
        kernels: How kernels were read.
        rows: The layers.
        optimizer: Optimizer of the run; None for weights without a record.
        seed: Seed of the run, or of the initialisation.
        top1: Test score of the run in points, whatever its metric; None where there is none.
        trained: Whether these are trained weights.
        status: ``completed`` or ``diverged``; a diverged run has no rows.
        metric: What the score is, such as ``top-1`` or ``AP``; None where there is none.
    """

    name: str
    backbone: str
    group: str
    order: str
    kernels: Kernels
    rows: tuple[LayerRow, ...]
    optimizer: str | None = None
    seed: int | None = None
    top1: float | None = None
    trained: bool = True
    status: str = "completed"
    metric: str | None = None

    def patterns(self) -> WeightPatterns:
        """The layers that were measured, as a record keeps them."""
        return as_patterns([row.pattern for row in self.rows if row.pattern is not None], self.kernels)


def analyze(
    checkpoints: Sequence[Checkpoint],
    kernels: Kernels = "rows",
    architecture: str | None = None,
    seed: int | None = None,
    untrained: bool = True,
) -> list[Analysis]:
    """Analyses checkpoints, and one untrained network for each group that says what network it is.

    Args:
        checkpoints: The checkpoints.
        kernels: How a kernel becomes a matrix.
        architecture: A backbone as ``bocb train`` takes it, for checkpoints that do not say what they are of.
        seed: Seed of the untrained networks; None takes the lowest seed of a group's runs, or 0. A run's own untrained
            network has the very weights that it began with, unless it started from given ones.
        untrained: Whether to analyse untrained networks at all.

    Raises:
        InputError: A file is damaged or holds no layer, a network cannot be built, or torch is needed and missing.
    """
    checkpoints = _named_apart(checkpoints)
    found: list[Analysis] = []
    orders: dict[str, tuple[tuple[str, ...], str]] = {}
    for checkpoint in checkpoints:
        group = _group(checkpoint)
        if not checkpoint.files:
            found.append(_without_weights(checkpoint, group, kernels))
            continue
        tensors = read_headers(list(checkpoint.files))
        layers = {name: tensor for name, tensor in tensors.items() if is_layer(name, tensor.shape)}
        if not layers:
            raise InputError(f"{checkpoint.name}: holds no weight of a layer, among {len(tensors)} tensors")
        known = orders.get(group)
        if known is None or set(known[0]) < set(layers):
            alike = [c for c in checkpoints if c.record is not None and _group(c) == group]
            begun = min((c.record.seed for c in alike if c.record is not None), default=0) if seed is None else seed
            known, beside = _network(checkpoint, tensors, layers, architecture, begun, untrained, group, kernels)
            orders[group] = known
            found += [] if beside is None else [beside]
        names = [name for name in known[0] if name in layers]
        names += [name for name in natural(layers) if name not in set(names)]
        rows = tuple(_row(k, name, layers[name], kernels) for k, name in enumerate(names, 1))
        record = checkpoint.record
        metrics = None if record is None else record.metrics
        score = None if metrics is None or metrics.test is None else metrics.test.last
        found.append(
            Analysis(
                checkpoint.name,
                checkpoint.backbone,
                group,
                known[1],
                kernels,
                rows,
                None if record is None else record.identity.optimizer.name,
                None if record is None else record.seed,
                score,
                metric=None if metrics is None or score is None else metrics.name,
            )
        )
    return found


def _named_apart(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The checkpoints, each with a name of its own: two files of other folders may be called alike."""
    seen: dict[str, int] = {}
    named: list[Checkpoint] = []
    for checkpoint in checkpoints:
        seen[checkpoint.name] = count = seen.get(checkpoint.name, 0) + 1
        named.append(checkpoint if count == 1 else replace(checkpoint, name=f"{checkpoint.name} ({count})"))
    return named


def _group(checkpoint: Checkpoint) -> str:
    if checkpoint.record is None:
        return checkpoint.name
    data, setting, backbone, _ = checkpoint.record.identity.cell().names
    return f"{backbone}, {data}, {setting}"


def _without_weights(checkpoint: Checkpoint, group: str, kernels: Kernels) -> Analysis:
    record = checkpoint.record
    assert record is not None, "only a run may lack weights"
    names = (record.identity.optimizer.name, record.seed)
    return Analysis(checkpoint.name, checkpoint.backbone, group, "name", kernels, (), *names, status=record.status)


def _network(
    checkpoint: Checkpoint,
    tensors: Mapping[str, StoredTensor],
    layers: Mapping[str, StoredTensor],
    architecture: str | None,
    seed: int,
    untrained: bool,
    group: str,
    kernels: Kernels,
) -> tuple[tuple[tuple[str, ...], str], Analysis | None]:
    """The order of a checkpoint's layers with where it comes from, and the analysis of its untrained network."""
    by_name = (tuple(natural(layers)), "name")
    if checkpoint.record is None and checkpoint.config is None and architecture is None:
        return by_name, None  # nothing says what network it is
    try:
        from bocb_hf.patterns.network import build_untrained, describe
    except ImportError as error:
        if untrained:
            raise missing_extra(error.name or "torch", "train") from None
        return by_name, None
    described = describe(checkpoint, tensors, architecture)
    if described is None:
        return by_name, None
    built = build_untrained(described, tensors, seed, checkpoint.name, only_order=not untrained)
    order = (built.names, built.order)
    if not untrained:
        return order, None
    rows: list[LayerRow] = []
    for place, (name, weight) in enumerate(built.weights.items(), 1):
        pattern = measure_layer(name, weight, kernels)
        rows.append(LayerRow(place, name, kind_of(weight.shape), stage_of(name), weight.shape, pattern))
    named = f"{checkpoint.backbone}, {UNTRAINED}, seed {seed}"
    beside = Analysis(
        named, checkpoint.backbone, group, built.order, kernels, tuple(rows), None, seed, None, trained=False
    )
    return order, beside


def _row(place: int, name: str, tensor: StoredTensor, kernels: Kernels) -> LayerRow:
    shown = one_line(name, 300) or "?"
    kind, stage = kind_of(tensor.shape), stage_of(name)
    if not tensor.readable:
        return LayerRow(place, shown, kind, stage, tensor.shape, None, f"stored as {tensor.dtype}, not as numbers")
    pattern = measure_layer(shown, tensor.read(), kernels, tensor.widen)
    problem = "holds NaN or an infinity" if pattern is None else None
    return LayerRow(place, shown, kind, stage, tensor.shape, pattern, problem)


def mean_top1(analyses: Sequence[Analysis]) -> float | None:
    """Mean test score over runs that have one; None without any."""
    scores = [a.top1 for a in analyses if a.top1 is not None]
    return fmean(scores) if scores else None
