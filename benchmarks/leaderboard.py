"""How fast the leaderboard answers, at 400 and at 6,000 cells of three runs each, and what 50 visitors cost it.

    python benchmarks/leaderboard.py > benchmarks/leaderboard.txt

For each size a server of its own (`bocb leaderboard --data`). In Debian's chromium: time from the address to the table,
and from a click on a filter, a cell and a tab until the page shows it. Then 50 visitors at once, who send what the
browser sent: the page, its first table, and filters of their own choice, a second apart, each with its own connection.
All of it on one machine: the browser, and the visitors, take their share of the cores. Memory is the server's.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import platform
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from playwright.sync_api import Request, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from builders import make_record

from bocb_hf.page.write import leaderboard_parquet
from bocb_hf.runs.record import Curve
from bocb_hf.store.contents import StoreContents

SIZES = ((20, 20), (100, 60))
SEEDS = (1, 2, 3)
POINTS = 100  # of each training curve
ROUNDS = 20
VISITORS = 50
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


def write_file(path: Path, backbones: int, optimizers: int) -> None:
    """Records with curves, half of the backbones CNNs, 3 % of the cells diverged."""
    generator = np.random.default_rng(0)
    steps = list(range(1, POINTS + 1))
    contents = StoreContents("hf://lab")
    for b in range(backbones):
        for o in range(optimizers):
            lost = generator.random() < 0.03
            for seed in SEEDS:
                losses = (2.5 * np.exp(-np.arange(POINTS) / 30) + 0.05 * generator.random(POINTS) + 0.3).tolist()
                record = make_record(
                    f"backbone{b}",
                    f"optimizer{o}",
                    seed=seed,
                    status="diverged" if lost else "completed",
                    correct=int(1500 + 60 * generator.normal()),
                    family="classical_cnn" if b < backbones // 2 else "modern",
                    category=("a", "b", "c", "d")[4 * o // optimizers],
                )
                curve = Curve(
                    step=steps,
                    lr=[0.1] * POINTS,
                    train_loss=losses,
                    train_top1=[50.0] * POINTS,
                    val_step=[],
                    val_loss=[],
                    val_top1=[],
                )
                record = record.model_copy(update={"curve": curve})
                contents.records.append(record)
                contents.places[record.role, record.run_id] = f"lab/{record.repository()}/{record.path()}"
    path.write_bytes(leaderboard_parquet(contents, 500))


class Server:
    """``bocb leaderboard`` in a process of its own."""

    def __init__(self, path: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        start = time.perf_counter()
        command = [sys.executable, "-m", "bocb_hf.cli", "leaderboard", "--data", str(path), "--port", str(port)]
        code = "import sys; from bocb_hf.cli import main; sys.exit(main(sys.argv[1:]))"
        command[1:3] = ["-c", code]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while True:
            try:
                httpx.get(self.address, timeout=30).raise_for_status()
                break
            except httpx.TransportError:
                if self._process.poll() is not None:
                    raise RuntimeError("the server ended") from None
                time.sleep(0.02)
        self.started = time.perf_counter() - start

    def memory(self) -> float:
        """Resident MiB."""
        return psutil.Process(self._process.pid).memory_info().rss / 2**20

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def browse(server: Server, cells: int, rounds: int) -> tuple[dict[str, list[float]], list[dict[str, Any]]]:
    """Times in seconds of what a visitor does, and the requests that their browser sent: first table, then a filter."""
    times: dict[str, list[float]] = {"first table": [], "filter": [], "open a cell": [], "another view": []}
    sent: list[dict[str, Any]] = []

    def note(request: Request) -> None:
        if request.method == "POST" and len(sent) < 20:
            sent.append({"url": request.url, "data": json.loads(request.post_data or "{}")})

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        for number in range(rounds + 1):
            page = browser.new_page(viewport={"width": 1300, "height": 900})
            if number == 0:
                page.on("request", note)
            start = time.perf_counter()
            page.goto(server.address)
            _wait(page, f"document.querySelectorAll('table.heat td').length == {cells}")
            first = time.perf_counter() - start
            page.wait_for_timeout(300)
            each: dict[str, float] = {"first table": first}
            modern = page.get_by_label("modern", exact=True)
            start = time.perf_counter()
            modern.check()
            _wait(page, f"document.querySelectorAll('table.heat td').length == {cells // 2}")
            each["filter"] = time.perf_counter() - start
            cell = page.locator("table.heat td").nth(3)
            start = time.perf_counter()
            cell.click()
            _wait(page, "document.querySelector('#cell')")
            each["open a cell"] = time.perf_counter() - start
            tab = page.get_by_role("tab", name="Rankings")
            start = time.perf_counter()
            tab.click()
            _wait(page, "document.querySelector('section[data-view=ranking]')")
            each["another view"] = time.perf_counter() - start
            if number:  # the first one warms
                for name, value in each.items():
                    times[name].append(value)
            page.close()
        browser.close()
    return times, sent


def _wait(page: Any, condition: str) -> None:
    page.wait_for_function(f"() => {condition}", polling="raf", timeout=60_000)


def _another(item: dict[str, Any], generator: random.Random) -> dict[str, Any]:
    """The request of a filter with other choices: families, categories and n, 144 in all."""
    data = list(item["data"]["data"])
    place = data.index(["modern"])  # categories come next, then trust and n
    data[place] = generator.choice([[], ["modern"], ["classical_cnn"]])
    data[place + 1] = [c for c in "abcd" if generator.random() < 0.5]
    data[place + 3] = generator.choice([1, 2, 3])
    return item | {"data": item["data"] | {"data": data}}


async def visit(server: Server, sent: Sequence[dict[str, Any]], visitors: int) -> dict[str, list[float]]:
    """Many at once: each opens the page, waits for its table, then filters five times."""
    first, *rest = (item for item in sent if "/run/predict" in item["url"])
    filters = [item for item in rest if "modern" in json.dumps(item["data"].get("data", []))]
    if not filters:
        raise RuntimeError("the browser sent no filter")
    times: dict[str, list[float]] = {"page": [], "first table": [], "filter": []}
    generator = random.Random(0)

    async def one(number: int) -> None:
        async with httpx.AsyncClient(timeout=120) as client:
            await asyncio.sleep(generator.random() * 2)

            async def timed(name: str, item: dict[str, Any] | None) -> None:
                start = time.perf_counter()
                if item is None:
                    answer = await client.get(server.address)
                else:
                    answer = await client.post(item["url"], json=item["data"] | {"session_hash": f"v{number}"})
                answer.raise_for_status()
                times[name].append(time.perf_counter() - start)

            await timed("page", None)
            await timed("first table", first)
            for _ in range(5):
                await asyncio.sleep(2 * generator.random())
                await timed("filter", _another(filters[0], generator))

    await asyncio.gather(*map(one, range(visitors)))
    return times


def line(name: str, values: Sequence[float]) -> str:
    """p50 and p95 in milliseconds."""
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    return f"  {name:<28}{1000 * statistics.median(ordered):8,.0f}{1000 * p95:8,.0f}{len(ordered):6}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("gradio", "uvicorn", "playwright"))
    load = os.getloadavg()[0]
    print(f"{now}, {platform.machine()} CPU, {os.cpu_count()} cores, load {load:.1f} before")
    print(f"Python {platform.python_version()}, {versions}; milliseconds\n")
    with tempfile.TemporaryDirectory() as folder:
        for backbones, optimizers in SIZES:
            path = Path(folder) / f"{backbones}.parquet"
            start = time.perf_counter()
            write_file(path, backbones, optimizers)
            cells = backbones * optimizers
            made = time.perf_counter() - start
            server = Server(path)
            fresh = server.memory()
            try:
                times, sent = browse(server, cells, arguments.rounds)
                browsed = server.memory()
                crowd = asyncio.run(visit(server, sent, VISITORS))
                crowded = server.memory()
            finally:
                server.close()
            print(
                f"{cells:,} cells, {len(SEEDS) * cells:,} runs; file {path.stat().st_size / 2**20:.1f} MiB, made in "
                f"{made:.0f} s; server up after {server.started:.1f} s"
            )
            print(f"  {'in the browser':<28}{'p50':>8}{'p95':>8}{'n':>6}")
            for name, values in times.items():
                print(line(name, values))
            print(f"  {VISITORS} visitors at once")
            for name, values in crowd.items():
                print(line(name, values))
            print(
                f"  memory of the server in MiB: {fresh:.0f} fresh, {browsed:.0f} after the browser, {crowded:.0f} "
                "after the visitors\n",
                flush=True,
            )
    print(f"load {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
