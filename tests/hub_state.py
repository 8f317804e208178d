"""What the loopback Hub holds: repositories as commits of files, tokens, and the metadata of cards."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

LARGE = 1_000_000  # bytes above which a file goes to the storage, like every *.safetensors
FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---(?:\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class File:
    """One file of a commit; ``sha256`` when its content lies in the storage."""

    content: bytes
    sha256: str | None = None

    @property
    def oid(self) -> str:
        """The git object id: of the content, or of the pointer to it."""
        data = self.content
        if self.sha256 is not None:
            data = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(data)}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Repository:
    """Commits by branch, newest last. ``authors`` opened the pull requests, by branch. ``card_data`` replaces
    what the card says, for what a hostile card may become."""

    private: bool = False
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    parents: dict[str, str | None] = field(default_factory=dict)
    card_data: Any = None
    authors: dict[str, str] = field(default_factory=dict)
    modified: str = "2026-01-01T00:00:00.000Z"

    @property
    def head(self) -> str:
        return self.branches["main"]

    @property
    def files(self) -> dict[str, File]:
        return self.commits[self.head]


@dataclass(frozen=True)
class Token:
    """Who a token belongs to. ``scopes`` makes it fine-grained: permissions by namespace."""

    name: str
    role: str = "write"
    organisations: Mapping[str, str] = field(default_factory=dict)
    scopes: Mapping[str, tuple[str, ...]] | None = None

    def writes(self, namespace: str) -> bool:
        if namespace != self.name and self.organisations.get(namespace) not in ("write", "admin", "contributor"):
            return False
        if self.scopes is not None:
            return "repo.write" in self.scopes.get(namespace, ())
        return self.role == "write"


_CARDS: dict[bytes, Any] = {}


def card_data(card: File | None) -> Any:
    """The metadata of a card as the Hub gives it; None when there is none or it is not YAML."""
    if card is None:
        return None
    key = hashlib.sha1(card.content).digest()
    if key not in _CARDS:
        match = FRONT_MATTER.match(card.content.decode(errors="replace"))
        try:
            _CARDS[key] = yaml.load(match.group(1), yaml.CSafeLoader) if match else None
            json.dumps(_CARDS[key])
        except (yaml.YAMLError, TypeError, ValueError, RecursionError):
            _CARDS[key] = None
    return _CARDS[key]
