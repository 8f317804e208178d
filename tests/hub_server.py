"""A server on loopback that speaks as much of the Hub's HTTP interface as the real client asks for.

Two origins, as on the Hub: the API, and the storage of large files, to which the API redirects. State is in memory.
Faults are injected with ``HubServer.fail``; every request is kept in ``HubServer.requests``.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import threading
import time
from collections.abc import Mapping
from typing import Any

from hub_api import Api, Storage
from hub_http import Fault, Listener
from hub_state import LARGE, File, Repository, Token

PAGE = 1000


class HubServer:
    """The state and the two listening sockets."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._counter = itertools.count()
        self._servers = [Listener(("127.0.0.1", 0), handler) for handler in (Api, Storage)]
        for server in self._servers:
            server.hub = self
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self.url, self.storage_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers)
        self.reset()

    def reset(self) -> None:
        """Forgets everything but its address."""
        with self.lock:
            self.tokens: dict[str, Token] = {}
            self.repositories: dict[tuple[str, str], Repository] = {}
            self.large: dict[str, bytes] = {}
            self.collections: dict[str, dict[str, Any]] = {}
            self.faults: list[Fault] = []
            self.requests: list[tuple[str, str, int]] = []
            self.authorised: list[tuple[str, str | None]] = []
            self.page = PAGE
            self.raw_page: bytes | None = None
            self.hidden_members: set[str] = set()

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def fail(self, method: str, pattern: str, **what: Any) -> None:
        """Makes the next requests fail whose method and path match."""
        with self.lock:
            self.faults.append(Fault(method, pattern, **what))

    def count(self, pattern: str = "", method: str = "") -> int:
        """Requests so far whose path matches."""
        return sum(re.search(pattern, path) is not None and method in ("", m) for m, path, _ in list(self.requests))

    def put(self, repository: str, files: Mapping[str, bytes], kind: str = "models", card_data: Any = None) -> str:
        """Adds files to a repository past the API, as a push with git could."""
        with self.lock:
            repo = self.repositories.setdefault((kind, repository), Repository())
            before = repo.commits.get(repo.branches.get("main", ""), {})
            repo.card_data = card_data
            return self.store_commit(repo, "main", before | {p: self._file(p, c) for p, c in files.items()}, "put")

    def repository(self, name: str, kind: str = "models") -> Repository:
        return self.repositories[kind, name]

    def _file(self, path: str, content: bytes) -> File:
        if not (path.endswith((".safetensors", ".parquet")) or len(content) > LARGE):
            return File(content)
        digest = hashlib.sha256(content).hexdigest()
        self.large[digest] = content
        return File(content, digest)

    def store_commit(
        self, repo: Repository, branch: str, files: dict[str, File], message: str, parent: str | None = None
    ) -> str:
        """Adds a commit to a branch; its id is unlike that of any other, of this server or of an earlier one."""
        number = f"{self.url} {time.time_ns()} {next(self._counter)}"
        sha = hashlib.sha1(number.encode()).hexdigest()
        repo.parents[sha] = parent or repo.branches.get(branch)
        repo.commits[sha], repo.branches[branch] = files, sha
        repo.messages.append(message)
        repo.modified = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        return sha
