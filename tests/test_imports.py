"""The base install: no torch for reading, checking and listing, and no effect of merely importing the package."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import house
import pytest
from warm import run_warm

from bocb_hf.backbones import OWN_ARCHITECTURES

ROOT = Path(__file__).resolve().parent.parent

# import name of each distribution of the extra `train`; pillow also comes with matplotlib, so it may be there
IMPORT_NAMES = {
    "accelerate": "accelerate",
    "datasets": "datasets",
    "evaluate": "evaluate",
    "nvidia-ml-py": "pynvml",
    "pillow": None,
    "psutil": None,
    "rich": None,
    "safetensors": "safetensors",
    "scikit-learn": "sklearn",
    "timm": "timm",
    "torch": "torch",
    "torchvision": "torchvision",
    "transformers": "transformers",
}

BLOCK = """
import sys

asked_for = []

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            asked_for.append(name)
            raise ImportError(f"No module named {name!r}")

sys.meta_path.insert(0, Blocker())
"""


@functools.cache
def torch_free() -> tuple[str, ...]:
    """Names of the modules that need no torch, from the source.

    They import nothing of the extra `train` when they are imported, themselves, through ours, or through the packages
    above them. Imports inside functions do not count.
    """
    return tuple(sorted(set(house.modules()) - house.trained_only()))


# what an import must not do, as the interpreter's own audit sees it
WATCH = """
import os, sys
sys.dont_write_bytecode = True
done = []

def watch(event, given):
    if event == "open":
        mode, flags = given[1], given[2]
        writes = any(c in "wax+" for c in mode) if mode else flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not writes or given[0] == os.devnull:
            return
    elif event not in EVENTS:
        return
    done.append([event, repr(given[:2])])

EVENTS = {"socket.connect", "socket.getaddrinfo", "socket.bind", "subprocess.Popen", "os.posix_spawn", "os.fork"}
EVENTS |= {"os.exec", "os.system", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "tempfile.mkdtemp"}
sys.addaudithook(watch)
"""


def train_extra() -> list[str]:
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["train"]
    return [re.split(r"[<>=\[]", requirement)[0] for requirement in extra]


def blocked() -> str:
    names = {IMPORT_NAMES[name] for name in train_extra()} - {None}
    assert {"torch", "timm", "transformers", "accelerate", "datasets"} <= names <= house.STACK
    return f"BLOCKED = {sorted(str(name) for name in names)!r}\n{BLOCK}"


def python(code: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | environment,
        timeout=120,
        check=False,
    )


def test_the_blocker_blocks(tmp_path: Path) -> None:
    code = f"""{blocked()}
refused = []
for name in ("torch", "timm.models", "sklearn"):
    try:
        __import__(name)
    except ImportError as error:
        refused.append(str(error))
print([refused, asked_for])
"""
    ended = python(code, tmp_path)
    refused = [f"No module named {name!r}" for name in ("torch", "timm", "sklearn")]
    assert ended.stdout == f"{[refused, ['torch', 'timm', 'sklearn']]}\n"


def test_most_of_the_package_needs_no_torch() -> None:
    """What reads, checks, aggregates, recommends and shows; the rooms that train are the rest."""
    assert len(torch_free()) >= 170
    whole = {"coupling", "store", "report", "recommend", "page", "results", "commands", "runs"}
    left = {house.room_of(name) for name in house.trained_only()}
    assert left & whole == set(), "a module at its level imports what it needs only later"


def test_what_needs_no_torch_imports_without_the_training_stack(tmp_path: Path) -> None:
    """And does not ask for it: a guarded `try: import torch` would cost seconds where torch is there."""
    code = f"""{blocked()}
import matplotlib.font_manager, tempfile
tempfile.gettempdir()  # looks for a folder that it can write to; matplotlib makes its own cache where there is none
{WATCH}
import importlib, json
for name in {torch_free()!r}:
    importlib.import_module(name)
print(json.dumps([asked_for, done]))
"""
    ended = python(code, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == [[], []]


def test_importing_any_module_does_nothing(tmp_path: Path) -> None:
    """The whole package, with the stack there: no file is written or made, no address asked, no process started."""
    code = f"""
import importlib, json, sys
for name in [name for name in sys.modules if name.partition(".")[0] == "bocb_hf"]:
    del sys.modules[name]
for name in {sorted(house.STACK)!r}:
    try:
        importlib.import_module(name)
    except ImportError:
        pass
{WATCH}
for name in {sorted(house.modules())!r}:
    importlib.import_module(name)
print(json.dumps([done, len([name for name in sys.modules if name.partition(".")[0] == "bocb_hf"])]))
"""
    ended = run_warm(["-c", code], tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == [[], len(house.modules())]
    assert list(tmp_path.iterdir()) == []


def test_the_watch_sees(tmp_path: Path) -> None:
    code = f"""
{WATCH}
import socket, subprocess
open("x", "w").close()
try:
    socket.create_connection(("127.0.0.1", 9), timeout=1)
except OSError:
    pass
subprocess.run(["true"])
print(sorted({{event for event, _ in done}}))
"""
    ended = python(code, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert {"open", "socket.connect", "subprocess.Popen"} <= set(json.loads(ended.stdout.replace("'", '"')))


def test_the_command_line_lists_and_explains_what_is_missing(tmp_path: Path) -> None:
    code = f"""{blocked()}
