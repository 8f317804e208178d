"""The loopback Hub answers the real client as the Hub does: what other tests rest on."""

from __future__ import annotations

from hub_client import HubClient
from hub_server import HubServer

COMMIT = """
from huggingface_hub import HfApi, CommitOperationAdd, CommitOperationDelete, CommitOperationCopy
api = HfApi()
api.create_repo("lab/thing", exist_ok=True)
parent = api.repo_info("lab/thing").sha
card = b"---\\nlicense: mit\\ntags: [bocb]\\n---\\n# Hello\\n"
operations = [CommitOperationAdd("README.md", card), CommitOperationAdd("model.safetensors", b"weights")]
first = api.create_commit("lab/thing", operations, commit_message="one", parent_commit=parent).oid
"""


def test_commits_files_and_reads_them_back_over_two_origins(hub: HubServer, hub_client: HubClient) -> None:
    result = hub_client(
        COMMIT
        + """
from pathlib import Path
copied = [CommitOperationCopy("model.safetensors", "copy.safetensors"), CommitOperationDelete("README.md")]
second = api.create_commit("lab/thing", copied, commit_message="two", parent_commit=first).oid
folder = Path(api.snapshot_download("lab/thing"))
old = Path(api.hf_hub_download("lab/thing", "README.md", revision=first)).read_text()
names = sorted(p.name for p in folder.iterdir())
result = [names, (folder / "copy.safetensors").read_text(), old, folder.name == second]
"""
    )
    names, copy, card, pinned = result
    assert names == [".gitattributes", "copy.safetensors", "model.safetensors"]
    assert (copy, pinned) == ("weights", True)
    assert card.startswith("---\nlicense: mit")
    assert hub.count("/lfs/", "PUT") == 1, "the copy was not uploaded"
    leaked = [path for path, token in hub.authorised if path.startswith("/lfs/") and token]
    assert leaked == [], "no token reaches the storage"


def test_a_stale_parent_is_refused_and_a_pull_request_changes_nothing(hub: HubServer, hub_client: HubClient) -> None:
    assert hub_client(
        COMMIT
        + """
from huggingface_hub.errors import HfHubHTTPError
try:
    api.create_commit("lab/thing", [CommitOperationAdd("x", b"1")], commit_message="late", parent_commit=parent)
except HfHubHTTPError as error:
    status = error.response.status_code
pull = api.create_commit("lab/thing", [CommitOperationAdd("x", b"1")], commit_message="pr", create_pr=True)
result = [status, "x" in api.list_repo_files("lab/thing"), pull.pr_url.endswith("/discussions/1")]
result.append("x" in api.list_repo_files("lab/thing", revision="refs/pr/1"))
"""
    ) == [412, False, True, True]


def test_listing_pages_filters_and_expands(hub: HubServer, hub_client: HubClient) -> None:
    for number in range(7):
        tags = "[bocb]" if number != 3 else "[other]"
        hub.put(f"lab/m{number}", {"README.md": f"---\ntags: {tags}\nnumber: {number}\n---\n".encode()})
    hub.put("bob/m", {"README.md": b"---\ntags: [bocb]\n---\n"})
    hub.page = 2
    found = hub_client(
        """
from huggingface_hub import HfApi
listed = list(HfApi().list_models(author="lab", filter="bocb", expand=["cardData", "sha"]))
result = [[m.id, m.sha, m.card_data.number] for m in listed]
"""
    )
    assert found == [[f"lab/m{n}", hub.repository(f"lab/m{n}").head, n] for n in (0, 1, 2, 4, 5, 6)]
    assert hub.count("/api/models") == 3


def test_who_may_do_what(hub: HubServer, hub_client: HubClient) -> None:
    code = "from huggingface_hub import HfApi\nHfApi().create_repo('lab/x')"
    for token, said in (("hf_reader", "403"), ("hf_guest", "403"), ("hf_narrow", "403"), ("hf_wrong", "401")):
        assert said in hub_client.refused(code, token)[1]
    hub_client(code, "hf_fine")
    assert "409" in hub_client.refused(code)[1]
    assert hub_client("from huggingface_hub import whoami\nresult = whoami()['name']", "hf_guest") == "bob"


def test_injected_faults_reach_the_client(hub: HubServer, hub_client: HubClient) -> None:
    hub.fail("PUT", "/lfs/", cut_after=3, times=2)
    hub.fail("POST", "/preupload/", status=429, headers={"RateLimit": '"api";r=0;t=7', "Retry-After": "3"})
    hub_client(COMMIT)
    assert 8.0 in hub_client.last["slept"], "the client waits as long as the header says, and a second"
    assert hub.count("/lfs/", "PUT") == 3
    assert hub.repository("lab/thing").files["model.safetensors"].content == b"weights"
