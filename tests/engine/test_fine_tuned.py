"""Training from a checkpoint of a run of this project, from its folder in the store to the next record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bocb_hf.engine.run import train_run
from bocb_hf.errors import InputError
from bocb_hf.runs.load_config import build_run_config
from bocb_hf.runs.record import read_record


def folder_of(store: Path, setting: str, seed: int) -> Path:
    """The folder of a run's weights."""
    (found,) = (store / "models").glob(f"*/*-{setting}-*/seeds/{seed}")
    return found


def test_the_record_of_a_fine_tuned_run_names_the_run_that_made_its_weights(
    sections: dict[str, Any], tmp_path: Path
) -> None:
    short = ["backbone.name=tiny_mobilenet", "training.epochs=1", "training.warmup_epochs=0"]
    made = [
        train_run(build_run_config(sections, [*short, "setting=before", "optimizer.name=adamw", f"seed={seed}"]))
        for seed in (1, 2)
    ]
    store = Path(build_run_config(sections, short).runtime.store)
    one, two = (folder_of(store, "before", seed) for seed in (1, 2))
    after = [*short, "setting=after", "optimizer.name=sgdm"]
    first = train_run(build_run_config(sections, [*after, f"backbone.pretrained={one}", "seed=1"]))
    pretraining = first.identity.backbone.pretraining
    assert pretraining is not None and pretraining.record_sha256 == made[0].sha256()
    assert (pretraining.optimizer, pretraining.setting, pretraining.seed) == ("adamw", "before", 1)
    assert first.identity.backbone.pretrained_sha256 == made[0].weights_sha256
    assert str(tmp_path) not in first.to_json()
    # the second checkpoint is of the same cell, needs a seed of its own, and lies beside the first
    with pytest.raises(InputError, match="seed 1 of this cell started from pre-training seed 1"):
        train_run(build_run_config(sections, [*after, f"backbone.pretrained={two}", "seed=1"]))
    second = train_run(build_run_config(sections, [*after, f"backbone.pretrained={two}", "seed=2"]))
    assert second.config_hash == first.config_hash and second.run_id != first.run_id
    assert folder_of(store, "after", 1).parent == folder_of(store, "after", 2).parent
    card = (folder_of(store, "after", 1).parent.parent / "README.md").read_text()
    for run in made:
        assert f"weights that seed {run.seed} started from | pre-trained by adamw on" in card
        assert run.sha256()[:12] in card
    # finished runs are not trained again, and altered weights are refused before anything is
    again = train_run(build_run_config(sections, [*after, f"backbone.pretrained={one}", "seed=1"]))
    assert again.sha256() == read_record(folder_of(store, "after", 1) / "record.json", "r").sha256()
    (one / "model.safetensors").write_bytes((two / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match="one of them was altered"):
        train_run(build_run_config(sections, [*after, f"backbone.pretrained={one}", "seed=3"]))
