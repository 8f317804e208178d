"""A comparison of three optimizers on one backbone, as ``bocb compare`` leaves it, without training anything."""

from __future__ import annotations

from boards import contents_of
from builders import make_record, with_inspections, with_validation

from bocb_hf.compare.answer import Answer, entries_of, find_answer
from bocb_hf.compare.folder import Known
from bocb_hf.compare.page import answer_page
from bocb_hf.compare.words import sentence
from bocb_hf.coupling.table import Floor
from bocb_hf.page.lead import Step
from bocb_hf.runs.record import RunRecord
from bocb_hf.store.contents import StoreContents

OPTIMIZERS = ("adamw", "sgdm", "lamb")
FLOORS = [Floor("chance, 10 classes", 10.0)]


def compared_records() -> list[RunRecord]:
    """Three rates with two tuning seeds each, the lowest one diverged, and two final runs of the middle one."""
    found: list[RunRecord] = []
    for place, optimizer in enumerate(OPTIMIZERS):
        for seed in (100, 101):
            for lr, top1 in ((1e-3, 70.0), (3e-3, 78.0), (1e-2, 75.0)):
                lost = lr == 1e-3
                trial = make_record(
                    *("tiny_vit", optimizer),
                    seed=seed,
                    role="trial",
                    lr=lr,
                    val_top1=top1 - place,
                    status="diverged" if lost else "completed",
                )
                found.append(trial if lost else with_validation(trial, [40.0, 60.0, top1 - place]))
        for seed in (1, 2):
            correct = 1600 - 150 * place + 8 * seed
            found.append(with_inspections(make_record("tiny_vit", optimizer, seed=seed, lr=3e-3, correct=correct)))
    return found


def compared(backbone: str = "tiny_vit", data: str = "/data/my photos", reason: str = "Precision fp32.") -> bytes:
    """The page of that comparison, with these texts in it."""
    contents = contents_of(compared_records())
    answer = answer_of(contents)
    known = known_of(backbone, data, reason)
    steps = [Step("Push everything:", (f"bocb push --store {reason} --to hf://<you>",))]
    return answer_page(sentence(answer, 600), answer, FLOORS, known, contents, steps)


def answer_of(contents: StoreContents) -> Answer:
    """The answer of its records."""
    return find_answer(entries_of(contents.records, OPTIMIZERS))


def known_of(backbone: str = "tiny_vit", data: str = "/data/my photos", reason: str = "Precision fp32.") -> Known:
    """What was decided and cut."""
    return Known(
        *(data, "abc1234", backbone, False, {}),
        *([reason, "Classes: cat, dog, b>o."], [f"epochs: 2 instead of 8 {reason}"], 12.5, [800, 80, 200], False),
        [*OPTIMIZERS],
        [],
    )
