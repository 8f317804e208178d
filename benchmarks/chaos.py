"""Kills a sweep again and again, fills its disk, takes its store and Hub away, and compares with one left alone.

    python benchmarks/chaos.py --kills 200 --seed 0 > benchmarks/chaos.txt

A small plan (2 backbones × 2 optimizers, 3 trials and 2 final runs each) is swept once undisturbed. Then it is swept in
stores of its own while a seeded draw kills its workers (SIGKILL, four of five times) or the driver with all its
workers. The disk is full for a session (``RLIMIT_FSIZE``), the store is read-only for a session, and the Hub (the
tests' own server) refuses commits for a session. With ``--ray-kills`` the same sweep runs on a Ray cluster of four
nodes on this machine, of which actors, nodes and the driver are killed. Checked are, after every kill and at the end:
no record of a finished run is lost or written again, every run of the plan is there once, every weight and every score
is that of the undisturbed sweep to the last bit, and the Hub got each final record in one commit.

Drivers and local workers are forked from a process that has imported the training stack; otherwise they are what
``bocb sweep`` starts. Exit status 1 when a check fails.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import random
import shutil
import stat
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import psutil
import yaml
from hub_server import HubServer
from hub_state import Token
from short_settings import short_run
from warm import BOCB, WarmProcess

from bocb_hf.runs.record import RunRecord, parse_record
from bocb_hf.store.contents import read_store
from bocb_hf.store.local import LocalStore

_FORKED = "import multiprocessing as m; m.get_context = lambda _, get=m.get_context: get('fork'); "
# as if the disk were full after this many bytes of any one file: less than a state or a file of weights
_FULL = (
    "import resource as r, signal as s; s.signal(s.SIGXFSZ, s.SIG_IGN); r.setrlimit(r.RLIMIT_FSIZE, (60000, 60000)); "
)
# root may write anywhere, so it gives that up; others need not
_POWERLESS = (
    "import ctypes as c; "
    "c.CDLL(None).syscall(126, (c.c_uint32 * 2)(0x20080522, 0), (c.c_uint32 * 6)(0, 0, 0, 0, 0, 0)); "
)
_SESSION = 600.0  # seconds that one session of a sweep may take


class CheckFailed(Exception):
    """What the sweep promises does not hold."""


@dataclass
class Disturbed:
    """One sweep that is disturbed, and what was seen of it.

    Attributes:
        folder: Its store, its states and its plan.
        finished: SHA-256 of the record file of every run that was seen finished, by path.
        events: What was done to it.
    """

    folder: Path
    plan: Path
    expected: dict[str, str]
    words: tuple[str, ...] = ()
    finished: dict[str, str] = field(default_factory=dict[str, str])
    events: Counter[str] = field(default_factory=Counter[str])

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def start(self, before: str = "", *more: str) -> WarmProcess:
        """Starts a driver; ``before`` is code that it runs first."""
        places = [f"runtime.store={self.store}", f"runtime.state_dir={self.folder / 'state'}"]
        given = {word.partition("=")[0] for word in more}
        places = [word for word in places if word.partition("=")[0] not in given]
        words = ["sweep", self.plan, *(self.words or ("--workers", "2")), *places, *more]
        return WarmProcess(["-c", before + _FORKED + BOCB, *words], session=True, merged=True)

    def look(self) -> None:
        """Notes what is finished.

        Raises:
            CheckFailed: A finished run is gone, or was written again.
        """
        found: dict[str, str] = {}
        for path in self.store.glob("models/*/*/*/**/*.json"):
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue
            if b'"status":"completed"' in content:
                found[str(path.relative_to(self.store))] = hashlib.sha256(content).hexdigest()
        for path, digest in self.finished.items():
            if found.get(path) != digest:
                raise CheckFailed(f"{path} was finished, and is {'another' if path in found else 'lost'} now")
        self.finished |= found

    def finish(self) -> int:
        """Sweeps until everything is done; returns how many sessions it took."""
        for session in range(1, 8):
            process = self.start()
            out, _ = process.communicate(_SESSION)
            self.look()
            if process.returncode == 0:
                return session
        raise CheckFailed(f"the sweep does not come to its end:\n{out[-3000:]}")

    def check(self) -> None:
        """Compares everything in the store with the undisturbed sweep.

        Raises:
            CheckFailed: Something differs.
        """
        contents = read_store(LocalStore(self.store))
        if contents.quarantined:
            raise CheckFailed(f"quarantined: {contents.quarantined[0]}")
        found = results(list(contents.records))
        if found != self.expected:
            other = sorted(k for k in {*found, *self.expected} if found.get(k) != self.expected.get(k))
            raise CheckFailed(f"{len(other)} of {len(self.expected)} runs differ, such as {other[0]}")
        left = list((self.store / ".locks").rglob("*.lease")) if (self.store / ".locks").exists() else []
        if left:
            raise CheckFailed(f"a lease is left behind: {left[0]}")


def results(records: list[RunRecord]) -> dict[str, str]:
    """What each run gave, by what it is: weights to the byte, and every score and point of the curve."""
    return {
        f"{r.identity.cell()} {r.role} {r.run_id}": f"{r.status} {r.weights_sha256} {r.metrics.model_dump_json()} "
        + hashlib.sha256(r.curve.model_dump_json().encode()).hexdigest()
        for r in records
    }


def make_plan(folder: Path) -> Path:
    """A plan of 4 cells and 20 runs on 200 training images."""
    import datasets

    from bocb_hf.data import DATASETS

    data = folder / "data"
    data.mkdir()
    embedded: Any = datasets.load_dataset(str(DATASETS.get("fashion_mnist_subset").embedded))
    for split, size in (("train", 200), ("validation", 90), ("test", 101)):
        embedded[split].select(range(size)).to_parquet(data / f"{split}.parquet")
    sections = short_run(data, folder)
    sections["training"] |= {"epochs": 3}
    sections["runtime"] |= {"save_every": 2}
    for key in ("backbone", "optimizer", "seed"):
        del sections[key]
    (folder / "setting.yaml").write_text(yaml.safe_dump(sections))
    plan = {"name": "chaos", "config": str(folder / "setting.yaml"), "backbones": ["tiny_resnet", "tiny_vit"]}
    plan |= {"optimizers": ["sgdm", "adamw"], "final_seeds": [1, 2], "baselines": False}
    plan |= {"tuning": {"points": 3, "factor": 3.0, "seed": 0, "max_extensions": 0}}
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    return folder / "plan.yaml"


def kill_locally(sweep: Disturbed, process: WarmProcess, draw: random.Random) -> bool:
    """Kills a worker or the driver; returns whether there was anything to kill."""
    try:
        workers = psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return False
    if not workers:
        return False
    if draw.random() < 0.8:
        draw.choice(sorted(workers, key=lambda worker: worker.pid)).kill()
        sweep.events["worker"] += 1
    else:
        process.kill()
        process.wait()
        sweep.events["driver"] += 1
    return True


def kill_rounds(
    make: Callable[[], Disturbed],
    kill: Callable[..., bool],
    draw: random.Random,
    kills: int,
    until: float,
    longest: float,
) -> Counter[str]:
    """Sweeps anew and anew, killing meanwhile, until so many kills were made or the time is over; checks each sweep."""
    events: Counter[str] = Counter()
    while sum(v for k, v in events.items() if k in KILLED) < kills and time.monotonic() < until:
        sweep = make()
        process = sweep.start()
        made = sum(v for k, v in events.items() if k in KILLED)
        while made + sum(sweep.events.values()) < kills and time.monotonic() < until:
            deadline = time.monotonic() + draw.uniform(0.3, longest)
            while time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.05)
            if process.poll() is None and kill(sweep, process, draw):
                sweep.look()
            if process.poll() is not None:
                if process.returncode == 0:
                    break
                process = sweep.start()
        if process.poll() is None:
            process.wait(_SESSION)
        sweep.finish()
        sweep.check()
        events += sweep.events
        events["sweep completed, equal"] += 1
        shutil.rmtree(sweep.folder)
        print(f"  so far: {dict(events)}", file=sys.stderr, flush=True)
    return events


KILLED = ("worker", "driver", "actor", "node")


def full_disk(sweep: Disturbed) -> str:
    """A session on a disk that takes no file of weights."""
    process = sweep.start(_FULL)
    out, _ = process.communicate(_SESSION)
    sweep.look()
    if process.returncode != 1 or "Traceback" in out or "repeat: bocb train" not in out:
        raise CheckFailed(f"a full disk ended with status {process.returncode}:\n{out[-2000:]}")
    failed = out.count("  repeat: ")
    sweep.finish()
    sweep.check()
    return f"{failed} runs failed with their reason; the next session completed them"


def read_only(sweep: Disturbed) -> str:
    """A session whose store has become read-only."""
    first = sweep.start()
    while len(sweep.finished) < 4 and first.poll() is None:
        time.sleep(0.05)
        sweep.look()
    first.kill()
    first.wait()
    time.sleep(1)
    folders = [sweep.store, *(path for path in sweep.store.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    process = sweep.start(_POWERLESS if os.geteuid() == 0 else "")
    out, _ = process.communicate(_SESSION)
    for path in folders:
        path.chmod(stat.S_IRWXU)
    sweep.look()
    if process.returncode != 1 or "Traceback" in out or "cannot write" not in out:
        raise CheckFailed(f"a read-only store ended with status {process.returncode}:\n{out[-2000:]}")
    failed = out.count("  repeat: ")
    sweep.finish()
    sweep.check()
    return f"{len(sweep.finished)} runs; {failed} failed while it was read-only; the next session completed them"


def lost_hub(sweep: Disturbed, hub: HubServer) -> str:
    """A session whose commits the Hub refuses, and the push of what waited."""
    hub.fail("POST", r"/commit/", status=503, times=10**6)
    process = sweep.start("", "runtime.store=hf://lab", f"runtime.local_store={sweep.store}")
    out, _ = process.communicate(_SESSION)
    if process.returncode != 0 or hub.repositories:
        kept = {name: len(repo.commits) for name, repo in hub.repositories.items()}
        if process.returncode != 0:
            raise CheckFailed(f"a lost Hub ended the sweep with status {process.returncode}: {kept}\n{out[-2000:]}")
    sweep.look()
    hub.faults.clear()
    pushed = WarmProcess(["-c", BOCB, "push", "--pending", "--store", str(sweep.store)], merged=True)
    out, _ = pushed.communicate(_SESSION)
    if pushed.returncode != 0:
        raise CheckFailed(f"what waited could not be pushed:\n{out[-2000:]}")
    again = sweep.start("", "runtime.store=hf://lab", f"runtime.local_store={sweep.store}")
    again.communicate(_SESSION)
    commits: Counter[str] = Counter()
    there: list[RunRecord] = []
    for (_, name), repo in hub.repositories.items():
        known: dict[str, str] = {}
        for files in repo.commits.values():
            for path, file in files.items():
                if path.endswith("record.json") or path.startswith("trials/"):
                    commits[f"{name}/{path}"] += known.get(path) != file.oid
                    known[path] = file.oid
        there += [
            parse_record(file.content, path)
            for path, file in repo.files.items()
            if path.endswith("record.json") or path.startswith("trials/")
        ]
    if set(commits.values()) != {1}:
        raise CheckFailed(f"records were published more than once: {commits.most_common(3)}")
    # the namespace is part of no identity, so the results are those of the undisturbed sweep
    if results(there) != sweep.expected:
        raise CheckFailed("the Hub holds other results than the undisturbed sweep")
    return f"{len(there)} records waited and were pushed once each"


def main() -> int:
    """Disturbs sweeps as asked, and prints what was done and what was found."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--kills", type=int, default=200, help="SIGKILLs of local workers and drivers")
    parser.add_argument("--ray-kills", type=int, default=0, help="SIGKILLs of Ray actors, nodes and drivers")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of kills")
    parser.add_argument("--minutes", type=float, default=20, help="after which no new kill is made")
    parser.add_argument("--faults", default="disk,read-only,hub", help="which other faults, separated by commas")
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    hub = HubServer()
    hub.tokens = {"hf_writer": Token("ada", organisations={"lab": "write"})}
    os.environ |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_writer", "OMP_NUM_THREADS": "1"}
    os.environ |= {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    os.environ |= {"HF_HUB_DISABLE_XET": "1"}
    os.environ.pop("HF_HUB_OFFLINE", None)
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f} "
        f"before; seed {arguments.seed}",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="bocb-chaos-") as name:
        root, number = Path(name), 0
        os.environ["HF_HOME"] = str(root / "home")
        plan = make_plan(root)

        def fresh(*words: str) -> Disturbed:
            nonlocal number
            number += 1
            folder = root / f"sweep{number}"
            folder.mkdir()
            return Disturbed(folder, plan, expected, words)

        expected: dict[str, str] = {}
        calm = fresh()
        started = time.monotonic()
        calm.finish()
        expected |= results(list(read_store(LocalStore(calm.store)).records))
        print(f"undisturbed: {len(expected)} runs in {time.monotonic() - started:.0f} s", flush=True)
        until = time.monotonic() + 60 * arguments.minutes
        try:
            if arguments.kills:
                started = time.monotonic()
                events = kill_rounds(fresh, kill_locally, draw, arguments.kills, until, 2.0)
                print(f"local executor: {_said(events)}, in {time.monotonic() - started:.0f} s", flush=True)
            others = {"disk": full_disk, "read-only": read_only, "hub": lambda sweep: lost_hub(sweep, hub)}
            for fault in filter(None, arguments.faults.split(",")):
                print(f"{fault}: {others[fault](fresh())}", flush=True)
            if arguments.ray_kills:
                started = time.monotonic()
                events = ray_rounds(fresh, draw, arguments.ray_kills, until)
                print(f"Ray executor: {_said(events)}, in {time.monotonic() - started:.0f} s", flush=True)
        except CheckFailed as error:
            print(f"FAILED: {error}", flush=True)
            return 1
    print("nothing finished was lost or written again; every weight and score is that of the undisturbed sweep")
    return 0


def ray_rounds(fresh: Callable[..., Disturbed], draw: random.Random, kills: int, until: float) -> Counter[str]:
    """The same on a Ray cluster of four nodes with one CPU each, of which actors and nodes are killed too."""
    from ray_cluster import TwoNodes

    cluster = TwoNodes(4)

    def kill(sweep: Disturbed, process: WarmProcess, draw: random.Random) -> bool:
        actors, kind = cluster.actors(), draw.random()
        if not actors:
            return False
        if kind < 0.6:
            draw.choice(actors).kill()
            sweep.events["actor"] += 1
        elif kind < 0.8:
            cluster.kill_node(draw.randrange(len(cluster.nodes)))
            cluster.add()
            sweep.events["node"] += 1
        else:
            process.kill()
            process.wait()
            sweep.events["driver"] += 1
        return True

    try:
        return kill_rounds(
            lambda: fresh("--executor", "ray", "--address", cluster.address), kill, draw, kills, until, 8.0
        )
    finally:
        cluster.kill()


def _said(events: Counter[str]) -> str:
    return ", ".join(
        f"{count} × SIGKILL of {what}" if what in KILLED else f"{count} × {what}" for what, count in events.items()
    )


if __name__ == "__main__":
    raise SystemExit(main())
