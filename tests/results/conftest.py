"""The command line of somebody who offers runs, and the results data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hub_client import HubClient
from hub_server import HubServer


@pytest.fixture
def bocb(hub: HubServer, hub_client: HubClient, tmp_path: Path) -> Any:
    """Runs a command in the client's process; returns its exit status and what it printed."""

    def call(*words: str, token: str | None = "hf_guest") -> tuple[int, str]:
        code = "import os\nfrom bocb_hf.cli import main\nos.environ['HF_HOME'] = home\nresult = main(words)"
        status = hub_client(code, token, words=list(words), home=str(tmp_path / "home"))
        return status, hub_client.last["out"]

    return call


@pytest.fixture
def results(hub: HubServer) -> Any:
    """The results data set, which belongs to the laboratory."""
    hub.put("lab/results", {"README.md": b"---\ntags: [bocb]\n---\n"}, kind="datasets")
    return hub.repository("lab/results", "datasets")
