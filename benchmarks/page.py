"""What the page costs: to make, in bytes, in a browser, for 50 visitors, and as the report of ``bocb aggregate``.

    python benchmarks/page.py > benchmarks/page.txt
    python benchmarks/page.py --no-browser --store outputs/demo/store --before <an older checkout>

At 400 and 6,000 cells of three runs each, with curves. In Debian's chromium: time from the address to the table; from
a click on a filter, a cell and a view to the next picture, which is the browser's own measure of an interaction (event
timing, in steps of 8 ms; "interaction to next paint"); bytes that were sent until the table stood; memory of the
scripts' heap and of the tab's process. Then 50 visitors at once, who fetch what the browser fetched and
the ranges of three cells each. ``--store`` times ``bocb aggregate`` with its report in processes of their own, here
and in an older checkout, in CPU seconds, which the load of a machine disturbs less than it does the clock.
``leaderboard_gradio.txt`` is what the page before this one took.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from builders import make_record

from bocb_hf.page.data import PageData
from bocb_hf.page.document import DETAILS, INDEX, SCRIPT, STYLE, SUMMARY, folder_files, one_file
from bocb_hf.page.locate import Located
from bocb_hf.page.read import LeaderboardFile
from bocb_hf.page.server import make_server
from bocb_hf.page.write import own_rows, published_rows, to_parquet
from bocb_hf.report.tabulate import Wanted, tabulate
from bocb_hf.runs.record import Curve
from bocb_hf.store.contents import StoreContents

SIZES = ((20, 20), (100, 60))
SEEDS = (1, 2, 3)
POINTS = 100  # of each training curve
DRAWS = 500
ROUNDS = 20
VISITORS = 50
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


def make_contents(backbones: int, optimizers: int) -> StoreContents:
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
    return contents


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[int]:
    """A server of some files in this process; gives its port."""
    server = make_server(files, port=0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class Browsed(NamedTuple):
    """What a visitor waits for, in seconds by name; KiB until the first table stands; MiB of scripts and of the tab."""

    times: dict[str, list[float]]
    sent: float
    heap: float
    tab: float


# what the browser noted of each interaction: milliseconds from the input to the next picture
WATCH = """
window.noted = [];
new PerformanceObserver(list => {
  for (const entry of list.getEntries()) if (entry.interactionId) window.noted.push(entry.duration);
}).observe({type: "event", durationThreshold: 16});
"""
SHORTEST = 16  # milliseconds, below which the browser notes nothing


def browse(port: int, table: str, columns: int, cells: int, rounds: int) -> Browsed:
    """Opens a table in chromium again and again. The time to the table is by the page's clock, to the next frame."""
    from playwright.sync_api import sync_playwright

    times: dict[str, list[float]] = {"first table": [], "filter": [], "open a cell": [], "another view": []}
    sent = heap = tab = 0.0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        whole = browser.new_browser_cdp_session()
        for number in range(rounds + 1):
            page = browser.new_page(viewport={"width": 1300, "height": 900})
            page.add_init_script(WATCH)
            client = page.context.new_cdp_session(page)
            client.send("Network.enable")
            client.send("Performance.enable")
            loaded: list[float] = []
            client.on("Network.loadingFinished", lambda event, loaded=loaded: loaded.append(event["encodedDataLength"]))
            page.goto(f"http://127.0.0.1:{port}/#table={table}", wait_until="commit")
            # the page's clock counts from the start of the navigation
            stands = f"document.querySelectorAll('main[data-table=\"{table}\"] table.heat td').length >= {cells}"
            each = {"first table": page.evaluate(f"() => {_until(stands, 0)}")}
            page.wait_for_timeout(300)
            sent = sum(loaded) / 1024
            page.locator("summary", has_text="Families").click()
            # heads and cells change in one go; to look at 6,000 cells in every frame would itself take long
            shown = "document.querySelectorAll('table.heat thead tr:last-child th:not([hidden])').length"
            each["filter"] = _press(page, page.get_by_label("modern"), f"{shown} == {columns // 2}")
            assert page.locator("table.heat td:visible").count() == cells // 2
            page.keyboard.press("Escape")
            cell = page.locator("table.heat td:visible").nth(3)
            each["open a cell"] = _press(page, cell, "document.querySelector('#cell figure svg')")
            page.keyboard.press("Escape")
            view = page.get_by_role("link", name="Ranks")
            each["another view"] = _press(
                page, view, "document.querySelector('main[data-view=ranking] table.rows tbody tr')"
            )
            client.send("HeapProfiler.collectGarbage")
            measured = {m["name"]: m["value"] for m in client.send("Performance.getMetrics")["metrics"]}
            heap = measured["JSHeapUsedSize"] / 2**20
            processes = whole.send("SystemInfo.getProcessInfo")["processInfo"]
            tab = max(_resident(process["id"]) for process in processes if process["type"] == "renderer")
            if number:  # the first one warms
                for name, value in each.items():
                    times[name].append(value / 1000)
            page.close()
        browser.close()
    return Browsed(times, sent, heap, tab)


