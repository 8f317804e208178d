"""``bocb``: the command line. Each command imports what it needs when it runs, so that `bocb --help` is instant."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import bocb_hf
from bocb_hf.errors import InputError, missing_extra
from bocb_hf.plugins import load_plugins
from bocb_hf.resources import find_config

_EXAMPLES = """\
examples:
  bocb list optimizers                        what can be trained with
  bocb sweep demo                             a grid of tiny backbones on the embedded images
  bocb aggregate                              read the cards back, print the coupling table
  bocb push --to hf://my-lab                  send finished runs to the Hub
  bocb submit me/x --to hf://datasets/lab/y   propose pushed runs for the leaderboard
  bocb validate hf://datasets/my-lab/results  check what others have submitted
  bocb recommend resnet101                    which optimizers to try on a backbone, and why
  bocb leaderboard                            look at the tables in a browser
  bocb figures --source paper                 every figure of the study's published table
  bocb train --config fashion_mnist_subset/demo backbone.name=tiny_vit optimizer.name=adamw --dry-run
"""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="bocb",
        description="Which optimizer for this backbone, and how much does the choice matter?",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"bocb-hf {bocb_hf.__version__}")
    parser.add_argument("--plugin", action="append", default=[], metavar="MODULE", help="import more rows (repeatable)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")

    listing = commands.add_parser("list", help="show the backbones, optimizers, data sets, settings or sweeps")
    listing.add_argument("what", choices=("backbones", "optimizers", "datasets", "settings", "sweeps"))

    train = commands.add_parser(
        "train",
        help="train one backbone with one optimizer (the same as accelerate launch recipes/train.py)",
        description="The same as `accelerate launch recipes/train.py` with these arguments.",
        add_help=False,
    )
    train.add_argument("arguments", nargs=argparse.REMAINDER)

    sweep = commands.add_parser("sweep", help="run a plan: tune and train every cell, continuing where it stopped")
    _add_sweep_arguments(sweep)

    aggregate = commands.add_parser("aggregate", help="read a store's records and print the coupling table")
    from bocb_hf.commands import aggregate as aggregation

    aggregation.add_arguments(aggregate)

    figures = commands.add_parser("figures", help="draw every figure of a table and write its numbers")
    from bocb_hf.commands import figures_arguments as drawing

    drawing.add_arguments(figures)

    recommend = commands.add_parser("recommend", help="name the optimizers to try on a backbone, with the evidence")
    from bocb_hf.commands import recommend_arguments as recommendation

    recommendation.add_arguments(recommend)

    leaderboard = commands.add_parser("leaderboard", help="look at the tables in a browser, or deploy them as a Space")
    from bocb_hf.commands import leaderboard_arguments as looking

    looking.add_arguments(leaderboard)

    check = commands.add_parser(
        "check-optimizer",
        help="show an optimizer's row and run the conformance suite on it",
        description="Prints one line a check. Exit status 1 if one fails, 3 if one that applies was not run.",
    )
    check.add_argument("id", help="a row of `bocb list optimizers`")

    render = commands.add_parser("render", help="rebuild the cards of a store from its records")
    render.add_argument("repositories", nargs="*", help="namespace/name (default: all)")
    render.add_argument("--store", default="outputs/store", help="folder, or hf://<namespace> (default: %(default)s)")
    evaluation = render.add_mutually_exclusive_group()
    evaluation.add_argument(
        "--eval-results",
        metavar="TASK",
        help="from now on keep .eval_results/bocb.yaml too, which the Hub shows for a data set that has registered a "
        "benchmark; TASK is the id of its task",
    )
    evaluation.add_argument("--no-eval-results", action="store_true", help="no longer keep it")

    from bocb_hf.commands import hub_commands, submit_commands, trust_commands

    for module in (hub_commands, submit_commands, trust_commands):
        _COMMANDS.update(module.register(commands))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; bad input is printed as ``error: ...`` and gives exit status 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    plugins: list[str] = []
    while argv[:1] == ["--plugin"] and len(argv) > 1:  # before the command, for every command
        plugins, argv = [*plugins, argv[1]], argv[2:]
    if argv[:1] == ["train"]:  # every argument is the recipe's, --help included
        return _train([*argv[1:], *(word for name in plugins for word in ("--plugin", name))])
    arguments = _parse(argv)
    try:
        arguments.plugin = load_plugins([*plugins, *arguments.plugin])
        return _COMMANDS[arguments.command](arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has left, as in `bocb aggregate | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again to continue", file=sys.stderr)
        return 130


def _add_sweep_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", help="a YAML file, or a shipped plan: see `bocb list sweeps`")
    # what this process may use, which in a container or under taskset is less than the machine has
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("--workers", type=_positive, default=cores, help="processes (default: one a core)")
    parser.add_argument("--store", help="folder of the repositories (default: outputs/store)")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="for every run")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    if argv[:1] != ["sweep"]:
        return build_parser().parse_args(argv)
    # overrides may stand before and after options, which argparse supports only without subcommands
    parser = argparse.ArgumentParser(prog="bocb sweep")
    parser.set_defaults(plugin=[])
    _add_sweep_arguments(parser)
    arguments = parser.parse_intermixed_args(argv[1:])
    arguments.command = "sweep"
    return arguments


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def _list(arguments: argparse.Namespace) -> int:
    from bocb_hf.commands.listing import list_rows

    print(list_rows(arguments.what))
    return 0


def _train(arguments: list[str]) -> int:
    """Trains in this process, or through accelerate's launcher where that would start several or is configured."""
    from bocb_hf.commands.train import main as train

    if {"--help", "-h"} & set(arguments):  # answered at once, without torch
        return train(arguments, prog="bocb train")
    try:
        import torch
        from accelerate.commands.config.config_args import default_config_file
    except ImportError:
        print(f"error: {missing_extra('torch', 'train')}", file=sys.stderr)
        return 2
    if "--dry-run" not in arguments and (torch.cuda.device_count() > 1 or Path(default_config_file).is_file()):
        from bocb_hf.engine.launch import launch_recipe

        return launch_recipe(arguments)
    return train(arguments, prog="bocb train")


