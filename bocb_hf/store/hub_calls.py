"""Calls to the Hub: who we are there, how long to wait when it is busy, and its errors in plain words.

No message made here holds the token: an error of the client is replaced, not chained, since it carries the request.
"""

from __future__ import annotations

import functools
import logging
import random
import re
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar, cast

from huggingface_hub import HfApi, get_session, get_token, utils
from huggingface_hub.errors import (
    HfHubHTTPError,
    HTTPError,  # pyright: ignore[reportPrivateImportUsage] - of httpx or httpx2, whichever the client uses
    LocalTokenNotFoundError,
)

from bocb_hf.errors import InputError
from bocb_hf.store.protocol import ConflictError
from bocb_hf.version import __version__

log = logging.getLogger(__name__)
client: Any = utils  # the client leaves parts of these functions untyped

TIMEOUT = 300.0  # seconds without a byte; the client's own default is to wait for ever
_ATTEMPTS = 6
# seconds; the Hub counts its limits over windows of 300, and runs that could not be sent wait in a queue
_PATIENCE = 900.0
_BUSY = (408, 429, 500, 502, 503, 504)
T = TypeVar("T")


class HubError(InputError):
    """The Hub refused, or could not be reached.

    Attributes:
        status: HTTP status; None when there was no answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def make_api() -> HfApi:
    """The client, with the token of the usual places (``HF_TOKEN``, ``hf auth login``) and a time limit."""
    get_session().timeout = TIMEOUT
    return HfApi(library_name="bocb_hf", library_version=__version__)


@contextmanager
def explained(action: str) -> Generator[None]:
    """Turns what the client raises into one sentence.

    Args:
        action: What was tried; the sentence begins with it.

    Raises:
        HubError: Raised in place of any error of the client or of the network.
    """
    try:
        yield
    except (InputError, FileNotFoundError):
        raise
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise HubError(f"{action}: {_reason(error)}", status) from None
    except LocalTokenNotFoundError:
        raise HubError(f"{action}: there is no token; run `hf auth login` or set HF_TOKEN", 401) from None
    except RuntimeError as error:  # the client wraps errors of an upload in this type
        inner = error.__cause__
        if isinstance(inner, HfHubHTTPError):
            raise HubError(f"{action}: {_reason(inner)}", inner.response.status_code) from None
        raise HubError(f"{action}: {scrub(str(error))}: {scrub(str(inner or ''))}") from None
    except (HTTPError, OSError, ValueError) as error:
        raise HubError(f"{action}: {type(error).__name__}: {scrub(' '.join(str(error).split()))}") from None


@contextmanager
def conflicts_named(where: str) -> Generator[None]:
    """Turns the Hub's answer that somebody else committed first into the error that ``commit_with_retry`` knows.

    Args:
        where: Name of what was to be changed.

    Raises:
        ConflictError: Raised in place of HTTP status 412.
    """
    try:
        yield
    except HfHubHTTPError as error:
        if error.response.status_code == 412:
            raise ConflictError(f"{where} changed meanwhile") from None
        raise


def scrub(text: str) -> str:
    """Returns a text without the token, cut to 500 characters."""
    token = get_token()
    return (text.replace(token, "***") if token else text)[:500]


def _reason(error: HfHubHTTPError) -> str:
    status = error.response.status_code
    said = scrub(" ".join((error.server_message or error.response.headers.get("X-Error-Message") or "").split()))
    meaning = {
        401: "the Hub does not accept the token, or the repository is private; run `hf auth login` or set HF_TOKEN",
        403: "the token may not do this; make one with write access to the namespace at https://huggingface.co/settings/tokens",
        404: "there is no such repository or file, or the token may not see it",
        412: "somebody else committed first",
        429: "too many requests; wait a few minutes",
    }.get(status, "the Hub failed; try again later" if status >= 500 else "the Hub refused")
    return f"{meaning} (HTTP {status}{': ' + said if said else ''})"


def with_back_off(call: Callable[[], T], landed: Callable[[], bool] = lambda: False) -> T:
    """Calls until the Hub is no longer busy, waiting as its headers say.

    The client itself repeats most requests, but neither commits nor the creation of repositories.

    Args:
        call: Raises ``HfHubHTTPError`` or a network error when it fails.
        landed: Called after each failure; says whether the call took effect although its answer was lost. If so, the
            failure is raised at once, for the caller to look again.

    Raises:
        HfHubHTTPError: The last failure, one that waiting does not mend, or one that asks to wait for over 15 minutes.
    """
    for attempt in range(_ATTEMPTS):
        get_session().timeout = TIMEOUT  # the client makes a new session after some failures
        try:
            return call()
        except HTTPError as error:
            response = error.response if isinstance(error, HfHubHTTPError) else None
            if (response is not None and response.status_code not in _BUSY) or attempt == _ATTEMPTS - 1 or landed():
                raise
            seconds = wait_seconds(response.headers if response is not None else {}, attempt)
            if seconds > _PATIENCE:
                raise
            log.warning("the Hub is busy (%s); waiting %.0f s", response.status_code if response else "-", seconds)
            time.sleep(seconds)
    raise AssertionError("unreachable")


def wait_seconds(headers: Any, attempt: int) -> float:
    """Returns how long to wait: by ``RateLimit`` or ``Retry-After``, else 1, 2, 4, ... at most 60 s, plus up to 25 %.

    Without the random addition, two seeds that finish together would collide again and again.
    """
    limit = client.parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return limit.reset_in_seconds + 1.0
    after = str(headers.get("retry-after", headers.get("Retry-After", ""))).strip()
    if re.fullmatch(r"[0-9]{1,9}", after):
        return int(after) + 1.0
    with suppress(ValueError):  # RFC 9110 also allows a date here
        then = parsedate_to_datetime(after)
        return max(0.0, then.timestamp() - time.time()) + 1.0
    return min(60.0, 2.0**attempt) * random.uniform(1, 1.25)


def who_am_i() -> tuple[str, frozenset[str]]:
    """The user whom the token belongs to, and the organisations that this user is a member of.

    Raises:
        HubError: There is no token, or the Hub does not accept it.
    """
    with explained("who this token belongs to"):
        who: dict[str, Any] = with_back_off(lambda: cast(Any, make_api()).whoami())
    return str(who["name"]), frozenset(str(o["name"]) for o in _dicts(who.get("orgs")))


def speaks_for(user: str, owner: str) -> bool | None:
    """Returns whether a user is an owner, or a member of that organisation; None where the Hub does not tell.

    Args:
        user: A user of the Hub.
        owner: A user or organisation.
    """
    if user.lower() == owner.lower():
        return True
    try:
        with explained(owner):
            members = list(with_back_off(lambda: list(make_api().list_organization_members(owner))))
    except HubError as error:
        # the Hub answers 404 when the owner is a user and no organisation
        return False if error.status == 404 else None
    return any(member.username.lower() == user.lower() for member in members)


def check_writable(namespace: str) -> str:
    """Makes sure that the token may write to a namespace, before any work is done.

    Args:
        namespace: User or organisation.

    Returns:
        The user's name.

    Raises:
        HubError: There is no token, or the Hub does not accept it, or it may only read, or it is of somebody else.
    """
    return _check_writable(namespace, get_token())


# a worker that trains many runs asks for each, and the Hub limits this request strictly
@functools.lru_cache(maxsize=8)
def _check_writable(namespace: str, token: str | None) -> str:
    del token  # the token is only part of the cache's key
    with explained(f"hf://{namespace}"):
        who: dict[str, Any] = with_back_off(lambda: cast(Any, make_api()).whoami())
    organisations = {o["name"]: o.get("roleInOrg") for o in _dicts(who.get("orgs"))}
    access = _part(_part(who, "auth"), "accessToken")
    if namespace != who["name"] and namespace not in organisations:
        raise HubError(
            f"hf://{namespace}: the token belongs to {who['name']}, who is not a member of {namespace}; use the token "
            f"of a member, or hf://{who['name']}",
            403,
        )
    scopes = _dicts(_part(access, "fineGrained").get("scoped"))
    scoped = [scope for scope in scopes if _part(scope, "entity").get("name") == namespace]
    may_write = access.get("role") != "read" and organisations.get(namespace) != "read"
    if access.get("role") == "fineGrained":
        may_write = any("repo.write" in (scope.get("permissions") or []) for scope in scoped)
    if not may_write:
        raise HubError(
            f"hf://{namespace}: the token may only read; make one that may write to {namespace} at "
            "https://huggingface.co/settings/tokens, then run `hf auth login` or set HF_TOKEN",
            403,
        )
    return str(who["name"])


def _dicts(value: Any) -> list[dict[str, Any]]:
    items = cast(list[Any], value) if isinstance(value, list) else []
    return [cast(dict[str, Any], item) for item in items if isinstance(item, dict)]


def _part(value: dict[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}
