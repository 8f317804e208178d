"""The axis ``pretrained`` of a plan: checkpoints of pre-training runs as one more factor of its cells.

Each level is a pre-training, by the name of its optimizer, and is a setting of its own in records and tables,
``<setting>_<level>``. Its checkpoints are those of several pre-training seeds. A cell is tuned once for all of them,
and its seeds take them in turn: the first seed the first checkpoint, the second seed the second one, and so on, so that
pre-training seeds are nested in the cell. Importing this needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.runs.record import RunRecord
from bocb_hf.schema import HUB_SCHEME, Frozen, Name, Seed, Slug

Checkpoint = Annotated[str, Field(min_length=1, max_length=500)]
Starts = Mapping[tuple[str, str], tuple[str, ...]]  # values of backbone.pretrained, by backbone and level
BACKBONE = "{backbone}"


class PretrainedAxis(Frozen):
    """The weights that the cells of a plan start from: final runs of a store, or checkpoints by name.

    Attributes:
        store: Where the pre-training runs lie: a folder, or `hf://<namespace>`. With it go setting, optimizers and
            seeds.
        dataset: Data of the pre-training runs as their records name them, where the store holds several.
        setting: Setting of the pre-training runs.
        optimizers: Optimizers of the pre-training; each is a level of the axis.
        seeds: Pre-training seeds; each is a checkpoint of every level.
        checkpoints: In place of a store, the checkpoints of each level as `backbone.pretrained` takes them, a folder or
            a Hub id each, in which `{backbone}` stands for the backbone.
    """

    store: Checkpoint | None = None
    dataset: Name | None = None
    setting: Slug | None = None
    optimizers: list[Slug] = Field(default_factory=list[str], max_length=100)
    seeds: list[Seed] = Field(default_factory=list[int], max_length=100)
    checkpoints: dict[Slug, Annotated[list[Checkpoint], Field(min_length=1, max_length=100)]] = Field(
        default_factory=dict[str, list[str]]
    )

    @field_validator("optimizers")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            OPTIMIZERS.get(name)
        return names

    @model_validator(mode="after")
    def _one_form(self) -> PretrainedAxis:
        of_store = (self.store, self.setting, self.optimizers or None, self.seeds or None)
        if self.checkpoints:
            if any(value is not None for value in (*of_store, self.dataset)):
                raise ValueError("give either checkpoints, or store, setting, optimizers and seeds, and not both")
            if len({len(names) for names in self.checkpoints.values()}) > 1:
                raise ValueError("checkpoints: give every level as many, so that all get as many runs from each")
        elif any(value is None for value in of_store):
            raise ValueError("give store, setting, optimizers and seeds of the pre-training runs, or checkpoints")
        for name, values in (("optimizers", self.optimizers), ("seeds", self.seeds)):
            if len(set(values)) != len(values):
                raise ValueError(f"{name} holds a value twice")
        return self

    @property
    def levels(self) -> list[str]:
        """The pre-trainings, each of which every backbone is fine-tuned from."""
        return list(self.checkpoints) or self.optimizers

    @property
    def count(self) -> int:
        """Number of checkpoints of each level."""
        return len(next(iter(self.checkpoints.values()))) if self.checkpoints else len(self.seeds)


def find_starts(axis: PretrainedAxis, backbones: Sequence[str]) -> Starts:
    """Finds the checkpoints of every backbone and level, in the order of the axis.

    Raises:
        InputError: The store cannot be read, or lacks a completed run of a backbone, optimizer and seed; the message
            names all that are missing.
    """
    if axis.checkpoints:
        return {
            (backbone, level): tuple(name.replace(BACKBONE, backbone) for name in names)
            for backbone in backbones
            for level, names in axis.checkpoints.items()
        }
    assert axis.store is not None
    from bocb_hf.results.counted import read_counted

    contents = read_counted(axis.store, cached=True)
    found: dict[tuple[str, str, int], dict[str, RunRecord]] = {}
    for record in contents.records:
        identity = record.identity
        wanted = record.role == "final" and record.status == "completed" and identity.setting == axis.setting
        if wanted and (axis.dataset is None or identity.data.name == axis.dataset):
            key = (identity.backbone.name, identity.optimizer.name, record.seed)
            found.setdefault(key, {})[contents.places[record.role, record.run_id]] = record
    missing = [
        f"{backbone} × {optimizer} seed {seed}"
        for backbone in backbones
        for optimizer in axis.optimizers
        for seed in axis.seeds
        if (backbone, optimizer, seed) not in found
    ]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise InputError(
            f"pretrained.store: {axis.store} holds no completed final run of setting {axis.setting!r} for "
            f"{', '.join(missing[:5])}{more}; train these first (diverged runs have no weights to start from)"
        )
    return {
        (backbone, optimizer): tuple(_places(axis, found, backbone, optimizer))
        for backbone in backbones
        for optimizer in axis.optimizers
    }


def _places(
    axis: PretrainedAxis, found: Mapping[tuple[str, str, int], Mapping[str, RunRecord]], backbone: str, optimizer: str
) -> list[str]:
    """The checkpoints of one level, which must be of one configuration."""
    own = [found[backbone, optimizer, seed] for seed in axis.seeds]
    hashes = {record.config_hash for records in own for record in records.values()}
    if len(hashes) > 1 or any(len(records) > 1 for records in own):
        data = sorted({record.identity.data.name for records in own for record in records.values()})
        raise InputError(
            f"pretrained.store: the runs of {backbone} × {optimizer} under setting {axis.setting!r} are of "
            f"{len(hashes)} configurations ({', '.join(sorted(hashes)[:3])}; data {', '.join(data)}); their seeds are "
            "draws of one factor only if they share one, so name pretrained.dataset, or keep one in the store"
        )
    places = [next(iter(records)).removesuffix("/record.json") for records in own]
    assert axis.store is not None
    if axis.store.startswith(HUB_SCHEME):
        return places
    return [str(Path(axis.store) / "models" / place) for place in places]
