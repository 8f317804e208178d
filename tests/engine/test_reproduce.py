"""``bocb reproduce``: a run is trained again from its record, compared, and proposed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from builders import make_record
from hub_client import HubClient
from hub_server import HubServer
from published import PYTHONPATH

from bocb_hf.engine import reproduce
from bocb_hf.engine.launch import launch_recipe
from bocb_hf.engine.repetition import check_same, runtime_of, sections_of
from bocb_hf.engine.run import train_run
from bocb_hf.engine.verify import verify_run
from bocb_hf.errors import InputError
from bocb_hf.runs import strict_yaml
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.load_config import build_run_config, load_run_config
from bocb_hf.runs.measurements import Correctness
from bocb_hf.runs.record import RunRecord, parse_record
from bocb_hf.runs.verification import levels, make_verification, parse_verification

TRAIN = """
from bocb_hf.engine.run import train_run
from bocb_hf.runs.load_config import build_run_config, load_run_config
record = train_run(build_run_config(sections, []))
result = [record.repository(), record.sha256(), record.weights_sha256]
"""

REPRODUCE = """
from bocb_hf.cli import main
result = main(["reproduce", repository, "--seed", "1", "--data", data, "--work", work, "--out", out, *more])
"""


def test_a_run_is_trained_again_from_its_record_and_proposed(
    hub: HubServer, hub_client: HubClient, sections: dict[str, Any], small_data: Path, tmp_path: Path
) -> None:
    runtime = sections["runtime"] | {"store": "hf://lab", "local_store": str(tmp_path / "local")}
    name, digest, weights = hub_client(TRAIN, sections=sections | {"runtime": runtime})
    hub.put("lab/results", {"README.md": b"# Results\n"}, kind="datasets")
    heads = {key: repo.head for key, repo in hub.repositories.items()}
    work, out = tmp_path / "work", tmp_path / "out"
    words: dict[str, Any] = {"repository": f"lab/{name}", "data": str(small_data), "work": str(work), "out": str(out)}

    # what it would be
    assert hub_client(REPRODUCE, "hf_guest", **words, more=["--dry-run"]) == 0
    for text in ("nothing was trained", "16 = 2 epochs × 8", "it took", "time "):
        assert text in hub_client.last["out"], text
    assert not work.exists() and not out.exists()
    assert hub.count(f"{name}/resolve/.*model.safetensors") == 0, "the weights are not needed"

    # a bad address is found first
    assert hub_client(REPRODUCE, "hf_guest", **words, more=["--propose", "hf://lab/results"]) == 2
    assert not work.exists()

    more = ["--propose", "hf://datasets/lab/results"]
    assert hub_client(REPRODUCE, "hf_guest", **words, more=more) == 0, hub_client.last["out"]
    assert "the same, byte for byte" in hub_client.last["out"]
    (path,) = out.iterdir()
    found = parse_verification(path.read_bytes(), "x")
    assert (found.level, found.record_sha256, found.weights_sha256) == ("reproduced", digest, weights)
    assert (found.same_weights, found.differing, found.claimed) == (True, 0, found.measured)
    assert (found.tolerance, found.repository) == (1.0, f"lab/{name}")
    assert levels([found]) == {digest: "reproduced"}
    assert heads == {key: repo.head for key, repo in hub.repositories.items()}, "proposed, and merged by nobody"
    proposed = hub.repository("lab/results", "datasets").commits.values()
    assert any(f"verifications/{path.name}" in files for files in proposed)
    (trained,) = work.rglob("record.json")
    again = parse_record(trained.read_bytes(), "x")
    assert again.finished_at and again.sha256() != digest, "another run, with its own times"

    # a second time nothing is trained
    before = trained.stat().st_mtime_ns
    assert hub_client(REPRODUCE, "hf_guest", **words, more=[]) == 0
    assert trained.stat().st_mtime_ns == before

    # a record that claims more than training again gives
    record = parse_record(hub.repository(f"lab/{name}").files["seeds/1/record.json"].content, "x")
    hub.put(f"lab/{name}", {"seeds/1/record.json": boast(record, 5).to_json().encode()})
    assert hub_client(REPRODUCE, "hf_guest", **words, more=[]) == 2
    assert "is not reproduced" in hub_client.last["out"] and "further apart than 1 points" in hub_client.last["out"]
    # and one of other data: refused before a step
    other = record.identity.data.model_copy(update={"revision": "0" * 40})
    with pytest.raises(InputError, match=r"data\.revision: 0000"):
        check_same(record.identity, record.model_copy(update=identity_of(record, data=other)), "x")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_are_measured_at_the_precision_of_their_run(
    precision: str, sections: dict[str, Any], small_data: Path
) -> None:
    sections["training"] |= {"precision": precision, "epochs": 1}
    record = train_run(build_run_config(sections))
    folder = Path(sections["runtime"]["store"]) / "models" / "local" / record.repository()
    found = verify_run(str(folder), 1, 0.1, str(small_data))
    assert (found.level, found.differing, found.same_weights) == ("verified", 0, None)
    assert f", {precision}, " in found.measured_on
    assert found.repository == f"local/{record.repository()}"


def identity_of(record: RunRecord, **parts: Any) -> dict[str, Any]:
    return {"identity": record.identity.model_copy(update=parts)}


def boast(record: RunRecord, more: int) -> RunRecord:
    """The record with more correct images than there were."""
    assert record.correctness is not None and record.metrics.test_top1 is not None
    bits = record.correctness.bits().copy()
    wrong = (~bits).nonzero()[0][:more]
    bits[wrong] = True
    right = Correctness.from_bits(bits)
    top1 = record.metrics.test_top1.model_copy(update={"last": 100 * right.k / right.n})
    metrics = record.metrics.model_copy(update={"test_top1": top1})
    return RunRecord.model_validate(record.model_copy(update={"correctness": right, "metrics": metrics}).model_dump())


def test_what_decides_the_last_bits_is_taken_from_the_environment() -> None:
    record = make_record()
    gpus = {"device": "NVIDIA X", "processes": 2, "micro_batch": 16, "tf32": True, "compiled": ["model"]}
    on_gpus = record.model_copy(update={"environment": record.environment.model_copy(update=gpus)})
    assert runtime_of(on_gpus)["accumulation"] == 2, "batch norm is synchronised: it saw 32 of 64"
    assert runtime_of(on_gpus)["tf32"] and runtime_of(on_gpus)["compile_model"]
    cpus = {"device": "cpu", "processes": 2, "micro_batch": 16, "threads": 10_000}
    on_cpus = record.model_copy(update={"environment": record.environment.model_copy(update=cpus)})
    assert runtime_of(on_cpus)["accumulation"] == 4 and runtime_of(on_cpus, 2)["accumulation"] == 2
    assert "threads" not in runtime_of(on_cpus)
    config = build_run_config(sections_of(record) | {"optimizer": {"name": "sgdm"}, "runtime": runtime_of(on_cpus)})
    assert isinstance(config, RunConfig) and config.runtime.deterministic
    assert not config.runtime.portable
    limited = {"portable": True, "cpu_capability": "AVX2"}
    for compiled, expected in (([], True), (["model"], False)):
        where = record.environment.model_copy(update=limited | {"compiled": compiled})
        assert runtime_of(record.model_copy(update={"environment": where}))["portable"] is expected


def test_a_record_is_repeated_under_the_rule_of_divergence_that_it_names() -> None:
    old = make_record()
    assert "divergence_rule" not in old.identity.model_dump()["training"]
    new = old.identity.training.model_copy(update={"divergence_rule": "end"})
    for training in (old.identity.training, new):
        record = old.model_copy(update={"identity": old.identity.model_copy(update={"training": training})})
        config = build_run_config(sections_of(record) | {"optimizer": {"name": "sgdm"}})
        assert config.training.resolved() == training
        again = build_run_config(config.model_dump(mode="json"))
        assert again == config, "as it is handed to other processes"
    fresh = {key: value for key, value in sections_of(old).items() if key != "training"}
    given = fresh | {"optimizer": {"name": "sgdm"}, "training": {"epochs": 4, "batch_size": 64}}
    assert build_run_config(given).training.divergence_rule == "end", "a user who names none gets the newest"


@pytest.mark.slow
def test_what_two_processes_trained_two_train_again(
    sections: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    sections["training"] |= {"epochs": 1, "batch_size": 20}
    setting = tmp_path / "setting.yaml"
    setting.write_text(strict_yaml.dump(sections), encoding="utf-8")
    assert launch_recipe(["--config", str(setting)], cpu_processes=2) == 0
    (folder,) = Path(sections["runtime"]["store"]).glob("models/*/*")
    original = reproduce.read_original(str(folder), 1)
    assert original.record.environment.processes == 2 and original.record.environment.micro_batch == 10
    assert reproduce.warn_of_topology(original) is None
    data = f"data.name={sections['data']['name']}"
    config = reproduce.configure(original, tmp_path / "work", [data])
    assert "it took" in reproduce.describe(original, config)
    again = reproduce.train_again(original, config)
    assert again is not None and again.environment.processes == 2
    assert reproduce.compare(original, again, 1.0).same_weights is True
    # one core: one process, with the same micro-batches, and that is said first
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    alone = reproduce.configure(original, tmp_path / "alone", [data])
    assert (config.runtime.accumulation, alone.runtime.accumulation) == (1, 2)
    assert "in one process here, the record in 2 on cpu" in str(reproduce.warn_of_topology(original))


def test_several_processes_that_end_badly_or_early(
    sections: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    sections["training"]["epochs"] = 1
    record = train_run(build_run_config(sections))
    two = record.environment.model_copy(update={"processes": 2, "micro_batch": 12})
    original = reproduce.Original("lab/x", record.model_copy(update={"environment": two}))
    config = reproduce.configure(original, tmp_path / "work", [f"data.name={sections['data']['name']}"])
    asked: list[tuple[list[str], int | None]] = []

    def launch(status: int) -> Any:
        def start(words: list[str], cpu_processes: int | None = None) -> int:
            asked.append((words, cpu_processes))
            return status

        return start

    monkeypatch.setattr(reproduce, "launch_recipe", launch(130))
    assert reproduce.train_again(original, config, ["my_rows"]) is None, "interrupted: it can be continued"
    ((words, processes),) = asked
    assert (words[0], words[2:], processes) == ("--config", ["--plugin", "my_rows"], 2)
    assert load_run_config(Path(words[1])) == config, "what they train is what was configured"
    # one process whose instructions are limited is a new one, since torch runs in this one without the limits
    alone = record.environment.model_copy(update={"portable": True})
    limited = reproduce.Original("lab/x", record.model_copy(update={"environment": alone}))
    monkeypatch.setattr(reproduce, "must_start_again", lambda: True)
    portable = reproduce.configure(limited, tmp_path / "work", [f"data.name={sections['data']['name']}"])
    assert reproduce.train_again(limited, portable) is None
    assert asked[-1][1] == 1 and load_run_config(Path(asked[-1][0][1])).runtime.portable
    for status in (2, 1, 0):
        monkeypatch.setattr(reproduce, "launch_recipe", launch(status))
        with pytest.raises(InputError, match=f"ended with status {status}"):
            reproduce.train_again(original, config)
    gpus = record.environment.model_copy(update={"processes": 8, "device": "NVIDIA X"})
    on_gpus = reproduce.Original("lab/x", record.model_copy(update={"environment": gpus}))
    assert "in one process here, the record in 8 on NVIDIA X" in str(reproduce.warn_of_topology(on_gpus))


@pytest.mark.parametrize("status", ["diverged", "interrupted"])
def test_only_a_completed_run_has_a_score_to_reproduce(status: Any, tmp_path: Path) -> None:
    record = make_record(status=status)
    path = tmp_path / record.path()
    path.parent.mkdir(parents=True)
    path.write_text(record.to_json())
    with pytest.raises(InputError, match="no completed final run"):
        reproduce.read_original(str(tmp_path), 1)
    with pytest.raises(InputError, match="no final run of seed 2"):
        reproduce.read_original(str(tmp_path), 2)
    original = reproduce.Original("lab/x", make_record())
    with pytest.raises(InputError, match=f"is not reproduced: training again {status} at step 17"):
        reproduce.compare(original, record, 1.0)


def test_the_tolerance_decides_and_a_difference_in_weights_is_said() -> None:
    record, other = make_record(correct=1600), "1" * 64
    bits = make_record(correct=1610).correctness
    assert bits is not None
    made = make_verification("lab/x", record, bits.bits(), 1.0, "cpu", other)
    assert (made.same_weights, made.differing, made.measured) == (False, 10, 1610)
    assert json.loads(made.to_json())["same_weights"] is False
    assert "same_weights" not in make_verification("lab/x", record, bits.bits(), 1.0, "cpu", None).to_json()
    with pytest.raises(InputError, match="is not reproduced: 1610 of 2000"):
        make_verification("lab/x", record, bits.bits(), 0.4, "cpu", other)
    with pytest.raises(InputError, match="is not verified: 1610 of 2000"):
        make_verification("lab/x", record, bits.bits(), 0.4, "cpu", None)
    for bad in (0.0, -1.0, 6.0, float("nan")):
        with pytest.raises(InputError, match="--tolerance"):
            make_verification("lab/x", record, bits.bits(), bad, "cpu", other)
    with pytest.raises(InputError, match="1999 test images here"):
        make_verification("lab/x", record, bits.bits()[:-1], 1.0, "cpu", other)
