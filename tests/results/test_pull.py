"""``bocb pull``: best by validation and never by test, what is refused, and lines that load what was pulled."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from backbone_cases import identity_of
from builders import make_record
from cards import with_identity
from hub_client import HubClient
from hub_server import HubServer
from other_tasks import as_task
from warm import run_warm

from bocb_hf import cli
from bocb_hf.backbones.build import build_backbone, resolve_backbone
from bocb_hf.engine.export import export_model
from bocb_hf.errors import InputError
from bocb_hf.results.pull import find_offers, validation_of
from bocb_hf.runs.config import BackboneConfig
from bocb_hf.runs.record import RunRecord
from bocb_hf.runs.tasks import TASKS
from bocb_hf.store.contents import read_store
from bocb_hf.store.local import LocalStore
from bocb_hf.store.write import file_sha256, retract_run, write_run

Capture = pytest.CaptureFixture[str]
# validation prefers AdamW, and test would prefer SGD-M
RUNS = [
    *(make_record("tiny_vit", "adamw", seed=seed, correct=1500 + seed, lr=0.001) for seed in (1, 2)),
    *(make_record("tiny_vit", "sgdm", seed=seed, correct=1900) for seed in (3, 1)),
    make_record("tiny_vit", "lamb", seed=1, status="diverged"),
    make_record("tiny_vit", "adamw", role="trial", seed=100, lr=0.001, val_top1=82.0),
    make_record("tiny_vit", "adamw", role="trial", seed=100, lr=0.01, val_top1=99.0),
    *(
        make_record("tiny_vit", "sgdm", role="trial", seed=seed, val_top1=v)
        for seed, v in ((100, 79), (101, 80), (102, 81))
    ),
]


def fill(store: LocalStore, runs: list[RunRecord], folder: Path) -> None:
    """Writes runs with weights of a few bytes each."""
    for record in runs:
        weights = None
        if record.weights_sha256 is not None:
            weights = folder / f"{record.run_id}"
            weights.mkdir(parents=True, exist_ok=True)
            (weights / "model.safetensors").write_bytes(record.run_id.encode())
            (weights / "config.json").write_text("{}")
            record = record.model_copy(update={"weights_sha256": file_sha256(weights / "model.safetensors")})
        write_run(store, "me", record, weights, False)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store with these runs."""
    folder = tmp_path_factory.mktemp("pulled")
    fill(LocalStore(folder / "store"), RUNS, folder / "weights")
    return folder / "store"


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> LocalStore:
    shutil.copytree(filled, tmp_path / "store")
    return LocalStore(tmp_path / "store")


def pull(store: LocalStore, *words: str) -> int:
    return cli.main(["pull", "tiny_vit", "--store", store.uri, "--out", str(store.root.parent / "out"), *words])


def test_the_best_is_that_of_validation_and_its_lowest_seed_is_taken(store: LocalStore, capsys: Capture) -> None:
    assert pull(store) == 0
    out = capsys.readouterr().out
    first, second = (line for line in out.splitlines() if line[:2] in ("1.", "2."))
    assert first.startswith(
        "1. AdamW: validation top-1 82.0 %, 95 % [79.5, 84.3] over 1,000 images, the spread over seeds is unknown (n = "
        "1 trial, seed(s) 100); configuration"
    )
    assert second.startswith(
        "2. SGD-M: validation top-1 80.0 %, 95 % [77.5, 82.5] over seeds (n = 3 trials, seed(s) 100, 101"
    )
    assert "self-reported, weights of seed(s) 1, 2, me/bocb-" in first
    assert "95.0" not in out and "75." not in out  # no test score
    (folder,) = (store.root.parent / "out").rglob("seeds/*")
    assert folder.name == "1" and "adamw" in str(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "record.json"]


def test_optimizer_and_seed_can_be_chosen_and_nothing_is_written_by_a_dry_run(
    store: LocalStore, capsys: Capture
) -> None:
    assert pull(store, "--dry-run") == 0
    assert not (store.root.parent / "out").exists()
    assert pull(store, "--optimizer", "sgdm", "--seed", "3") == 0
    (folder,) = (store.root.parent / "out").rglob("seeds/*")
    assert folder.name == "3" and "seed 3 (as asked)" in capsys.readouterr().out
    assert pull(store, "--seed", "2", "--optimizer", "sgdm") == 2
    assert "has no completed run of seed 2; it has 1, 3" in capsys.readouterr().err


def test_retracted_runs_are_left_out_and_said(store: LocalStore, capsys: Capture) -> None:
    record = next(
        r
        for r in read_store(store).records
        if r.identity.optimizer.name == "adamw" and r.seed == 1 and r.role == "final"
    )
    repository = f"me/{record.repository()}"
    retract_run(store, repository, record, "wrong data")
    assert pull(store) == 0
    out = capsys.readouterr().out
    assert "left out: " in out and "is retracted: wrong data" in out
    (folder,) = (store.root.parent / "out").rglob("seeds/*")
    assert folder.name == "2" and "adamw" in str(folder)


