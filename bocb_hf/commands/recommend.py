"""``bocb recommend``: which optimizers to try on a backbone, from published tables and from own records."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.commands.completion import rows
from bocb_hf.errors import InputError
from bocb_hf.schema import DEFAULT_STORE

_DETAILS = """\
What to use, what it may cost to be wrong (points below the best of all optimizers) and how sure that is; then the
cells behind it, starting values, and the command to try it. Of what the data cannot tell apart, what vision recipes use
most comes first. Each source answers for itself; sources are never pooled. One that holds the backbone itself is
trusted most; then come a store's records, the published table, and the laptop study, whose networks are tiny. A
backbone without results is judged by its design tags (family, stage-wise and block-wise design, token mixer).
benchmarks/recommender.txt shows how good the answers are, benchmarks/regret.txt how true the regret that they claim.
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
    type=options.OneOf(("paper", "study", "store", "all")),
    default="all",
    help="the published CIFAR-100 table, the laptop study, a store's records, or each of them that is there",
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
@click.option("--full", is_flag=True, help="print every size, cell and caveat of every source")
@click.option("--json", "as_json", is_flag=True, help="print all answers as JSON")
def command(
    backbone: str,
    max_regret: float,
    source: str,
    store: str | None,
    setting: str | None,
    plan: Path | None,
    config: str | None,
    full: bool,
    as_json: bool,
) -> int:
    """Prints the answer of the best source, in short; all of them in full or as JSON.

    Raises:
        InputError: An unknown backbone, an empty store, a bound that is no number of points, or no answer at all.
    """
    from bocb_hf.page.locate import study_evidence
    from bocb_hf.recommend.answers import find_sources, recommend, starts_of
    from bocb_hf.recommend.lead import answers_text, usual_setting
    from bocb_hf.recommend.plan import write_plan
    from bocb_hf.recommend.structure import answers_json
    from bocb_hf.recommend.tags import find_tags
    from bocb_hf.recommend.words import answer_text, target_text

    if not 0 <= max_regret <= 100:
        raise InputError(f"--max-regret: {max_regret:g} must lie between 0 and 100 points")
    if (plan is None) != (config is None):
        raise InputError("--plan and --config go together: a plan needs the setting to run under")
    target = find_tags(backbone)
    study = study_evidence() if source in ("study", "all") else None
    answers, refused = recommend(target, find_sources(source, store, study), max_regret)
    if not answers:
        reasons = "".join(f"; {line}" for line in refused)
        raise InputError(f"no source can answer for {target.name!r}; run more cells, or use --source paper{reasons}")
    if as_json:
        print(answers_json(target, answers, [starts_of(given, setting) for given in answers], refused))
    elif full:
        print(target_text(target))
        for given in answers:
            print("\n" + answer_text(given, starts_of(given, setting)))
        for line in refused:
            print(f"\nno answer from {line}")
    else:
        unasked = f"The Hub could not be asked ({target.unasked}); the name of {target.name} alone tells its design."
        before = [unasked, ""] if target.unasked else []
        first = answers[0]
        print(answers_text(answers, starts_of(first, setting), config or usual_setting(first), before))
    if plan is not None and config is not None:
        write_plan(plan, config, answers[0])
        print(f"\nwrote {plan}: bocb sweep {plan}", file=sys.stderr if as_json else sys.stdout)
    return 0
