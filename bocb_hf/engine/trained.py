"""A trained network with its preprocessing, from the repository of its cell.

The record says what is built and the safetensors give the weights; nothing else of the repository is used, so that a
stranger's ``config.json`` cannot name files or code of this machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn

from bocb_hf.backbones.build import BackboneSource, build_backbone
from bocb_hf.backbones.transformers_classifier import TransformersClassifier
from bocb_hf.errors import InputError
from bocb_hf.runs.config import RESERVED_ARGS
from bocb_hf.runs.record import RunRecord, read_record
from bocb_hf.store import check_repository

WEIGHTS, RECORD = "model.safetensors", "record.json"


class TrainedClassifier(nn.Module):
    """A network in evaluation mode.

    Attributes:
        network: As it was trained; takes (B, 3, S, S), normalised.
        record: Of the run.
        transform: PIL image to (3, S, S), as in the evaluation of the run.
    """

    def __init__(self, network: nn.Module, record: RunRecord) -> None:
        super().__init__()
        self.network, self.record = network, record
        data = record.identity.data
        side = data.test_image_size or data.image_size
        self.transform = create_transform(
            input_size=(3, side, side),
            crop_pct=data.test_crop_ratio,
            mean=data.mean,
            std=data.std,
            interpolation="bicubic",
        )
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network(pixels)

    @torch.inference_mode()
    def logits(self, images: Sequence[Any]) -> Tensor:
        """Logits (B, K) of PIL images."""
        transform = cast(Any, self.transform)
        device = next(self.parameters()).device
        return self(torch.stack([transform(image.convert("RGB")) for image in images]).to(device))


def load_backbone(repository: str, *, seed: int, revision: str | None = None) -> TrainedClassifier:
    """Loads the network of a completed final run.

    Args:
        repository: ``namespace/name`` on the Hub, or the folder of a repository.
        seed: Of the run.
        revision: Branch or commit; the newest when None.

    Raises:
        InputError: There is no such run, its files are not what the record says, or its architecture needs a module
            that is not imported.
    """
    folder = find_run_folder(repository, seed, revision)
    record = read_run_folder(folder, seed)
    model = build_from_record(record)
    target = model.network if isinstance(model, TransformersClassifier) else model
    try:
        target.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError, OSError) as error:
        lines = str(error).splitlines()
        raise InputError(f"{repository}: the weights of seed {seed} do not fit its record: {lines[0]}") from None
    return TrainedClassifier(model, record)


def find_run_folder(
    repository: str, seed: int, revision: str | None = None, files: Sequence[str] = (WEIGHTS, RECORD)
) -> Path:
    """The folder of one seed, of which only some files are downloaded.

    Args:
        repository: ``namespace/name`` on the Hub, or the folder of a repository.
        seed: Of the run.
        revision: Branch or commit; the newest when None.
        files: Their names.

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
    """The record of a completed final run whose weights lie beside it.

    Raises:
        InputError: One of them is missing, or they do not belong together.
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


def build_from_record(record: RunRecord) -> nn.Module:
    """The network of a record, with random weights.

    Raises:
        InputError: Its arguments would load something, or its architecture is not known here.
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
    return build_backbone(source, data.num_classes, data.image_size, 0, data.test_image_size).eval()
