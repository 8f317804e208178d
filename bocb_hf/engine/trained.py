"""Loads a trained network with its preprocessing from the repository of its cell.

The record says what is built, and the safetensors file gives the weights. Nothing else of the repository is used, so a
stranger's ``config.json`` cannot name files or code of this machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from bocb_hf.backbones.bounds import Header, check_described, limited, read_header
from bocb_hf.backbones.build import BackboneSource, build_backbone, create_from_scratch
from bocb_hf.backbones.starting_weights import describe_misfit, not_finite
from bocb_hf.backbones.transformers_classifier import TransformersClassifier
from bocb_hf.data.augment import normalize
from bocb_hf.data.decode import Centre
from bocb_hf.data.pictures import to_rgb
from bocb_hf.errors import InputError
from bocb_hf.runs.config import RESERVED_ARGS
from bocb_hf.runs.record import RunRecord, read_record
from bocb_hf.runs.tasks import CLASSIFICATION
from bocb_hf.schema import one_line
from bocb_hf.store import check_repository
from bocb_hf.tasks.task import open_task

WEIGHTS, RECORD = "model.safetensors", "record.json"


class TrainedTask(nn.Module):
    """The trained network of a task other than classification, in evaluation mode, with its record.

    Attributes:
        network: The network as it was trained; it takes normalised pixels (B, 3, H, W).
        record: The record of the run.
    """

    def __init__(self, network: nn.Module, record: RunRecord) -> None:
        super().__init__()
        self.network, self.record = network, record
        task = record.identity.task
        self._task = open_task(task.name, task.options)
        self.eval()

    def forward(self, pixels: Tensor) -> Any:
        """Raw outputs of normalised pixels (B, 3, H, W)."""
        return self.network(pixels)

    def predict(self, images: Sequence[Image.Image], **more: Any) -> list[Any]:
        """Predictions for PIL images of any mode, by the preprocessing of the run.

        Args:
            images: The images.
            more: What else the task takes: pose estimation takes ``boxes``, the left, top, right and bottom of the
                person in each image.

        Returns:
            For each image what the task says: ``boxes``, ``scores`` and ``labels`` in detection, ``keypoints`` and
            ``scores`` in pose estimation.
        """
        return self._task.predict(self.network, self.record.identity, images, **more)


class TrainedClassifier(nn.Module):
    """A trained network in evaluation mode, with its record and preprocessing.

    Attributes:
        network: The network as it was trained; it takes normalised pixels (B, 3, S, S).
        record: The record of the run.
        rule: Rule by which an image becomes a square in the evaluation of the run.
    """

    def __init__(self, network: nn.Module, record: RunRecord) -> None:
        super().__init__()
        self.network, self.record = network, record
        data = record.identity.data
        self.rule = Centre(data.test_image_size or data.image_size, data.test_crop_ratio, data.interpolation)
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (B, K) of normalised pixels (B, 3, S, S)."""
        return self.network(pixels)

    def transform(self, image: Image.Image, source: str = "the image") -> Tensor:
        """Normalised pixels (3, S, S) of a PIL image of any mode, by the same steps as in the evaluation of the run.

        Args:
            image: The image as Pillow opened it; it is turned upright by its Exif.
            source: Name of the image in an error.

        Raises:
            InputError: The values of the image have no known range.
        """
        data = self.record.identity.data
        square = self.rule.make(to_rgb(image, source), None)
        pixels = torch.from_numpy(np.array(square).transpose(2, 0, 1))  # (3, S, S) uint8
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (data.mean, data.std))
        return normalize(pixels[None], mean, std)[0]

    @torch.inference_mode()
    def logits(self, images: Sequence[Image.Image]) -> Tensor:
        """Logits (B, K) of PIL images of any mode.

        Raises:
            InputError: The values of an image have no known range.
        """
        device = next(self.parameters()).device
        pixels = [self.transform(image, f"image {place}") for place, image in enumerate(images)]
        return self(torch.stack(pixels).to(device))


