"""Fixtures that many files share: a small real data set, a short setting, and quiet libraries."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_client import HubClient
from hub_server import HubServer
from hub_state import Token
from hypothesis import HealthCheck, settings
from short_settings import short_run

# Set before numpy and torch are imported; the processes that tests start inherit these. Nothing may wait for a network
# that is not there, and small arrays gain nothing from a second thread.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

ROOT = Path(__file__).resolve().parent.parent

# machines are shared: how long an example takes says nothing of the code
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


_modules_at_freeze = 0
gc.disable()  # until all is imported: none of it is garbage, and the collector would look at it again and again


def pytest_collection_finish() -> None:
    gc.enable()
    _freeze_imports()


def pytest_runtest_teardown() -> None:
    _freeze_imports()


def _freeze_imports() -> None:
    """Hides what was imported from the collector, which looks at everything else after every run of the engine."""
    global _modules_at_freeze  # noqa: PLW0603 - hooks have no other place that lasts from test to test
    if len(sys.modules) > _modules_at_freeze + 100:
        gc.collect()
        gc.freeze()
        _modules_at_freeze = len(sys.modules)


def pytest_unconfigure() -> None:
    gc.unfreeze()  # or libraries complain of what the end of the process finds


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 training, 90 validation and 101 test images of the embedded set, as a folder of Parquet."""
    import datasets

    from bocb_hf.data import DATASETS

    folder = tmp_path_factory.mktemp("data") / "small_fashion"
    folder.mkdir()
    embedded = datasets.load_dataset(str(DATASETS.get("fashion_mnist_subset").embedded))
    for split, size in (("train", 200), ("validation", 90), ("test", 101)):
        part: Any = embedded[split]  # type: ignore[index] - a dictionary of splits
        part.select(range(size)).to_parquet(folder / f"{split}.parquet")
    return folder


@pytest.fixture(scope="session")
def hub_server() -> Iterator[HubServer]:
    """A Hub on loopback."""
    server = HubServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def hub_client(hub_server: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubClient]:
    """A process with the real client, pointed at the server."""
    client = HubClient(hub_server.url, tmp_path_factory.mktemp("hf_home"))
    yield client
    client.close()


@pytest.fixture
def hub(hub_server: HubServer) -> HubServer:
    """The server, empty but for tokens: one that may write to the organisation ``lab``, one that may only read."""
    hub_server.reset()
    hub_server.tokens = {
        "hf_writer": Token("ada", organisations={"lab": "write"}),
        "hf_reader": Token("ada", role="read", organisations={"lab": "write"}),
        "hf_guest": Token("bob"),
        "hf_narrow": Token("ada", organisations={"lab": "write"}, scopes={"lab": ("repo.content.read",)}),
        "hf_fine": Token("ada", organisations={"lab": "write"}, scopes={"lab": ("repo.content.read", "repo.write")}),
    }
    return hub_server


@pytest.fixture
def sections(small_data: Path, tmp_path: Path) -> dict[str, Any]:
    """``short_run`` in the test's own folder."""
    return short_run(small_data, tmp_path)


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    """Nothing of ``torch.compile`` is left over from another test, or for one."""
    import torch

    torch.compiler.reset()
    yield
    torch.compiler.reset()
