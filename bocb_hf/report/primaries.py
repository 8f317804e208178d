"""Finds the primary statistic of each setting: from the plan of its runs, or from whoever asks for a report."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from bocb_hf.coupling.primary import Primary, PrimaryStatistic
from bocb_hf.errors import InputError
from bocb_hf.resources import find_config
from bocb_hf.runs.load_config import load_run_config
from bocb_hf.sweep.plan import load_plan


def find_primaries(plan: str | None, statistic: PrimaryStatistic | None = None) -> Mapping[str | None, Primary]:
    """Returns the primary statistic by setting; what a plan named before its runs is not changed afterwards.

    A store does not hold the plan that filled it, so that a report must be told: the plan is a file that is committed
    before its runs.

    Args:
        plan: Name of a shipped plan or path of one; None when none is named.
        statistic: The statistic that was asked for beside it; None when none was.

    Returns:
        The statistics; the key None is for every setting, and an empty mapping leaves the default.

    Raises:
        InputError: There is no such plan, it names no primary statistic, or another one than was asked for.
    """
    if plan is None:
        return {} if statistic is None else {None: Primary(statistic, "named on the command line")}
    loaded = load_plan(find_config(plan, "recipes/sweeps"))
    if loaded.primary is None:
        raise InputError(
            f"--plan: {loaded.name} names no primary statistic; add `primary: {statistic or 'contrast'}` to the plan "
            "of runs that are still to come, or use --primary alone, which the report then says"
        )
    if statistic not in (None, loaded.primary):
        raise InputError(f"--primary: the plan {loaded.name} named {loaded.primary!r} before its runs; leave it out")
    names = [f"backbone.name={loaded.backbones[0]}", f"optimizer.name={loaded.optimizers[0]}"]
    paths = [find_config(config, "recipes/configs") for config in loaded.configs]
    plain = [load_run_config(path, [*names, *loaded.overrides]).setting for path in paths]
    levels = loaded.pretrained.levels if loaded.pretrained is not None else [""]
    parts = itertools.product(plain, loaded.variants or [""], levels)
    settings = ["_".join(filter(None, names_of)) for names_of in parts]
    return dict.fromkeys(settings, Primary(loaded.primary, f"named by the plan {loaded.name}"))
