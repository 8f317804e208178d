"""Top-down pose estimation as a task: a crop of each person, heat maps, and COCO's OKS AP on the annotated boxes."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from bocb_hf.backbones.build import BackboneSource
from bocb_hf.data.pictures import to_rgb
from bocb_hf.data.source import Order, TrainSource
from bocb_hf.errors import InputError
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.identity import DataIdentity, Identity
from bocb_hf.runs.preprocessing import Preprocessing
from bocb_hf.runs.runtime_config import RuntimeConfig
from bocb_hf.runs.tasks import PoseOptions
from bocb_hf.tasks.annotations import CocoSplit, write_ground_truth
from bocb_hf.tasks.coco_metrics import average_precision, check_evaluator
from bocb_hf.tasks.data import CocoData, channel_tensor, load_coco, measure
from bocb_hf.tasks.evaluation import find_in_split
from bocb_hf.tasks.features import build_maps
from bocb_hf.tasks.heatmaps import (
    COCO_SIGMAS,
    OTHER_SIGMA,
    STRIDE,
    PoseNetwork,
    crop_matrix,
    decode,
    draw_targets,
    fit_box,
    flip_maps,
    heatmap_loss,
    mirror_pairs,
)
from bocb_hf.tasks.pose_samples import Box, PoseSamples, collate, cut_out
from bocb_hf.tasks.samples import SampleSource, choose_workers, may_hold
from bocb_hf.tasks.task import Evaluated, MakeInputs, Splits

_EVALUATED = 64  # persons of a forward pass in evaluation
_SEEN = 0.2  # height of a heat map from which on a keypoint counts in the score of its person


class Pose:
    """The task; see ``bocb_hf.tasks.task.Task``."""

    def __init__(self, options: PoseOptions) -> None:
        self.options = options

    def load(self, config: RunConfig, checkpoint: Preprocessing | None) -> Splits:
        """Reads the annotations, and finds the category whose keypoints are learned."""
        check_evaluator()
        data = load_coco(config)
        label = self._find_category(data)
        names = data.train.categories[label].keypoints
        if self.options.sigmas is not None and len(self.options.sigmas) != len(names):
            raise InputError(f"task.options.sigmas: {len(self.options.sigmas)} numbers for {len(names)} keypoints")
        flips, budget = config.augmentation.horizontal_flip, config.runtime.memory_budget_gb
        made: list[PoseSamples | None] = []
        for split, mirrored, what in (
            (data.train, flips, "train"),
            (data.validation, False, "validation"),
            (data.test, False, data.evaluation_split),
        ):
            if split is None:
                made.append(None)
                continue
            samples = PoseSamples(split, label, self.options, config.data.image_size, mirrored)
            if not len(samples):
                raise InputError(f"data.name: no object of {what} has labelled keypoints")
            samples.holds = may_hold(samples.bytes, budget)
            made.append(samples)
        measured = checkpoint or measure(data.everything)
        train, validation, test = made
        identity = data.identify(config, len(names), checkpoint, measured)
        return Splits(identity, names, train, validation, test, data.notes())

    def _find_category(self, data: CocoData) -> int:
        having = [k for k, category in enumerate(data.train.categories) if category.keypoints]
        names = [category.name for category in data.train.categories]
        if self.options.category is not None:
            found = [k for k in having if names[k] == self.options.category]
            if not found:
                listed = ", ".join(names[k] for k in having) or "none"
                raise InputError(
                    f"task.options.category: no category {self.options.category!r} with keypoints; there are: {listed}"
                )
            return found[0]
        if len(having) != 1:
            listed = ", ".join(names[k] for k in having) or "none"
            raise InputError(f"task.options.category: name the category; those with keypoints are: {listed}")
        return having[0]

    def build(self, source: BackboneSource, data: DataIdentity, seed: int) -> nn.Module:
        """Builds the deconvolutions on the backbone."""
        maps = build_maps(source, seed)
        torch.manual_seed(seed)  # the heads are the same whatever the backbone has drawn
        network = PoseNetwork(maps, data.num_classes, self.options.channels)
        height, width = data.image_size, self.options.width
        try:
            with torch.no_grad():
                shape = network.eval()(torch.zeros(1, 3, height, width)).shape
        except (RuntimeError, ValueError, AssertionError, TypeError) as error:
            raise InputError(
                f"data.image_size: {source.identity.name!r} does not take {height} × {width} px: "
                f"{str(error).splitlines()[0]}"
            ) from error
        if shape[2:] != (height // STRIDE, width // STRIDE) or height % STRIDE or width % STRIDE:
            raise InputError(
                f"data.image_size: heat maps of {source.identity.name!r} are {shape[2]} × {shape[3]}, not a quarter of "
                f"{height} × {width}; take multiples of 32"
            )
        return network.train()

    def open_source(self, images: PoseSamples, order: Order, runtime: RuntimeConfig, pin: bool) -> TrainSource:
        """Opens the training persons of one process."""
        return SampleSource(images, order, collate, choose_workers(images.holds, runtime.workers), pin)

    def make_inputs(self, identity: Identity, seed: int, device: torch.device) -> MakeInputs:
        """Normalises pixels, and draws the heat maps on the device."""
        mean, std = (channel_tensor(values, device) for values in (identity.data.mean, identity.data.std))
        height, width = identity.data.image_size // STRIDE, self.options.width // STRIDE

        def make(pixels: Tensor, labels: Any, rows: Tensor, step: int, cropped: bool) -> tuple[Tensor, Any]:
            inputs = pixels.to(device, non_blocking=True).float().div_(255).sub_(mean).div_(std)
            points = labels[0].to(device, non_blocking=True)
            return inputs, draw_targets(points, height, width, self.options.sigma)

        return make

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Half of the mean squared error of the heat maps."""
        return heatmap_loss(outputs, *targets)

    def evaluate(
        self, model: nn.Module, images: Sized, identity: Identity, accelerator: Accelerator, runtime: RuntimeConfig
    ) -> Evaluated:
        """OKS AP over a split, with the annotated boxes."""
        samples = cast(PoseSamples, images)

        def describe(places: Sequence[int], labels: Any, inputs: Tensor, outputs: Any) -> list[dict[str, Any]]:
            with accelerator.autocast():
                points = self._locate(model, inputs, outputs, samples.split, samples.label)
            photographs = [samples.persons[place].photograph for place in places]
            found = zip(photographs, points, labels[1], strict=True)
            return [_describe(image + 1, samples.label + 1, *point, matrix) for image, point, matrix in found]

        found, loss = find_in_split(self, model, samples, identity, accelerator, _EVALUATED, collate, describe)
        scores = average_precision(_truth(samples), found, "keypoints", self._sigmas(samples))
        return Evaluated(len(samples), scores.pop("AP"), loss, scores)

    def _locate(
        self, model: nn.Module, inputs: Tensor, outputs: Tensor, split: CocoSplit, label: int
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Places (K, 2) in pixels of the input and heights (K,) of the keypoints of each person."""
        maps = outputs.float()
        if self.options.flip_test:
            maps = maps.clone()  # the next pass may write over the outputs of this one (``runtime.cuda_graphs``)
            pairs = mirror_pairs(split.categories[label].keypoints)
            maps = (maps + flip_maps(model(inputs.flip(3)).float(), pairs)) / 2
        places, heights = decode(maps)
        pairs_of = zip(places.double().cpu().numpy() * STRIDE, heights.double().cpu().numpy(), strict=True)
        return list(pairs_of)

    def _sigmas(self, samples: PoseSamples) -> tuple[float, ...]:
        count = len(samples.split.categories[samples.label].keypoints)
        if self.options.sigmas is not None:
            return self.options.sigmas
        return COCO_SIGMAS if count == len(COCO_SIGMAS) else (OTHER_SIGMA,) * count

    def reference_loss(self, data: Any) -> float | None:
        """None: what the best constant heat maps are depends on the crops that are drawn."""
        return None

    @torch.inference_mode()
    def predict(
        self, network: nn.Module, identity: Identity, images: Sequence[Image.Image], **more: Any
    ) -> list[dict[str, Any]]:
        """Keypoints of one person an image.

        Args:
            network: The network.
            identity: Identity of the run.
            images: PIL images of any mode.
            more: ``boxes``: left, top, right and bottom of the person in each image; without them the whole images.

        Returns:
            For each image ``keypoints`` (K, 2) in its pixels and ``scores`` (K,).

        Raises:
            InputError: The number of boxes is not that of the images.
        """
        boxes: Sequence[Box] | None = more.get("boxes")
        if boxes is not None and len(boxes) != len(images):
            raise InputError(f"boxes: {len(boxes)} for {len(images)} images; give one for each")
        device = next(network.parameters()).device
        mean, std = (channel_tensor(values, device) for values in (identity.data.mean, identity.data.std))
        height, width = identity.data.image_size, self.options.width
        found: list[dict[str, Any]] = []
        for place, image in enumerate(images):
            upright = to_rgb(image, f"image {place}")
            box = boxes[place] if boxes is not None else (0.0, 0.0, float(upright.width), float(upright.height))
            matrix = crop_matrix(*fit_box(box, width / height, self.options.padding), 0.0, width, height)
            pixels = torch.from_numpy(cut_out(upright, matrix, width, height).transpose(2, 0, 1).copy()).to(device)
            places, heights = decode(network(pixels[None].float().div_(255).sub_(mean).div_(std)).float())
            moved = places[0].double().cpu().numpy() * STRIDE @ matrix[:, :2].T + matrix[:, 2]
            found.append({"keypoints": torch.from_numpy(moved), "scores": heights[0].cpu()})
        return found


def _truth(samples: PoseSamples) -> dict[str, Any]:
    """The annotations of the category in COCO's format."""
    truth = write_ground_truth(samples.split, keypoints=True)
    kept = [one for one in truth["annotations"] if one["category_id"] == samples.label + 1]
    categories = [one for one in truth["categories"] if one["id"] == samples.label + 1]
    return truth | {"annotations": kept, "categories": categories}


def _describe(
    image_id: int, category: int, places: NDArray[np.float64], heights: NDArray[np.float64], matrix: NDArray[np.float64]
) -> dict[str, Any]:
    """The keypoints of a person in COCO's format, in pixels of the image; its score is the mean of the seen heights."""
    moved = places @ matrix[:, :2].T + matrix[:, 2]
    seen = heights[heights > _SEEN]
    points = np.concatenate((moved, heights[:, None]), axis=1)
    score = float(seen.mean()) if len(seen) else 0.0
    return {"image_id": image_id, "category_id": category, "keypoints": points.ravel().tolist(), "score": score}
