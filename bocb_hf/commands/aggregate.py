"""``bocb aggregate``: reads a store's records and prints the coupling table. One bad file never hides the others."""

from __future__ import annotations

from pathlib import Path

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.errors import InputError

_DETAILS = """\
Writes the coupling table as CSV, Parquet, JSON, Markdown and LaTeX, its heat map, analysis.json and report.html.
--cards, --results, --submissions and --offline are for a store on the Hub.
"""


@declare("aggregate", _DETAILS)
@options.store()
@options.out("outputs/report")
@options.source()
@click.option(
    "--rules",
    type=options.OneOf(("default", "paper")),
    default="default",
    help="paper: beside our analysis, the study's own rules as printed",
)
@options.draws()
@options.offline()
@click.option("--cards", is_flag=True, help="read cards only, and write runs.parquet: one row for each final run")
@options.results("--results", "a results data set: records from one download, and who has verified which")
@click.option("--submissions", is_flag=True, help="count what was merged into --results too, as `bocb publish` does")
def command(
    store: str,
    out: Path,
    source: options.Source,
    rules: str,
    draws: int,
    offline: bool,
    cards: bool,
    results: str | None,
    submissions: bool,
) -> int:
    """Reads, writes, prints.

    Raises:
        InputError: The store holds no valid record, there is no such table, or a file cannot be written.
    """
    if cards:
        return _aggregate_cards(store, out, results, offline, submissions)
    # pandas, matplotlib and scipy take a second, which reading cards does not wait for
    from bocb_hf.report.analysis import analyse_published, analyse_records
    from bocb_hf.report.outputs import write_outputs
    from bocb_hf.report.tabulate import tabulate
    from bocb_hf.results.counted import read_counted

    with options.naming("--out"):
        if source.kind == "paper":
            found = analyse_published(source.table, rules, out, draws)
            print(found.text)
            paths = found.paths
        else:
            contents = read_counted(store, results, submissions=submissions, offline=offline, cached=True)
            tabulated = tabulate(contents)
            outputs = write_outputs(tabulated, out)
            print(outputs.text)
            found = analyse_records(tabulated, rules, out, draws)
            print(f"\n{found.text}")
            paths = [*outputs.paths, *found.paths]
    print("\nwrote " + ", ".join(str(path) for path in paths))
    return 0


def _aggregate_cards(store: str, out: Path, results: str | None, offline: bool, submissions: bool) -> int:
    from bocb_hf.report.cards import write_runs

    if submissions:
        raise InputError("--submissions: what was submitted is told by its records, not by cards; leave out --cards")
    with options.naming("--out"):
        written = write_runs(store, out, results, offline)
    print(f"wrote {written.runs}: {written.count} runs; {written.quarantined} quarantined, see {written.reasons}")
    return 0
