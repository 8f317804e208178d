"""A linear probe on features that are computed once: the head is the network of the loop, and its inputs are the data.

The backbone of a linear probe is frozen and in evaluation mode, so that without augmentation an image has the same
features in every epoch. They are kept in the folder of the cache (``runtime.cache_dir``), by everything that decides
them, so that all runs on one backbone and one data set share one pass. What is evaluated in the end, saved and recorded
is the whole network.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import time
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bocb_hf.data.augment import normalize
from bocb_hf.data.batches import evaluation_batches
from bocb_hf.data.splits import Features, Images, StreamedImages, TestImages, TrainImages
from bocb_hf.engine.prepare import PreparedRun
from bocb_hf.engine.sharding import is_sharded
from bocb_hf.errors import InputError
from bocb_hf.files import replacing
from bocb_hf.optim.param_groups import classifier_layers
from bocb_hf.resources import cache_folder
from bocb_hf.schema import canonical_json

log = logging.getLogger(__name__)

_BATCH = 128  # images in a forward pass; the features do not depend on it but for rounding
_TIMED = 16  # images of a timed pass
_LAYOUT = 1  # this number is raised when older files cannot be read
_TOLERANCE = 1e-3  # between the logits of the network and those of its head on the features, over the largest logit


class HeadOnFeatures(nn.Module):
    """The classifier of a network, as a network whose inputs are features; both share the layer and its weights.

    Args:
        whole: The network; it is reached by ``whole``, but none of its other parameters belongs to this module.

    Raises:
        InputError: The network has no single layer that makes its logits.
    """

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        names = classifier_layers(whole)
        if len(names) != 1:
            raise InputError(
                f"training.cached_features: this backbone makes its logits with {len(names)} layers, not one "
                f"({', '.join(names) or 'none was found'}); set training.cached_features=false"
            )
        self.classifier = whole.get_submodule(names[0])
        self._held = (whole,)  # a tuple, since a module would become a part of this one

    @property
    def whole(self) -> nn.Module:
        """The network whose head this is."""
        return self._held[0]

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, K) of features (B, ...)."""
        return self.classifier(features)

    def features(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, ...) of normalised images (B, 3, S, S), and the logits (B, K) that the whole network makes."""
        seen: list[Tensor] = []
        hook = self.classifier.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            logits = self.whole(inputs)
        finally:
            hook.remove()
        if len(seen) != 1:
            raise InputError(
                f"training.cached_features: the classifier of this backbone runs {len(seen)} times for one batch, not "
                "once; set training.cached_features=false"
            )
        return seen[0], logits


def whole_network(model: nn.Module) -> nn.Module:
    """The network that is evaluated and saved: that whose head was trained on features, else the model itself."""
    return model.whole if isinstance(model, HeadOnFeatures) else model


@dataclasses.dataclass(frozen=True)
class Probe:
    """A run whose images are replaced by their features.

    Attributes:
        prepared: The run, with features for training and validation; the test images stay images.
        head: The network of the loop.
        seconds: Time in which features were computed; 0 where all of them were in the cache.
    """

    prepared: PreparedRun
    head: HeadOnFeatures
    seconds: float


def probe_features(prepared: PreparedRun, model: nn.Module, accelerator: Accelerator) -> Probe:
    """Computes the features of the training and validation images, or reads them from the cache.

    Args:
        prepared: The run.
        model: Its network with the initial weights; it is moved to the device.
        accelerator: Device, precision and processes.

    Raises:
        InputError: The backbone or the data cannot be used in this way, an image is damaged, or the cache cannot be
            written.
    """
    data = prepared.data
    if isinstance(data.train, StreamedImages):
        raise InputError(
            "training.cached_features: a stream is not held, so that its features cannot be either; set "
            "data.streaming=false or training.cached_features=false"
        )
    if is_sharded(accelerator):
        raise InputError("training.cached_features: FSDP shards what is computed once; start without it")
    head = HeadOnFeatures(model)
    model.to(accelerator.device).eval()
    maker = _Maker(prepared, head, accelerator)
    train = maker.make(data.train, "train")
    validation = None
    if data.validation is not None:
        same = isinstance(data.validation, Images) and isinstance(data.train, Images)
        same = same and cast(Images, data.validation).stored is cast(Images, data.train).stored
        validation = maker.make(data.validation, "train" if same else "validation")
    held = dataclasses.replace(cast(Any, data), train=train, validation=validation)
    return Probe(dataclasses.replace(prepared, data=held), head, maker.seconds)


def count_images(prepared: PreparedRun) -> int:
    """Number of images whose features a run needs: the training and the validation images, those in both once."""
    held = [images for images in (prepared.data.train, prepared.data.validation) if images is not None]
    stored = {images.stored.data_ptr(): len(images.stored) for images in held if isinstance(images, Images)}
    return sum(stored.values()) + sum(len(images) for images in held if not isinstance(images, Images))


def time_features(prepared: PreparedRun, model: nn.Module) -> tuple[HeadOnFeatures, Tensor, float]:
    """Times the pass over the images on noise.

    Args:
        prepared: The run.
        model: Its network; it is moved to the device of this machine, and back into its mode of training.

    Returns:
        The head, features of some images, (B, ...), and the seconds that the features of all images take.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    head, side, training = HeadOnFeatures(model.to(device)), prepared.identity.data.image_size, model.training
    model.eval()
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(prepared.identity.training.precision)
    inputs = torch.rand(_TIMED, 3, side, side, device=device)
    seconds: list[float] = []
    features = inputs
    with torch.no_grad(), torch.autocast(device.type, half, enabled=half is not None):
        for _ in range(2):  # the first pass warms up
            started = time.perf_counter()
            features = head.features(inputs)[0].float().cpu()
            seconds.append(time.perf_counter() - started)
    model.train(training)
    return head, features, seconds[-1] / _TIMED * count_images(prepared)


