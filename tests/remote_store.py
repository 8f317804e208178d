"""The Hub store of the client's process, used from this one as any store is."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from hub_client import ClientError, HubClient

from bocb_hf.errors import InputError
from bocb_hf.store import ConflictError, CopyOf

_CALL = """
import base64, sys
from pathlib import Path
from bocb_hf.store import CopyOf, open_store

held = sys.__dict__.setdefault("stores_of_tests", {})
store = held.get(key) or held.setdefault(key, open_store(uri))
kinds = {"bytes": base64.b64decode, "file": Path, "copy": CopyOf}
if "add" in words:
    words["add"] = {path: kinds[kind](value) for path, kind, value in words["add"]}
found = getattr(store, method)(*given, **words)
result = {"bytes": base64.b64encode(found).decode()} if isinstance(found, bytes) else {"value": found}
"""

_RAISED: dict[str, type[Exception]] = {
    "ConflictError": ConflictError,
    "FileNotFoundError": FileNotFoundError,
    "InputError": InputError,
}
_keys = count()


class RemoteStore:
    """A ``Store`` whose every call is made in the client's process.

    Args:
        client: The process.
        uri: What is opened there, once.
        token: Whose it is.
    """

    def __init__(self, client: HubClient, uri: str, token: str = "hf_writer") -> None:
        self.client, self.uri, self._token, self._key = client, uri, token, next(_keys)

    def repositories(self) -> list[str]:
        return self._call("repositories")

    def revision(self, repository: str) -> str | None:
        return self._call("revision", repository)

    def files(self, repository: str) -> list[str]:
        return self._call("files", repository)

    def read(self, repository: str, path: str) -> bytes:
        return self._call("read", repository, path)

    def digest(self, repository: str, path: str) -> str | None:
        return self._call("digest", repository, path)

    def commit(
        self,
        repository: str,
        add: Mapping[str, bytes | Path | CopyOf],
        *,
        delete: Iterable[str] = (),
        parent: str | None,
        message: str,
    ) -> str:
        sent = [(path, *_packed(content)) for path, content in add.items()]
        return self._call("commit", repository, add=sent, delete=list(delete), parent=parent, message=message)

    def _call(self, method: str, *given: Any, **words: Any) -> Any:
        try:
            found = self.client(
                _CALL, self._token, key=self._key, uri=self.uri, method=method, given=given, words=words
            )
        except ClientError as error:
            raised = _RAISED.get(error.answer["type"])
            if raised is None:
                raise
            raise raised(error.answer["error"]) from None
        return base64.b64decode(found["bytes"]) if "bytes" in found else found["value"]


def _packed(content: bytes | Path | CopyOf) -> tuple[str, str]:
    if isinstance(content, CopyOf):
        return "copy", content.path
    if isinstance(content, Path):
        return "file", str(content)
    return "bytes", base64.b64encode(content).decode()
