"""Opens the caches of the namespaces that a user names: only those are read, whatever a card or a data set says."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from bocb_hf.errors import InputError
from bocb_hf.schema import HUB_SCHEME

if TYPE_CHECKING:
    from bocb_hf.store.card_cache import CardCache


def namespaces(uri: str) -> list[str]:
    """The namespaces that a store names; no other is read.

    Raises:
        InputError: It is not on the Hub, or names nobody.
    """
    names = uri.removeprefix(HUB_SCHEME).split(",")
    if not uri.startswith(HUB_SCHEME) or not all(names):
        raise InputError(f"--store: {uri!r} must read hf://<namespace>[,<namespace>...] for this")
    return list(dict.fromkeys(names))


def open_caches(stack: ExitStack, store: str, offline: bool) -> list[CardCache]:
    """Opens the caches of the namespaces that a store names, reads them anew, and prints what has changed.

    Args:
        stack: Closes them.
        store: ``hf://<namespace>[,<namespace>...]``.
        offline: Ask nobody.

    Raises:
        InputError: Nothing was read before, offline; or the Hub refused.
    """
    from bocb_hf.store.card_cache import open_cache

    caches = [stack.enter_context(open_cache(name, offline)) for name in namespaces(store)]
    for cache in caches:
        found = cache.refresh()
        print(f"{cache.uri}: {found.listed} repositories, {found.changed} read anew, {found.gone} gone", flush=True)
    return caches
