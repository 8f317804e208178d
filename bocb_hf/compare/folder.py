"""The folder of a comparison: its plan, what was decided and why, and its sessions, so that it can be continued."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from bocb_hf.compare.asked import Asked
from bocb_hf.errors import InputError
from bocb_hf.files import write_atomically
from bocb_hf.schema import utc_now
from bocb_hf.sweep.executors.work import Floor
from bocb_hf.sweep.plan import SweepPlan, load_plan

ROOT = Path("outputs/compare")
_FORMAT = 1
_TUNING = ("protocol", "points", "seeds", "selection", "max_extensions")  # what a design says


@dataclass
class Session:
    """One time that the command ran.

    Attributes:
        asked: The time that it was given, in seconds.
        taken: The time that it has had so far, in seconds.
        ended: ``running`` until it ends; then ``complete``, ``time`` where the time was up, or ``stopped``.
        began: When it began, UTC.
    """

    asked: float
    taken: float = 0.0
    ended: Literal["running", "complete", "time", "stopped"] = "running"
    began: str = field(default_factory=utc_now)


@dataclass
class Known:
    """What a comparison knows of itself.

    Attributes:
        data: The data as the user named them.
        revision: Revision of the data.
        backbone: The backbone as the user named it.
        scratch: Whether it trains from scratch although its name has weights.
        decided: The flags that the user gave.
        reasons: Each decision with its reason, in words.
        cuts: What was cut to fit into the time, in words.
        seconds: Expected seconds of a run.
        images: Images of train, validation and test, as a trial sees them.
        probe: Whether only a linear head is trained.
        full: Optimizers that were to be compared, the most wanted first.
        floors: Floors that are computed beside the runs.
        sessions: The times that the command ran.
    """

    data: str
    revision: str
    backbone: str
    scratch: bool
    decided: dict[str, Any]
    reasons: list[str]
    cuts: list[str]
    seconds: float
    images: list[int]
    probe: bool
    full: list[str]
    floors: list[Floor]
    sessions: list[Session] = field(default_factory=list[Session])

    @property
    def taken(self) -> float:
        """Seconds of all sessions."""
        return sum(session.taken for session in self.sessions)


class Folder:
    """The folder of a comparison.

    Args:
        path: The folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan_file, self._known = path / "plan.yaml", path / "compare.json"

    @property
    def store(self) -> Path:
        """The store of its runs."""
        return self.path / "store"

    def read(self) -> tuple[SweepPlan, Known] | None:
        """The plan and what is known; None where no comparison has begun here.

        Raises:
            InputError: A file is damaged, or of a newer version.
        """
        if not self._known.exists():
            return None
        try:
            found = json.loads(self._known.read_text(encoding="utf-8"))
            if found["format"] != _FORMAT:
                raise InputError(f"{self._known} is of a newer bocb-hf; install that, or give another --out")
            sessions = [Session(**each) for each in found.pop("sessions")]
            del found["format"]
            known = Known(**found, sessions=sessions)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{self._known} cannot be read ({error!r}); give another --out, or remove the folder"
            ) from error
        return load_plan(self.plan_file), known

    def write(self, plan: SweepPlan, known: Known, command: str) -> None:
        """Writes the plan and what is known.

        Raises:
            CannotWrite: The folder cannot be written.
        """
        write_atomically(self.plan_file, plan_text(plan, known, command).encode())
        self.note(known)

    def note(self, known: Known) -> None:
        """Writes what is known.

        Raises:
            CannotWrite: The folder cannot be written.
        """
        content = {"format": _FORMAT, **asdict(known)}
        write_atomically(self._known, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())

    def write_file(self, name: str, content: bytes) -> Path:
        """Writes a file of the folder; returns its path."""
        return write_atomically(self.path / name, content)


def default_folder(asked: Asked) -> Path:
    """The folder of a comparison whose user names none: of the data's and the backbone's names."""
    data = asked.data
    with suppress(OSError):
        data = Path(data).resolve().name if Path(data).exists() else data
    words = [data, asked.backbone.rstrip("/").rpartition("/")[2], *(["scratch"] if asked.scratch else [])]
    return ROOT / re.sub(r"[^a-z0-9_]+", "-", "-".join(words).lower()).strip("-")[:80]


def check_same(asked: Asked, known: Known, revision: str, folder: Folder) -> None:
    """Checks that what is asked for continues what the folder holds.

    Raises:
        InputError: It is another comparison; the message says in what.
    """
    where = f"{folder.path} holds a comparison"
    other = "give --out another folder for a new one"
    for name, was, now in (("--backbone", known.backbone, asked.backbone), ("--scratch", known.scratch, asked.scratch)):
        if was != now:
            raise InputError(f"{name}: {where} of {was}, and {now} is asked for; {other}")
    if revision != known.revision:
        raise InputError(f"{where} on other images: the content of {asked.data} has changed since; {other}")
    for name, value in asked.decided().items():
        if known.decided.get(name) != value and name != "seeds":
            flag = "--" + name.replace("_", "-")
            was = known.decided.get(name, "the command's own choice")
            raise InputError(f"{flag}: {where} with {was}, and {value} is asked for; leave it out, or {other}")


def plan_text(plan: SweepPlan, known: Known, command: str) -> str:
    """A plan as YAML, under a head that says what was decided and what was cut."""
    content = plan.model_dump(mode="json", exclude_defaults=True)
    # written whole, since an edition has defaults of its own
    content["tuning"] = plan.tuning.model_dump(mode="json", include={*_TUNING})
    order = ["edition", "name", "config", "backbones", "optimizers", "tuning", "final_seeds"]
    keys = [*order, *(key for key in content if key not in order)]
    body = yaml.safe_dump({key: content[key] for key in keys if key in content}, sort_keys=False, allow_unicode=True)
    head = [f"Purpose:  {known.backbone} on {known.data}, written by `bocb compare`", f"Command:  {command}"]
    head += [f"Decided:  {reason}" for reason in known.reasons] + [f"Cut:      {cut}" for cut in known.cuts]
    return "".join(f"# {_one_line(line)}\n" for line in head) + body


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


def time_for(asked: float, sessions: Sequence[Session]) -> float:
    """The time of a session: what was asked for, or what an interrupted one of the same time has left of it."""
    if not sessions or sessions[-1].ended in ("complete", "time") or sessions[-1].asked != asked:
        return asked
    had, place = 0.0, len(sessions) - 1
    while place >= 0 and sessions[place].asked == asked and sessions[place].ended in ("stopped", "running"):
        had += sessions[place].taken
        place -= 1
    return max(asked - had, 0.0)
