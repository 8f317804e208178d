"""``bocb train``, which is also ``recipes/train.py``: resolves a run, describes or trains it, and says how it ended.

What takes seconds to import (torch, timm, accelerate) is imported where it is used, so that ``--help`` and a mistake in
the arguments are answered at once.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.commands.command import named_plugins, run, words_of
from bocb_hf.commands.completion import overrides as complete_overrides
from bocb_hf.commands.completion import rows
from bocb_hf.commands.generic import choose_generic, is_generic
from bocb_hf.commands.generic import wants_portable as limits_instructions
from bocb_hf.engine.console import EXIT_INTERRUPTED, EXIT_OK, show_log, stop_with_launcher, train_visibly
from bocb_hf.engine.portable import limit_instructions, must_start_again, start_again
from bocb_hf.engine.repetition import check_same, runtime_of, sections_of
from bocb_hf.errors import InputError, missing_extra
from bocb_hf.resources import find_config
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.diagnosis import diagnose
from bocb_hf.runs.load_config import build_run_config, load_run_config
from bocb_hf.runs.record import RunRecord
from bocb_hf.runs.runtime_config import RuntimeConfig
from bocb_hf.schema import HUB_SCHEME
from bocb_hf.store import open_store

_DETAILS = """\
Trains one run from --config, or again what --reproduce names. `accelerate launch recipes/train.py` takes the same
arguments; `bocb train` calls the launcher itself where there are several GPUs or accelerate is configured. Exit status
0 when the run completed or diverged, which is a result; 130 when it was stopped and can be continued.
"""


@declare("train", _DETAILS)
@click.option(
    "--config",
    metavar="FILE|SETTING",
    shell_complete=rows("settings", files=True),
    help="a YAML file, or a shipped setting: see `bocb list settings`; `generic`, or nothing beside data.name=..., "
    "chooses one by data and backbone",
)
@click.option(
    "--reproduce",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="RECORD",
    help="a record.json, or records.parquet/REPOSITORY/PATH: run exactly that again, with its threads and kernels",
)
@click.option("--compile-model", is_flag=True, help="the same as runtime.compile_model=true")
@click.option("--compile-optimizer", is_flag=True, help="the same as runtime.compile_optimizer=true")
@options.dry_run("the resolved run with its cost")
@click.argument(
    "overrides",
    nargs=-1,
    metavar="[section.key=value]...",
    shell_complete=complete_overrides,
    help="any value of the configuration, such as backbone.name=tiny_vit optimizer.lr=0.003 seed=1, anywhere among the "
    "options",
)
@click.pass_context
def command(
    context: click.Context,
    config: str | None,
    reproduce: Path | None,
    compile_model: bool,
    compile_optimizer: bool,
    dry_run: bool,
    overrides: tuple[str, ...],
) -> int:
    """Trains in this process, or as ``bocb train`` through accelerate's launcher where that would start several."""
    generic = reproduce is None and is_generic(config, overrides)
    given = {"--config": config is not None, "--reproduce": reproduce is not None}
    options.only_one(context, given, required=not generic)
    setting = None if config is None or generic else find_config(config, "recipes/configs")
    flags = {"runtime.compile_model=true": compile_model, "runtime.compile_optimizer=true": compile_optimizer}
    changes = [*overrides, *(change for change, on in flags.items() if on)]
    words = [*(word for name in named_plugins(context) for word in ("--plugin", name)), *words_of(context)]
    if limits_instructions(changes) if generic else wants_portable(setting, reproduce, changes):
        if must_start_again():
            start_again(words)
        limit_instructions()  # before torch is imported
    try:
        import accelerate  # noqa: F401 - imports torch; asked for here, so that a missing one is named
    except ImportError:
        raise missing_extra("torch", "train") from None
    if context.parent is not None and not dry_run and _through_launcher():
        from bocb_hf.engine.launch import launch_recipe

        return launch_recipe(words)
    if generic:
        setting, changes, said = choose_generic(changes)
        if os.environ.get("RANK", "0") == "0":  # of several processes that the launcher started, the first
            click.echo("\n".join([*said, f"Setting: {setting.parent.name}/{setting.stem}", ""]))
    return train(setting, reproduce, changes, dry_run)


def _through_launcher() -> bool:
    """Whether accelerate's launcher would start several processes, or a user has configured it."""
    import torch
    from accelerate.commands.config.config_args import default_config_file

    return torch.cuda.device_count() > 1 or Path(default_config_file).is_file()


def load_config(setting: Path | None, reproduce: Path | None, overrides: Sequence[str]) -> RunConfig:
    """The configuration of a setting or of a record, with overrides.

    Raises:
        InputError: Everything that is wrong with it, together.
    """
    from bocb_hf.backbones.definition import check_backbone

    return _load(setting, reproduce, overrides, check_backbone)


