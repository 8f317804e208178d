"""A card that says something else of its cell than the records do is refused on every path: a folder, and the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from builders import make_data, make_record
from hub_client import HubClient
from hub_server import HubServer
from stored import publish

from bocb_hf.runs import strict_yaml
from bocb_hf.store.contents import read_store
from bocb_hf.store.local import LocalStore

CELL = "bocb-fashion_mnist_subset-demo-tiny_resnet-sgdm"
CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "another optimizer": ({"optimizer": "adamw"}, "its card is that of a repository called bocb-fashion_mnist_subset"),
    "another backbone": ({"backbone": "tiny_vit"}, "its card is that of a repository called"),
    "another data set": ({"dataset": "cifar10"}, "its card is that of a repository called bocb-cifar10-demo"),
    "another setting": ({"setting": "deit"}, "its card is that of a repository called"),
    "another family": ({"family": "modern"}, "its family is modern in the card, but classical_cnn in the records"),
    "another category": ({"category": "c"}, "its category is c in the card, but a in the records"),
    "another revision": ({"data_revisions": ["abcdef0"]}, "its data revision 2337f0b is not in the card"),
}
READ = """
from pathlib import Path
from bocb_hf.store import open_store
from bocb_hf.store.card_cache import open_cache
from bocb_hf.store.contents import read_store
from bocb_hf.store.pinned import PinnedStore
with open_cache("lab", folder=Path(folder)) as cache:
    cache.refresh()
    through = [read_store(cache)]
through += [read_store(open_store("hf://lab")), read_store(PinnedStore(repository))]
result = [[len(c.records), [str(q) for q in c.quarantined]] for c in through]
"""


def with_claims(text: str, claims: dict[str, Any]) -> str:
    """A card with other values in its block."""
    _, head, body = text.split("---\n", 2)
    metadata = strict_yaml.parse(head, "card")
    return f"---\n{strict_yaml.dump(metadata | {'bocb': metadata['bocb'] | claims})}---\n{body}"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "store")
    publish(store, [make_record(seed=1), make_record(seed=0, role="trial")], "lab")
    return store


@pytest.mark.parametrize("kind", CLAIMS)
def test_a_card_that_claims_something_else_is_refused(
    store: LocalStore, hub: HubServer, hub_client: HubClient, tmp_path: Path, kind: str
) -> None:
    claims, reason = CLAIMS[kind]
    path = store.path(f"lab/{CELL}") / "README.md"
    path.write_text(with_claims(path.read_text(), claims))
    contents = read_store(store)
    assert not contents.records and any(reason in str(item) for item in contents.quarantined)
    repository = f"lab/{CELL}"
    hub.put(repository, {name: store.read(repository, name) for name in store.files(repository)})
    for count, quarantined in hub_client(READ, folder=str(tmp_path / "cache"), repository=repository):
        assert count == 0 and any(reason in item for item in quarantined), kind


def test_a_card_that_claims_what_is_true_is_read(
    store: LocalStore, hub: HubServer, hub_client: HubClient, tmp_path: Path
) -> None:
    path = store.path(f"lab/{CELL}") / "README.md"
    path.write_text(with_claims(path.read_text(), {}))
    assert len(read_store(store).records) == 2 and not read_store(store).quarantined
    repository = f"lab/{CELL}"
    hub.put(repository, {name: store.read(repository, name) for name in store.files(repository)})
    for count, quarantined in hub_client(READ, folder=str(tmp_path / "cache"), repository=repository):
        assert (count, quarantined) == (2, [])


def test_one_run_of_other_data_does_not_hide_the_others(store: LocalStore) -> None:
    stranger = make_record(role="trial", seed=0, data=make_data(revision="abcdef0"))
    (store.path(f"lab/{CELL}") / stranger.path()).write_text(stranger.to_json())
    contents = read_store(store)
    assert len(contents.records) == 2
    (item,) = contents.quarantined
    assert item.path == stranger.path() and "its data revision abcdef0 is not in the card" in item.reason