def _press(page: Any, place: Any, condition: str) -> float:
    """Clicks, waits for a condition, and returns the milliseconds from the click to the next picture."""
    page.wait_for_timeout(300)  # what was noted of the click before has arrived
    page.evaluate("() => { window.noted = []; }")
    place.click()
    while not page.evaluate(f"() => Boolean({condition})"):
        page.wait_for_timeout(50)
    page.wait_for_timeout(300)
    return max(page.evaluate("() => window.noted"), default=SHORTEST)


def _until(condition: str, began: object) -> str:
    """A promise of the milliseconds since ``began`` at which a condition has held for a frame."""
    done = f"requestAnimationFrame(() => done(performance.now() - {began}))"
    look = f"const look = () => {{ if ({condition}) {done}; else requestAnimationFrame(look); }}; look();"
    return f"new Promise(done => {{ {look} }})"


def _resident(process: int) -> float:
    """MiB of a process that lie in memory."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def visit(port: int, data: PageData, visitors: int) -> dict[str, list[float]]:
    """Many at once: each fetches the page with its summary, then three pieces of the details, a second apart."""
    starts = json.loads(gzip.decompress(data.summary))["chunks"]
    times: dict[str, list[float]] = {"page and summary": [], "a piece of the details": []}

    def one(number: int) -> None:
        generator = random.Random(number)
        time.sleep(2 * generator.random())
        connection = HTTPConnection("127.0.0.1", port, timeout=60)

        def get(path: str, **headers: str) -> None:
            connection.request("GET", path, headers={"Accept-Encoding": "gzip", **headers})
            answer = connection.getresponse()
            answer.read()
            if answer.status not in (200, 206):
                raise RuntimeError(f"{path}: {answer.status}")

        start = time.perf_counter()
        for name in (INDEX, STYLE, SCRIPT, SUMMARY):
            get(f"/{name}")
        times["page and summary"].append(time.perf_counter() - start)
        for _ in range(3):
            time.sleep(2 * generator.random())
            place = generator.randrange(len(starts) - 1)
            start = time.perf_counter()
            get(f"/{DETAILS}", Range=f"bytes={starts[place]}-{starts[place + 1] - 1}")
            times["a piece of the details"].append(time.perf_counter() - start)
        connection.close()

    with ThreadPoolExecutor(visitors) as pool:
        list(pool.map(one, range(visitors)))
    return times


def line(name: str, values: Sequence[float]) -> str:
    """p50 and p95 in milliseconds."""
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    return f"  {name:<28}{1000 * statistics.median(ordered):8,.0f}{1000 * p95:8,.0f}{len(ordered):6}"


def timed(function: Any, *given: Any) -> tuple[Any, float]:
    """What a function returns, and its CPU seconds."""
    start = time.process_time()
    found = function(*given)
    return found, time.process_time() - start


def measure(backbones: int, optimizers: int, rounds: int | None) -> None:
    """Prints what one size takes; without rounds, nothing is asked of a browser."""
    cells = backbones * optimizers
    contents = make_contents(backbones, optimizers)
    results, tables = timed(lambda: tabulate(contents, Wanted(DRAWS)).results)
    _, analysed = timed(lambda: [result.findings for result in results])
    rows, made = timed(lambda: [*own_rows(results, contents, 0), *published_rows()])
    content, packed = timed(to_parquet, rows)
    located, opened = timed(lambda: Located(LeaderboardFile("x", content), content, "hf://lab"))
    data, drawn = timed(located.data)
    html, written = timed(one_file, data)
    files = folder_files(data, content)
    sizes = {"Parquet": content, "summary": data.summary, "details": data.details, "one file": html}
    print(f"{cells:,} cells, {len(SEEDS) * cells:,} runs; answers of the published tables only")
    print(
        f"  CPU s: tables {tables:.1f}, analysis ({DRAWS} draws) {analysed:.1f}, rows {made:.1f}, Parquet {packed:.1f},"
    )
    print(f"         opened {opened:.1f}, page's data {drawn:.1f}, one file {written:.1f}")
    print("  MiB:   " + ", ".join(f"{name} {len(each) / 2**20:.2f}" for name, each in sizes.items()))
    with serving(files) as port:
        if rounds is not None:
            seen = browse(port, next(iter(located.file.boards)), backbones, cells, rounds)
            print(f"  {'in the browser, ms':<28}{'p50':>8}{'p95':>8}{'n':>6}")
            for name, values in seen.times.items():
                print(line(name, values))
            print(f"  {seen.sent:,.0f} KiB sent until the table stood, with three requests for its files")
            print(
                f"  {seen.heap:.0f} MiB in the heap of the page's scripts; {seen.tab:.0f} MiB of its process in memory"
            )
        print(f"  {VISITORS} visitors at once, ms")
        for name, values in visit(port, data, VISITORS).items():
            print(line(name, values))
    print(flush=True)


def aggregate(checkout: Path, store: Path) -> tuple[float, float]:
    """CPU seconds and MiB at the peak of ``bocb aggregate`` from a checkout."""
    code = "import sys; from bocb_hf.cli import main; sys.exit(main(sys.argv[1:]))"
    with tempfile.TemporaryDirectory() as folder:
        words = ["aggregate", "--store", str(store), "--out", folder]
        environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        script = (
            "import resource, subprocess, sys; "
            "ended = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
            "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
            "print(ended.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)"
        )
        command = [sys.executable, "-c", script, sys.executable, "-c", code, *words]
        ended = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True)
    status, seconds, peak = ended.stdout.split()
    if status != "0":
        raise RuntimeError(f"bocb aggregate of {checkout} ended with {status}: {ended.stderr[-500:]}")
    return float(seconds), float(peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--no-browser", action="store_true")
    parser.add_argument("--sizes", nargs="*", default=[f"{b}x{o}" for b, o in SIZES], metavar="BxO")
    parser.add_argument("--store", type=Path, help="also time `bocb aggregate` of this store")
    parser.add_argument("--before", type=Path, help="an older checkout to time it with as well")
    arguments = parser.parse_args()
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("pyarrow", "pydantic", "playwright"))
    print(f"{now}, {platform.machine()} CPU, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before")
    print(f"Python {platform.python_version()}, {versions}\n")
    for size in arguments.sizes:
        backbones, optimizers = map(int, size.split("x"))
        measure(backbones, optimizers, None if arguments.no_browser else arguments.rounds)
    if arguments.store is not None:
        here = Path(__file__).resolve().parent.parent
        for name, checkout in (("before", arguments.before), ("now", here)):
            if checkout is not None:
                found = [aggregate(checkout.resolve(), arguments.store.resolve()) for _ in range(3)]
                seconds, peak = min(found)
                print(f"bocb aggregate of {arguments.store}, {name}: {seconds:.1f} CPU s (least of 3), {peak:.0f} MiB")
    print(
        f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB; load {os.getloadavg()[0]:.1f} after"
    )


if __name__ == "__main__":
    main()
