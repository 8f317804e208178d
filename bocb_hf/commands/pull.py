"""``bocb pull``: gets the best checkpoint of a backbone from a store, by validation score, and says how to load it."""

from __future__ import annotations

from pathlib import Path

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.commands.completion import rows

_DETAILS = """\
Lists the checkpoints of the backbone with their validation scores and how trusted each is, best first, then gets the
first. Test scores play no part, and of its seeds the lowest is taken. Retracted runs are left out. --results names the
data set that says which runs are verified. Weights that are not those of their record are refused.
"""


@declare("pull", _DETAILS)
@click.argument(
    "backbone", metavar="BACKBONE", shell_complete=rows("backbones"), help="the backbone as records name it"
)
@click.option(
    "--optimizer",
    metavar="NAME",
    shell_complete=rows("optimizers"),
    help="the optimizer that trained it (default: any)",
)
@click.option("--setting", metavar="NAME", help="the setting that it was trained under, where several fit")
@click.option("--dataset", metavar="NAME", help="the data that it was trained on, where several fit")
@options.seed("take the weights of this seed, and not of the lowest")
@options.store()
@options.results("--results", "a results data set: records from one download, and who has verified which")
@options.offline()
@options.out("outputs/pulled")
@options.dry_run("what there is")
def command(
    backbone: str,
    optimizer: str | None,
    setting: str | None,
    dataset: str | None,
    seed: int | None,
    store: str,
    results: str | None,
    offline: bool,
    out: Path,
    dry_run: bool,
) -> int:
    """Lists, downloads, prints the lines that load it.

    Raises:
        InputError: There is no such checkpoint, several cannot be compared, or the files are not what the store listed.
    """
    from bocb_hf.report.words.pull import left_out_text, offer_lines, pulled_text, title_text
    from bocb_hf.results.counted import read_counted
    from bocb_hf.results.pull import choose, download, find_offers, load_lines

    contents = read_counted(store, results, offline=offline, cached=True)
    offers = find_offers(contents, backbone, optimizer, setting, dataset)
    print(title_text(offers, contents.uri))
    print("\n".join(offer_lines(offers)))
    print("".join(f"{line}\n" for line in left_out_text(contents, backbone)), end="")
    if dry_run:
        return 0
    offer = choose(offers)
    record = offer.of_seed(seed)
    with options.naming("--out"):
        folder = download(store, offer, record, out, offline)
    print(f"\n{pulled_text(offer, record, folder)}\n")
    print("\n".join(load_lines(folder, record)))
    if record.metrics.score is None:  # a run starts from the weights of a classifier only
        print(f"\nTo fine-tune it: bocb train ... backbone.name={backbone} backbone.pretrained={folder}")
    return 0
