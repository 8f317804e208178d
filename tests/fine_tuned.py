"""Records of pre-training runs and of runs that were fine-tuned from them, and simulated three-way tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from builders import make_data, make_record
from numpy.random import Generator
from numpy.typing import NDArray

from bocb_hf.coupling.rank_transfer import spearman
from bocb_hf.coupling.transfer import TransferTable
from bocb_hf.runs.naming import make_run_id
from bocb_hf.runs.pretraining import Pretraining
from bocb_hf.runs.record import RunRecord

FINE_DATA = make_data("local/held_out", "abcdef0")


def pretraining_of(record: RunRecord) -> Pretraining:
    """What a run that starts from the weights of this one remembers.

    It is written apart from ``bocb_hf.backbones.provenance.describe``, which tests compare with it.
    """
    identity = record.identity
    return Pretraining(
        dataset=identity.data.name,
        data_revision=identity.data.revision,
        setting=identity.setting,
        optimizer=identity.optimizer.name,
        epochs=identity.training.epochs,
        seed=record.seed,
        config_hash=record.config_hash,
        record_sha256=record.sha256(),
    )


def make_pretrained(optimizer: str = "adamw", backbone: str = "tiny_resnet", **more: Any) -> RunRecord:
    """A completed pre-training run."""
    return make_record(backbone, optimizer, **({"setting": "pretrain", "lr": 0.01} | more))


def make_fine_tuned(
    start: RunRecord, optimizer: str = "sgdm", *, weights: str = "a", setting: str = "finetune", **more: Any
) -> RunRecord:
    """A run that was fine-tuned from the weights of a pre-training run.

    Args:
        start: The pre-training run.
        weights: The digit of which the SHA-256 of its weights consists.
    """
    record = make_record(
        start.identity.backbone.name, optimizer, **({"setting": setting, "data": FINE_DATA, "lr": 0.01} | more)
    )
    backbone = record.identity.backbone.model_copy(
        update={"pretrained": "local", "pretrained_sha256": weights * 64, "pretraining": pretraining_of(start)}
    )
    identity = record.identity.model_copy(update={"backbone": backbone})
    digest = identity.config_hash()
    fields = {"identity": identity.model_dump(), "config_hash": digest, "run_id": make_run_id(digest, record.seed)}
    return RunRecord.model_validate(record.model_dump() | fields)


def make_transfer_records(
    scores: NDArray[np.int64],
    backbones: Sequence[str] = ("tiny_resnet", "tiny_vit"),
    optimizers: Sequence[str] = ("adamw", "lamb", "sgdm"),
) -> list[RunRecord]:
    """Final runs of a whole table; fine-tuning seeds count on over the checkpoints of a cell.

    Args:
        scores: Correct test images of 2,000, shape (B, P, F, K, S).
    """
    found: list[RunRecord] = []
    for b, backbone in enumerate(backbones[: len(scores)]):
        for p, pretraining in enumerate(optimizers):
            for k in range(scores.shape[3]):
                start = make_pretrained(pretraining, backbone, seed=k + 1, correct=1500 + 10 * p + k)
                found.append(start)
                for f, optimizer in enumerate(optimizers):
                    found += [
                        make_fine_tuned(
                            start,
                            optimizer,
                            weights="abcdef"[k],
                            setting=f"finetune_{pretraining}",
                            seed=k * scores.shape[4] + s + 1,
                            correct=int(scores[b, p, f, k, s]),
                        )
                        for s in range(scores.shape[4])
                    ]
    return found


@dataclass(frozen=True)
class Regime:
    """How simulated tables come about; spreads in points.

    Attributes:
        interaction: Spread of γ over pairs of optimizers.
        checkpoint: Spread of what a checkpoint's runs share.
        checkpoint_pair: Spread of what they share only with one fine-tuning optimizer.
        run: Spread over fine-tuning seeds.
        backbones: Factor between the noise of the calmest and the noisiest backbone.
        cells: Factor between the noise of the calmest and the noisiest pair of optimizers.
        agreement: Correlation of the merits of a pre-training before and after fine-tuning.
    """

    name: str
    interaction: float = 0.0
    checkpoint: float = 1.0
    checkpoint_pair: float = 0.5
    run: float = 1.0
    backbones: float = 1.0
    cells: float = 1.0
    agreement: float = 0.0
    shape: tuple[int, int, int, int, int] = (3, 4, 4, 2, 3)


@dataclass(frozen=True)
class Drawn:
    """A simulated table and its truth: cell means (B, P, F), and the rank correlation averaged over backbones."""

    values: NDArray[np.float64]
    pretraining: NDArray[np.float64]
    means: NDArray[np.float64]
    ranking: float


def draw_table(regime: Regime, generator: Generator) -> Drawn:
    """Draws a table: scores (B, P, F, K, S) around 80 points, and the scores of its pre-training (B, P, K)."""
    b, p, f, k, s = regime.shape
    normal = generator.standard_normal
    merit = normal((b, p))
    before = regime.agreement * merit + np.sqrt(1 - regime.agreement**2) * normal((b, p))
    means = 80 + 2 * merit[:, :, None] + 2 * normal((b, 1, f)) + regime.interaction * normal((b, p, f))
    scale = np.geomspace(1, regime.backbones, b)[:, None, None, None] / np.sqrt(regime.backbones)
    spread = np.geomspace(1, regime.cells, p * f).reshape(p, f)[None, :, :, None] / np.sqrt(regime.cells)
    shared = regime.checkpoint * scale * normal((b, p, 1, k))
    single = regime.checkpoint_pair * scale * spread * normal((b, p, f, k))
    runs = regime.run * (scale * spread)[..., None] * normal((b, p, f, k, s))
    values = means[..., None, None] + (shared + single)[..., None] + runs
    after = means.mean(axis=2)
    pretraining = 90 + 2 * before[:, :, None] + 0.5 * normal((b, p, k))
    return Drawn(values, pretraining, means, float(spearman(before, after).mean()))


def table_of(drawn: Drawn) -> TransferTable:
    """The table of simulated scores, with the same optimizers in both roles as far as they go."""
    b, p, f, k, _ = drawn.values.shape
    names = ("adamw", "lamb", "muon", "sgdm", "lion", "adan")
    backbones = tuple(f"backbone{i}" for i in range(b))
    levels = {(name, level): tuple(range(1, k + 1)) for name in backbones for level in names[:p]}
    return TransferTable(
        *("simulated", "data", "finetune", "abcdef0", "top-1", "source", "pretrain", backbones),
        pretrainings=names[:p],
        pretraining_optimizers=names[:p],
        epochs=(1,) * p,
        optimizers=names[:f],
        values=drawn.values,
        status=np.full((b, p, f), "completed"),
        checkpoint_seeds=levels,
        fine_tuning_seeds=tuple(range(1, 7)),
        pretraining_scores=drawn.pretraining,
        config_hashes=np.full((b, p, f), "0" * 12),
    )
