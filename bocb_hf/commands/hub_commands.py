"""``bocb push``, ``publish`` and ``collect``: from here to the Hub."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from typing import Any

from bocb_hf.errors import InputError
from bocb_hf.schema import HUB_SCHEME
from bocb_hf.store import open_store


def register(commands: Any) -> dict[str, Callable[[argparse.Namespace], int]]:
    """Adds the subcommands to a parser's; returns what runs them, by name."""
    push = commands.add_parser("push", help="send finished local runs to the Hub; trains nothing")
    push.add_argument("repositories", nargs="*", help="namespace/name in the local store (default: all)")
    push.add_argument("--to", metavar="hf://ORG", help="user or organisation that shall own them")
    push.add_argument("--pending", action="store_true", help="send what earlier pushes left behind")
    push.add_argument("--store", default="outputs/store", help="local folder (default: %(default)s)")
    push.add_argument("--supersede", action="store_true", help="replace finished runs there")

    publish = commands.add_parser("publish", help="write records and tables into a results data set of the Hub")
    publish.add_argument("--store", default="outputs/store", help="local folder, or hf://<namespace>[,...]")
    publish.add_argument("--to", required=True, metavar="hf://datasets/ORG/NAME", help="the results data set")
    publish.add_argument("--draws", type=int, default=2000, help="bootstrap draws of each analysis (default: 2000)")

    collect = commands.add_parser("collect", help="gather the repositories of a setting in a collection of the Hub")
    collect.add_argument("--store", required=True, metavar="hf://ORG")
    collect.add_argument("--dataset", required=True)
    collect.add_argument("--setting", required=True)
    return {"push": _push, "publish": _publish, "collect": _collect}


def _local(path: str) -> Any:
    from bocb_hf.store.local import LocalStore

    store = open_store(path)
    if not isinstance(store, LocalStore):
        raise InputError(f"--store: {path} must be a local folder; --to names the Hub's side")
    return store


def _push(arguments: argparse.Namespace) -> int:
    from bocb_hf.store.hub_calls import check_writable
    from bocb_hf.store.push import Queue, push_pending, push_repository
    from bocb_hf.store.read import FLOOR, RUN

    store = _local(arguments.store)
    if arguments.pending:
        if arguments.repositories or arguments.to:
            raise InputError(
                "--pending sends what waits, to where it was meant to go; give neither repositories nor --to"
            )
        sent, left = push_pending(store)
        print(f"{sent} record(s) sent, {len(left)} repositor{'y' if len(left) == 1 else 'ies'} still waiting")
        for entry in left:
            print(f"waiting: {entry.repository} to {entry.to}, since {entry.since}: {entry.reason}")
        return 1 if left else 0
    if not arguments.to or not arguments.to.startswith(HUB_SCHEME):
        raise InputError("--to: name the user or organisation, as in --to hf://my-lab")
    names = arguments.repositories or store.repositories()
    if not names:
        raise InputError(f"--store: {arguments.store} holds no repository; train something first")
    check_writable(arguments.to.removeprefix(HUB_SCHEME))
    failed = 0
    for name in names:
        try:
            count = push_repository(store, name, arguments.to, supersede=arguments.supersede)
            print(f"pushed {name}: {count} record(s)", flush=True)
        except InputError as error:  # one repository must not keep the others
            failed += 1
            queued = [path for path in store.files(name) if RUN.fullmatch(path) or FLOOR.fullmatch(path)]
            Queue(store).add(name, arguments.to, queued, arguments.supersede, str(error))
            print(f"not pushed, `bocb push --pending` tries again: {error}", flush=True)
    return 1 if failed else 0


def _publish(arguments: argparse.Namespace) -> int:
    from bocb_hf.commands.publication import publish

    return publish(arguments)


def _collect(arguments: argparse.Namespace) -> int:
    from bocb_hf.store.caches import namespaces
    from bocb_hf.store.card_cache import open_cache
    from bocb_hf.store.hub_calls import check_writable, explained, make_api, with_back_off

    namespace, *more = namespaces(arguments.store)
    if more:
        raise InputError(f"--store: a collection belongs to one namespace, but {arguments.store} names {1 + len(more)}")
    check_writable(namespace)
    with open_cache(namespace) as cache:
        cache.refresh()
        names = [
            repository
            for repository, _, block in cache.cards()
            if not isinstance(block, str) and (block.dataset, block.setting) == (arguments.dataset, arguments.setting)
        ]
    if not names:
        raise InputError(f"{arguments.store} has no repository of {arguments.dataset}, setting {arguments.setting}")
    api = make_api()
    title = collection_title(arguments.dataset, arguments.setting)
    with explained(arguments.store):
        made = with_back_off(lambda: api.create_collection(title, namespace=namespace, exists_ok=True))
        present = {item.item_id for item in made.items}
        for name in names:
            if name not in present:
                with_back_off(lambda name=name: api.add_collection_item(made.slug, name, "model", exists_ok=True))
    print(f"{made.slug}: {len(names)} repositories, {len(set(names) - present)} added")
    return 0


def collection_title(dataset: str, setting: str) -> str:
    """At most the 60 characters that the Hub takes; two settings never share one, which would be one collection."""
    title = f"Backbone-optimizer coupling: {dataset}, {setting}"
    if len(title) <= 60:
        return title
    return f"{title[:53]} {hashlib.sha256(title.encode()).hexdigest()[:6]}"