class _Maker:
    def __init__(self, prepared: PreparedRun, head: HeadOnFeatures, accelerator: Accelerator) -> None:
        self._prepared, self._head, self._accelerator = prepared, head, accelerator
        self._made: dict[str, Tensor] = {}
        self.seconds = 0.0

    def make(self, images: TrainImages | TestImages, split: str) -> Features:
        """The features of these images, with their labels."""
        if isinstance(images, Images):  # of all that are stored, so that trials and final runs share them
            everything: TestImages = Images(images.stored, torch.zeros(len(images.stored), dtype=torch.int64))
            stored = self._find(everything, split, "")
            return Features(stored, images.labels, images.places)
        assert not isinstance(images, StreamedImages)
        rows = hashlib.sha256(images.rows.numpy().astype("<i8").tobytes()).hexdigest()
        return Features(self._find(images, split, rows), images.labels)

    def _find(self, images: TestImages, split: str, rows: str) -> Tensor:
        parameters = self._describe(len(images), split, rows)
        if parameters not in self._made:
            folder = cache_folder(self._prepared.config.runtime.cache_dir)
            name = hashlib.sha256(parameters.encode()).hexdigest()[:24]
            path = (
                folder / f"features-{self._prepared.identity.backbone.name.replace('/', '-')[-60:]}-{name}.safetensors"
            )
            self._made[parameters] = self._load(path, parameters, images, split)
        return self._made[parameters]

    def _describe(self, count: int, split: str, rows: str) -> str:
        """Everything that decides the features, as canonical JSON."""
        identity, config = self._prepared.identity, self._prepared.config
        data = identity.data.model_dump(mode="json")
        # the draw of validation images decides which features are used, not what they are
        data = {key: value for key, value in data.items() if not (split == "train" and key.startswith("validation_"))}
        given = {
            "layout": _LAYOUT,
            "torch": torch.__version__,
            "device": self._accelerator.device.type,
            "precision": identity.training.precision,
            "tf32": config.runtime.tf32,
            "portable": config.runtime.portable,
            "backbone": identity.backbone.model_dump(mode="json"),
            "random_scheme": identity.random_scheme,
            # weights that were given do not depend on the seed, and the head, which does, is not used
            "seed": config.seed if identity.backbone.pretrained is None else None,
            "data": data,
            "split": split,
            "rows": rows,
            "images": count,
        }
        return canonical_json(given)

    def _load(self, path: Path, parameters: str, images: TestImages, split: str) -> Tensor:
        """Reads the features from their file, which is written first if it is missing or not whole."""
        found = _read(path, parameters)
        if found is not None:
            return found
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):  # other processes of this run, and other runs, wait here
                found = _read(path, parameters)
                if found is None:
                    features = self._compute(images, split)
                    with replacing(path) as partial:
                        save_file({"features": features}, partial, metadata={"parameters": parameters})
                    found = _read(path, parameters)
        except OSError as error:
            raise InputError(
                f"runtime.cache_dir: cannot write {path} ({error.strerror or error}); set runtime.cache_dir to a "
                "folder that can be written"
            ) from error
        if found is None:
            raise InputError(f"runtime.cache_dir: {path} reads otherwise than it was written; check the disk")
        return found

    @torch.no_grad()
    def _compute(self, images: TestImages, split: str) -> Tensor:
        """Features of all images, (N, ...) float32 on the CPU."""
        started, accelerator, identity = time.perf_counter(), self._accelerator, self._prepared.identity
        device, workers = accelerator.device, self._prepared.config.runtime.workers
        mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (identity.data.mean, identity.data.std))
        features: Tensor | None = None
        for indices, pixels, _ in evaluation_batches(images, _BATCH, workers=workers):
            with accelerator.autocast():
                some, logits = self._head.features(normalize(pixels.to(device), mean, std))
                if features is None:
                    _check_logits(self._head(some), logits)
            if features is None:
                features = torch.empty((len(images), *some.shape[1:]))
            features[indices] = some.float().cpu()
        assert features is not None  # a split without images was refused when it was read
        self.seconds += time.perf_counter() - started
        log.info(
            "%s: features of %d images, %s numbers each, computed once in %.1f s",
            *(split, len(images), "×".join(str(n) for n in features.shape[1:]), time.perf_counter() - started),
        )
        return features


def _check_logits(by_head: Tensor, logits: Tensor) -> None:
    """Raises InputError where the network changes what its classifier has made."""
    same = by_head.shape == logits.shape
    if not same or bool((by_head - logits).abs().max() > _TOLERANCE * logits.abs().max().clamp_min(1e-6)):
        raise InputError(
            "training.cached_features: this backbone changes what its classifier makes, so that the features alone do "
            "not give its logits; set training.cached_features=false"
        )


def _read(path: Path, parameters: str) -> Tensor | None:
    """The features in a file, memory-mapped; None unless it is whole and holds these."""
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, Any] = file.metadata() or {}
            return file.get_tensor("features") if metadata.get("parameters") == parameters else None
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError) as error:
        log.warning("%s cannot be read (%s): features are computed again", path, error)
        return None
