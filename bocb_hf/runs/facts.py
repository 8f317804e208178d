"""What is known of a data set and of a backbone before a run: plain facts, from which a setting can be chosen."""

from __future__ import annotations

from dataclasses import dataclass

_EXAMPLES = 3  # pairs of copies that a sentence names
_SKEWED = 5  # the largest class over the smallest, from which on it is said


@dataclass(frozen=True)
class DuplicateFacts:
    """The copies of images that a data set holds.

    Attributes:
        images: Number of images that were looked at.
        exact: Images whose pixels are those of an earlier one.
        encoded: Further images that are an earlier one, encoded or resized anew.
        mirrored: Further images that are an earlier one, mirrored.
        groups: Number of images that have copies.
        conflicting: Groups whose images do not have one label.
        across: Copies of training images in the test split that the data set brings along.
        examples: Names of two images that are copies of each other, for some groups.
        conflicts: The same for some groups with several labels.
    """

    images: int
    exact: int = 0
    encoded: int = 0
    mirrored: int = 0
    groups: int = 0
    conflicting: int = 0
    across: int = 0
    examples: tuple[tuple[str, str], ...] = ()
    conflicts: tuple[tuple[str, str], ...] = ()

    @property
    def copies(self) -> int:
        """Number of images that are a copy of an earlier one."""
        return self.exact + self.encoded + self.mirrored

    def sentences(self) -> list[str]:
        """Says for people how many copies there are, which, and what was done about them."""
        if not self.copies:
            return [f"Duplicates: none among {self.images:,} images, exact or re-encoded."]
        said = [
            f"Duplicates: {self.copies:,} of {self.images:,} images are copies of another one ({self.exact:,} exact, "
            f"{self.encoded:,} re-encoded or resized, {self.mirrored:,} mirrored), such as {_pairs(self.examples)}; "
            "copies of an image stay on one side of every draw."
        ]
        if self.conflicting:
            said.append(
                f"Labels: {self.conflicting:,} image(s) have copies in several classes, such as "
                f"{_pairs(self.conflicts)}; at most one of the labels is right."
            )
        if self.across:
            said.append(
                f"Test: {self.across:,} images of the given test split are copies of training images; a score on them "
                "measures no generalisation."
            )
        return said


def _pairs(pairs: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(f"{one!r} = {other!r}" for one, other in pairs[:_EXAMPLES])


@dataclass(frozen=True)
class DataFacts:
    """A data set as a run would use it.

    Attributes:
        name: The data set as the user named it.
        revision: Commit on the Hub, or hash of the content.
        classes: Names of the classes.
        counts: Images of each class that are trained or tuned on.
        train: Images that a trial is trained on.
        validation: Images that tuning reads.
        test: Images that final runs are scored on.
        given: The splits that the data set brings along.
        height: Median height of the images in pixels.
        width: Median width of the images in pixels.
        one_size: Whether all images have one size.
        grey: Whether no image has colours. Images are read as RGB, a grey one with three equal channels.
        duplicates: The copies that it holds.
        overrides: What a configuration must say to use the data so, as ``section.key=value``.
    """

    name: str
    revision: str
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    train: int
    validation: int
    test: int
    given: tuple[str, ...]
    height: int
    width: int
    one_size: bool
    grey: bool
    duplicates: DuplicateFacts
    overrides: tuple[str, ...] = ()

    @property
    def side(self) -> int:
        """Shorter side of the median image in pixels."""
        return min(self.height, self.width)

    @property
    def chance(self) -> float:
        """Percentage of the images that belong to the largest class: the score of always naming it."""
        return 100 * max(self.counts) / max(1, sum(self.counts))

    def sentences(self) -> list[str]:
        """Says for people what the data set is, how it is split, and what is odd about it."""
        size = f"{self.height} × {self.width} px" + ("" if self.one_size else " (median; sizes differ)")
        kind = "grey" if self.grey else "colour"
        said = [
            f"Images: {sum(self.counts) + self.test:,} {kind} images of {len(self.classes)} classes, {size}.",
            f"Splits: {self.train:,} to train on, {self.validation:,} to tune on, {self.test:,} to test on; "
            f"{self._origin()}.",
        ]
        low, high = min(self.counts), max(self.counts)
        if high >= _SKEWED * max(1, low):
            rare, common = self.classes[self.counts.index(low)], self.classes[self.counts.index(high)]
            said.append(
                f"Classes: {common!r} has {high:,} images and {rare!r} {low:,}; always naming the former scores "
                f"{self.chance:.1f} %. Classes are not weighted, since the score is the share of right answers."
            )
        return said + self.duplicates.sentences()

    def _origin(self) -> str:
        drawn = [name for name in ("validation", "test") if name not in self.given]
        if not drawn:
            return "all are the data set's own"
        are = "are" if len(drawn) > 1 else "is"
        return f"{' and '.join(drawn)} {are} drawn from train by class, the same for every run"


@dataclass(frozen=True)
class BackboneFacts:
    """A backbone and the weights that it starts from.

    Attributes:
        name: Value of ``backbone.name``.
        pretrained: Value of ``backbone.pretrained``; None from scratch.
        image_size: Side in pixels that the weights were trained at, or that the architecture was made for.
        fixed_size: Whether the architecture takes no other size.
        smallest: Smallest side in pixels that it takes.
    """

    name: str
    pretrained: str | None = None
    image_size: int = 224
    fixed_size: bool = False
    smallest: int = 32
