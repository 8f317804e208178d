"""``bocb compare``: which optimizer for these images and this backbone, within a given time."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.commands.command import named_plugins, words_of
from bocb_hf.commands.completion import rows
from bocb_hf.errors import InputError, missing_extra

_DETAILS = """\
It splits the images, decides how to train (every decision is printed with its reason and has a flag), times a few
steps, and writes a plan that fits into the time; the sweep runs it and stops in time. The answer comes first: the best
optimizer at its rate with an interval, what the others lose, and whether they can be told apart. Ctrl-C and the same
command continues; the same command after its end, or with another --time, goes on with more. `bocb status
FOLDER/plan.yaml` shows how far it is. docs/compare.md has an example.
"""
_OPTION_OF = "as the data and the backbone ask for"


@declare("compare", _DETAILS)
@click.argument(
    "data",
    metavar="DATA",
    help="a folder of class folders, with or without train and test; a folder of Parquet files; or an id on the Hub",
)
@click.option(
    "--backbone",
    "backbones",
    required=True,
    multiple=True,
    metavar="NAME",
    shell_complete=rows("backbones", files=True),
    help="a timm name, with a tag for its weights (convnext_tiny.fb_in1k); an id on the Hub; or a folder with "
    "config.json and safetensors; several share the time",
)
@click.option(
    "--time", "given", default="30m", metavar="TIME", help="the time that it may take, such as 90s, 30m or 2h"
)
@click.option("--scratch", is_flag=True, help="train from scratch, although the name has weights")
@click.option(
    "--setting",
    type=options.OneOf(["scratch_small", "scratch_large", "finetune", "linear_probe"]),
    show_default=_OPTION_OF,
    help="how to train",
)
@click.option("--image-size", type=click.IntRange(8, 1024), metavar="PIXELS", show_default=_OPTION_OF)
@click.option("--epochs", type=click.IntRange(1, 10_000), metavar="N", show_default=_OPTION_OF)
@click.option("--batch-size", type=click.IntRange(1), metavar="N", show_default=_OPTION_OF)
@click.option("--precision", type=options.OneOf(["fp32", "bf16", "fp16"]), show_default="bf16 on a GPU, fp32 on a CPU")
@click.option(
    "--optimizers",
    metavar="ID,ID,...",
    shell_complete=rows("optimizers"),
    show_default="AdamW, SGD-M, and what `bocb recommend` names for the backbone",
    help="the optimizers to compare, at least 2",
)
@click.option(
    "--rates",
    type=options.OneOf(["1", "3", "5", "7", "9"]),
    show_default="5, or fewer to fit into the time",
    help="learning rates that are tried for each optimizer",
)
@click.option(
    "--seeds",
    type=click.IntRange(2, 20),
    metavar="N",
    show_default="2 or more, as the time allows",
    help="final seeds of each optimizer",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    show_default="one for each core or GPU",
    help="number of processes that train",
)
@click.option(
    "--test-fraction",
    type=click.FloatRange(0.01, 0.49),
    metavar="SHARE",
    show_default="0.2",
    help="share of train that is drawn as test split where there is none",
)
@click.option("--revision", metavar="SHA", show_default="the newest", help="commit of a data set on the Hub")
@click.option("--image-column", metavar="NAME", show_default="found by its type")
@click.option("--label-column", metavar="NAME", show_default="found by its type")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    show_default="one below outputs/compare, named after data and backbone",
    help="folder to write to; for the plan, the runs, the answer and its page",
)
@options.dry_run("what was decided, the plan and its cost, for which a few steps are timed")
@click.pass_context
def command(
    context: click.Context,
    data: str,
    backbones: tuple[str, ...],
    given: str,
    scratch: bool,
    setting: str | None,
    image_size: int | None,
    epochs: int | None,
    batch_size: int | None,
    precision: str | None,
    optimizers: str | None,
    rates: str | None,
    seeds: int | None,
    workers: int | None,
    test_fraction: float | None,
    revision: str | None,
    image_column: str | None,
    label_column: str | None,
    out: Path | None,
    dry_run: bool,
) -> int:
    """Compares and prints the answer.

    Returns:
        1 if a run failed or there is no answer, else 0.

    Raises:
        InputError: Data, backbone or an option is wrong, or the time is too short; found before anything is trained.
        KeyboardInterrupt: It was stopped; what ran has saved its state.
    """
    began = time.monotonic()
    from bocb_hf.compare.asked import Asked, parse_time

    seconds = parse_time(given)
    if len(set(backbones)) < len(backbones):
        raise InputError("--backbone: names one twice; give each once")
    try:
        import torch  # noqa: F401 - asked for here, so that the error comes before anything is read
    except ImportError:
        raise missing_extra("torch", "train") from None
    from bocb_hf.compare.folder import default_folder
    from bocb_hf.compare.run import Comparison

    words = [word for word in words_of(context) if word != "--dry-run"]
    again, status, answers = shlex.join(["bocb", "compare", *words]), 0, list[str]()
    for place, backbone in enumerate(backbones):
        left = seconds - (time.monotonic() - began)
        asked = Asked(
            data=data,
            backbone=backbone,
            seconds=seconds if len(backbones) == 1 else left / (len(backbones) - place),
            scratch=scratch,
            setting=setting,
            image_size=image_size,
            epochs=epochs,
            batch_size=batch_size,
            precision=precision,
            optimizers=tuple(filter(None, (name.strip() for name in (optimizers or "").split(",")))),
            rates=int(rates) if rates else None,
            seeds=seeds,
            workers=workers,
            test_fraction=test_fraction,
            revision=revision,
            image_column=image_column,
            label_column=label_column,
        )
        own = out if out is None or len(backbones) == 1 else out / default_folder(asked).name
        asked = Asked(**{**vars(asked), "out": own})
        started = began if place == 0 else time.monotonic()
        result = Comparison(asked, again, started, named_plugins(context), _say).run(dry_run)
        if result.stopped:
            raise KeyboardInterrupt
        if result.outcome is not None:
            for failure in result.outcome.failures:
                click.echo("\n".join(failure.lines()), err=True)
            status |= bool(result.outcome.failures) or result.answer is None or result.answer.best is None
        answers.append(f"{backbone}: {result.folder.path / 'answer.html'}")
    if len(backbones) > 1 and not dry_run:
        _say("\n".join(["", "The answers:", *answers]))
    return int(status)


def _say(line: str) -> None:
    click.echo(line)
