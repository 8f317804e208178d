"""COCO's average precision by a maintained evaluator, faster-coco-eval (extra ``detection``)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from bocb_hf.errors import missing_extra

Kind = Literal["bbox", "keypoints"]
Library = Literal["faster_coco_eval", "pycocotools"]

# positions of the scores in the ``stats`` of both libraries; the first is the metric itself
PLACES: Mapping[Kind, Mapping[str, int]] = {
    "bbox": {"AP": 0, "AP50": 1, "AP75": 2, "AP small": 3, "AP medium": 4, "AP large": 5},
    "keypoints": {"AP": 0, "AP50": 1, "AP75": 2, "AP medium": 3, "AP large": 4},
}


def average_precision(
    truth: Mapping[str, Any],
    found: Sequence[Mapping[str, Any]],
    kind: Kind,
    sigmas: Sequence[float] | None = None,
    library: Library = "faster_coco_eval",
) -> dict[str, float]:
    """Average precision in percent.

    Args:
        truth: The annotations in COCO's format.
        found: Detections with ``image_id``, ``category_id``, ``score`` and ``bbox`` (left, top, width, height), or
            ``keypoints`` (x, y, score of each).
        kind: What is compared.
        sigmas: OKS constant of each keypoint; needed with ``keypoints``.
        library: The evaluator.

    Returns:
        ``AP``, ``AP50``, ``AP75`` and the AP by size; sizes of which there is no object are left out. Without any
        object, AP is 0.

    Raises:
        InputError: The evaluator is not installed.
    """
    if not found:
        sizes = _sizes_of(truth, kind)
        return {name: 0.0 for name in PLACES[kind] if " " not in name or name.split()[1] in sizes}
    with contextlib.redirect_stdout(io.StringIO()):  # both print tables
        evaluator = _make(truth, found, kind, library, sigmas)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    stats = np.asarray(evaluator.stats, np.float64)
    scores = {name: float(100 * stats[place]) for name, place in PLACES[kind].items() if stats[place] >= 0}
    return {"AP": 0.0} | scores


def _make(truth: Any, found: Any, kind: Kind, library: Library, sigmas: Sequence[float] | None) -> Any:
    copied = [dict(one) for one in found]  # both write into what they are given
    if library == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        known: Any = COCO()
        known.dataset = dict(truth)
        known.createIndex()
        evaluator: Any = COCOeval(known, known.loadRes(copied), kind)
        if sigmas is not None:
            evaluator.params.kpt_oks_sigmas = np.asarray(sigmas)
        return evaluator
    try:
        from faster_coco_eval import COCO as FasterCoco
        from faster_coco_eval import COCOeval_faster
    except ImportError:
        raise missing_extra("faster-coco-eval", "detection") from None
    known = FasterCoco(dict(truth))
    more: dict[str, Any] = {} if sigmas is None else {"kpt_oks_sigmas": list(sigmas)}
    return COCOeval_faster(known, known.loadRes(copied), iouType=kind, **more)


def check_evaluator() -> None:
    """Finds out before anything is trained whether the evaluator is there.

    Raises:
        InputError: It is not installed.
    """
    import importlib.util

    if importlib.util.find_spec("faster_coco_eval") is None:
        raise missing_extra("faster-coco-eval", "detection")


def _sizes_of(truth: Mapping[str, Any], kind: Kind) -> set[str]:
    """The sizes of COCO of which there is an object that counts."""
    sizes: set[str] = set()
    for one in truth["annotations"]:
        if one["iscrowd"] or (kind == "keypoints" and not one.get("num_keypoints")):
            continue
        area = one["area"]
        sizes.add("small" if area < 32**2 else "medium" if area < 96**2 else "large")
    return sizes
