"""The rows of the backbone registry; importing this needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bocb_hf.errors import InputError

# The study's three families (its Section 3), and the name for a backbone that has no row.
Family = Literal["primary_cnn", "classical_cnn", "modern", "unknown"]

# The study's training settings; a tiny row belongs to none of them.
Setting = Literal["pytorch", "deit", "convnext", "rsb_a2"]

# Images of up to this side in pixels get a row's small-image stem; larger ones get the ImageNet network.
SMALL_IMAGE = 64


@dataclass(frozen=True)
class SmallInput:
    """The network that a row builds for small images in place of its ImageNet network.

    Attributes:
        architecture: timm's model name.
        args: Arguments of the model beside ``num_classes`` and, where the row says so, ``img_size``; plain JSON values.
    """

    architecture: str
    args: Mapping[str, Any]


@dataclass(frozen=True)
class BackboneRow:
    """One backbone.

    Attributes:
        id: Name of the backbone in this project; it is timm's own name where timm has the backbone.
        short: Name of the backbone in a table column.
        family: Family of the study; the primary contrast compares families.
        year: Year of the paper, as in the study's table.
        stage_wise: Design across stages: ``hierarchical`` or ``isotropic``; ``patchify`` where the stem cuts patches.
        block_wise: Design of a block (``basic``, ``bottleneck``, ``MetaFormer`` ...).
        operator: The token mixer.
        residual: How the shortcut is joined; ``-`` where there is none.
        architecture: Name of the timm model that is built.
        parameters: Exact parameter count in the form that is trained, with the classes and at the image size of
            ``counted_at``; pinned by a test.
        image_size: Side of the square input in pixels: that of the study on CIFAR-100, or a tiny row's own.
        source: Source of the definition.
        args: Arguments of the model beside ``num_classes``; plain JSON values.
        setting: The study's training setting on CIFAR-100; None for a tiny row.
        counted_at: Number of classes and side in pixels at which ``parameters`` are counted.
        paper_parameters: The published number of parameters in millions, in the form that is published.
        paper_note: Source of the published number, and the reason when it differs by more than 2 %.
        small_input: Network for images of up to ``SMALL_IMAGE`` px; None builds the same network for all sizes.
        sized: Whether the architecture takes ``img_size``, which is then always set.
        smallest: Smallest side in pixels of an image that the backbone takes.
        pyramid: Reductions of the feature maps that ``features_only=True`` gives at ``counted_at``.
        pyramid_exception: Why the feature maps are no pyramid; empty where they are one.
        compile_exception: Why ``torch.compile(fullgraph=True)`` fails; empty where it works.
        module: Module of a plug-in whose import registers the architecture with timm; None otherwise.
    """

    id: str
    short: str
    family: Family
    year: int
    stage_wise: str
    block_wise: str
    operator: str
    residual: str
    architecture: str
    parameters: int
    image_size: int
    source: str
    args: Mapping[str, Any] = field(default_factory=dict)
    setting: Setting | None = None
    counted_at: tuple[int, int] = (1000, 224)
    paper_parameters: float | None = None
    paper_note: str = ""
    small_input: SmallInput | None = None
    sized: bool = False
    smallest: int = 28
    pyramid: tuple[int, ...] = ()
    pyramid_exception: str = ""
    compile_exception: str = ""
    module: str | None = None

    @property
    def has_drop_path(self) -> bool:
        """Whether there are residual branches that stochastic depth can drop."""
        return self.residual not in ("-", "concatenation")


def stem_for(row: BackboneRow, image_size: int) -> tuple[str, dict[str, Any]]:
    """Says what a row builds for images of a size, by the small-image rule.

    At 32 px, the study reduces the stem's down-sampling: to 1/2 instead of 1/8 in its paper, and to 1 in its released
    code. At 224 px it builds the ImageNet network. Here a row's small-image stem is built for images of up to
    ``SMALL_IMAGE`` px. Its stride is 1, as in the released code, which the published numbers come from;
    ``backbone.args={"stem_stride": 2}`` gives the paper's. Networks that cut patches use patches of 4 px instead of 16,
    or of 1 instead of 4.

    Args:
        row: The backbone.
        image_size: Side of the input in pixels.

    Returns:
        timm's model name, and its arguments beside ``num_classes``.

    Raises:
        InputError: The image is smaller than the backbone takes.
    """
    if image_size < row.smallest:
        raise InputError(
            f"data.image_size: backbone {row.id!r} takes images of at least {row.smallest} px, not {image_size}; "
            f"choose {row.smallest} or more (the study uses {row.image_size})"
        )
    architecture, args = row.architecture, dict(row.args)
    if row.small_input is not None and image_size <= SMALL_IMAGE:
        architecture, args = row.small_input.architecture, dict(row.small_input.args)
    if row.sized:
        args["img_size"] = image_size
    return architecture, args
