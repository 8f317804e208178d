"""``bocb collect``: gathers the repositories of a setting in a collection of the Hub."""

from __future__ import annotations

import hashlib

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.commands.completion import rows, short_settings
from bocb_hf.errors import InputError


@declare("collect")
@options.store(None, places="hub", required=True)
@click.option(
    "--dataset", required=True, metavar="NAME", shell_complete=rows("datasets"), help="the data set, as in records"
)
@click.option(
    "--setting", required=True, metavar="NAME", shell_complete=short_settings, help="the setting, as in records"
)
def command(store: str, dataset: str, setting: str) -> int:
    """Makes the collection, or adds to it what is missing.

    Raises:
        InputError: The store names several namespaces or holds no repository of that setting, or the Hub refused.
    """
    from bocb_hf.store.caches import namespaces
    from bocb_hf.store.card_cache import open_cache
    from bocb_hf.store.hub_calls import check_writable, explained, make_api, with_back_off

    namespace, *more = namespaces(store)
    if more:
        raise InputError(f"--store: a collection belongs to one namespace, but {store} names {1 + len(more)}")
    check_writable(namespace)
    with open_cache(namespace) as cache:
        cache.refresh()
        names = [
            repository
            for repository, _, block in cache.cards()
            if not isinstance(block, str) and (block.dataset, block.setting) == (dataset, setting)
        ]
    if not names:
        raise InputError(f"{store} has no repository of {dataset}, setting {setting}")
    api = make_api()
    title = collection_title(dataset, setting)
    with explained(store):
        made = with_back_off(lambda: api.create_collection(title, namespace=namespace, exists_ok=True))
        present = {item.item_id for item in made.items}
        for name in names:
            if name not in present:
                with_back_off(lambda name=name: api.add_collection_item(made.slug, name, "model", exists_ok=True))
    print(f"{made.slug}: {len(names)} repositories, {len(set(names) - present)} added")
    return 0


def collection_title(dataset: str, setting: str) -> str:
    """The title of a setting's collection, at most the 60 characters that the Hub takes.

    A long title ends in a hash, so that two settings never share a title and with it a collection.
    """
    title = f"Backbone-optimizer coupling: {dataset}, {setting}"
    if len(title) <= 60:
        return title
    return f"{title[:53]} {hashlib.sha256(title.encode()).hexdigest()[:6]}"
