"""A sweep's plan as data: which cells are run, how they are tuned, and which seeds give the result.

Defaults belong to an *edition*, so that a plan means for ever what it meant when it was committed: one without a key
``edition`` is of edition 1 and has the defaults of ``Tuning``; ``edition: 2`` has those of ``EDITION_2`` below, which
``benchmarks/selection.py`` found to choose better for as many trials. Importing this needs no torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from bocb_hf.coupling.primary import PrimaryStatistic
from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.runs import strict_yaml
from bocb_hf.schema import Frozen, Seed, Slug, describe_errors, parse_strict
from bocb_hf.sweep.kept_rates import KeptRates
from bocb_hf.sweep.pretrained import PretrainedAxis
from bocb_hf.sweep.tuning import Tuning

# seeds of tuning count from 100, so that those of final runs can count from 1
EDITION_2: dict[str, Any] = {
    "protocol": "halving",
    "points": 5,
    "seeds": [100, 101],
    "selection": "one_standard_error",
    "max_extensions": 1,
}
NEWEST_EDITION = 2


@dataclass(frozen=True)
class CellPlan:
    """One cell of a plan.

    Attributes:
        config: Name or path of its setting.
        variant: Name of its variant of the setting; empty without one.
        changes: The pairs ``section.key=value`` of that variant.
        pretrained: Level of the axis ``pretrained``; empty without that axis.
    """

    config: str
    variant: str
    backbone: str
    optimizer: str
    changes: tuple[str, ...] = ()
    pretrained: str = ""


class SweepPlan(Frozen):
    """The plan of a sweep: which cells are run, committed before any of them is run.

    Attributes:
        edition: Which defaults the section ``tuning`` has: 1, as ever, or 2.
        config: Name of a shipped setting or path of a YAML file, or a list of them: several settings or data sets.
        variants: Changes to a setting as one more axis, ``{b256: [training.batch_size=256]}``; each variant is a
            setting of its own, ``<setting>_<variant>`` in records and tables.
        pretrained: The checkpoints that runs are fine-tuned from, as one more axis (`docs/transfer.md`); each level is
            a setting of its own, `<setting>_<level>`.
        tuning: How each cell is tuned.
        kept: In place of tuning, the rates that another study tuned, which all final runs take.
        budget: ``equal`` refuses a plan under which optimizers would get unequal numbers of trials, apart from
            extensions, which the ledger counts; ``free`` allows it.
        overrides: Pairs ``section.key=value`` for all runs.
        compile: ``auto`` times each network before the first run and compiles it where its runs in the plan save
            clearly more than compiling takes (``sweep/compiling.py``); off under ``runtime.portable``.
        device: ``cpu`` hides GPUs from the workers, so that a plan gives the same result everywhere.
        baselines: Whether the floor rows of the data set are computed too.
        primary: The one statistic that the report leads with, named before any run (``bocb aggregate --plan``); None
            leaves the default of reports.
    """

    edition: Literal[1, 2] = 1
    name: Slug
    config: str | Annotated[list[str], Field(min_length=1)]
    variants: dict[Slug, list[str]] = Field(default_factory=dict[str, list[str]])
    backbones: Annotated[list[str], Field(min_length=1)]
    optimizers: Annotated[list[str], Field(min_length=1)]
    pretrained: PretrainedAxis | None = None
    tuning: Tuning = Tuning()
    kept: KeptRates | None = None
    budget: Literal["equal", "free"] = "equal"
    final_seeds: Annotated[list[Seed], Field(min_length=1)]
    overrides: list[str] = Field(default_factory=list[str])
    compile: Literal["never", "auto"] = "never"
    device: Literal["cpu", "any"] = "any"
    baselines: bool = True
    primary: PrimaryStatistic | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_its_edition(cls, data: Any) -> Any:
        if isinstance(data, dict) and "tuning" in data and cast(dict[str, Any], data).get("kept") is not None:
            raise ValueError("kept: nothing is tuned, so that the section tuning says nothing; leave one of them out")
        if not isinstance(data, dict) or cast(dict[str, Any], data).get("edition") != 2:
            return data
        plan = cast(dict[str, Any], data)
        given = plan.get("tuning", {})
        if not isinstance(given, dict):
            return plan
        defaults = {key: value for key, value in EDITION_2.items() if not (key == "seeds" and "seed" in given)}
        return {**plan, "tuning": {**defaults, **cast(dict[str, Any], given)}}

    @field_validator("optimizers")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            OPTIMIZERS.get(name)
        return names

    @field_validator("config", "backbones", "optimizers", "final_seeds")
    @classmethod
    def _unique(cls, values: Any) -> Any:
        if isinstance(values, list) and len(set(cast(list[Any], values))) != len(cast(list[Any], values)):
            raise ValueError("holds a value twice")
        return values

    @field_validator("final_seeds")
    @classmethod
    def _fresh(cls, seeds: list[int], info: ValidationInfo) -> list[int]:
        tuning = info.data.get("tuning")
        if (
            info.data.get("kept") is None
            and isinstance(tuning, Tuning)
            and (both := [seed for seed in tuning.seeds if seed in seeds])
        ):
            raise ValueError(f"holds the tuning seed {both[0]}; the result needs fresh seeds")
        return seeds

    @model_validator(mode="after")
    def _fair(self) -> SweepPlan:
        if unknown := [name for name in self.tuning.grid_of if name not in self.optimizers]:
            raise ValueError(f"tuning.grid_of names {unknown[0]}, which is none of the optimizers of the plan")
        counts = {name: self.trials(name) for name in self.optimizers}
        if self.budget == "equal" and len(set(counts.values())) > 1:
            least, most = min(counts, key=lambda n: counts[n]), max(counts, key=lambda n: counts[n])
            raise ValueError(
                f"{most} would get {counts[most]} trials a cell and {least} {counts[least]}; give each optimizer as "
                "many values under tuning.grid_of, use tuning.protocol: random, or say budget: free"
            )
        return self

    @model_validator(mode="after")
    def _nested(self) -> SweepPlan:
        if self.pretrained is None:
            return self
        pairs = itertools.chain(self.overrides, *self.variants.values())
        if any(pair.startswith("backbone.pretrained=") for pair in pairs):
            raise ValueError(
                "backbone.pretrained is set by the axis pretrained; leave it out of overrides and variants"
            )
        if len(self.final_seeds) % self.pretrained.count:
            raise ValueError(
                f"final_seeds holds {len(self.final_seeds)} seeds, which take {self.pretrained.count} checkpoints in "
                f"turn; give a multiple of {self.pretrained.count}, so that each checkpoint gets as many runs"
            )
        return self

    def trials(self, optimizer: str) -> int:
        """Number of trials of a cell of an optimizer before any extension."""
        return 0 if self.kept is not None else self.tuning.trials(optimizer)

    @property
    def extensions(self) -> int:
        """How often a winner at the edge of a grid adds one more value beyond it, on each axis."""
        return 0 if self.kept is not None else self.tuning.max_extensions

    @property
    def configs(self) -> list[str]:
        """Names or paths of the settings."""
        return [self.config] if isinstance(self.config, str) else self.config

    def cells(self) -> Iterator[CellPlan]:
        """Every cell, by setting, variant, pre-training, backbone and optimizer in the order of the plan."""
        variants, levels = self.variants or {"": []}, self.pretrained.levels if self.pretrained is not None else [""]
        for config, variant, level, backbone, optimizer in itertools.product(
            self.configs, variants, levels, self.backbones, self.optimizers
        ):
            yield CellPlan(config, variant, backbone, optimizer, tuple(variants[variant]), level)


def load_plan(path: Path) -> SweepPlan:
    """Reads a plan.

    Raises:
        InputError: The file has problems; the message names all of them.
    """
    data = strict_yaml.parse_file(path)
    try:
        return cast(SweepPlan, parse_strict(SweepPlan, data))
    except ValidationError as error:
        problems = describe_errors(error, SweepPlan)
        raise InputError(f"{path} has {len(problems)} problem(s):\n" + "\n".join(f"  {p}" for p in problems)) from None
