"""Detection as a task: COCO-format images of any size, RetinaNet, and COCO's average precision."""

from __future__ import annotations

import math
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from bocb_hf.backbones.build import BackboneSource
from bocb_hf.data.augment.draws import FLIP
from bocb_hf.data.pictures import to_rgb
from bocb_hf.data.source import Order, TrainSource
from bocb_hf.errors import InputError
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.identity import DataIdentity, Identity
from bocb_hf.runs.preprocessing import Preprocessing
from bocb_hf.runs.runtime_config import RuntimeConfig
from bocb_hf.runs.tasks import DetectionOptions
from bocb_hf.tasks.annotations import CocoSplit, decode_upright, write_ground_truth
from bocb_hf.tasks.coco_metrics import average_precision, check_evaluator
from bocb_hf.tasks.data import channel_tensor, load_coco, measure
from bocb_hf.tasks.evaluation import find_in_split
from bocb_hf.tasks.features import build_maps
from bocb_hf.tasks.retinanet import RetinaNet, find_boxes, retinanet_loss
from bocb_hf.tasks.samples import SampleSource, choose_workers, may_hold, pad_stack
from bocb_hf.tasks.task import Evaluated, MakeInputs, Splits

DIVISOR = 32  # height and width of the input are multiples of it, as the strides of backbones ask
_EVALUATED = 8  # images of a forward pass in evaluation


@dataclass(frozen=True)
class Sample:
    """One image in the size of the input.

    Attributes:
        pixels: Pixels, (h, w, 3) uint8.
        boxes: Corners of the boxes in these pixels, (n, 4) float32.
        labels: Categories of the boxes, (n,) int64.
        scale: Size of the input over that of the file, for x and y.
    """

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scale: tuple[float, float]


def input_size(width: int, height: int, short: int, long: int) -> tuple[int, int]:
    """Width and height of an image in the input: the short side as asked, unless the long side would be too large."""
    factor = min(short / min(width, height), long / max(width, height))
    return max(1, math.floor(width * factor + 0.5)), max(1, math.floor(height * factor + 0.5))


class DetectionSamples:
    """The images of a split in the size of the input; they are held in memory where they fit.

    Args:
        split: The split.
        short: Short side in pixels.
        long: Largest long side in pixels.
        flips: Whether half of the images are mirrored, where there are draws.
    """

    def __init__(self, split: CocoSplit, short: int, long: int, flips: bool) -> None:
        self.split, self._short, self._long, self._flips = split, short, long, flips
        self._held: dict[int, NDArray[np.uint8]] | None = None

    def __len__(self) -> int:
        return len(self.split)

    @property
    def bytes(self) -> int:
        """Bytes of all images in the size of the input."""
        sizes = (input_size(p.width, p.height, self._short, self._long) for p in self.split.photographs)
        return sum(3 * width * height for width, height in sizes)

    def hold(self) -> None:
        """Keeps the pixels of each image from its first use on."""
        self._held = {}

    def make(self, index: int, draws: NDArray[np.float32] | None) -> Sample:
        """One image with its boxes, mirrored where its draw says so."""
        photograph = self.split.photographs[index]
        pixels = None if self._held is None else self._held.get(index)
        if pixels is None:
            size = input_size(photograph.width, photograph.height, self._short, self._long)
            picture = decode_upright(photograph, self.split.report.where)
            pixels = np.asarray(picture.resize(size, Image.Resampling.BILINEAR))
            if self._held is not None:
                self._held[index] = pixels
        height, width = pixels.shape[:2]
        scale = (width / photograph.width, height / photograph.height)
        kept = [one for one in photograph.annotations if not one.crowd]
        boxes = np.array([one.box for one in kept], np.float32).reshape(-1, 4)
        boxes = boxes * np.array([*scale, *scale], np.float32)
        if self._flips and draws is not None and draws[FLIP] < 0.5:
            pixels = pixels[:, ::-1]
            boxes = np.stack((width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]), axis=1)
        return Sample(pixels, boxes, np.array([one.label for one in kept], np.int64), scale)


def collate(samples: Sequence[Sample]) -> tuple[Tensor, list[dict[str, Any]]]:
    """Pixels (B, 3, H, W) uint8, padded, and for each image boxes, labels, size without padding, and scale."""
    labels = [
        {
            "boxes": torch.from_numpy(np.ascontiguousarray(one.boxes)),
            "labels": torch.from_numpy(one.labels),
            "size": one.pixels.shape[:2],
            "scale": one.scale,
        }
        for one in samples
    ]
    return pad_stack([one.pixels for one in samples], DIVISOR), labels


def normalize_padded(pixels: Tensor, sizes: Sequence[tuple[int, int]], mean: Tensor, std: Tensor) -> Tensor:
    """Normalised images (B, 3, H, W) whose padding is 0, as the padding inside of convolutions is.

    Args:
        pixels: Pixels, (B, 3, H, W) uint8 on the device.
        sizes: Height and width of each image without padding.
        mean: Mean of each channel, (3, 1, 1), in 0..1.
        std: Standard deviation of each channel, (3, 1, 1), in 0..1.
    """
    inputs = pixels.float().div_(255).sub_(mean).div_(std)
    for image, (height, width) in zip(inputs, sizes, strict=True):
        image[:, height:] = 0
        image[:, :, width:] = 0
    return inputs


