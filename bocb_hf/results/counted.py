"""Reads what counts: the records of the store that a user names, and of the submissions that were merged.

``bocb aggregate``, ``publish`` and ``leaderboard`` all read through here.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing

from bocb_hf.errors import InputError
from bocb_hf.schema import HUB_SCHEME
from bocb_hf.store import open_store
from bocb_hf.store.contents import Quarantined, StoreContents, read_store


def read_counted(
    store: str, results: str | None = None, *, submissions: bool = False, offline: bool = False, cached: bool = False
) -> StoreContents:
    """Reads all records that count, with their levels of trust.

    Args:
        store: A folder, or ``hf://<namespace>[,<namespace>...]``: the namespaces that are read.
        results: A results data set, which has the levels of trust, and records in one download.
        submissions: Whether merged submissions count too, though their namespaces are not named in ``store``.
        offline: Whether to send no request and use what was read before.
        cached: Whether unchanged repositories of a local store need not be read again.

    Raises:
        InputError: A store cannot be read, nothing was read before that ``offline`` could use, or the Hub refused.
    """
    on_hub = store.startswith(HUB_SCHEME)
    if submissions and results is None:
        raise InputError("--submissions: name the data set that holds them with --results hf://datasets/ORG/NAME")
    if not on_hub and results is None:
        return read_store(open_store(store), cached=cached)
    # These imports load the client of the Hub, which a local store does not need.
    from bocb_hf.results.dataset import fill_cache, read_verifications
    from bocb_hf.results.files import ResultsFiles
    from bocb_hf.results.submission.merged import open_submitted
    from bocb_hf.results.submission.review import read_merged
    from bocb_hf.runs.verification import levels
    from bocb_hf.store.caches import namespaces, open_caches

    named = namespaces(store) if on_hub else []
    damaged: Sequence[tuple[str, str]] = []
    with ExitStack() as stack:
        caches = open_caches(stack, store, offline) if on_hub else []
        submitted = []
        if results is not None:
            merged = stack.enter_context(closing(ResultsFiles(results, offline)))
            offers, wrong = read_merged(merged)
            # every record of a named namespace counts already, so its submissions add nothing
            foreign = [offer for offer in offers if offer.namespace not in named]
            if submissions:
                submitted = open_submitted(stack, foreign, offline=offline)
            elif foreign:
                print(f"{results}: {len(foreign)} merged submission(s) are not counted; --submissions counts them")
            verified, damaged = read_verifications(merged)
            damaged = [*damaged, *wrong] if submissions else damaged
            for cache in [*caches, *submitted]:
                fill_cache(cache, results)
        local = [] if on_hub else [open_store(store)]
        contents = read_store(*local, *caches, *submitted, cached=cached)
        for cache in submitted:
            contents.quarantined += cache.lost()
    if results is not None:
        contents.levels = levels(verified)
        contents.quarantined += [Quarantined(results, path, reason) for path, reason in damaged]
    return contents
