"""Runs ``bocb recommend``: which optimizers to try on a backbone, from the published table and from own records."""

from __future__ import annotations

import argparse

from bocb_hf.errors import InputError
from bocb_hf.recommend.answers import find_sources, recommend, starts_of
from bocb_hf.recommend.plan import write_plan
from bocb_hf.recommend.tags import find_tags
from bocb_hf.recommend.words import answer_text, target_text


def run(arguments: argparse.Namespace) -> int:
    """Prints one answer for each source.

    Raises:
        InputError: An unknown backbone, an empty store, a bound that is no number of points, or no answer at all.
    """
    if not 0 <= arguments.max_regret <= 100:
        raise InputError(f"--max-regret: {arguments.max_regret:g} must lie between 0 and 100 points")
    if (arguments.plan is None) != (arguments.config is None):
        raise InputError("--plan and --config go together: a plan needs the setting to run under")
    target = find_tags(arguments.backbone)
    answers, refused = recommend(target, find_sources(arguments.source, arguments.store), arguments.max_regret)
    print(target_text(target))
    for given in answers:
        print("\n" + answer_text(given, starts_of(given, arguments.setting)))
    for line in refused:
        print(f"\nno answer from {line}")
    if not answers:
        raise InputError(f"no source can answer for {target.name!r}; run more cells, or use --source paper")
    if arguments.plan is not None:
        write_plan(arguments.plan, arguments.config, answers[0])
        print(f"\nwrote {arguments.plan}: bocb sweep {arguments.plan}")
    return 0
