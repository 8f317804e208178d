"""Augmentation of training images in batches, on the device that trains, and the loss of its targets."""

from bocb_hf.data.augment.crop import crop_box
from bocb_hf.data.augment.draws import COLUMNS
from bocb_hf.data.augment.pipeline import Augmenter, Part, Unaugmented, check_micro_batch, normalize
from bocb_hf.data.augment.targets import loss

__all__ = ["COLUMNS", "Augmenter", "Part", "Unaugmented", "check_micro_batch", "crop_box", "loss", "normalize"]
