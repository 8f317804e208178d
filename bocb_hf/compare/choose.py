"""Looks at data and backbone, and makes the plan of a comparison from what is decided about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bocb_hf.backbones.build import resolve_backbone
from bocb_hf.backbones.facts import backbone_facts
from bocb_hf.compare.asked import Asked
from bocb_hf.compare.decide import FORWARD, Decision, Images, Speed, Way, decide, duration
from bocb_hf.compare.design import MOST_FINALS, RATES, WANTED_FINALS, Design, Fixed
from bocb_hf.compare.folder import Known
from bocb_hf.compare.optimizers import propose
from bocb_hf.data.survey import survey
from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.resources import find_config
from bocb_hf.runs.choose import Choice, choose_setting
from bocb_hf.runs.config import BackboneConfig, RunConfig
from bocb_hf.runs.facts import BackboneFacts, DataFacts
from bocb_hf.runs.load_config import load_run_config, write_override
from bocb_hf.sweep.executors.work import Floor
from bocb_hf.sweep.plan import NEWEST_EDITION, SweepPlan

_PIXELS = 3e7  # numbers of all training images, up to which logistic regression on pixels takes seconds
_ON_FLOORS = 0.1  # part of the time that features of the frozen backbone may take
_FOLDERS = (("store", "store"), ("state_dir", "state"))  # of the runs, below that of the comparison


@dataclass(frozen=True)
class Found:
    """What a comparison is about.

    Attributes:
        facts: The data.
        backbone: The backbone.
        choice: The setting that follows from both.
        probe: The setting of a linear probe; None where there are no weights, or another setting is asked for.
    """

    facts: DataFacts
    backbone: BackboneFacts
    choice: Choice
    probe: Choice | None


def look(asked: Asked) -> Found:
    """Looks at the data and at the backbone.

    Raises:
        InputError: The data cannot be read, the backbone is unknown, or the setting does not fit.
    """
    backbone = backbone_facts(asked.backbone, scratch=asked.scratch)
    facts = survey(
        asked.data,
        revision=asked.revision,
        image_column=asked.image_column,
        label_column=asked.label_column,
        test_fraction=asked.test_fraction,
    )
    choice = choose_setting(facts, backbone, asked.setting)
    _check_weights(backbone)
    may_probe = backbone.pretrained is not None and asked.setting is None
    return Found(facts, backbone, choice, choose_setting(facts, backbone, "linear_probe") if may_probe else None)


def _check_weights(backbone: BackboneFacts) -> None:
    """Gets the weights, so that what cannot be had is an error before any worker starts.

    Raises:
        InputError: They cannot be had; the message says what would have been fetched.
    """
    if backbone.pretrained is None:
        return
    try:
        resolve_backbone(BackboneConfig(name=backbone.name, pretrained=backbone.pretrained), 0.0, backbone.image_size)
    except InputError as error:
        raise InputError(f"--backbone: {error}; --scratch trains without weights") from None


class Chooser:
    """Makes configurations, the decision and the plan of a comparison.

    Args:
        asked: What the user asks for.
        found: What it is about.
        folder: Folder of its runs.
        threads: CPU threads of a worker.
        on_gpu: Whether runs train on a GPU.
    """

    def __init__(self, asked: Asked, found: Found, folder: Path, threads: int, on_gpu: bool) -> None:
        self.asked, self.found, self.folder = asked, found, folder.resolve()
        self.threads, self.on_gpu = threads, on_gpu
        self.wanted = self._way(found.choice)
        self.probe = self._way(found.probe) if found.probe is not None else None
        if asked.optimizers:
            for name in asked.optimizers:
                OPTIMIZERS.get(name)
            if len(set(asked.optimizers)) < 2:
                raise InputError("--optimizers: name at least 2 different ones, since a comparison compares")
            self.optimizers, self.why = tuple(dict.fromkeys(asked.optimizers)), "as asked for"
        else:
            self.optimizers, self.why = propose(found.backbone.name, self._options())

    @property
    def precision(self) -> str:
        """Number format of the forward pass: bf16 on a GPU, fp32 on a CPU, where few gain by bf16."""
        return self.asked.precision or ("bf16" if self.on_gpu else "fp32")

    def _options(self) -> list[str]:
        training = self._base(self.found.choice).training
        options = [f"training.precision={self.precision}"]
        if training.layer_decay is not None:
            options.append("training.layer_decay")
        if training.clip_grad_norm is not None:
            options.append("training.clip_grad_norm")
        return [*options, *(["training.ema_decay"] if training.ema_decay is not None else [])]

    def _base(self, choice: Choice) -> RunConfig:
        path = find_config(choice.name, "recipes/configs")
        return load_run_config(path, [*choice.overrides, "optimizer.name=adamw", *self._given()])

    def _given(self) -> list[str]:
        keys = {"image_size": "data", "batch_size": "training"}
        given = {f"{section}.{name}": getattr(self.asked, name) for name, section in keys.items()}
        return [f"{key}={value}" for key, value in given.items() if value is not None]

    def _way(self, choice: Choice) -> Way:
        config = self._base(choice)
        training = config.training
        return Way(
            choice.name,
            config.data.image_size,
            self.asked.epochs or training.epochs,
            training.batch_size,
            training.linear_probe,
            config.backbone.pretrained is not None,
        )

    def overrides(self, way: Way) -> list[str]:
        """The pairs ``section.key=value`` of every run of a way, without the backbone's name."""
        choice = self.found.choice
        if self.found.probe is not None and way.setting == self.found.probe.name:
            choice = self.found.probe
        base, pairs = self._base(choice).training, dict[str, str]()
        own = [
            f"data.image_size={way.image_size}",
            f"training.epochs={way.epochs}",
            f"training.batch_size={way.batch_size}",
            f"training.precision={self.precision}",
        ]
        if way.epochs < base.epochs and base.warmup_epochs:
            own.append(f"training.warmup_epochs={round(base.warmup_epochs * way.epochs / base.epochs, 3)}")
        if not self.on_gpu:  # each core trains a run of its own, so that processes that decode would only be in the way
            own.append("runtime.workers=0")
        own += [write_override(f"runtime.{key}", str(self.folder / name)) for key, name in _FOLDERS]
        for key, given in (("data.name", self.asked.data), ("backbone.pretrained", self.found.backbone.pretrained)):
            if given is not None and Path(given).is_dir():  # so that the plan also runs from another folder
                own.append(write_override(key, str(Path(given).resolve())))
        for pair in [*choice.overrides, *own]:
            key, _, value = pair.partition("=")
            pairs[key] = value
        pairs.pop("backbone.name", None)
        return [f"{key}={value}" for key, value in pairs.items()]

    def config_of(self, way: Way) -> RunConfig:
        """The configuration of a trial of a way."""
        more = [f"backbone.name={self.found.backbone.name}", "optimizer.name=adamw", "role=trial", "seed=100"]
        more += ["runtime.tracker=none", f"runtime.threads={self.threads}"]
        return load_run_config(find_config(way.setting, "recipes/configs"), [*self.overrides(way), *more])

    @property
    def full(self) -> Design:
        """The design without any cut."""
        rates = self.asked.rates or RATES[0]
        return Design(
            self.optimizers,
            rates,
            halved=rates > 1,
            extended=self.asked.rates is None,
            finals=self.asked.seeds or WANTED_FINALS,
        )

    @property
    def fixed(self) -> Fixed:
        """What no cut may change, since the user gave it."""
        asked = self.asked
        return Fixed(bool(asked.optimizers), asked.rates is not None, asked.seeds is not None)

    @property
    def images(self) -> Images:
        """Images of each split, as a trial sees them."""
        facts = self.found.facts
        return Images(facts.train, facts.validation, facts.test)

    def decide(self, left: Callable[[], float], workers: int, measure: Callable[[Way], Speed]) -> Decision:
        """Decides what fits into the time; see ``decide.decide``.

        Args:
            left: Function that says how many seconds are left.
            workers: Runs at a time.
            measure: Function that times a way.
        """
        measure(self.wanted)  # before the time that is left is asked for, since timing takes a part of it
        seconds = left()
        return decide(
            self.wanted,
            self.full,
            self.fixed,
            self.images,
            seconds,
            workers,
            measure,
            fixed_epochs=self.asked.epochs is not None,
            fixed_size=self.asked.image_size is not None or self.found.backbone.fixed_size,
            probe=self.probe,
            spent=self.asked.seconds - seconds,
        )

    def plan(self, decision: Decision) -> SweepPlan:
        """The plan of a decision."""
        way = decision.way
        return SweepPlan.model_validate(
            {
                "edition": NEWEST_EDITION,
                "name": "compare",
                "config": way.setting,
                "backbones": [self.found.backbone.name],
                **decision.found.design.keys(),
                "overrides": self.overrides(way),
                "baselines": "logistic_regression" in self.floors(decision),
            }
        )

    def floors(self, decision: Decision) -> list[Floor]:
        """The floors for which there is time."""
        way, images, found = decision.way, self.images, list[Floor]()
        if images.train * 3 * way.image_size**2 <= _PIXELS:
            found.append("logistic_regression")
        passed = 1.0 if way.probe else FORWARD * decision.run / way.epochs  # over the training images
        if passed <= _ON_FLOORS * self.asked.seconds:
            found.append("frozen_backbone")
        return found

    def known(self, decision: Decision) -> Known:
        """What the folder is to know of the comparison."""
        asked, images = self.asked, self.images
        data = str(Path(asked.data).resolve()) if Path(asked.data).is_dir() else asked.data
        return Known(
            data=data,
            revision=self.found.facts.revision,
            backbone=asked.backbone,
            scratch=asked.scratch,
            decided=asked.decided(),
            reasons=self.reasons(decision),
            cuts=list(decision.cuts),
            seconds=decision.run,
            images=[images.train, images.validation, images.test],
            probe=decision.way.probe,
            full=list(self.optimizers),
            floors=[*self.floors(decision)],
        )

    def reasons(self, decision: Decision) -> list[str]:
        """Each decision with its reason and its flag."""
        way, asked = decision.way, self.asked
        choice = self.found.probe if way.probe and self.found.probe is not None else self.found.choice
        design = decision.found.design
        found = [*self.found.facts.sentences(), *choice.reasons]
        found.append(
            f"Precision {self.precision}: "
            + ("asked for." if asked.precision else "a GPU is here." if self.on_gpu else "few CPUs gain by bf16.")
            + " (--precision)"
        )
        lost = [name for name in self.optimizers if name not in design.optimizers]
        untried = f"; there is no time for {', '.join(lost)}" if lost else ""
        found.append(f"Optimizers {', '.join(design.optimizers)}: {self.why}{untried}. (--optimizers)")
        rates = f"Rates: {design.rates} a factor of 3 apart around the optimizer's centre under this setting"
        rates += ", the better half with a second tuning seed" if design.halved else ""
        rates += ", and one beyond an edge that wins" if design.extended else ""
        found.append(rates + ". (--rates)")
        found.append(
            f"Final seeds: {design.finals} for each optimizer, and up to {MOST_FINALS} where time is left. (--seeds)"
        )
        found.append(
            f"Time: {design.runs} runs of about {duration(decision.run)}, in all about {duration(decision.seconds)}."
        )
        return found


def refitted(plan: SweepPlan, known: Known, seeds: int | None) -> Design:
    """The design that a comparison aims at when it is continued: all optimizers again, and enough final seeds.

    Args:
        plan: The plan as it is.
        known: What is known of the comparison.
        seeds: Final seeds that are asked for; None leaves them to the command.
    """
    now = Design.of(plan)
    missing = [name for name in known.full if name not in now.optimizers]
    return replace(now, optimizers=(*now.optimizers, *missing), finals=max(now.finals, seeds or WANTED_FINALS))
