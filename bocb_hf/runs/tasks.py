"""The tasks as rows: what a run learns, by which metric it is scored, and which options it has.

A task is data, network, loss, metric and the metric's unit. A row needs no torch; ``build`` names what does the work,
which follows ``bocb_hf.tasks.task.Task``. A plug-in adds a task with ``TASKS.add``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from bocb_hf.errors import InputError
from bocb_hf.registry import Registry
from bocb_hf.schema import Arguments, Frozen, Slug, describe_errors, parse_strict

CLASSIFICATION = "classification"

# The keys that mean something to a classifier only, unless the row of a task names them in ``uses``.
_OF_CLASSIFIERS = (
    *("training.label_smoothing", "training.loss", "training.bce_target_threshold", "training.layer_decay"),
    *("training.linear_probe", "training.cached_features"),
    *("data.test_image_size", "data.test_crop_ratio", "data.streaming", "data.test_fraction", "data.duplicates"),
    *("data.image_column", "data.label_column", "runtime.inspect_at"),
)
AUGMENTATION = "augmentation"


class TaskOptions(Frozen):
    """Base of the options of a task; classification has none, since its keys are those of the other sections."""


class DetectionOptions(TaskOptions):
    """Options of detection (RetinaNet, Lin et al. 2017, arXiv 1708.02002). ``data.image_size`` is the short side.

    Attributes:
        long_side: Largest longer side of an image in pixels; an image that would exceed it becomes smaller instead.
        channels: Channels of the feature pyramid and of the heads.
        anchor_scale: Side of the smallest anchor of a level over the stride of the level.
        frozen_norm: Whether batch norm of the backbone keeps the statistics that it started with. Its scales and
            shifts are trained. Batches of detection are small, so that pretrained statistics are the better ones; from
            scratch there are none to keep.
        empty_images: Whether images without a box are trained on. They are evaluated in any case.
        score_threshold: Score below which a box is no detection.
        nms_threshold: Intersection over union above which the lower of two boxes of one class is dropped.
        most_detections: Largest number of detections of an image.
        box_format: What four numbers of a box mean in a data set of the Hub: ``xywh`` as in COCO, or corners
            (``xyxy``). In a folder with annotations.json it is always COCO's.
    """

    long_side: int = Field(default=1333, ge=32, le=8192)
    channels: int = Field(default=256, ge=8, le=1024)
    anchor_scale: float = Field(default=4.0, gt=0, le=64)
    frozen_norm: bool = False
    empty_images: bool = False
    score_threshold: float = Field(default=0.05, ge=0, lt=1)
    nms_threshold: float = Field(default=0.5, gt=0, le=1)
    most_detections: int = Field(default=100, ge=1, le=1000)
    box_format: Literal["xywh", "xyxy"] = "xywh"


class PoseOptions(TaskOptions):
    """Options of top-down pose estimation (Xiao et al. 2018, arXiv 1804.06208). ``data.image_size`` is the height.

    Attributes:
        width: Width of the input in pixels.
        channels: Channels of each of the three deconvolutions.
        sigma: Standard deviation of the Gaussian of a heat map in its pixels.
        padding: Side of what is cut out over the side of the person's box.
        scale: Largest relative change of the size that is cut out in training, in (0, 1); 0 changes nothing.
        rotation: Standard deviation of the rotation in training in degrees, cut off at twice that; drawn for 60 % of
            the persons.
        flip_test: Whether the heat maps are averaged with those of the mirrored image in evaluation.
        category: Name of the category whose keypoints are learned; None where only one has keypoints.
        sigmas: OKS constant of each keypoint; None takes COCO's for its 17 keypoints and 0.05 for others.
    """

    width: int = Field(default=192, ge=8, le=1024)
    channels: int = Field(default=256, ge=8, le=1024)
    sigma: float = Field(default=2.0, gt=0, le=20)
    padding: float = Field(default=1.25, ge=1, le=3)
    scale: float = Field(default=0.3, ge=0, lt=1)
    rotation: float = Field(default=40.0, ge=0, le=90)
    flip_test: bool = True
    category: str | None = None
    sigmas: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _positive(self) -> PoseOptions:
        if self.sigmas is not None and not all(0 < sigma <= 1 for sigma in self.sigmas):
            raise ValueError("sigmas: each must be above 0 and at most 1")
        return self


@dataclass(frozen=True)
class TaskRow:
    """One task.

    Attributes:
        id: Name of the task in this project.
        metric: What the score of a run is called in tables, such as ``AP``; every score is in percent.
        what: The score in one sentence, with its definition.
        build: ``module:function`` that makes the task from its options, see ``bocb_hf.tasks.task.Task``.
        options: Type of the options.
        details: Names of the further scores that a record keeps.
        uses: Keys of the other sections that the task uses although most tasks but classification cannot.
        pipeline: Name of the task on the Hub.
    """

    id: str
    metric: str
    what: str
    build: str
    options: type[TaskOptions] = TaskOptions
    details: tuple[str, ...] = ()
    uses: frozenset[str] = frozenset()
    pipeline: str = "image-feature-extraction"

    def resolve(self, given: dict[str, Any]) -> dict[str, Any]:
        """All options of a run as plain JSON values, with the defaults of those that are not given.

        Raises:
            InputError: An option is unknown or out of range.
        """
        return self.parse(given).model_dump(mode="json")

    def parse(self, given: dict[str, Any]) -> TaskOptions:
        """The options of a run.

        Raises:
            InputError: An option is unknown or out of range.
        """
        try:
            return parse_strict(self.options, given)
        except ValidationError as error:
            raise InputError("; ".join(describe_errors(error, self.options))) from None


TASKS: Registry[TaskRow] = Registry("task", "tasks")

TASKS.add(
    TaskRow(
        id=CLASSIFICATION,
        metric="top-1",
        what="share of the images whose label has the highest logit",
        build="bocb_hf.engine.classification:Classification",
        details=("top-5",),
        pipeline="image-classification",
    )
)
TASKS.add(
    TaskRow(
        id="detection",
        metric="AP",
        what="average precision of COCO: mean over the categories and over the thresholds 0.50 to 0.95 of the "
        "intersection over union, at most 100 boxes an image",
        build="bocb_hf.tasks.detection:Detection",
        options=DetectionOptions,
        details=("AP50", "AP75", "AP small", "AP medium", "AP large"),
        uses=frozenset(("augmentation.horizontal_flip",)),
        pipeline="object-detection",
    )
)
TASKS.add(
    TaskRow(
        id="pose",
        metric="OKS AP",
        what="average precision of COCO over the thresholds 0.50 to 0.95 of the object keypoint similarity, on the "
        "boxes of the annotations",
        build="bocb_hf.tasks.pose:Pose",
        options=PoseOptions,
        details=("AP50", "AP75", "AP medium", "AP large"),
        uses=frozenset(("augmentation.horizontal_flip",)),
        pipeline="keypoint-detection",
    )
)


class TaskConfig(Frozen):
    """The task of a run as a user writes it.

    Attributes:
        name: A row of ``bocb list tasks``.
        options: Options that replace the defaults of the row.
    """

    name: Slug = CLASSIFICATION
    options: Arguments = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> TaskConfig:
        TASKS.get(self.name).resolve(self.options)
        return self


class TaskIdentity(Frozen):
    """The task of a stored run with every option resolved; an installation may lack the row of a plug-in's task."""

    name: Slug = CLASSIFICATION
    options: Arguments = Field(default_factory=dict)


def unusable_keys(row: TaskRow, sections: dict[str, Frozen]) -> list[str]:
    """Finds keys that were set and that the task would ignore.

    Args:
        row: The task.
        sections: The sections of the configuration by name, such as ``training``.

    Returns:
        Dotted keys, sorted.
    """
    if row.id == CLASSIFICATION:
        return []
    candidates = [key.split(".") for key in _OF_CLASSIFIERS]
    candidates += [[AUGMENTATION, name] for name in type(sections[AUGMENTATION]).model_fields]
    found: list[str] = []
    for section, name in candidates:
        field = type(sections[section]).model_fields[name]
        changed = getattr(sections[section], name) != field.get_default(call_default_factory=True)
        if changed and f"{section}.{name}" not in row.uses:
            found.append(f"{section}.{name}")
    return sorted(found)
