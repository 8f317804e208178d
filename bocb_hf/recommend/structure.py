"""An answer as JSON, with every figure that its words have."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bocb_hf.coupling.statistics import Interval
from bocb_hf.recommend.answer import Answer
from bocb_hf.recommend.lead import lead
from bocb_hf.recommend.preference import Difference
from bocb_hf.recommend.start import Start
from bocb_hf.recommend.tags import Tags
from bocb_hf.recommend.words import caveats, next_runs


def answers_json(
    target: Tags, answers: Sequence[Answer], starts: Sequence[Sequence[Start | None]], refused: Sequence[str]
) -> str:
    """Returns the answers of all sources, in points; the first is the one that the short answer gives."""
    found = {
        "backbone": asdict(target),
        "answers": [_answer(a, s) for a, s in zip(answers, starts, strict=True)],
        "no_answer_from": list(refused),
    }
    return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False)


def _answer(answer: Answer, starts: Sequence[Start | None]) -> dict[str, Any]:
    scores, usual = answer.source.scores, answer.usual
    return {
        "source": answer.source.label,
        "dataset": scores.dataset,
        "setting": scores.setting,
        "revision": scores.revision,
        "metric": scores.metric,
        "use": answer.names(answer.chosen),
        "expected_regret": answer.chosen.regret if answer.chosen.expected is None else answer.chosen.expected,
        "interval": _interval(answer.interval),
        "bound": answer.bound,
        "within_bound": answer.bounded,
        "measured_on_this_backbone": answer.own,
        "noise_known": answer.noise_known,
        "worst": None if answer.worst is None else {"regret": answer.worst[0], "backbone": answer.worst[1]},
        "usual": None
        if usual is None
        else {
            "optimizer": usual.optimizer,
            "kind": usual.recipes.kind,
            "recipes": dict(usual.recipes.counts),
            "recipes_total": usual.recipes.total,
            "expected_loss": _difference(usual.loss),
            "loss_beyond_best_single": _difference(usual.excess),
            "best_single": usual.rival or usual.optimizer,
            "distinguishable": usual.excess.above_zero,
        },
        "sizes": [
            {"use": answer.names(c), "expected_regret": c.regret if c.expected is None else c.expected}
            for c in answer.choices
        ],
        "candidates": list(answer.candidates),
        "reference": dict(answer.reference),
        "cells_guessed": answer.guessed,
        "cells_failed": answer.failed,
        "start": [None if start is None else asdict(start) for start in starts],
        "sentences": lead(answer),
        "caveats": caveats(answer),
        "next_runs": next_runs(answer),
    }


def _difference(found: Difference) -> dict[str, Any]:
    return {"mean": found.mean, "interval": _interval(found.interval)}


def _interval(found: Interval | None) -> list[float] | None:
    return None if found is None or not math.isfinite(found.low) else [found.low, found.high]
