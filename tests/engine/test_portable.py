"""Limits on the processor's instructions: when they can be set, and what happens where they cannot."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bocb_hf.commands import train
from bocb_hf.engine import environment, portable
from bocb_hf.engine.environment import describe_environment
from bocb_hf.engine.processes import check_world_size
from bocb_hf.engine.run import train_run
from bocb_hf.errors import InputError
from bocb_hf.resources import find_config
from bocb_hf.runs.load_config import build_run_config
from bocb_hf.runs.runtime_config import RuntimeConfig


@pytest.fixture
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable is set, whatever this process was started with."""
    for name in portable.LIMITS:
        monkeypatch.setenv(name, "before")  # so that what a test sets is undone
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("unlimited")
def test_the_limits_are_set_before_torch_is_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert portable.must_start_again()
    with pytest.raises(InputError, match="start the run with `bocb train`"):
        portable.limit_instructions()
    monkeypatch.delitem(sys.modules, "torch")
    assert not portable.must_start_again()
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    portable.limit_instructions()
    assert portable.limits_hold() and not caplog.records
    assert os.environ["ONEDNN_MAX_CPU_ISA"] == "AVX2"


@pytest.mark.usefixtures("unlimited")
def test_another_kind_of_processor_is_told_that_the_limits_do_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    portable.limit_instructions()
    assert "(aarch64) gives will differ" in caplog.text


@pytest.mark.usefixtures("unlimited")
def test_a_run_that_cannot_be_limited_is_refused(sections: dict[str, Any]) -> None:
    sections["runtime"]["portable"] = True
    with pytest.raises(InputError, match=r"runtime.portable: torch was imported before.*ATEN_CPU_CAPABILITY=avx2"):
        train_run(build_run_config(sections))


@pytest.mark.parametrize(("capability", "fine"), [("AVX2", True), ("DEFAULT", True), ("AVX512", False)])
def test_what_torch_computes_with_is_checked(monkeypatch: pytest.MonkeyPatch, capability: str, fine: bool) -> None:
    for name, value in portable.LIMITS.items():
        monkeypatch.setenv(name, value)  # too late for the torch of this process
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    if fine:
        portable.check_limited()
    else:
        with pytest.raises(InputError, match="computes with AVX512 although"):
            portable.check_limited()
    found = describe_environment(torch.device("cpu"), 1, 1)
    assert (found.cpu_capability, found.portable) == (capability, True)


@pytest.mark.parametrize(
    ("system", "told", "name"),
    [
        (
            "linux",
            "processor\t: 0\nmodel name\t: Intel(R)  Xeon(R)\u200b CPU \n\nmodel name\t: B\n",
            "Intel(R) Xeon(R) CPU",
        ),
        ("linux", "processor\t: 0\nCPU implementer\t: 0x41\n", None),  # as on ARM
        ("linux", None, None),
        ("win32", "Intel64 Family 6 Model 85", "Intel64 Family 6 Model 85"),
        ("win32", "", None),
    ],
)
def test_the_processor_is_named_where_the_system_tells_it(
    monkeypatch: pytest.MonkeyPatch, system: str, told: str | None, name: str | None
) -> None:
    def read(path: Path, **_: Any) -> str:
        if told is None:
            raise FileNotFoundError(path)
        return told

    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(platform, "processor", lambda: told)
    environment.processor_name.cache_clear()
    try:
        assert environment.processor_name() == name
    finally:
        environment.processor_name.cache_clear()


def test_a_record_names_the_processor_of_a_cpu_alone() -> None:
    found = describe_environment(torch.device("cpu"), 2, 1)
    assert found.processor == environment.processor_name()
    assert found.hardware() == f"{found.processor or 'cpu'} × 2"
    assert found.model_copy(update={"processor": None, "device": "NVIDIA X"}).hardware() == "NVIDIA X × 2"


@pytest.mark.usefixtures("unlimited")
def test_the_command_starts_again_where_torch_was_there_before(
    monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any]
) -> None:
    """``bocb train`` asks torch for the devices first, so it is another process that trains."""
    seen: list[Any] = []

    def execve(program: str, words: list[str], variables: dict[str, str]) -> None:
        seen.extend([program, words, variables])
        raise SystemExit(7)

    monkeypatch.setattr(os, "execve", execve)
    words = ["--config", "fashion_mnist_subset/demo", "backbone.name=tiny_vit", "optimizer.name=sgdm"]
    with pytest.raises(SystemExit, match="7"):
        train.main([*words, "runtime.portable=true"])
    program, started, variables = seen
    assert program == started[0] == sys.executable
    assert started[1].endswith("recipes/train.py") and started[2:] == [*words, "runtime.portable=true"]
    assert portable.LIMITS.items() <= variables.items()
    # and not where it is not asked for, or what is asked for is wrong
    for more in ([], ["runtime.portable=true", "runtime.compile_model=true"]):
        assert not train.wants_portable(find_config(words[1], "recipes/configs"), None, [*words[2:], *more])
    assert train.main([*words, "runtime.portable=true", "--compile-model"]) == 2


@pytest.mark.parametrize("name", ["compile_model", "compile_optimizer"])
def test_compiled_code_is_not_portable(name: str) -> None:
    with pytest.raises(ValueError, match=r"torch\.compile makes code for this very processor"):
        RuntimeConfig.model_validate({"portable": True, name: True})


@pytest.mark.parametrize(
    ("features", "limit", "expected"),
    [
        ({"avx2": True}, None, "AVX2"),
        ({"avx2": True, "avx512_bw": True, "amx_bf16": True}, None, "AVX512_CORE_AMX"),
        ({"avx2": True, "avx_vnni": True, "avx512_bw": True, "amx_bf16": True}, "avx2", "AVX2"),
        ({"avx2": True}, "AVX512_CORE", "AVX2"),
        ({"avx2": True, "avx512_bw": True}, "nonsense", "AVX512_CORE"),
        ({"neon": True}, None, None),
    ],
)
def test_the_instructions_of_onednn(
    monkeypatch: pytest.MonkeyPatch, features: dict[str, bool], limit: str | None, expected: str | None
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if limit is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert environment.onednn_isa() == expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert environment.onednn_isa() is None


def test_processes_that_do_not_know_of_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    check_world_size(1)
    for started, joined in (("1", 1), ("2", 2)):
        monkeypatch.setenv("WORLD_SIZE", started)
        check_world_size(joined)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"started 2 processes.*ACCELERATE_USE_CPU=true"):
        check_world_size(1)
