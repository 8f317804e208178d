"""The cache of decoded images: written once, checked when it is opened, never in the way."""

from __future__ import annotations

import json
import multiprocessing
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from bocb_hf.data import cache
from bocb_hf.data.cache import ToDecode, decode_to_memory, load_decoded, remember
from bocb_hf.errors import InputError
from bocb_hf.resources import cache_folder

IMAGES, SIDE = 90, 6


def wanted(calls: list[int] | None = None, **parameters: str | int) -> ToDecode:
    """Random images in pieces of 40; ``calls`` counts how often they are decoded."""
    pixels = torch.randint(
        0, 256, (IMAGES, 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )

    def pieces() -> Iterator[tuple[Tensor, Tensor]]:
        if calls is not None:
            calls.append(1)
        yield from zip(pixels.split(40), torch.arange(IMAGES).split(40), strict=True)

    return ToDecode(IMAGES, (SIDE, SIDE), {"name": "set", "split": "train", **parameters}, pieces)


def unreadable() -> Any:
    raise AssertionError("decoded again")


def without_decoding(split: ToDecode) -> ToDecode:
    return ToDecode(split.images, split.shape, split.parameters, unreadable)


def test_the_file_holds_what_memory_would(tmp_path: Path) -> None:
    in_memory = decode_to_memory(wanted())
    for images in (load_decoded(wanted(), tmp_path), load_decoded(without_decoding(wanted()), tmp_path)):
        assert torch.equal(images.stored, in_memory.stored)
        assert torch.equal(images.labels, in_memory.labels)
    (path,) = tmp_path.glob("*.safetensors")
    with safe_open(path, "pt") as file:
        described = json.loads(file.metadata()["parameters"])
    assert described["name"] == "set"
    assert described["images"] == IMAGES
    assert not list(tmp_path.glob("*.partial"))


def test_other_parameters_are_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    load_decoded(wanted(calls), tmp_path)
    load_decoded(wanted(calls, revision="b"), tmp_path)
    monkeypatch.setattr(cache.PIL, "__version__", "99")
    load_decoded(wanted(calls), tmp_path)
    assert len(calls) == 3
    assert len(list(tmp_path.glob("*.safetensors"))) == 3


@pytest.mark.parametrize("damage", ["truncated", "empty", "first image", "last image", "label", "header", "text"])
def test_a_damaged_file_is_decoded_again(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    load_decoded(wanted(), tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    content = bytearray(path.read_bytes())
    head = 8 + int.from_bytes(content[:8], "little")
    place = {"first image": head + 8 * IMAGES, "last image": -1, "label": head, "header": 40}.get(damage)
    if place is not None:
        content[place] ^= 1
    path.write_bytes({"truncated": content[:-5], "empty": b"", "text": b"not this"}.get(damage, bytes(content)))
    calls: list[int] = []
    images = load_decoded(wanted(calls), tmp_path)
    assert calls == [1]
    assert torch.equal(images.stored, decode_to_memory(wanted()).stored)
    assert "decoding again" in caplog.text
    load_decoded(without_decoding(wanted()), tmp_path)


def test_what_stops_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    def pieces() -> Iterator[tuple[Tensor, Tensor]]:
        yield next(wanted().pieces())
        raise InputError("data.name: image 41 cannot be read")

    broken = ToDecode(IMAGES, (SIDE, SIDE), wanted().parameters, pieces)
    with pytest.raises(InputError, match="image 41"):
        load_decoded(broken, tmp_path)
    assert not list(tmp_path.glob("*.safetensors")) + list(tmp_path.glob("*.partial"))
    (tmp_path / "set-train.partial").write_bytes(b"of a process that was killed")
    assert len(load_decoded(wanted(), tmp_path)) == IMAGES


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"runtime.cache_dir: cannot write .* GB free"):
            load_decoded(wanted(), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.glob("*.partial"))


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"runtime.cache_dir: cannot write"):
        load_decoded(wanted(), tmp_path / "file" / "cache")
    with pytest.raises(InputError, match=r"runtime.cache_dir: cannot write"):
        remember(tmp_path / "file" / "cache", {"name": "set"}, lambda: 1)
    load_decoded(wanted(), tmp_path)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache, "FileLock", refuse)
    assert len(load_decoded(without_decoding(wanted()), tmp_path)) == IMAGES  # reading needs no lock
    with pytest.raises(InputError, match="Permission denied"):
        load_decoded(wanted(revision="b"), tmp_path)


@pytest.mark.parametrize("variable", ["HF_HOME", "XDG_CACHE_HOME"])
def test_a_variable_that_leads_to_a_folder_that_cannot_be_written_is_named(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.delenv("HF_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "file"))
    named = rf"the folder follows from {variable}={tmp_path / 'file'}\); set runtime.cache_dir to a folder"
    for write in (
        lambda folder: load_decoded(wanted(), folder),
        lambda folder: remember(folder, {"name": "set"}, lambda: 1),
    ):
        with pytest.raises(InputError, match=named):
            write(cache_folder(None))
        with pytest.raises(InputError) as given:
            write(tmp_path / "file" / "given")
        assert variable not in str(given.value)


def _decode_slowly(folder: Path, log: Path, barrier: Any) -> None:
    split = wanted()

    def pieces() -> Iterator[tuple[Tensor, Tensor]]:
        with log.open("a") as file:
            file.write("decoded\n")
        time.sleep(0.3)
        yield from split.pieces()

    barrier.wait()
    images = load_decoded(ToDecode(split.images, split.shape, split.parameters, pieces), folder)
    assert torch.equal(images.labels, torch.arange(IMAGES))


def test_processes_that_start_together_decode_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    arguments = (tmp_path / "cache", tmp_path / "log", barrier)
    processes = [context.Process(target=_decode_slowly, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "decoded\n"


def own_memory() -> int:
    """Bytes of this process that no file backs."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    count, side = 10_000, 64  # 123 MB

    def pieces() -> Iterator[tuple[Tensor, Tensor]]:
        for labels in torch.arange(count).split(100):
            yield torch.full((len(labels), 3, side, side), 7, dtype=torch.uint8), labels

    before = own_memory()
    images = load_decoded(ToDecode(count, (side, side), {"name": "large", "split": "train"}, pieces), tmp_path)
    total = sum(int(images.gather(some).sum()) for some in torch.arange(count).split(100))
    assert total == 7 * images.stored.numel()
    assert own_memory() - before < 40e6 < images.stored.numel() / 3


def test_facts_are_found_once(tmp_path: Path) -> None:
    found: list[int] = []

    def find() -> list[int]:
        found.append(1)
        return [28, 28]

    parameters = {"name": "set", "split": "train", "fact": "size"}
    assert [remember(tmp_path, parameters, find) for _ in range(3)] == [[28, 28]] * 3
    assert len(found) == 1
    (path,) = tmp_path.glob("*.json")
    path.write_text('{"fact": [1')  # torn
    assert remember(tmp_path, parameters, find) == [28, 28]
    assert remember(tmp_path, {**parameters, "revision": "b"}, lambda: None) is None
    assert remember(tmp_path, {**parameters, "revision": "b"}, unreadable) is None


def test_the_folder_is_given_or_the_user_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("HF_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder(None) == Path("/home/someone/.cache/bocb_hf")
    assert cache_folder("~/decoded") == Path("/home/someone/decoded")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert cache_folder(None) == Path("/cache/bocb_hf")
    monkeypatch.setenv("HF_HOME", "/scratch/hf")
    assert cache_folder(None) == Path("/scratch/hf/bocb_hf")