def load_backbone(repository: str, *, seed: int, revision: str | None = None) -> TrainedClassifier | TrainedTask:
    """Loads the network of a completed final run; that of another task than classification has ``predict``.

    Args:
        repository: ``namespace/name`` on the Hub, or the folder of a repository.
        seed: The seed of the run.
        revision: Branch or commit on the Hub; None takes the newest commit.

    Raises:
        InputError: There is no such run, its files are not what the record says, its weights hold NaN or an infinity,
            or its architecture needs a module that is not imported.
    """
    folder = find_run_folder(repository, seed, revision)
    record = read_run_folder(folder, seed)
    beginning = f"{repository}: the weights of seed {seed} do not fit its record"
    try:
        header = read_header(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{beginning}: {one_line(str(error))}") from None
    model = build_from_record(record, header)
    target = _stored_part(model)
    try:
        tensors = load_file(folder / WEIGHTS)
        own = target.state_dict()
        mistyped = [m for name, t in tensors.items() if name in own and (m := describe_misfit(name, t, own[name]))]
        if mistyped:
            raise RuntimeError(mistyped[0])
        target.load_state_dict(tensors)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise InputError(f"{beginning}: {one_line(str(error).splitlines()[0])}") from None
    broken = not_finite(tensors)
    if broken:
        raise InputError(
            f"{repository}: {len(broken)} tensors of the weights of seed {seed} hold NaN or an infinity, such as "
            f"{one_line(broken[0], 100)}; nothing can be computed with them"
        )
    return TrainedClassifier(model, record) if _is_classifier(record) else TrainedTask(model, record)


def find_run_folder(
    repository: str, seed: int, revision: str | None = None, files: Sequence[str] = (WEIGHTS, RECORD)
) -> Path:
    """Finds the folder of one seed; from a repository on the Hub, only the named files are downloaded.

    Args:
        repository: ``namespace/name`` on the Hub, or the folder of a repository.
        seed: The seed of the run.
        revision: Branch or commit on the Hub; None takes the newest commit.
        files: Names of the files.

    Raises:
        InputError: The repository is not there.
    """
    if Path(repository).is_dir():
        return Path(repository) / "seeds" / str(seed)
    from huggingface_hub import snapshot_download

    from bocb_hf.store.hub_calls import explained

    wanted = [f"seeds/{int(seed)}/{name}" for name in files]
    with explained(check_repository(repository)):
        root = snapshot_download(repository, revision=revision, allow_patterns=wanted)
    return Path(root) / "seeds" / str(int(seed))


def read_run_folder(folder: Path, seed: int) -> RunRecord:
    """Reads the record of a completed final run and compares it with the weights beside it.

    Raises:
        InputError: The record or the weights are missing, or they do not belong together.
    """
    missing = [name for name in (RECORD, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise InputError(f"seed {seed}: there is no {' and no '.join(missing)}; the card lists the completed seeds")
    record = read_record(folder / RECORD, f"seed {seed}")
    with (folder / WEIGHTS).open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if record.seed != seed or record.weights_sha256 != found:
        raise InputError(f"seed {seed}: the weights are not those of the record (their SHA-256 is {found})")
    return record


def build_from_record(record: RunRecord, header: Header) -> nn.Module:
    """Builds the network of a record, with random weights.

    Args:
        record: The record of the run.
        header: Header of the weights that the network is built for; nothing is built that they cannot fill.

    Raises:
        InputError: The arguments in the record would load something or describe another network than that of the
            weights, or the architecture is not known here.
    """
    identity, data = record.identity.backbone, record.identity.data
    reserved = sorted((RESERVED_ARGS - {"drop_path_rate"}) & identity.args.keys())
    if reserved:
        raise InputError(f"backbone.args: {', '.join(reserved)} would load or name something beside the weights")
    if record.requires not in (None, "bocb_hf"):
        import sys

        if record.requires not in sys.modules:
            raise InputError(f"this architecture needs the module {record.requires}; if you trust it, import it first")
    source = BackboneSource(identity, record.family, None, record.requires)
    beginning = f"the weights of seed {record.seed} do not fit its record"
    if not _is_classifier(record):
        described = record.identity.task
        task = open_task(described.name, described.options)
        check_described(lambda: task.build(source, data, 0), identity.args, header, beginning)
        with limited(header):
            return task.build(source, data, 0).eval()
    check_described(
        lambda: _stored_part(create_from_scratch(identity, data.num_classes, 0)),
        identity.args,
        header,
        beginning,
    )
    with limited(header):
        return build_backbone(source, data.num_classes, data.image_size, 0, data.test_image_size).eval()


def _is_classifier(record: RunRecord) -> bool:
    return record.identity.task.name == CLASSIFICATION


def _stored_part(model: nn.Module) -> nn.Module:
    """The module whose tensors are stored; it is the model itself, but for transformers the network in our wrapper."""
    return model.network if isinstance(model, TransformersClassifier) else model
