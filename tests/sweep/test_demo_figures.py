"""The figures of the demo: collected from a store, rendered into every place, and compared with other weights."""

from __future__ import annotations

import importlib.util
import itertools
import re
from pathlib import Path
from types import ModuleType

import pytest
from boards import DEMO
from builders import make_floor, make_record
from stored import publish

from bocb_hf.errors import InputError
from bocb_hf.page.read import LeaderboardFile
from bocb_hf.runs.record import RunRecord
from bocb_hf.store.local import LocalStore
from bocb_hf.sweep import figures
from bocb_hf.sweep.figures import PlanFigures, compare, figures_path, finals_of, read_figures
from bocb_hf.sweep.plan import load_plan

ROOT = Path(__file__).resolve().parents[2]
PLAN = ROOT / "recipes/sweeps/demo.yaml"


def load_script() -> ModuleType:
    """``benchmarks/demo.py``, which lies in no package."""
    spec = importlib.util.spec_from_file_location("demo_figures", ROOT / "benchmarks/demo.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = load_script()


def demo_records(**changes: object) -> list[RunRecord]:
    """The runs of the whole demo, of which each ended with other weights; one final run diverged."""
    plan, found = load_plan(PLAN), []
    for i, (backbone, optimizer) in enumerate(itertools.product(plan.backbones, plan.optimizers)):
        for seed, rates in zip(plan.tuning.seeds, ((0.03, 0.1, 0.3), (0.1, 0.3)), strict=True):  # the better half of 3
            found += [make_record(backbone, optimizer, seed=seed, role="trial", lr=lr) for lr in rates]
        for seed in plan.final_seeds:
            status = "diverged" if (backbone, optimizer, seed) == ("tiny_vit", "lars", 2) else "completed"
            record = make_record(backbone, optimizer, seed=seed, correct=1500 + 10 * i + seed, status=status)
            digest = f"{i:063x}{seed}" if status == "completed" else None
            found.append(record.model_copy(update={"weights_sha256": digest} | changes))
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    local = LocalStore(folder)
    publish(local, demo_records())
    floor = make_floor(1600)
    repository = f"local/{floor.repository()}"
    local.commit(repository, {floor.path(): floor.to_json().encode()}, parent=None, message="floor")
    return folder


@pytest.fixture(scope="module")
def found(store: Path) -> PlanFigures:
    return SCRIPT.collect(str(store))


def test_the_figures_of_a_store(found: PlanFigures) -> None:
    assert found.runs == {"final completed": 39, "final diverged": 1, "trial completed": 100}
    assert (len(found.cells), len(found.weights), found.extensions) == (20, 39, 0)
    assert found.weights[1].sha256 == "0" * 63 + "2"
    # cell i has the mean (1500 + 10 i + 1.5) / 2000; the floor is 1600: cells 0 to 9 lie below it
    assert found.below_floor == 10
    assert found.spread["tiny_resnet"] == 2.0
    cells = {(cell.backbone, cell.optimizer): cell for cell in found.cells}
    assert cells["tiny_resnet", "sgdm"].mean == pytest.approx(75.075)
    assert (cells["tiny_vit", "lars"].n, cells["tiny_vit", "lars"].mean) == (1, None)
    assert found.seconds == 20, "all ended in one second, and each took 20 s"


def test_an_incomplete_store_is_refused(tmp_path: Path) -> None:
    publish(LocalStore(tmp_path), demo_records()[:7])
    with pytest.raises(InputError, match="2 of 40 final runs; run `make demo` to its end"):
        SCRIPT.collect(str(tmp_path))


def test_each_place_is_rendered_from_the_source_and_stays_the_same(found: PlanFigures) -> None:
    places = SCRIPT.places(found)
    assert {path.relative_to(ROOT).as_posix() for path in places} == {
        "docs/demo.md",
        "recipes/sweeps/demo.yaml",
        "recipes/configs/fashion_mnist_subset/demo.yaml",
    }
    page = places[ROOT / "docs/demo.md"]
    assert "\n".join(found.table) in page
    assert "10 of the 20 cells lie below logistic regression" in page.replace("\n", " ")
    primary = found.contrast[0].removeprefix("Primary contrast, ")
    assert f"{primary} {found.contrast[1]}" in page.replace("\n", " ")
    for path, text in places.items():
        outside = text.replace(SCRIPT.render_page(found), "")
        assert text.count("\n") > 10 and len(outside) > 500, path
    assert SCRIPT.replace_block(page, SCRIPT.render_page(found)) == page
    plan = places[PLAN]
    assert SCRIPT.replace_header(plan, SCRIPT.render_plan(found)) == plan
    assert plan.split("name: demo")[1] == PLAN.read_text().split("name: demo")[1], "only the header changes"


def test_the_weights_of_a_store_are_compared(found: PlanFigures, store: Path) -> None:
    finals = finals_of(PLAN, LocalStore(store))
    assert compare(found, finals).text() == "39 of 39 final weights are bit-identical to the committed ones."
    first, second, _, *rest = finals
    place = first.environment.model_copy(update={"cpu_capability": "AVX512", "threads": 2})
    other = [
        first.model_copy(update={"weights_sha256": "f" * 64, "environment": place}),
        second.model_copy(update={"weights_sha256": "e" * 64, "config_hash": "a" * 12}),
        *rest,
    ]
    text = compare(found, other).text()
    assert text.startswith("36 of 39 final weights are bit-identical to the committed ones. Where the others may come")
    assert "instructions AVX512 here, unknown there; threads 2 here, 1 there" in text
    lines = text.splitlines()[1:]
    assert lines[0].strip() == "tiny_resnet × sgdm seed 1: the same configuration, other weights"
    assert "another configuration, aaaaaaaaaaaa here" in lines[1]
    assert lines[2].strip() == "tiny_resnet × adamw seed 1: there is no completed run"
    tuned = first.identity.optimizer.model_copy(update={"lr": 0.3})
    moved = first.model_copy(
        update={"weights_sha256": "f" * 64, "identity": first.identity.model_copy(update={"optimizer": tuned})}
    )
    assert "tuning chose the learning rate 0.3 here, 0.1 there" in compare(found, [moved, *finals[1:]]).text()
    assert "the code may be another" in compare(found, [moved, *finals[1:]]).text()


def test_the_command_says_what_is_the_same(
    found: PlanFigures, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "demo.json"
    monkeypatch.setattr(figures, "figures_path", lambda plan: source)
    assert figures.main(["demo", "--store", str(store)]) == 2
    assert "no committed figures" in capsys.readouterr().err
    source.write_text(found.to_json())
    assert figures.main(["demo", "--store", str(store)]) == 0
    assert capsys.readouterr().out == "39 of 39 final weights are bit-identical to the committed ones.\n"


# what is committed


def test_every_place_states_the_committed_figures() -> None:
    """Its page, the plan and the setting; ``python benchmarks/demo.py --render`` mends them."""
    committed = read_figures(figures_path("demo"))
    for path, text in SCRIPT.places(committed).items():
        assert path.read_text(encoding="utf-8") == text, path


def test_the_picture_states_the_committed_figures() -> None:
    """matplotlib draws texts as paths, and keeps each as a comment."""
    drawn = re.findall(r"<!-- (.*?) -->", SCRIPT.PICTURE.read_text(encoding="utf-8"))
    committed = read_figures(figures_path("demo"))
    means = [text.partition(" ± ")[0] for text in drawn if re.match(r"[\d.]+ ± ", text)]
    assert sorted(means) == sorted(f"{cell.mean:.1f}" for cell in committed.cells)
    assert sum("n = 2" in text for text in drawn) == len(committed.cells)


def test_the_embedded_leaderboard_states_the_committed_figures() -> None:
    committed = read_figures(figures_path("demo"))
    (board,) = [b for b in LeaderboardFile(DEMO).boards.values() if b.info.setting == "demo"]
    for cell in committed.cells:
        shown = board.cells[cell.backbone, cell.optimizer]
        assert shown.mean == pytest.approx(cell.mean) and shown.n == cell.n


def test_the_committed_figures_cover_the_plan() -> None:
    committed, plan = read_figures(figures_path("demo")), load_plan(PLAN)
    cells = set(itertools.product(plan.backbones, plan.optimizers))
    assert {(cell.backbone, cell.optimizer) for cell in committed.cells} == cells
    diverged = committed.runs.get("final diverged", 0)
    assert len(committed.weights) == len(cells) * len(plan.final_seeds) - diverged
    assert committed.cpu_capability == "AVX2"
