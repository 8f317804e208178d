"""Stores: a local folder or the Hub in one layout, with cards; may import ``patterns`` and what lies below."""

from __future__ import annotations

from pathlib import Path

from bocb_hf.errors import InputError
from bocb_hf.schema import HUB_SCHEME
from bocb_hf.store.protocol import (
    EVAL_RESULTS,
    ConflictError,
    CopyOf,
    ReadStore,
    Store,
    check_path,
    check_repository,
    is_path,
)

__all__ = [
    "EVAL_RESULTS",
    "ConflictError",
    "CopyOf",
    "ReadStore",
    "Store",
    "check_path",
    "check_repository",
    "is_path",
    "open_store",
    "open_training_store",
]


def open_store(uri: str) -> Store:
    """Opens the store that a user named: a folder, or ``hf://<namespace>``.

    Raises:
        InputError: The scheme is not supported.
    """
    if uri.startswith(HUB_SCHEME):
        from bocb_hf.store.hub import HubStore

        return HubStore(uri.removeprefix(HUB_SCHEME))
    if "://" in uri:
        raise InputError(f"store: {uri!r} is not supported; give a local folder or hf://<user or organisation>")
    from bocb_hf.store.local import LocalStore

    return LocalStore(Path(uri))


def open_training_store(uri: str, local: str) -> tuple[Store, Store | None]:
    """Opens the store that runs are kept in, and the one on the Hub that they are sent on to.

    Args:
        uri: A folder, or ``hf://<namespace>``.
        local: The folder that runs are trained into when ``uri`` is on the Hub.

    Returns:
        The local store, and the Hub's or None.

    Raises:
        InputError: The Hub does not let us write there, which is found before anything is trained.
    """
    store = open_store(uri)
    if not uri.startswith(HUB_SCHEME):
        return store, None
    from bocb_hf.store.hub_calls import check_writable

    check_writable(uri.removeprefix(HUB_SCHEME))
    return open_store(local), store
