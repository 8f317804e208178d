"""A run that is trained into the Hub: what arrives, what it gives when it is loaded, and what a bad token does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hub_client import HubClient
from hub_server import HubServer

from bocb_hf.runs.record import parse_record

TRAIN = """
import json
from bocb_hf.engine.run import train_run
from bocb_hf.runs.load_config import build_run_config
record = train_run(build_run_config(sections, overrides))
result = [record.repository(), record.sha256(), record.status]
"""


@pytest.fixture
def on_hub(sections: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The short configuration, for the Hub."""
    runtime = sections["runtime"] | {"store": "hf://lab", "local_store": str(tmp_path / "local")}
    return sections | {"runtime": runtime}


LOGITS = """
from pathlib import Path
import datasets, torch, timm, timm.data, bocb_hf
from huggingface_hub import snapshot_download
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForImageClassification
images = [image.convert("RGB") for image in datasets.load_dataset(data, split="test")["image"][:20]]
ours = bocb_hf.load_backbone(repository, seed=1)
wanted = ours.logits(images)
right = wanted.argmax(1) == torch.tensor(datasets.load_dataset(data, split="test")["label"][:20])
found = {"record": bool((right.numpy() == ours.record.correctness.bits()[:20]).all())}
folder = snapshot_download(repository, allow_patterns="seeds/1/*")
for where in (f"local-dir:{folder}/seeds/1", f"hf-hub:{repository}"):
    model = timm.create_model(where, pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model.pretrained_cfg))
    with torch.no_grad():
        logits = model(torch.stack([transform(image) for image in images]))
    found[where.split(":")[0]] = float((logits - wanted).abs().max())
processor = AutoImageProcessor.from_pretrained(repository)
model = AutoModelForImageClassification.from_pretrained(repository, subfolder="seeds/1").eval()
with torch.no_grad():
    logits = model(**processor(images, return_tensors="pt")).logits
found["transformers"] = float((logits - wanted).abs().max())
result = found
"""


def test_a_run_trained_into_the_hub_is_loaded_back_and_verified(
    hub: HubServer, hub_client: HubClient, on_hub: dict[str, Any], small_data: Path, tmp_path: Path
) -> None:
    name, digest, status = hub_client(TRAIN, sections=on_hub, overrides=[])
    assert status == "completed"
    held = hub.repository(f"lab/{name}").files
    record = parse_record(held["seeds/1/record.json"].content, "record")
    assert record.sha256() == digest
    # run again: neither trained nor sent
    before = (len(hub.repository(f"lab/{name}").messages), (tmp_path / "local").stat())
    assert hub_client(TRAIN, sections=on_hub, overrides=[])[1] == digest
    elsewhere = ["runtime.local_store=" + str(tmp_path / "elsewhere"), "runtime.state_dir=" + str(tmp_path / "s2")]
    assert hub_client(TRAIN, sections=on_hub, overrides=elsewhere)[1] == digest, "finished on another machine"
    assert len(hub.repository(f"lab/{name}").messages) == before[0] == 2
    assert not (tmp_path / "elsewhere" / "models").exists()

    found = hub_client(LOGITS, None, repository=f"lab/{name}", data=str(small_data))
    assert found.pop("record") is True
    assert set(found) == {"local-dir", "hf-hub", "transformers"}
    assert all(difference < 1e-4 for difference in found.values()), found

    verify = """
from bocb_hf.cli import main
result = main(["verify", repository, "--seed", "1", "--data", data, "--out", out, "--propose", "hf://datasets/lab/results"])
"""
    hub.put("lab/results", {"README.md": b"# Results\n"}, kind="datasets")
    heads = {key: repo.head for key, repo in hub.repositories.items()}
    words = {"repository": f"lab/{name}", "data": str(small_data), "out": str(tmp_path / "out")}
    assert hub_client(verify, "hf_guest", **words) == 0, hub_client.last["out"]
    assert heads == {key: repo.head for key, repo in hub.repositories.items()}, "proposed, and merged by nobody"
    (path,) = (tmp_path / "out").glob("*-verified.json")
    proposed = hub.repository("lab/results", "datasets").commits
    assert any(f"verifications/{path.name}" in files for files in proposed.values())
    result = json.loads(path.read_text())
    assert (result["differing"], result["record_sha256"]) == (0, digest)
    # other weights under the same record are refused before anything is measured
    hub.put(f"lab/{name}", {"seeds/1/model.safetensors": held["model.safetensors"].content[:-4] + b"\0\0\0\1"})
    assert hub_client(verify, "hf_guest", **words) == 2
    assert "are not those of the record" in hub_client.last["out"]


def test_a_bad_token_is_found_before_training(
    hub: HubServer, hub_client: HubClient, on_hub: dict[str, Any], tmp_path: Path
) -> None:
    for token, reason in ((None, "there is no token"), ("hf_reader", "may only read"), ("hf_guest", "not a member")):
        kind, text = hub_client.refused(TRAIN, token, sections=on_hub, overrides=[])
        assert kind == "HubError" and reason in text
    assert not (tmp_path / "local").exists() and not (tmp_path / "state").exists()


def test_a_failed_push_leaves_the_run_whole(
    hub: HubServer, hub_client: HubClient, on_hub: dict[str, Any], tmp_path: Path
) -> None:
    hub.fail("POST", "/(commit|preupload)/", status=500, times=1000)
    name, digest, status = hub_client(TRAIN, sections=on_hub, overrides=[])
    assert status == "completed" and (tmp_path / "local" / "models" / "lab" / name / "model.safetensors").is_file()
    hub.faults.clear()
    push = "from bocb_hf.cli import main\nresult = main(['push', '--pending', '--store', store])"
    assert hub_client(push, store=str(tmp_path / "local")) == 0
    assert "1 record(s) sent, 0 repositories still waiting" in hub_client.last["out"]
    record = parse_record(hub.repository(f"lab/{name}").files["seeds/1/record.json"].content, "record")
    assert record.sha256() == digest