def wants_portable(setting: Path | None, reproduce: Path | None, overrides: Sequence[str]) -> bool:
    """Whether the configuration limits the instructions of the processor; found out without importing torch."""
    try:
        return _load(setting, reproduce, overrides).runtime.portable
    except InputError:  # ``load_config`` reports it, together with what only it checks
        return False


def _load(
    setting: Path | None,
    reproduce: Path | None,
    overrides: Sequence[str],
    check_backbone: Callable[[str], None] | None = None,
) -> RunConfig:
    if setting is not None:
        return load_run_config(setting, overrides, check_backbone)
    assert reproduce is not None  # the command takes one of the two
    try:
        from bocb_hf.results.records_file import read_one

        record = read_one(reproduce)
    except OSError as error:
        raise InputError(f"--reproduce: {reproduce} cannot be read: {error.strerror}") from error
    runtime = runtime_of(record, int(os.environ.get("WORLD_SIZE", "1")))
    runtime.pop("cuda_graphs")  # they change no weight, and only some machines have them
    return build_run_config(
        sections_of(record) | {"runtime": runtime}, overrides, check_backbone, source=str(reproduce)
    )


def _check_reproduces(path: Path, overrides: Sequence[str], config: RunConfig) -> None:
    """Compares the run with the record that it is to repeat, unless overrides change it on purpose.

    Raises:
        InputError: Data, starting weights or code have changed since; the message names the fields.
    """
    where = ("runtime.", "seed=", "role=", "data.name=", "backbone.pretrained=")  # places, not what the run is
    if any(not override.startswith(where) for override in overrides):
        return
    from bocb_hf.engine.prepare import prepare_run
    from bocb_hf.results.records_file import read_one

    check_same(prepare_run(config).identity, read_one(path), f"--reproduce: {path}")


def train(setting: Path | None, reproduce: Path | None, overrides: Sequence[str], dry_run: bool) -> int:
    """Trains in this process, which may be one of several.

    Args:
        setting: The YAML file of a setting; None where a record is given.
        reproduce: A record to run again instead.
        overrides: As ``section.key=value``.
        dry_run: Print the resolved run with its cost instead.

    Returns:
        0 when the run completed or diverged, which is a result; 130 when it was stopped and can be continued.

    Raises:
        InputError: Bad input.
    """
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    from bocb_hf.engine.prepare import prepare_run
    from bocb_hf.engine.processes import check_world_size

    # without the flag, accelerate takes several CPU processes for as many single ones
    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
    main_process = state.is_main_process
    check_world_size(state.num_processes)
    show_log(logging.INFO if main_process else logging.ERROR)
    config = load_config(setting, reproduce, overrides)
    if reproduce is not None:
        _check_reproduces(reproduce, overrides, config)
    if dry_run:
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
    lines = [f"{record.status}: run {record.run_id} ({record.role}, seed {record.seed})"]
    if record.reason is not None:
        lines.append(f"  {record.reason}")
    top1 = record.metrics.test or record.metrics.val
    if top1 is not None and top1.last is not None:
        split = f"test split {record.test_split!r}" if record.test_split else "validation split"
        lines.append(f"  {record.metrics.name} {top1.last:.2f} % of {top1.n} images, last weights, {split}")
    details = record.metrics.test_details
    if details:
        lines.append("  " + ", ".join(f"{name} {value:.2f} %" for name, value in details.items()))
    # of a diverged run the reason stands above
    lines += [f"  {d.finding.replace('_', ' ')}: {d.text}" for d in diagnose(record) if d.finding != "diverged"]
    lines.append(f"  record {_place(record, runtime)}")
    return "\n".join(lines)


def _place(record: RunRecord, runtime: RuntimeConfig) -> str:
    """Where the record lies: a file here, also of a run that goes on to the Hub, or else its address there."""
    from bocb_hf.store.write import find_place

    on_hub = runtime.store.startswith(HUB_SCHEME)
    root = runtime.local_store if on_hub else runtime.store
    place = find_place(open_store(root), runtime.namespace, record.identity)
    path = Path(root) / "models" / place / record.path()
    if path.is_file():
        return str(path)
    if on_hub:  # trained elsewhere, and found there
        return f"{runtime.store}/{place.partition('/')[2]}/{record.path()}"
    return f"{path} (not stored: the finished run there stays until this one is finished too)"


def main_of_task(task: str, argv: Sequence[str] | None = None) -> int:
    """Entry point of the recipe of a task, such as ``recipes/detection.py``; returns the exit status.

    Args:
        task: The task, which a configuration of another one is refused for.
        argv: The words after the recipe's name; None takes those of this process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    # a record says its task by itself, and nothing of it may be changed
    trains = not {"--reproduce", "--help", "-h"} & {word.partition("=")[0] for word in words}
    return run(command, [*words, *([f"task.name={task}"] if trains else [])], f"{task}.py")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``recipes/train.py``; returns the exit status."""
    return run(command, argv, "train.py")
