"""``bocb verify``, ``reproduce`` and ``retract``: what a run is worth, and taking it back."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bocb_hf.errors import InputError, missing_extra
from bocb_hf.store import Store, open_store

if TYPE_CHECKING:
    from bocb_hf.runs.verification import Verification


def register(commands: Any) -> dict[str, Callable[[argparse.Namespace], int]]:
    """Adds the subcommands to a parser's; returns what runs them, by name."""
    verify = commands.add_parser("verify", help="measure the weights of a run again on its test split")
    _add_shared_arguments(verify, tolerance=0.1)

    reproduce = commands.add_parser(
        "reproduce",
        help="train a run again from its record and compare the scores",
        description="Trains into a store of its own; interrupted, the same command continues. What several processes "
        "trained on a CPU, as many train again where there are the cores; of several GPUs, one process. Exit status 2 "
        "if the scores are further apart than the tolerance. Other hardware or software trains along another path, so "
        "the tolerance is of the size of the spread over seeds.",
    )
    _add_shared_arguments(reproduce, tolerance=1.0)
    reproduce.add_argument("--dry-run", action="store_true", help="print the run with its cost; train nothing")
    reproduce.add_argument("--work", type=Path, default=Path("outputs/reproductions"), help="folder to train in")
    reproduce.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="section.key=value",
        help="where starting weights lie, or how the run executes, such as runtime.threads=2 (repeatable)",
    )

    retract = commands.add_parser("retract", help="retract a run: it stays, and no table counts it")
    retract.add_argument("repository", help="namespace/name")
    which = retract.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="of a final run")
    which.add_argument("--trial", metavar="RUN_ID", help="a tuning trial, named as its file in trials/")
    retract.add_argument("--reason", required=True)
    retract.add_argument("--store", default="outputs/store", help="local folder, or hf://<namespace>")
    return {"verify": _verify, "reproduce": _reproduce, "retract": _retract}


def _add_shared_arguments(parser: argparse.ArgumentParser, tolerance: float) -> None:
    parser.add_argument("repository", help="namespace/name on the Hub, or the folder of a repository")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--data", help="the data set, where the record's name is not one of the Hub's")
    parser.add_argument(
        "--tolerance", type=float, default=tolerance, help="in points of test top-1 (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("outputs/verifications"), help="folder for the result")
    parser.add_argument("--propose", metavar="hf://datasets/ORG/NAME", help="open a pull request on a results data set")


def _verify(arguments: argparse.Namespace) -> int:
    try:
        from bocb_hf.engine.verify import verify_run
    except ImportError as error:
        raise missing_extra(error.name or "torch", "train") from None

    _check_proposal(arguments)
    result = verify_run(arguments.repository, arguments.seed, arguments.tolerance, arguments.data)
    _hand_in(arguments, result)
    return 0


def _reproduce(arguments: argparse.Namespace) -> int:
    try:
        from bocb_hf.commands.train import EXIT_INTERRUPTED, show_log
        from bocb_hf.engine import reproduce
    except ImportError as error:
        raise missing_extra(error.name or "torch", "train") from None
    from bocb_hf.runs.verification import check_tolerance

    check_tolerance(arguments.tolerance)
    _check_proposal(arguments)
    show_log(logging.INFO)
    overrides = [*([f"data.name={arguments.data}"] if arguments.data else []), *arguments.set]
    original = reproduce.read_original(arguments.repository, arguments.seed)
    config = reproduce.configure(original, arguments.work, overrides)
    if warning := reproduce.warn_of_topology(original):
        print(warning, flush=True)
    if arguments.dry_run:
        print(reproduce.describe(original, config))
        return 0
    again = reproduce.train_again(original, config, arguments.plugin)
    if again is None or again.status == "interrupted":
        print("stopped; run the same command again to continue")
        return EXIT_INTERRUPTED
    result = reproduce.compare(original, again, arguments.tolerance)
    print(f"trained again: the weights are {'the same, byte for byte' if result.same_weights else 'other ones'}")
    _hand_in(arguments, result)
    return 0


def _check_proposal(arguments: argparse.Namespace) -> None:
    """A mistake in the address is an error before hours of work, not after."""
    from bocb_hf.results.dataset import dataset_name

    if arguments.propose:
        dataset_name(arguments.propose)


def _hand_in(arguments: argparse.Namespace, result: Verification) -> None:
    """Writes a result, says what it says, and proposes it where that was asked for."""
    from bocb_hf.results.dataset import propose

    path: Path = arguments.out / Path(result.path()).name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(result.to_json(), encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out: cannot write {path}: {error.strerror}; choose another folder") from error
    print(
        f"{result.repository} seed {arguments.seed} is {result.level}: {result.measured} of {result.images} images "
        f"correct, the record says {result.claimed} (tolerance {result.tolerance:g} points); {result.differing} "
        f"image(s) differ. Wrote {path}"
    )
    if arguments.propose:
        print(f"proposed: {propose(arguments.propose, result)}")


def _retract(arguments: argparse.Namespace) -> int:
    from bocb_hf.store.read import read_repository
    from bocb_hf.store.write import retract_run

    store: Store = open_store(arguments.store)
    contents = read_repository(store, arguments.repository)
    if arguments.trial is not None:
        record, what = contents.trials.get(arguments.trial), f"trial {arguments.trial}"
    else:
        record, what = contents.finals.get(arguments.seed), f"final run of seed {arguments.seed}"
    if record is None:
        raise InputError(f"{arguments.repository} holds no {what}, or it is retracted already")
    tombstone = retract_run(store, arguments.repository, record, arguments.reason)
    print(f"retracted run {record.run_id} of {arguments.repository}: {tombstone.path()}")
    return 0
