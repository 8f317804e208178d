"""Each store keeps the contract of all stores."""

from __future__ import annotations

from pathlib import Path

import pytest
from hub_client import HubClient
from hub_server import HubServer
from hub_state import Token
from remote_store import RemoteStore
from store_contract import StoreContract

from bocb_hf.store import Store
from bocb_hf.store.local import LocalStore


class TestLocalStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return LocalStore(tmp_path / "store")


class TestHubStore(StoreContract):
    @pytest.fixture
    def store(self, hub: HubServer, hub_client: HubClient) -> Store:
        hub.tokens["hf_writer"] = Token("ada", organisations={"me": "write"})
        return RemoteStore(hub_client, "hf://me")
