"""Reads the cards and records of a store. One bad file never hides the others."""

from __future__ import annotations

import argparse
from pathlib import Path

from bocb_hf.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``bocb aggregate``."""
    from bocb_hf.commands.aggregate_hub import add_hub_arguments

    parser.add_argument(
        "--store",
        default="outputs/store",
        help="folder that holds models/<namespace>/<repository>, or hf://<namespace>[,<namespace>...]",
    )
    parser.add_argument("--out", default="outputs/report", type=Path, help="folder for tables, figures and report.html")
    parser.add_argument(
        "--source",
        default="store",
        metavar="store|paper[:TABLE]",
        help="records of the store, or the published tables: cifar100 (default), imagenet1k, coco_pose, coco_detection",
    )
    parser.add_argument(
        "--rules",
        choices=("default", "paper"),
        default="default",
        help="paper: beside our analysis, the study's own rules as printed",
    )
    parser.add_argument("--draws", type=int, default=2000, help="bootstrap draws of each analysis (default: 2000)")
    add_hub_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Reads, writes, prints; returns the exit status.

    Raises:
        InputError: The store holds no valid record, there is no such source, or a file cannot be written.
    """
    if arguments.draws < 100:
        raise InputError(f"--draws: {arguments.draws} is too few for a 95 % interval; use at least 100")
    kind, _, name = arguments.source.partition(":")
    if kind not in ("store", "paper") or (kind == "store" and name):
        raise InputError(f"--source: {arguments.source!r} is neither 'store' nor 'paper' nor 'paper:TABLE'")
    if arguments.cards:
        from bocb_hf.commands.aggregate_hub import aggregate_cards

        return aggregate_cards(arguments)
    # pandas, matplotlib and scipy: a second that neither `bocb --help` nor cards need wait
    from bocb_hf.report.analysis import analyse_published, analyse_records
    from bocb_hf.report.outputs import write_outputs
    from bocb_hf.results.counted import read_counted

    if kind == "paper":
        found = analyse_published(name or "cifar100", arguments.rules, arguments.out, arguments.draws)
        print(found.text)
        paths = found.paths
    else:
        contents = read_counted(
            arguments.store, arguments.results, submissions=arguments.submissions, offline=arguments.offline
        )
        outputs = write_outputs(contents, arguments.out)
        print(outputs.text)
        found = analyse_records(contents.records, contents.uri, arguments.rules, arguments.out, arguments.draws)
        print(f"\n{found.text}")
        paths = [*outputs.paths, *found.paths]
    print("\nwrote " + ", ".join(str(path) for path in paths))
    return 0
