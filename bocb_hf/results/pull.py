"""Which checkpoints of a backbone a store has, how good each is on validation images, and how to get one.

Checkpoints are ranked by the validation score of their configuration and never by a test score: a choice by test scores
would spoil them. Of the chosen configuration, the weights of the lowest seed are taken, and never those of the best.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from bocb_hf.coupling.statistics import Interval, estimate
from bocb_hf.errors import InputError
from bocb_hf.files import CannotWrite
from bocb_hf.registry import suggestion
from bocb_hf.runs.record import RunRecord, read_record, wilson_interval
from bocb_hf.schema import HUB_SCHEME
from bocb_hf.store.contents import StoreContents
from bocb_hf.store.local import LocalStore

WEIGHTS, RECORD = "model.safetensors", "record.json"
CONFIG = "config.json"
_FILES = (CONFIG, "preprocessor_config.json", WEIGHTS, RECORD)  # the second lies only beside networks of transformers


@dataclass(frozen=True)
class Validation:
    """The validation score of a configuration.

    Attributes:
        metric: What the score is, such as ``top-1`` or ``AP``.
        score: Mean last-epoch score in percent.
        interval: 95 % interval; None where there is none over seeds and the score is no share of images.
        over_seeds: Whether the interval is over seeds; else it is over the images: the spread over seeds is unknown.
        seeds: The seeds behind it.
        images: Number of validation images.
        of_trials: Whether it is of tuning trials; else of the final runs themselves.
    """

    metric: str
    score: float
    interval: Interval | None
    over_seeds: bool
    seeds: tuple[int, ...]
    images: int
    of_trials: bool


@dataclass(frozen=True)
class Offer:
    """One configuration whose weights can be had.

    Attributes:
        repository: ``namespace/name``.
        runs: Its completed final runs, by seed.
        validation: How good it is; None where no validation score is known.
        level: Level of trust of the run with the lowest seed.
    """

    repository: str
    runs: tuple[RunRecord, ...]
    validation: Validation | None
    level: str

    @property
    def record(self) -> RunRecord:
        """The record of the run with the lowest seed."""
        return self.runs[0]

    def of_seed(self, seed: int | None) -> RunRecord:
        """The record of a seed; None takes the lowest.

        Raises:
            InputError: There is no completed run of that seed.
        """
        found = self.record if seed is None else next((run for run in self.runs if run.seed == seed), None)
        if found is None:
            seeds = ", ".join(str(run.seed) for run in self.runs)
            raise InputError(f"--seed: {self.repository} has no completed run of seed {seed}; it has {seeds}")
        return found


def find_offers(
    contents: StoreContents,
    backbone: str,
    optimizer: str | None = None,
    setting: str | None = None,
    dataset: str | None = None,
) -> list[Offer]:
    """Finds the checkpoints of a backbone, best validation score first, those without one last.

    Args:
        contents: The records that count; retracted and invalid runs are not among them.
        backbone: Name of the backbone as records have it.
        optimizer: The optimizer that trained it; None for any.
        setting: The setting that it was trained under; None where only one fits.
        dataset: The data that it was trained on; None where only one fits.

    Raises:
        InputError: There is none, or several data sets or settings fit, whose validation scores cannot be compared.
    """
    finals: dict[tuple[str, str], list[RunRecord]] = {}
    trials: dict[str, list[RunRecord]] = {}
    backbones: set[str] = set()
    for record in contents.records:
        identity = record.identity
        if record.role == "trial":
            trials.setdefault(record.config_hash, []).append(record)
            continue
        if record.status != "completed":
            continue
        backbones.add(identity.backbone.name)
        wanted = ((backbone, identity.backbone.name), (optimizer, identity.optimizer.name))
        wanted += ((setting, identity.setting), (dataset, identity.data.name))
        if all(asked in (None, given) for asked, given in wanted):
            repository = "/".join(contents.places[record.role, record.run_id].split("/")[:2])
            finals.setdefault((repository, record.config_hash), []).append(record)
    if not finals:
        raise InputError(_nothing(contents, backbone, sorted(backbones), optimizer, setting, dataset))
    offers: list[Offer] = []
    for (repository, config_hash), runs in finals.items():
        runs.sort(key=lambda run: run.seed)
        level = contents.levels.get(runs[0].sha256(), "self-reported")
        offers.append(Offer(repository, tuple(runs), validation_of(runs, trials.get(config_hash, [])), level))
    _check_comparable(offers)

    def place(offer: Offer) -> tuple[bool, float, str]:
        score = offer.validation.score if offer.validation is not None else 0.0
        return offer.validation is None, -score, offer.repository

    return sorted(offers, key=place)


def validation_of(finals: Sequence[RunRecord], trials: Sequence[RunRecord]) -> Validation | None:
    """Returns the validation score of a configuration: of its trials, or of its final runs where these were validated.

    Args:
        finals: Completed final runs of one configuration.
        trials: Trials of the same configuration.
    """
    for runs, of_trials in ((trials, True), (finals, False)):
        found = [
            (run.seed, val.last, val.n)
            for run in sorted(runs, key=lambda run: run.seed)
            if run.status == "completed" and (val := run.metrics.val) is not None and val.last is not None
        ]
        if not found:
            continue
        scores, images = [score for _, score, _ in found], min(n for _, _, n in found)
        seeds, mean = tuple(seed for seed, _, _ in found), fmean(scores)
        metrics, interval = runs[0].metrics, estimate(scores, None).interval()
        over_seeds = interval is not None
        if not over_seeds and metrics.score is None:
            interval = Interval(*wilson_interval(round(mean / 100 * images), images))
        return Validation(metrics.name, mean, interval, over_seeds, seeds, images, of_trials)
    return None


def choose(offers: Sequence[Offer]) -> Offer:
    """Returns the best offer by validation; a single one is taken without.

    Raises:
        InputError: None of several has a validation score.
    """
    first = offers[0]
    if first.validation is None and len(offers) > 1:
        names = sorted({offer.record.identity.optimizer.name for offer in offers})
        raise InputError(
            f"none of the {len(offers)} checkpoints has a validation score to choose by, and test scores are not for "
            f"choosing; name one with --optimizer ({', '.join(names)})"
        )
    return first


def download(store: str, offer: Offer, record: RunRecord, out: Path, offline: bool = False) -> Path:
    """Copies the weights of one run, with their record, and compares them with it.

    Args:
        store: The store that the offer is from: a folder, or ``hf://<namespace>``.
        offer: The offer.
        record: The record of the run.
        out: Folder that gets ``<namespace>/<name>/seeds/<n>``.
        offline: Whether to send no request to the Hub.

    Returns:
        The folder of the weights.

    Raises:
        CannotWrite: The folder cannot be written.
        InputError: A file is missing, or weights and record are not those that the store listed.
    """
    folder = f"seeds/{record.seed}"
    target = out / offer.repository / folder
    if store.startswith(HUB_SCHEME):
        from huggingface_hub import snapshot_download

        from bocb_hf.store.hub_calls import explained

        with explained(offer.repository):
            root = snapshot_download(offer.repository, allow_patterns=[f"{folder}/*"], local_files_only=offline)
        found = {name: path for name in _FILES if (path := Path(root) / folder / name).is_file()}
    else:
        local = LocalStore(Path(store))
        present = set(local.files(offer.repository))
        paths = {name: f"{folder}/{name}" for name in _FILES}
        found = {name: local.plain(offer.repository, path) for name, path in paths.items() if path in present}
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, path in found.items():
            shutil.copyfile(path, target / name)
    except OSError as error:
        raise CannotWrite(target, error) from error
    check_pulled(target, record)
    return target


def check_pulled(folder: Path, record: RunRecord) -> None:
    """Compares the files of a run with its record.

    Raises:
        InputError: One is missing, or is another one.
    """
    missing = [name for name in (WEIGHTS, RECORD, CONFIG) if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder}: there is no {' and no '.join(missing)}; the store does not hold the whole run")
    found = read_record(folder / RECORD, str(folder / RECORD))
    with (folder / WEIGHTS).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if found.sha256() != record.sha256() or digest != record.weights_sha256:
        what = "record is not the one that was listed" if digest == record.weights_sha256 else "weights were altered"
        raise InputError(
            f"{folder}: the {what} (weights {digest[:12]}…, by the record {str(record.weights_sha256)[:12]}…); do not "
            "use them, and ask their owner"
        )


def load_lines(folder: Path, record: RunRecord) -> list[str]:
    """Returns the lines that load a pulled network, with timm where it can, and with transformers.

    Neither builds the network of another task than classification, which this project loads.
    """
    if record.metrics.score is not None:
        root = folder.parent.parent.as_posix()
        return [f'import bocb_hf; model = bocb_hf.load_backbone("{root}", seed={record.seed})']
    requires = f"import {record.requires}; " if record.requires else ""
    place = folder.as_posix()
    lines = [
        f"{requires}from transformers import AutoModelForImageClassification; "
        f'model = AutoModelForImageClassification.from_pretrained("{place}").eval()'
    ]
    if not record.identity.backbone.architecture.startswith("transformers:"):
        made = f'{requires}import timm; model = timm.create_model("local-dir:{place}", pretrained=True).eval()'
        lines.insert(0, made)
    return lines


def _check_comparable(offers: Sequence[Offer]) -> None:
    """Raises InputError where validation scores are of several data sets, settings or tasks."""
    places = {
        (identity.data.name, identity.data.revision, identity.setting, identity.task.name)
        for identity in (offer.record.identity for offer in offers)
    }
    if len(places) > 1:
        lines = "".join(
            f"\n  --dataset {data} --setting {setting} (data revision {revision[:12]}, {task})"
            for data, revision, setting, task in sorted(places)
        )
        raise InputError(
            "checkpoints of several data sets, settings or tasks fit, and their validation scores cannot be compared; "
            f"choose one:{lines}"
        )


def _nothing(
    contents: StoreContents,
    backbone: str,
    known: Sequence[str],
    optimizer: str | None,
    setting: str | None,
    dataset: str | None,
) -> str:
    asked = (("optimizer", optimizer), ("setting", setting), ("data", dataset))
    more = ", ".join(f"{name} {value}" for name, value in asked if value is not None)
    what = f"{contents.uri} has no completed final run of backbone {backbone!r}"
    if backbone in known:
        own = [r for r in contents.records if r.role == "final" and r.identity.backbone.name == backbone]
        have = sorted(
            {f"{r.identity.optimizer.name} under {r.identity.setting}" for r in own if r.status == "completed"}
        )
        return f"{what} with {more}; of this backbone there are {', '.join(have[:10])}"
    hint = suggestion(backbone, known) or f"; it has {', '.join(known[:10]) or 'none of any backbone'}"
    return f"{what}{hint}"