class Detection:
    """The task; see ``bocb_hf.tasks.task.Task``."""

    def __init__(self, options: DetectionOptions) -> None:
        self.options = options

    def load(self, config: RunConfig, checkpoint: Preprocessing | None) -> Splits:
        """Reads the annotations, and the headers of all images."""
        check_evaluator()
        options, side = self.options, config.data.image_size
        if options.long_side < side:
            raise InputError(
                f"task.options.long_side: {options.long_side} is less than the short side, data.image_size={side}"
            )
        data = load_coco(config, options.box_format)
        train = data.train
        if not options.empty_images:
            train = train.take([k for k, p in enumerate(train.photographs) if any(not a.crowd for a in p.annotations)])
            if not len(train):
                raise InputError("data.name: no training image has a box; set task.options.empty_images=true to train")
        measured = checkpoint or measure(data.everything)
        identity = data.identify(config, len(train.categories), checkpoint, measured)
        names = tuple(category.name for category in train.categories)
        flips, budget = config.augmentation.horizontal_flip, config.runtime.memory_budget_gb

        def samples(split: CocoSplit, mirrored: bool) -> DetectionSamples:
            made = DetectionSamples(split, side, options.long_side, mirrored)
            if may_hold(made.bytes, budget):
                made.hold()
            return made

        validation = None if data.validation is None else samples(data.validation, False)
        return Splits(identity, names, samples(train, flips), validation, samples(data.test, False), data.notes())

    def build(self, source: BackboneSource, data: DataIdentity, seed: int) -> nn.Module:
        """Builds RetinaNet on the backbone."""
        maps = build_maps(source, seed)
        torch.manual_seed(seed)  # the heads are the same whatever the backbone has drawn
        network = RetinaNet(maps, data.num_classes, self.options)
        try:
            with torch.no_grad():
                network.eval()(torch.zeros(1, 3, 2 * DIVISOR, 3 * DIVISOR))
        except (RuntimeError, ValueError, AssertionError, TypeError) as error:
            raise InputError(
                f"backbone.name: {source.identity.name!r} does not take images of any size, which detection needs: "
                f"{str(error).splitlines()[0]}"
            ) from error
        return network.train()

    def open_source(self, images: DetectionSamples, order: Order, runtime: RuntimeConfig, pin: bool) -> TrainSource:
        """Opens the training images of one process."""
        workers = choose_workers(images._held is not None, runtime.workers)
        return SampleSource(images, order, collate, workers, pin)

    def make_inputs(self, identity: Identity, seed: int, device: torch.device) -> MakeInputs:
        """Normalises pixels, and moves boxes to the device."""
        mean, std = (channel_tensor(values, device) for values in (identity.data.mean, identity.data.std))

        def make(pixels: Tensor, labels: Any, rows: Tensor, step: int, cropped: bool) -> tuple[Tensor, Any]:
            sizes = [one["size"] for one in labels]
            inputs = normalize_padded(pixels.to(device, non_blocking=True), sizes, mean, std)
            targets = [{key: one[key].to(device, non_blocking=True) for key in ("boxes", "labels")} for one in labels]
            return inputs, targets

        return make

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Focal loss and L1 loss of torchvision's heads."""
        return retinanet_loss(outputs, targets)

    def evaluate(
        self, model: nn.Module, images: Sized, identity: Identity, accelerator: Accelerator, runtime: RuntimeConfig
    ) -> Evaluated:
        """COCO's AP over a split."""
        samples = cast(DetectionSamples, images)

        def describe(places: Sequence[int], labels: Any, inputs: Tensor, outputs: Any) -> list[dict[str, Any]]:
            detected = find_boxes(outputs, [one["size"] for one in labels], self.options)
            found = zip(places, labels, detected, strict=True)
            return [each for place, label, one in found for each in _describe(place + 1, one, label["scale"])]

        found, loss = find_in_split(self, model, samples, identity, accelerator, _EVALUATED, collate, describe)
        scores = average_precision(write_ground_truth(samples.split), found, "bbox")
        return Evaluated(len(samples), scores.pop("AP"), loss, scores)

    def reference_loss(self, data: Any) -> float | None:
        """None: no constant prediction minimises a sum of focal and box losses in a closed form."""
        return None

    @torch.inference_mode()
    def predict(
        self, network: nn.Module, identity: Identity, images: Sequence[Image.Image], **more: Any
    ) -> list[dict[str, Any]]:
        """Boxes for PIL images of any mode.

        Returns:
            For each image ``boxes`` (n, 4) as corners in its pixels, ``scores`` (n,) falling, and ``labels`` (n,), the
            positions of the categories.
        """
        device = next(network.parameters()).device
        mean, std = (channel_tensor(values, device) for values in (identity.data.mean, identity.data.std))
        found: list[dict[str, Any]] = []
        for place, image in enumerate(images):
            upright = to_rgb(image, f"image {place}")
            size = input_size(upright.width, upright.height, identity.data.image_size, self.options.long_side)
            pixels = np.asarray(upright.resize(size, Image.Resampling.BILINEAR))
            padded = pad_stack([pixels], DIVISOR).to(device)
            outputs = network(normalize_padded(padded, [pixels.shape[:2]], mean, std))
            (one,) = find_boxes(outputs, [pixels.shape[:2]], self.options)
            scale = torch.tensor([size[0] / upright.width, size[1] / upright.height] * 2, device=device)
            found.append(one | {"boxes": one["boxes"] / scale})
        return found


def _describe(image_id: int, found: dict[str, Tensor], scale: tuple[float, float]) -> list[dict[str, Any]]:
    """The detections of an image in COCO's format, in pixels of its file."""
    boxes = found["boxes"].cpu().numpy().astype(np.float64) / np.array([*scale, *scale])
    sides = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)
    labels, scores = found["labels"].tolist(), found["scores"].tolist()
    return [
        {"image_id": image_id, "category_id": label + 1, "bbox": box, "score": score}
        for box, label, score in zip(sides.tolist(), labels, scores, strict=True)
    ]
