"""The wheel: it holds what a checkout has, and works from an empty directory without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bocb_hf.data import DATASETS

ROOT = Path(__file__).resolve().parent.parent
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def finish(
    command: list[str], cwd: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300, check=False)
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    return ended


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # hatchling is in the extra dev, so nothing is downloaded
    finish([*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)], cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the installed wheel, and with a hook that takes the checkout off every process's path."""
    folder = tmp_path_factory.mktemp("site")
    finish([*PIP, "install", "--no-deps", "--target", str(folder), str(wheel)], cwd=folder)
    (folder / "sitecustomize.py").write_text(
        f"import sys\nsys.path[:] = [p for p in sys.path if p.rstrip('/') != {str(ROOT)!r}]\n"
    )
    return folder


def bocb(site: Path, cwd: Path, *arguments: str) -> str:
    code = (
        "import sys, bocb_hf; from bocb_hf.cli import main; "
        f"assert bocb_hf.__file__.startswith({str(site)!r}), bocb_hf.__file__; "
        f"assert {str(ROOT)!r} not in sys.path; sys.exit(main())"
    )
    environment = os.environ | {"PYTHONPATH": str(site)}
    return finish([sys.executable, "-P", "-c", code, *arguments], cwd, environment).stdout


def test_the_wheel_holds_all_that_is_not_code(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    shipped = [p for folder in ("recipes", "model_cards") for p in (ROOT / folder).rglob("*") if p.suffix != ".pyc"]
    shipped = [p.relative_to(ROOT).as_posix() for p in shipped if p.is_file()]
    assert len(shipped) >= 5
    assert {f"bocb_hf/_resources/{name}" for name in shipped} <= names
    assert "bocb_hf/_resources/model_cards/model_card.md.jinja" in names
    assert "bocb_hf/_resources/recipes/configs/fashion_mnist_subset/demo.yaml" in names
    assert "bocb_hf/py.typed" in names
    embedded = [row.embedded for row in DATASETS if row.embedded is not None]
    assert embedded
    for folder in embedded:
        inside = folder.relative_to(ROOT).as_posix()
        data = {name for name in names if name.startswith(f"{inside}/")}
        assert sum(name.endswith(".parquet") for name in data) == 3
        assert f"{inside}/LICENSE" in data
    page = {
        f"bocb_hf/page/{name}" for name in ("bundle/page.js", "bundle/page.css", "leaderboard.parquet", "names.txt")
    }
    assert page <= names
    tables = [
        p.relative_to(ROOT).as_posix() for p in (ROOT / "bocb_hf/coupling/published").glob("*.*") if p.suffix != ".py"
    ]
    assert len(tables) == 6
    assert set(tables) <= names
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "bocb_hf").rglob("*.py")}
    assert modules <= names


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = [n for n in names if n.endswith("entry_points.txt")]
        assert "bocb = bocb_hf.cli:main" in archive.read(entry_points).decode()
        (metadata,) = [n for n in names if n.endswith(".dist-info/METADATA")]
        assert "\nLicense-Expression: Apache-2.0\n" in archive.read(metadata).decode()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"bocb_hf"}
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name]
    # the images are 4 MB; more would be something that does not belong here
    assert wheel.stat().st_size < 8_000_000


def test_settings_are_listed_from_an_empty_directory(site: Path, tmp_path: Path) -> None:
    text = bocb(site, tmp_path, "list", "settings")
    assert "fashion_mnist_subset/demo" in text
    assert not list(tmp_path.iterdir())


def test_a_dry_run_works_from_an_empty_directory(site: Path, tmp_path: Path) -> None:
    names = ("backbone.name=tiny_resnet", "optimizer.name=adamw")
    text = bocb(site, tmp_path, "train", "--config", "fashion_mnist_subset/demo", *names, "--dry-run")
    assert "78,042" in text.replace("_", ",")
    assert "tiny_resnet" in text
    assert not list(tmp_path.iterdir()), "a dry run leaves nothing behind"


def test_a_card_is_rendered_from_an_empty_directory(site: Path, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.append({str(ROOT / 'tests')!r}); from builders import make_record; "
        "from bocb_hf.store.cards.text import render_card; print(render_card('me/x', [make_record()], []))"
    )
    environment = os.environ | {"PYTHONPATH": str(site)}
    text = finish([sys.executable, "-P", "-c", code], tmp_path, environment).stdout
    assert text.startswith("---\nlibrary_name: timm\n")
