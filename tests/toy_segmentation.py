"""A plug-in that adds a task: segmentation of generated squares, scored by the intersection over union."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from bocb_hf.runs.tasks import TASKS, TaskOptions, TaskRow


class SegmentationOptions(TaskOptions):
    """Options of the toy task: the side of the squares in pixels."""

    side: int = Field(default=8, ge=2, le=32)


TASKS.add(
    TaskRow(
        id="toy_segmentation",
        metric="IoU",
        what="intersection over union of the squares",
        build="toy_segmentation:Segmentation",
        options=SegmentationOptions,
        details=("pixels",),
        pipeline="image-segmentation",
    )
)


@dataclass(frozen=True)
class Squares:
    """Generated pictures: a bright square somewhere on noise."""

    count: int
    first: int
    size: int
    side: int

    def __len__(self) -> int:
        return self.count

    def make(self, index: int, draws: Any) -> tuple[Any, Any]:
        import numpy as np

        generator = np.random.default_rng(self.first + index)
        pixels = generator.integers(0, 90, (self.size, self.size, 3), np.uint8)
        left, top = generator.integers(0, self.size - self.side, 2)
        mask = np.zeros((self.size, self.size), np.float32)
        mask[top : top + self.side, left : left + self.side] = 1
        pixels[mask > 0] += 120
        return pixels, mask


def collate(samples: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    import numpy as np
    import torch

    pixels = np.stack([pixels for pixels, _ in samples]).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(np.stack([mask for _, mask in samples]))


class Segmentation:
    """The task; see ``bocb_hf.tasks.task.Task``."""

    def __init__(self, options: SegmentationOptions) -> None:
        self.options = options

    def load(self, config: Any, checkpoint: Any) -> Any:
        from bocb_hf.runs.identity import DataIdentity
        from bocb_hf.tasks.task import Splits

        size, side = config.data.image_size, self.options.side
        identity = DataIdentity(
            name="local/squares",
            revision="0" * 40,
            image_column="image",
            label_column="mask",
            image_size=size,
            num_classes=1,
            validation_fraction=None,
            validation_indices_sha256=None,
            evaluation_split="test",
            mean=(0.25, 0.25, 0.25),
            std=(0.2, 0.2, 0.2),
        )
        train, validation, test = (Squares(n, first, size, side) for n, first in ((32, 0), (8, 100), (8, 200)))
        return Splits(identity, ("square",), train, validation, test)

    def build(self, source: Any, data: Any, seed: int) -> Any:
        import torch
        from torch import nn

        from bocb_hf.tasks.features import build_maps

        maps = build_maps(source, seed)
        torch.manual_seed(seed)
        scale = maps.reductions[0]

        class Finest(nn.Module):
            """Takes the finest of several maps."""

            def forward(self, maps: Any) -> Any:
                return maps[0]

        head = nn.Conv2d(maps.channels[0], scale**2, 3, padding=1)
        return nn.Sequential(maps, Finest(), head, nn.PixelShuffle(scale))

    def open_source(self, images: Any, order: Any, runtime: Any, pin: bool) -> Any:
        from bocb_hf.tasks.samples import SampleSource

        return SampleSource(images, order, collate, 0, pin)

    def make_inputs(self, identity: Any, seed: int, device: Any) -> Any:
        from bocb_hf.tasks.data import channel_tensor

        mean, std = (channel_tensor(v, device) for v in (identity.data.mean, identity.data.std))

        def make(pixels: Any, labels: Any, rows: Any, step: int, cropped: bool) -> tuple[Any, Any]:
            return pixels.to(device).float().div_(255).sub_(mean).div_(std), labels.to(device)

        return make

    def loss(self, outputs: Any, targets: Any) -> Any:
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(outputs[:, 0].float(), targets)

    def evaluate(self, model: Any, images: Sized, identity: Any, accelerator: Any, runtime: Any) -> Any:
        import torch

        from bocb_hf.optim.param_groups import train_mode
        from bocb_hf.tasks.samples import evaluation_chunks
        from bocb_hf.tasks.task import Evaluated

        training = model.training
        model.eval()
        make = self.make_inputs(identity, 0, accelerator.device)
        shared = union = right = pixels = 0
        total = 0.0
        with torch.no_grad():
            # images of its own kind
            for places, batch, labels in evaluation_chunks(images, 8, 0, 1, collate):  # type: ignore[arg-type]
                inputs, masks = make(batch, labels, torch.empty(0), 0, True)
                outputs = model(inputs)
                total += float(self.loss(outputs, masks)) * len(places)
                found, truth = outputs[:, 0] > 0, masks > 0.5
                shared += int((found & truth).sum())
                union += int((found | truth).sum())
                right += int((found == truth).sum())
                pixels += truth.numel()
        if training:
            train_mode(model)
        return Evaluated(
            len(images), 100 * shared / max(union, 1), total / len(images), {"pixels": 100 * right / pixels}
        )

    def reference_loss(self, data: Any) -> float | None:
        from scipy.special import entr

        share = self.options.side**2 / data.identity.image_size**2
        return float(entr(share) + entr(1 - share))

    def predict(self, network: Any, identity: Any, images: Sequence[Any], **more: Any) -> list[Any]:
        import numpy as np
        import torch

        make = self.make_inputs(identity, 0, torch.device("cpu"))
        found: list[Any] = []
        for image in images:
            pixels = torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())[None]
            with torch.no_grad():
                found.append(network(make(pixels, torch.empty(0), None, 0, True)[0])[0, 0] > 0)
        return found
