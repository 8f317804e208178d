"""``bocb aggregate``: reads a store's records and prints the coupling table. One bad file never hides the others."""

from __future__ import annotations

from pathlib import Path

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.commands.completion import rows
from bocb_hf.coupling.primary import STATISTICS, PrimaryStatistic
from bocb_hf.errors import InputError

_DETAILS = """\
Writes the coupling table as CSV, Parquet, JSON, Markdown and LaTeX, its heat map, analysis.json and report.html, and
prints the answer in at most 40 lines; --full prints all of it.
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
    help="paper: beside our analysis, the study's own rules as printed; implies --full",
)
@click.option("--full", is_flag=True, help="print tables, ledger, notes, analysis and comparisons, not only the answer")
@click.option(
    "--plan",
    metavar="PLAN",
    shell_complete=rows("sweeps", files=True),
    help="the plan of the runs, a file or a shipped one, whose primary statistic the report leads with",
)
@click.option(
    "--primary",
    type=options.OneOf(STATISTICS),
    help="the statistic to lead with, where no plan names one",
)
@click.option(
    "--target",
    type=click.FloatRange(0, 100),
    metavar="POINTS",
    help="validation score of the time to target (default: for each backbone what the median optimizer ends with)",
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
    full: bool,
    plan: str | None,
    primary: PrimaryStatistic | None,
    target: float | None,
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
    ignored = {"--cards": cards, "--results": results, "--submissions": submissions, "--offline": offline}
    if source.kind != "store" and (given := [name for name, value in ignored.items() if value]):
        raise InputError(f"--source: {', '.join(given)} are of a store, and --source names none; leave one of them out")
    if cards:
        return _aggregate_cards(store, out, results, offline, submissions)
    # pandas, matplotlib and scipy take a second, which reading cards does not wait for
    from bocb_hf.report.analysis import analyse_published, analyse_records, answer_records, summarize_records
    from bocb_hf.report.outputs import write_outputs
    from bocb_hf.report.primaries import find_primaries
    from bocb_hf.report.tabulate import Wanted, tabulate
    from bocb_hf.results.counted import read_counted

    if target is not None and source.kind == "paper":
        raise InputError("--target: published tables have no validation curves; leave it out")
    primaries, full = find_primaries(plan, primary), full or rules == "paper"
    with options.naming("--out"):
        if source.kind == "paper":
            found = analyse_published(source.table, rules, out, draws, full, primaries.get(None))
            text, paths = found.text, found.paths
        else:
            from bocb_hf.files import write_atomically
            from bocb_hf.page.report import report_html

            contents = source.read(
                lambda: read_counted(store, results, submissions=submissions, offline=offline, cached=True)
            )
            tabulated = tabulate(contents, Wanted(draws, primaries, target))
            outputs = write_outputs(tabulated, out)
            found = analyse_records(tabulated, rules, out)
            whole = (answer_records(tabulated), outputs.text, found.text)
            text = "\n\n".join(whole) if full else summarize_records(tabulated)
            report = write_atomically(out / "report.html", report_html(tabulated))
            paths = [*outputs.paths, *found.paths, report]
    print(text)
    if full:
        print("\nwrote " + ", ".join(str(path) for path in paths))
    else:
        begin = next((path.name for path in paths if path.name == "report.html"), "analysis.json")
        print(f"\nwrote {len(paths)} files to {out}, begin with {begin}; --full prints all of it here")
    return 0


def _aggregate_cards(store: str, out: Path, results: str | None, offline: bool, submissions: bool) -> int:
    from bocb_hf.report.cards import write_runs

    if submissions:
        raise InputError("--submissions: what was submitted is told by its records, not by cards; leave out --cards")
    with options.naming("--out"):
        written = write_runs(store, out, results, offline)
    print(f"wrote {written.runs}: {written.count} runs; {written.quarantined} quarantined, see {written.reasons}")
    return 0
