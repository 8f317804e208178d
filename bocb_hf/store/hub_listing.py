"""Lists the repositories of a namespace, a thousand a request, and trusts nothing in the answer.

``HfApi.list_models`` asks the same address, but makes objects from the metadata of every card on the way: one card with
a key that these objects do not expect ends its listing. Here a page stays the JSON that was sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

from huggingface_hub import constants

from bocb_hf.errors import InputError
from bocb_hf.store.hub_calls import TIMEOUT, client, explained
from bocb_hf.store.protocol import check_repository

TAG = "bocb"


class Listed(NamedTuple):
    """A repository as a listing names it.

    Attributes:
        repository: ``namespace/name``.
        sha: SHA of its head.
        item: Everything that the listing says about it, unchecked.
    """

    repository: str
    sha: str
    item: dict[str, Any]


def list_repositories(namespace: str, expand: Sequence[str] = ("sha",), kind: str = "models") -> Iterator[Listed]:
    """Lists every repository of a namespace that has the tag of this project.

    Args:
        namespace: User or organisation; a repository of another one in the answer is left out.
        expand: The fields that the Hub shall give for each repository.
        kind: ``models`` or ``datasets``.

    Raises:
        HubError: The Hub refused.
    """
    for page in list_pages(namespace, expand, kind):
        for item in page or ():
            listed = parse_item(item, namespace)
            if listed is not None:
                yield listed


def list_pages(namespace: str, expand: Sequence[str], kind: str = "models") -> Iterator[list[Any] | None]:
    """Yields the pages of a listing as JSON; None for a page that cannot be read.

    Raises:
        HubError: The Hub refused.
    """
    url: str | None = f"{constants.ENDPOINT}/api/{kind}"
    params: dict[str, Any] | None = {"author": namespace, "filter": TAG, "expand": list(expand)}
    while url is not None:
        page, url = _fetch_page(namespace, url, params)
        if url is not None and not url.startswith(f"{constants.ENDPOINT}/"):
            raise InputError(f"hf://{namespace}: the listing goes on at another address, which is not followed: {url}")
        params = None
        yield page
        del page  # a page of cards is megabytes long, so it is dropped before the next one is parsed


def _fetch_page(namespace: str, url: str, params: dict[str, Any] | None) -> tuple[list[Any] | None, str | None]:
    """Fetches one page of a listing, and the address of the next page or None."""
    with explained(f"hf://{namespace}"):
        headers = client.build_hf_headers()
        response = client.http_backoff("GET", url, params=params, headers=headers, timeout=TIMEOUT)
        client.hf_raise_for_status(response)
    try:
        page = response.json()
    except (ValueError, RecursionError):  # one card of the page may be nested too deep
        page = None
    return cast(list[Any], page) if isinstance(page, list) else None, response.links.get("next", {}).get("url")


def read_item(repository: str, expand: Sequence[str] = ("cardData", "sha")) -> Listed | None:
    """Fetches what a listing would say of one repository, without unreadable ``cardData``; None when it is gone.

    Raises:
        HubError: The Hub refused.
    """
    with explained(repository):
        url, headers = f"{constants.ENDPOINT}/api/models/{repository}", client.build_hf_headers()
        response = client.http_backoff("GET", url, params={"expand": list(expand)}, headers=headers, timeout=TIMEOUT)
        if response.status_code == 404:
            return None
        client.hf_raise_for_status(response)
    try:
        item = response.json()
    except (ValueError, RecursionError):  # a card that is nested too deep, or holds a number of thousands of digits
        return read_item(repository, ("sha",)) if "cardData" in expand else None
    return parse_item(item, repository.split("/")[0])


def parse_item(item: Any, namespace: str) -> Listed | None:
    """Returns the entry of a listing, or None when it is not a repository of this namespace."""
    if not isinstance(item, dict):
        return None
    entry = cast(dict[str, Any], item)
    repository, sha = entry.get("id"), entry.get("sha")
    if not (isinstance(repository, str) and isinstance(sha, str) and re.fullmatch(r"[0-9a-f]{40}", sha)):
        return None
    try:
        check_repository(repository)
    except InputError:
        return None
    return Listed(repository, sha, entry) if repository.startswith(f"{namespace}/") else None
