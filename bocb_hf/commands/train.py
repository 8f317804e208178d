"""What ``recipes/train.py`` and ``bocb train`` do: parse, resolve, dry-run or train, and say how it ended.

What takes seconds to import (torch, timm, accelerate) is imported where it is used, so that ``--help`` and a mistake in
the arguments are answered at once.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bocb_hf.engine.console import EXIT_INPUT, EXIT_INTERRUPTED, EXIT_OK, show_log, stop_with_launcher, train_visibly
from bocb_hf.engine.portable import limit_instructions, must_start_again, start_again
from bocb_hf.engine.repetition import check_same, sections_of
from bocb_hf.errors import InputError
from bocb_hf.plugins import load_plugins
from bocb_hf.resources import find_config
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.diagnosis import diagnose
from bocb_hf.runs.load_config import build_run_config, load_run_config
from bocb_hf.runs.record import RunRecord, read_record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of a training run."""
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument("--config", help="a YAML file, or a shipped setting: see `bocb list settings`")
    start.add_argument("--reproduce", type=Path, metavar="RECORD", help="a record.json: run exactly that again")
    parser.add_argument("--plugin", action="append", default=[], metavar="MODULE", help="import more rows (repeatable)")
    parser.add_argument("--compile-model", action="store_true", help="the same as runtime.compile_model=true")
    parser.add_argument("--compile-optimizer", action="store_true", help="the same as runtime.compile_optimizer=true")
    parser.add_argument("--dry-run", action="store_true", help="print the resolved run with its cost; train nothing")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="section.key=value",
        help="any value of the configuration, such as backbone.name=tiny_vit optimizer.lr=0.003 seed=1",
    )


def load_config(arguments: argparse.Namespace) -> RunConfig:
    """The configuration that the arguments describe.

    Raises:
        InputError: Everything that is wrong with it, together.
    """
    from bocb_hf.backbones.definition import check_backbone

    return _load(arguments, check_backbone)


def wants_portable(arguments: argparse.Namespace) -> bool:
    """Whether the configuration limits the instructions of the processor; found out without importing torch."""
    try:
        return _load(arguments).runtime.portable
    except InputError:  # ``load_config`` reports it, together with what only it checks
        return False


def _load(arguments: argparse.Namespace, check_backbone: Callable[[str], None] | None = None) -> RunConfig:
    flags = ("compile_model", "compile_optimizer")
    overrides = [*arguments.overrides, *(f"runtime.{name}=true" for name in flags if getattr(arguments, name))]
    if arguments.config is not None:
        return load_run_config(find_config(arguments.config, "recipes/configs"), overrides, check_backbone)
    path: Path = arguments.reproduce
    try:
        record = read_record(path, str(path))
    except OSError as error:
        raise InputError(f"--reproduce: {path} cannot be read: {error.strerror}") from error
    sections = sections_of(record) | {"runtime": {"portable": record.environment.portable}}
    return build_run_config(sections, overrides, check_backbone, source=str(path))


def _check_reproduces(arguments: argparse.Namespace, config: RunConfig) -> None:
    """Compares the run with the record that it is to repeat, unless overrides change it on purpose.

    Raises:
        InputError: Data, starting weights or code have changed since; the message names the fields.
    """
    where = ("runtime.", "seed=", "role=", "data.name=", "backbone.pretrained=")  # places, not what the run is
    if any(not override.startswith(where) for override in arguments.overrides):
        return
    from bocb_hf.engine.prepare import prepare_run

    record = read_record(arguments.reproduce, str(arguments.reproduce))
    check_same(prepare_run(config).identity, record, f"--reproduce: {arguments.reproduce}")


def run(arguments: argparse.Namespace) -> int:
    """Runs what the arguments ask for.

    Returns:
        0 when the run completed or diverged, which is a result; 130 when it was stopped and can be continued.

    Raises:
        InputError: Bad input.
    """
    load_plugins(arguments.plugin)
    if wants_portable(arguments):
        limit_instructions()  # before torch is imported
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    from bocb_hf.engine.prepare import prepare_run
    from bocb_hf.engine.processes import check_world_size

    # without the flag, accelerate takes several CPU processes for as many single ones
    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
    main_process = state.is_main_process
    check_world_size(state.num_processes)
    show_log(logging.INFO if main_process else logging.ERROR)
    config = load_config(arguments)
    if arguments.reproduce is not None:
        _check_reproduces(arguments, config)
    if arguments.dry_run:
        from bocb_hf.engine.dry_run import describe_run

        if main_process:
            print(describe_run(prepare_run(config), state.num_processes))
        return EXIT_OK
    stop_with_launcher()
    record = train_visibly(config, main_process)
    if main_process:
        print(summary(record, config))
    state.destroy_process_group()
    return EXIT_INTERRUPTED if record.status == "interrupted" else EXIT_OK


def summary(record: RunRecord, config: RunConfig) -> str:
    """What a user wants to know when a run ends."""
    runtime = config.runtime
    folder = Path(runtime.store) / "models" / runtime.namespace / record.repository()
    lines = [f"{record.status}: run {record.run_id} ({record.role}, seed {record.seed})"]
    if record.reason is not None:
        lines.append(f"  {record.reason}")
    top1 = record.metrics.test_top1 or record.metrics.val_top1
    if top1 is not None and top1.last is not None:
        split = f"test split {record.test_split!r}" if record.test_split else "validation split"
        lines.append(f"  top-1 {top1.last:.2f} % of {top1.n} images, last weights, {split}")
    # of a diverged run the reason stands above
    lines += [f"  {d.finding.replace('_', ' ')}: {d.text}" for d in diagnose(record) if d.finding != "diverged"]
    lines.append(f"  record {folder / record.path()}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None, prog: str = "train.py") -> int:
    """Entry point of ``recipes/train.py`` and ``bocb train``."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Pretrain or fine-tune one backbone with one optimizer under one setting and seed."
    )
    add_arguments(parser)
    try:
        arguments = parser.parse_intermixed_args(argv)
        if must_start_again() and wants_portable(arguments):
            start_again(sys.argv[1:] if argv is None else argv)
        return run(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_INPUT
