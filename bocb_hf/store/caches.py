"""Opens the caches of the namespaces that a user names; no other one is read, whatever a card or a data set says."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from bocb_hf.errors import InputError
from bocb_hf.schema import HUB_SCHEME

if TYPE_CHECKING:
    from bocb_hf.store.card_cache import CardCache


def namespaces(uri: str) -> list[str]:
    """Returns the namespaces that a store names; no other namespace is read.

    Raises:
        InputError: The store is not on the Hub, or names no namespace.
    """
    names = uri.removeprefix(HUB_SCHEME).split(",")
    if not uri.startswith(HUB_SCHEME) or not all(names):
        raise InputError(f"--store: {uri!r} must read hf://<namespace>[,<namespace>...] for this")
    return list(dict.fromkeys(names))


def open_caches(stack: ExitStack, store: str, offline: bool) -> list[CardCache]:
    """Opens the caches of the namespaces that a store names, reads them anew, and prints what has changed.

    Args:
        stack: Closes the caches.
        store: ``hf://<namespace>[,<namespace>...]``.
        offline: Whether to send no request.

    Raises:
        InputError: Nothing was read before that ``offline`` could use, or the Hub refused.
    """
    from bocb_hf.store.card_cache import open_cache

    caches = [stack.enter_context(open_cache(name, offline)) for name in namespaces(store)]
    for cache in caches:
        found = cache.refresh()
        print(f"{cache.uri}: {found.listed} repositories, {found.changed} read anew, {found.gone} gone", flush=True)
    return caches