def _sweep(arguments: argparse.Namespace) -> int:
    try:
        import torch  # noqa: F401 - asked for here, so that the error comes before any worker starts
    except ImportError:
        raise missing_extra("torch", "train") from None
    from bocb_hf.sweep.local import LocalExecutor
    from bocb_hf.sweep.plan import load_plan
    from bocb_hf.sweep.run import Sweep

    plan = load_plan(find_config(arguments.plan, "recipes/sweeps"))
    overrides = list(arguments.overrides)
    if arguments.store:
        overrides.append(f"runtime.store={arguments.store}")
    executor = LocalExecutor(arguments.workers, plugins=arguments.plugin, cpu_only=plan.device == "cpu")
    try:
        sweep = Sweep(plan, executor, overrides)
        print(f"sweep {plan.name}: starting {arguments.workers} workers ...", flush=True)
        print(sweep.estimate(), flush=True)
        outcome = sweep.run()
    except BaseException:
        executor.stop()
        raise
    executor.close()
    ended = ", ".join(f"{count} {status}" for status, count in sorted(outcome.statuses.items())) or "nothing ran"
    print(f"sweep {plan.name}: {ended}")
    for failure in outcome.failures:
        print(f"failed: {failure}", file=sys.stderr)
    if outcome.stopped:
        raise KeyboardInterrupt
    if interrupted := outcome.statuses.get("interrupted"):
        print(f"{interrupted} run(s) were interrupted; run the same command again to finish them", file=sys.stderr)
    return 1 if outcome.failures or interrupted else 0


def _aggregate(arguments: argparse.Namespace) -> int:
    from bocb_hf.commands.aggregate import run

    return run(arguments)


def _figures(arguments: argparse.Namespace) -> int:
    from bocb_hf.commands.figures import run

    return run(arguments)


def _recommend(arguments: argparse.Namespace) -> int:
    from bocb_hf.commands.recommend import run

    return run(arguments)


def _leaderboard(arguments: argparse.Namespace) -> int:
    from bocb_hf.commands.leaderboard import run

    return run(arguments)


def _check_optimizer(arguments: argparse.Namespace) -> int:
    from bocb_hf.commands.listing import describe_optimizer
    from bocb_hf.optim import OPTIMIZERS

    row = OPTIMIZERS.get(arguments.id)
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


def _render(arguments: argparse.Namespace) -> int:
    from bocb_hf.store import open_store
    from bocb_hf.store.peers import find_peers
    from bocb_hf.store.write import holds_runs, render_repository

    task: str | None = "" if arguments.no_eval_results else arguments.eval_results
    if task and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", task):
        raise InputError(f"--eval-results: {task!r} is no id of a task; the data set's eval.yaml lists them")
    store = open_store(arguments.store)
    names = arguments.repositories or [name for name in store.repositories() if holds_runs(store, name)]
    if not names:
        raise InputError(f"--store: {arguments.store} holds no repository; train something first")
    peers = find_peers(store, names)
    for name in names:
        render_repository(store, name, peers[name], task)
        print(f"rendered {name}")
    return 0


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "list": _list,
    "sweep": _sweep,
    "aggregate": _aggregate,
    "figures": _figures,
    "recommend": _recommend,
    "leaderboard": _leaderboard,
    "check-optimizer": _check_optimizer,
    "render": _render,
}
