"""``bocb check-optimizer``: shows an optimizer's row and runs the conformance suite on it."""

from __future__ import annotations

import click

from bocb_hf.commands.command import command as declare
from bocb_hf.commands.completion import rows
from bocb_hf.errors import missing_extra
from bocb_hf.optim import CATEGORIES, OPTIMIZERS, OptimizerRow
from bocb_hf.optim.row import NEEDS


@declare(
    "check-optimizer", "Prints one line for each check. Exit status 1 if one fails, 3 if one that applies was not run."
)
@click.argument("name", metavar="ID", shell_complete=rows("optimizers"), help="a row of `bocb list optimizers`")
def command(name: str) -> int:
    """Prints the row, then one line for each check.

    Returns:
        1 if a check fails, 3 if one that applies was not run, else 0.

    Raises:
        InputError: There is no such row, or torch is not installed.
    """
    row = OPTIMIZERS.get(name)
    print(describe_optimizer(row), flush=True)
    try:
        from bocb_hf.optim.conformance.suite import judge, run_checks
    except ImportError as error:
        raise missing_extra(error.name or "torch", "train") from None
    outcomes = []
    for outcome in run_checks(row):
        outcomes.append(outcome)
        print(f"{outcome.status.upper():<14}  {outcome.check:<18} {outcome.detail}", flush=True)
    verdict = judge(outcomes)
    print(verdict.text)
    return verdict.exit_status


def describe_optimizer(row: OptimizerRow) -> str:
    """Everything that a row says about its optimizer, as aligned text."""
    centre = row.centre("default")
    lines = [
        f"{row.short} ({row.id}), category {row.category}: {CATEGORIES[row.category]}",
        f"paper           {row.paper}",
        f"implementation  {row.implementation}: {row.why}",
        f"variant         {row.variant}",
        f"weight decay    {row.decay}{', cautious on request (cautious_decay=true)' if row.plain_decay else ''}",
        f"learning rates  {', '.join(f'{v:g}' for v in row.lr_grid('default'))} ({centre.source})",
        f"weight decays   {', '.join(f'{v:g}' for v in row.decay_grid('default'))} ({centre.source})",
        f"may be sharded  {'yes, element-wise' if row.elementwise else 'no: needs whole tensors'}",
        f"compiles        {'yes' if row.compiles else 'no: fused, or looks at numbers on the way'}",
        f"state           {row.state_floats:g} numbers for each parameter of a 64 × 64 matrix",
        f"needs           {'; '.join(NEEDS[need] for need in sorted(row.needs)) or 'gradients alone'}",
        "hyper-parameters",
        *(f"  {name} = {value}" for name, value in row.hyperparameters()),
    ]
    if len(row.centres) > 1:
        others = (f"{s} {c.lr:g} / {c.weight_decay:g} ({c.source})" for s, c in row.centres.items() if s != "default")
        lines.insert(-1 - len(row.hyperparameters.model_fields), f"other centres   {', '.join(others)}")
    lines += [f"not checked     {check}: {reason}" for check, reason in row.exceptions.items()]
    return "\n".join(lines)