from bocb_hf.cli import main
codes = [main(["list", "optimizers"])]
print("---")
codes += [main(["sweep", "demo"]), main(["train", "--config", "fashion_mnist_subset/demo"])]
print(codes)
"""
    ended = python(code, tmp_path)
    assert ended.returncode == 0, ended.stderr
    listing, codes = ended.stdout.split("---\n")
    assert "sgdm" in listing
    assert codes.strip() == "[0, 2, 2]"
    first, second = ended.stderr.strip().splitlines()
    assert first == "error: this needs torch, which is not installed; install it with: pip install 'bocb-hf[train]'"
    assert second == first
    assert second.endswith("pip install 'bocb-hf[train]'")
    assert not list(tmp_path.iterdir())


def test_records_are_read_and_aggregated_without_the_training_stack(tmp_path: Path) -> None:
    code = f"""{blocked()}
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from builders import make_record
from bocb_hf.cli import main
from bocb_hf.store.local import LocalStore
from bocb_hf.store.write import write_run
for seed in (1, 2):
    write_run(LocalStore(Path("store")), "me", make_record(seed=seed, status="diverged"), None, False)
raise SystemExit(main(["render", "--store", "store"]))
"""
    ended = python(code, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "rendered me/bocb-fashion_mnist_subset-demo-tiny_resnet-sgdm\n"


def test_importing_prints_nothing_and_writes_nothing(tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    code = "import sys, bocb_hf; assert 'torch' not in sys.modules and 'timm' not in sys.modules"
    ended = python(code, work, HOME=str(home), XDG_CACHE_HOME=str(home), TMPDIR=str(work))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert list(home.iterdir()) == list(work.iterdir()) == []


SLOW = (
    "torch",
    "timm",
    "accelerate",
    "datasets",
    "transformers",
    "evaluate",
    "sklearn",
    "scipy",
    "matplotlib",
    "pandas",
)


@pytest.mark.parametrize(
    "start", ["runpy.run_path(recipe, run_name='__main__')", "sys.exit(bocb_hf.cli.main(['train', '--help']))"]
)
def test_help_imports_nothing_that_takes_seconds(start: str, tmp_path: Path) -> None:
    code = f"""
import runpy, sys
import bocb_hf.cli
recipe = {str(ROOT / "recipes/train.py")!r}
sys.argv = [recipe, "--help"]
try:
    {start}
except SystemExit as ended:
    print(ended.code, [name for name in {SLOW!r} if name in sys.modules])
"""
    ended = python(code, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "--dry-run" in ended.stdout
    assert ended.stdout.endswith("\n0 []\n")


def test_a_first_step_needs_nothing_that_is_needed_only_later(tmp_path: Path) -> None:
    """datasets (with pandas) is for data that is not embedded, evaluate (with transformers) for those who ask for its
    metrics, and matplotlib draws the picture of the card, when the run is over."""
    code = f"""
import json, os, sys
from bocb_hf.engine.loop import Trainer
from bocb_hf.commands.train import main

step = Trainer._step

def first_step(*given, **more):
    step(*given, **more)
    print(json.dumps([name for name in {SLOW!r} if name in sys.modules]), flush=True)
    os._exit(17)

Trainer._step = first_step
main(["--config", "fashion_mnist_subset/demo", "backbone.name=tiny_resnet", "optimizer.name=sgdm",
      "training.batch_size=50", "runtime.tracker=none"])
"""
    ended = run_warm(["-c", code], tmp_path, imported="others", ACCELERATE_USE_CPU="true")
    assert ended.returncode == 17, ended.stderr
    after = json.loads(ended.stdout.strip().splitlines()[-1])
    assert {"torch", "timm", "accelerate"} <= set(after)
    assert not {"datasets", "pandas", "transformers", "evaluate", "sklearn", "matplotlib"} & set(after)


# the process has torch and what else timm imports, which is what takes seconds
WITHOUT_TIMM = """
import sys
for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
    del sys.modules[name]
assert "bocb_hf" not in sys.modules
"""

REGISTERED = """
ours = {name for name in timm.list_models() if timm.model_entrypoint(name).__module__.startswith("bocb_hf")}
print(sorted(ours))
"""

ORDERS = {
    # with what transformers does at import in between, to learn whether timm is there
    "ours first": "import bocb_hf, importlib.util\nassert importlib.util.find_spec('timm')\nimport timm.models",
    "timm first": "import timm\nimport bocb_hf",
}


@pytest.mark.parametrize("order", ORDERS)
def test_exactly_our_architectures_are_registered_in_any_order_of_import(order: str, tmp_path: Path) -> None:
    ended = run_warm(["-c", WITHOUT_TIMM + ORDERS[order] + REGISTERED], tmp_path, imported="others")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == str(sorted(OWN_ARCHITECTURES))


def test_without_timm_an_import_of_it_fails_as_usual(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    code = """
import sys
import bocb_hf
sys.path[:] = [p for p in sys.path if "site-packages" not in p]
try:
    import timm
except ModuleNotFoundError as error:
    print(error, error.name)
"""
    ended = python(code, tmp_path / "work")
    assert (ended.returncode, ended.stdout) == (0, "No module named 'timm' timm\n"), ended.stderr