def test_weights_that_were_altered_are_refused(store: LocalStore, capsys: Capture) -> None:
    for path in store.root.rglob("seeds/1/model.safetensors"):
        path.write_bytes(b"other")
    assert pull(store) == 2
    assert "the weights were altered" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--optimizer", "lamb"], "with optimizer lamb; of this backbone there are adamw under demo, sgdm under demo"),
        (["--setting", "other"], "with setting other"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(
    store: LocalStore, capsys: Capture, words: list[str], message: str
) -> None:
    assert pull(store, *words) == 2
    assert message in capsys.readouterr().err
    assert cli.main(["pull", "tiny_vitt", "--store", store.uri]) == 2
    assert "did you mean 'tiny_vit'?" in capsys.readouterr().err


def test_scores_of_several_settings_are_not_compared(store: LocalStore, tmp_path: Path) -> None:
    fill(store, [make_record("tiny_vit", "adamw", setting="other")], tmp_path / "weights")
    with pytest.raises(InputError, match=r"cannot be compared; choose one:(.|\n)*--setting demo(.|\n)*--setting other"):
        find_offers(read_store(store), "tiny_vit")
    (one,) = find_offers(read_store(store), "tiny_vit", setting="other")
    assert one.validation is None and len(find_offers(read_store(store), "tiny_vit", setting="demo")) == 2


def test_without_validation_nothing_is_chosen(tmp_path: Path, capsys: Capture) -> None:
    store = LocalStore(tmp_path / "store")
    fill(store, [r for r in RUNS if r.role == "final"], tmp_path / "weights")
    assert pull(store) == 2
    assert "test scores are not for choosing; name one with --optimizer (adamw, sgdm)" in capsys.readouterr().err
    assert pull(store, "--optimizer", "sgdm") == 0


def test_final_runs_that_were_validated_count_where_there_are_no_trials() -> None:
    record = make_record("tiny_vit", "adamw")
    trial = make_record("tiny_vit", "adamw", role="trial", val_top1=70.0)
    metrics = record.metrics.model_copy(update={"val_top1": trial.metrics.val_top1})
    found = validation_of([record.model_copy(update={"metrics": metrics})], [])
    assert found is not None and (found.score, found.of_trials, found.over_seeds) == (70.0, False, False)


@pytest.mark.parametrize("task", ["detection", "pose"])
def test_checkpoints_of_another_task_are_ranked_by_its_validation_score(
    tmp_path: Path, capsys: Capture, task: str
) -> None:
    """The score of one trial is no share of images, so it has no interval; the lines load such a network."""
    store = LocalStore(tmp_path / "store")
    fill(store, [as_task(record, task) for record in RUNS], tmp_path / "weights")
    assert pull(store) == 0
    out, metric = capsys.readouterr().out, TASKS.get(task).metric
    assert f"1. AdamW: validation {metric} 82.0 %, over 40 images, the spread over seeds is unknown (n = 1 trial" in out
    assert f"2. SGD-M: validation {metric} 80.0 %, 95 % [77.5, 82.5] over seeds (n = 3 trials" in out
    assert "top-1" not in out and "AutoModel" not in out and "To fine-tune it" not in out
    (folder,) = (path.parent for path in (tmp_path / "out").rglob("model.safetensors"))
    assert f'bocb_hf.load_backbone("{folder.parent.parent.as_posix()}", seed=1)' in out
    fill(store, RUNS[:1], tmp_path / "more")
    assert pull(store) == 2
    assert "several data sets, settings or tasks fit" in capsys.readouterr().err


def test_the_printed_lines_load_the_trained_network(tmp_path: Path, capsys: Capture) -> None:
    """Both lines give the weights of the record, in a process that has imported nothing of this project."""
    source = resolve_backbone(BackboneConfig(name="tiny_convnext"), 0.0, 32)
    identity = identity_of(source, 32)
    weights = tmp_path / "weights"
    names = tuple("abcdefghij")
    export_model(build_backbone(source, 10, 32, seed=0), identity, names, weights)
    record = make_record("tiny_convnext", "sgdm")
    record = with_identity(record, backbone=identity.backbone.model_dump()).model_copy(
        update={"weights_sha256": file_sha256(weights / "model.safetensors"), "requires": source.module}
    )
    write_run(LocalStore(tmp_path / "store"), "me", record, weights, False)
    words = ["pull", "tiny_convnext", "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "model = " in line]
    assert len(lines) == 2 and "timm.create_model" in lines[0] and "from_pretrained" in lines[1]
    code = f"import torch\nx = torch.ones(1, 3, 32, 32)\n{lines[0]}\none = model(x)\n{lines[1]}\n"
    code += "assert torch.equal(one, model(x).logits)\n"
    code += f"from safetensors.torch import load_file\nw = load_file({str(weights / 'model.safetensors')!r})\n"
    code += "assert all(torch.equal(v, model.timm_model.state_dict()[k]) for k, v in w.items())\nprint('same weights')"
    result = run_warm(["-c", code], Path("/"), imported="others")
    assert result.stdout.strip() == "same weights", result.stderr


def test_a_checkpoint_is_pulled_from_the_hub(hub: HubServer, hub_client: HubClient, tmp_path: Path) -> None:
    code = """
from pathlib import Path
from builders import make_record
from bocb_hf.cli import main
from bocb_hf.store import open_store
from bocb_hf.store.write import file_sha256, write_run

folder = Path(home) / "weights"
folder.mkdir()
(folder / "config.json").write_text("{}")
(folder / "model.safetensors").write_bytes(b"w" * 90)
record = make_record("tiny_vit", seed=4)
record = record.model_copy(update={"weights_sha256": file_sha256(folder / "model.safetensors")})
write_run(open_store("hf://lab"), "lab", record, folder, False)
status = main(["pull", "tiny_vit", "--store", "hf://lab", "--out", home + "/out"])
result = [status, sorted(str(p.relative_to(home + "/out")) for p in Path(home, "out").rglob("seeds/*/*"))]
"""
    status, files = hub_client(code, home=str(tmp_path))
    assert status == 0
    assert [name.rpartition("/")[2] for name in files] == ["config.json", "model.safetensors", "record.json"]
    assert files[0].startswith("lab/bocb-")
