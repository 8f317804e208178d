"""What reading thousands of cards costs, against a loop over ``ModelCard.load``, on the same loopback server.

    python benchmarks/hub_listing.py [--repositories 5000]

Each reading is a process of its own, so its time holds no imports, and its memory is what it grows by at most. The
server (tests/hub_server.py) answers in about a millisecond and shares the machine; a request to the real Hub takes some
tens, so that the ratio of requests is what counts there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path.insert(0, str(TESTS))

from builders import make_record  # noqa: E402 - of the tests
from hub_server import HubServer  # noqa: E402 - of the tests
from hub_state import card_data  # noqa: E402 - of the tests

from bocb_hf.runs.naming import repository_name  # noqa: E402 - after the path of the tests
from bocb_hf.store.cards.text import render_card  # noqa: E402 - after the path of the tests

_MEASURE = """
import json, os, sys, threading, time
from contextlib import redirect_stdout
{imports}
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
base, peak, done = resident(), [0.0], threading.Event()
def watch():
    while not done.wait(0.005):
        peak[0] = max(peak[0], resident())
threading.Thread(target=watch, daemon=True).start()
start = time.perf_counter()
with redirect_stdout(sys.stderr):
    {code}
seconds = time.perf_counter() - start
done.set()
print(json.dumps({{"seconds": seconds, "grown": peak[0] - base, "found": found}}))
"""

NAIVE = (
    "from huggingface_hub import HfApi, ModelCard",
    "names = [m.id for m in HfApi().list_models(author='lab', filter='bocb')];"
    " found = sum(len(ModelCard.load(name).data.bocb['runs']) for name in names)",
)
OURS = (
    "from bocb_hf.cli import main\nimport bocb_hf.store.card_cache, pandas, pyarrow.parquet",
    "main(['aggregate', '--store', 'hf://lab', '--cards', '--out', os.environ['OUT']]);"
    " found = pyarrow.parquet.read_metadata(os.environ['OUT'] + '/runs.parquet').num_rows",
)


def cards(count: int) -> Iterator[tuple[str, bytes]]:
    """Cards of so many cells with three seeds each, that differ in setting, hashes and scores."""
    text = render_card("lab/x", [make_record(seed=seed, correct=1600 + seed) for seed in (1, 2, 3)], [])
    old = make_record().config_hash
    for number in range(count):
        setting = f"s{number}"
        name = repository_name("fashion_mnist_subset", setting, "tiny_resnet", "sgdm")
        new = hashlib.sha256(setting.encode()).hexdigest()[:12]
        # quoted, so that hashes of digits stay text
        card = re.sub(
            rf"(?<=: ){old}(-\d)?$", lambda m, new=new: f"'{new}{m.group(1) or ''}'", text, flags=re.MULTILINE
        )
        yield f"lab/{name}", card.replace("  setting: demo\n", f"  setting: {setting}\n").encode()


def fill(hub: HubServer, count: int) -> None:
    """Puts the cards on the server, which parses them now and not while it is measured."""
    hub.reset()
    for name, card in cards(count):
        hub.put(name, {"README.md": card})
        card_data(hub.repository(name).files["README.md"])


def measure(hub: HubServer, what: tuple[str, str], home: Path, label: str) -> dict[str, Any]:
    """Runs one reading in a process of its own and prints its row."""
    hub.requests.clear()
    left_out = ("HF_HUB_OFFLINE", "HF_TOKEN")
    environment = {k: v for k, v in os.environ.items() if k not in left_out} | {
        **{"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "OUT": str(home / "out")},
        **{"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
    }
    code = _MEASURE.format(imports=what[0], code=what[1])
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(ended.stderr)
    row = json.loads(ended.stdout) | {"requests": sum("agent-harnesses" not in path for _, path, _ in hub.requests)}
    print(
        f"{label:<44} {row['found']:>7} {row['requests']:>9} {row['seconds']:>9.2f} {row['grown']:>10.0f}", flush=True
    )
    return row


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repositories", type=int, default=5000)
    count = parser.parse_args().repositories
    hub = HubServer()
    print(f"{count} repositories × 3 seeds; {platform.machine()}, {os.cpu_count()} cores, {platform.python_version()}")
    print(f"{'':<44} {'runs':>7} {'requests':>9} {'seconds':>9} {'memory, MB':>10}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        fill(hub, count // 5)
        fifth = measure(hub, OURS, root / "fifth", f"cold, {count // 5} repositories")
        fill(hub, count)
        cold = measure(hub, OURS, root / "ours", "cold: bocb aggregate --cards")
        warm = [measure(hub, OURS, root / "ours", "warm, nothing changed") for _ in range(3)]
        changed = hub.repository("lab/" + repository_name("fashion_mnist_subset", "s7", "tiny_resnet", "sgdm"))
        hub.store_commit(changed, "main", changed.files, "touched")
        measure(hub, OURS, root / "ours", "warm, one repository changed")
        naive = measure(hub, NAIVE, root / "naive", "naive: ModelCard.load of each")
    hub.close()
    assert cold["found"] == warm[0]["found"] == naive["found"] == 3 * count
    print(f"\ncold against naive: {naive['requests'] / cold['requests']:.0f} × fewer requests (target 50), ", end="")
    print(f"{naive['seconds'] / cold['seconds']:.1f} × faster (target 30)")
    seconds = statistics.median(row["seconds"] for row in warm)
    print(f"warm: {warm[0]['requests']} requests (target < 10), {seconds:.2f} s (target < 1), the median of 3")
    print(f"memory: {cold['grown'] - fifth['grown']:+.0f} MB for five times the cards")


if __name__ == "__main__":
    main()
