"""The base install: no torch for reading, checking and listing, and no effect of merely importing the package."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bocb_hf.backbones import OWN_ARCHITECTURES

ROOT = Path(__file__).resolve().parent.parent

# import name of each distribution of the extra `train`; pillow also comes with matplotlib, so it may be there
IMPORT_NAMES = {
    "accelerate": "accelerate",
    "datasets": "datasets",
    "evaluate": "evaluate",
    "nvidia-ml-py": "pynvml",
    "pillow": None,
    "psutil": "psutil",
    "safetensors": "safetensors",
    "scikit-learn": "sklearn",
    "timm": "timm",
    "torch": "torch",
    "torchvision": "torchvision",
    "transformers": "transformers",
}

BLOCK = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"No module named {name!r}")

sys.meta_path.insert(0, Blocker())
"""

MODULES = (
    "bocb_hf",
    "bocb_hf.commands.aggregate",
    "bocb_hf.runs.card",
    "bocb_hf.store.cards.text",
    "bocb_hf.store.cards.eval_results",
    "bocb_hf.cli",
    "bocb_hf.runs.config",
    "bocb_hf.report.analysis",
    "bocb_hf.report.words.analysis",
    "bocb_hf.coupling.combination",
    "bocb_hf.coupling.contrast",
    "bocb_hf.coupling.ledger",
    "bocb_hf.coupling.marks",
    "bocb_hf.coupling.pareto",
    "bocb_hf.coupling.robustness",
    "bocb_hf.coupling.scores",
    "bocb_hf.coupling.statistics",
    "bocb_hf.coupling.table",
    "bocb_hf.coupling.trials",
    "bocb_hf.commands.figures",
    "bocb_hf.commands.list",
    "bocb_hf.commands.check_optimizer",
    "bocb_hf.report.outputs",
    "bocb_hf.commands.recommend",
    "bocb_hf.recommend.evaluate",
    "bocb_hf.runs.record",
    "bocb_hf.coupling.published",
    "bocb_hf.report.html",
    "bocb_hf.report.cards",
    "bocb_hf.commands.push",
    "bocb_hf.commands.collect",
    "bocb_hf.engine.repetition",
    "bocb_hf.commands.verify",
    "bocb_hf.commands.reproduce",
    "bocb_hf.commands.retract",
    "bocb_hf.results.dataset",
    "bocb_hf.runs.retraction",
    "bocb_hf.store.card_cache",
    "bocb_hf.store.hub",
    "bocb_hf.store.local",
    "bocb_hf.store.peers",
    "bocb_hf.store.write",
    "bocb_hf.store.push",
    "bocb_hf.runs.verification",
    "bocb_hf.commands.publish",
    "bocb_hf.results.submission.review",
    "bocb_hf.commands.submit",
    "bocb_hf.commands.validate",
    "bocb_hf.sweep.plan",
    "bocb_hf.report.tables",
)


def train_extra() -> list[str]:
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["train"]
    return [re.split(r"[<>=\[]", requirement)[0] for requirement in extra]


def blocked() -> str:
    names = {IMPORT_NAMES[name] for name in train_extra()} - {None}
    assert {"torch", "timm", "transformers", "accelerate", "datasets"} <= names
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
    for name in ("torch", "timm.models", "sklearn"):
        ended = python(f"{blocked()}\nimport {name}", tmp_path)
        assert ended.returncode == 1
        assert "ImportError: No module named" in ended.stderr


def test_what_needs_no_torch_imports_without_the_training_stack(tmp_path: Path) -> None:
    code = f"""{blocked()}
import importlib, json
for name in {MODULES!r}:
    importlib.import_module(name)
print(json.dumps(sorted(m for m in sys.modules if m.partition(".")[0] in BLOCKED)))
"""
    ended = python(code, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == []


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


def test_importing_all_that_needs_no_torch_imports_no_torch(tmp_path: Path) -> None:
    """Without a blocker: a guarded `try: import torch` would pass the test above and cost seconds."""
    code = f"""
import importlib, sys
for name in {MODULES!r}:
    importlib.import_module(name)
print([name for name in ("torch", "timm", "transformers", "accelerate", "datasets") if name in sys.modules])
"""
    ended = python(code, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "[]"


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
import json, sys
from bocb_hf.engine.loop import Trainer
from bocb_hf.commands.train import main

def loaded():
    return [name for name in {SLOW!r} if name in sys.modules]

step, after = Trainer._step, []
Trainer._step = lambda *given, **more: (step(*given, **more), after.append(loaded()))[0]
code = main(["--config", "fashion_mnist_subset/demo", "backbone.name=tiny_resnet", "optimizer.name=sgdm",
             "training.epochs=1", "training.batch_size=6000", "runtime.tracker=none"])
print(json.dumps([code, after[0], len(after)]))
"""
    ended = python(code, tmp_path, ACCELERATE_USE_CPU="true")
    assert ended.returncode == 0, ended.stderr
    status, after, steps = json.loads(ended.stdout.strip().splitlines()[-1])
    assert (status, steps) == (0, 1)
    assert {"torch", "timm", "accelerate"} <= set(after)
    assert not {"datasets", "pandas", "transformers", "evaluate", "sklearn", "matplotlib"} & set(after)


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
    ended = python(ORDERS[order] + REGISTERED, tmp_path)
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
