"""``bocb recommend``: which optimizers to try on a backbone, from the published table and from own records."""

from __future__ import annotations

from pathlib import Path

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.commands.completion import rows
from bocb_hf.errors import InputError
from bocb_hf.schema import DEFAULT_STORE

_DETAILS = """\
The smallest set of optimizers with bounded expected regret (points lost by trying nothing else), where to start tuning
them, the cells behind the answer, and what to run next. Each source answers for itself; sources are never pooled. A
backbone without results is judged by its design tags (family, stage-wise and block-wise design, token mixer).
benchmarks/recommender.txt shows how good the answers are.
"""


@declare("recommend", _DETAILS)
@click.argument(
    "backbone",
    metavar="BACKBONE",
    shell_complete=rows("backbones", files=True),
    help="a row, a timm name, a folder with config.json, or an id on the Hub",
)
@click.option("--max-regret", type=float, default=1.0, metavar="POINTS", help="largest expected regret in points")
@click.option(
    "--source",
    type=options.OneOf(("paper", "store", "both")),
    default="both",
    help="the published CIFAR-100 table, a store's records, or each in turn where there is a store",
)
@options.store(None, shown=f"{DEFAULT_STORE}, where it exists")
@click.option(
    "--setting",
    metavar="NAME",
    help="the setting whose grid centres to start from (default: the source's, or the backbone's)",
)
@click.option(
    "--plan",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="write the next runs of the first answer as a plan for `bocb sweep`; needs --config",
)
@click.option(
    "--config",
    metavar="FILE|SETTING",
    shell_complete=rows("settings", files=True),
    help="setting of that plan: a YAML file, or a name of `bocb list settings`",
)
def command(
    backbone: str,
    max_regret: float,
    source: str,
    store: str | None,
    setting: str | None,
    plan: Path | None,
    config: str | None,
) -> int:
    """Prints one answer for each source.

    Raises:
        InputError: An unknown backbone, an empty store, a bound that is no number of points, or no answer at all.
    """
    from bocb_hf.recommend.answers import find_sources, recommend, starts_of
    from bocb_hf.recommend.plan import write_plan
    from bocb_hf.recommend.tags import find_tags
    from bocb_hf.recommend.words import answer_text, target_text

    if not 0 <= max_regret <= 100:
        raise InputError(f"--max-regret: {max_regret:g} must lie between 0 and 100 points")
    if (plan is None) != (config is None):
        raise InputError("--plan and --config go together: a plan needs the setting to run under")
    target = find_tags(backbone)
    answers, refused = recommend(target, find_sources(source, store), max_regret)
    print(target_text(target))
    for given in answers:
        print("\n" + answer_text(given, starts_of(given, setting)))
    for line in refused:
        print(f"\nno answer from {line}")
    if not answers:
        raise InputError(f"no source can answer for {target.name!r}; run more cells, or use --source paper")
    if plan is not None and config is not None:
        write_plan(plan, config, answers[0])
        print(f"\nwrote {plan}: bocb sweep {plan}")
    return 0
