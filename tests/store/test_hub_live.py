"""A smoke test against huggingface.co, for whoever has a token: ``BOCB_LIVE_NAMESPACE=<yours> pytest -m live``.

It writes one private repository into that namespace and deletes it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]

CODE = """
import sys
from pathlib import Path
from builders import make_record
from huggingface_hub import HfApi
from bocb_hf.store.card_cache import open_cache
from bocb_hf.store.hub import HubStore
from bocb_hf.store.hub_calls import check_writable
from bocb_hf.store.write import write_run
from bocb_hf.store.read import read_repository

namespace, home = sys.argv[1:]
check_writable(namespace)
record = make_record(setting="live_smoke_test")
repository, api = f"{namespace}/{record.repository()}", HfApi()
api.create_repo(repository, private=True)
try:
    weights = Path(home) / "weights"
    weights.mkdir()
    (weights / "config.json").write_text("{}")
    (weights / "model.safetensors").write_bytes(b"not weights")
    write_run(HubStore(namespace), namespace, record, weights, False)
    assert read_repository(HubStore(namespace), repository).finals == {record.seed: record}
    with open_cache(namespace, folder=Path(home)) as cache:
        cache.refresh()
        print(cache.card(repository).runs[0].run_id)
finally:
    api.delete_repo(repository)
"""


@pytest.mark.live
def test_a_run_is_pushed_listed_and_deleted(tmp_path: Path) -> None:
    namespace = os.environ.get("BOCB_LIVE_NAMESPACE")
    if not namespace:
        pytest.skip("BOCB_LIVE_NAMESPACE names no namespace that may be written to")
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (TESTS, TESTS.parent)))
    ended = subprocess.run(
        [sys.executable, "-c", CODE, namespace, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
