"""``bocb status``: how far a sweep is, with the table of what it has so far."""

from __future__ import annotations

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare


@declare("status", "Reads the plan and the store, from any shell or machine that sees the store; changes nothing.")
@options.plan()
@options.overrides("the same as for the sweep")
@options.store(None, shown="outputs/store")
def command(plan: str, overrides: tuple[str, ...], store: str | None) -> int:
    """Prints how far each cell is, and the coupling table so far.

    Raises:
        InputError: The plan or an override is wrong, or the store cannot be read.
    """
    from bocb_hf.coupling.marks import Marks
    from bocb_hf.coupling.scores import scores_of
    from bocb_hf.coupling.table import build_tables
    from bocb_hf.report.tables import markdown_table
    from bocb_hf.resources import find_config
    from bocb_hf.sweep.plan import load_plan
    from bocb_hf.sweep.status import read_status

    loaded = load_plan(find_config(plan, "recipes/sweeps"))
    status = read_status(loaded, [*overrides, *([f"runtime.store={store}"] if store else [])])
    print(f"sweep {loaded.name}: " + "\n".join(status.lines()))
    if any(record.role == "final" and record.status == "completed" for record in status.records):
        for table in build_tables(status.records):
            scores = scores_of(table, "what the store holds so far")
            print("\n" + markdown_table(scores, Marks.of(scores, table)), end="")
    return 0
