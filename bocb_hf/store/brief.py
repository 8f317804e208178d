"""Reads one small file of the Hub for an answer that can do without it: at once, or not at all.

The client repeats a failed request for half a minute and prints a line each time. Where the Hub is optional, a command
asks here instead: one request, no repetition, and a limit on the whole wait that also holds where a name cannot be
resolved, or where a host accepts the connection and then stays silent.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

from huggingface_hub import constants, get_session, get_token, try_to_load_from_cache, utils

from bocb_hf.store.hub_calls import HubError, explained
from bocb_hf.version import __version__

SECONDS = 1.0  # for the whole of it; an answer from embedded data must not take two
LARGEST = 1_000_000  # bytes
_client: Any = utils  # the client leaves parts of these functions untyped


def read_briefly(repository: str, file: str, seconds: float = SECONDS) -> bytes:
    """Returns the content of a file of a model repository, from the cache of the Hub where it lies there.

    Args:
        repository: ``<organisation>/<name>``.
        file: Path of the file in the repository.
        seconds: Limit of the wait, whatever happens.

    Raises:
        HubError: There is no such file, or the Hub did not answer in time, or may not be asked. The message is one
            plain clause, such as "HF_HUB_OFFLINE is set".
    """
    cached = try_to_load_from_cache(repository, file)
    if isinstance(cached, str):
        return Path(cached).read_bytes()
    if constants.is_offline_mode():
        raise HubError("HF_HUB_OFFLINE is set")
    found: list[bytes | Exception] = []

    def ask() -> None:
        try:
            found.append(_read(repository, file, seconds))
        except Exception as error:  # it is raised again below, in the thread that waits
            found.append(error)

    # a name server that does not answer cannot be interrupted, so the wait for the thread ends instead
    thread = threading.Thread(target=ask, name="bocb-ask-hub", daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise HubError(f"it did not answer within {seconds:g} s")
    result = found[0]
    if isinstance(result, HubError):
        raise result
    if isinstance(result, Exception):
        raise HubError(f"it could not be reached ({type(result).__name__})")
    return result


def _read(repository: str, file: str, seconds: float) -> bytes:
    url = f"{constants.ENDPOINT}/{repository}/resolve/main/{file}"
    # made here, since the client would ask the Hub how to name itself before it names itself
    headers = {"user-agent": f"bocb_hf/{__version__}"}
    if token := get_token():
        headers["authorization"] = f"Bearer {token}"
    stream: Any = get_session().stream("GET", url, headers=headers, timeout=seconds, follow_redirects=True)
    with stream as response:
        if response.status_code >= 400:
            response.read()
            with explained("it refused"):
                _client.hf_raise_for_status(response)
        content = bytearray()
        for part in response.iter_bytes():
            content += cast(bytes, part)
            if len(content) > LARGEST:
                raise HubError(f"{file} has more than {LARGEST // 1_000_000} MB")
    return bytes(content)
