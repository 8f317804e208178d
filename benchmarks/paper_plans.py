"""Writes the plans that repeat the study's tables, and the table of ``docs/repeat_the_paper.md``.

    python benchmarks/paper_plans.py --count     # counts the FLOPs of each backbone anew, then writes
    python benchmarks/paper_plans.py             # writes from benchmarks/paper_flops.csv as it is

Device-hours are estimates and no measurement: three times the forward FLOPs of every training image in every epoch at
60 TFLOP/s, as in the headers of the settings. ``bocb sweep PLAN --dry-run`` times steps on the machine it runs on.
"""

from __future__ import annotations

import argparse
import csv
import textwrap
from collections.abc import Sequence
from pathlib import Path

from bocb_hf.backbones import BACKBONES
from bocb_hf.coupling.published import published
from bocb_hf.optim import OPTIMIZERS

ROOT = Path(__file__).resolve().parent.parent
FLOPS = ROOT / "benchmarks/paper_flops.csv"
PAGE = ROOT / "docs/repeat_the_paper.md"
BEGIN, END = "<!-- written by benchmarks/paper_plans.py -->", "<!-- end of what benchmarks/paper_plans.py writes -->"
RATE = 60e12  # FLOP/s that the headers of the settings assume
IMAGES = {"cifar100": 50_000, "imagenet1k": 1_281_167}
EPOCHS = {"cifar100": 200, "imagenet1k": 300}
CLASSES = {"cifar100": 100, "imagenet1k": 1000}
SEARCH, SEEDS = 25, 3  # trials and final runs of a cell: 5 learning rates × 5 weight decays, then three seeds
STUDY = 20  # optimizers and CIFAR-100 backbones of the study
# the study's ImageNet columns: our setting and the name that the study gives it
IMAGENET = {"deit_small_patch16_224": ("deit", "DeiT"), "resnet50": ("rsb_a2", "A2")}


def plans() -> dict[str, list[str]]:
    """The backbones of each plan, by setting; a setting at 32 and at 224 px is two."""
    found: dict[str, list[str]] = {}
    for name in study_backbones():
        row = BACKBONES.get(name)
        apart = row.setting in ("pytorch", "convnext") and row.image_size == 224
        found.setdefault(f"cifar100/{row.setting}{'_224' * apart}", []).append(name)
    for name, (setting, _) in IMAGENET.items():
        found[f"imagenet1k/{setting}"] = [name]
    return found


def study_backbones() -> list[str]:
    """The 20 backbones of the study's CIFAR-100 table, in its order."""
    return list(published("cifar100").backbones)


def study_optimizers() -> list[str]:
    """The 20 optimizers of the study."""
    return OPTIMIZERS.names()[:STUDY]


def count() -> dict[tuple[str, str], int]:
    """Forward FLOPs of one image, by setting and backbone; no weights are made."""
    import torch

    from bocb_hf.backbones.build import create_from_scratch, resolve_backbone
    from bocb_hf.engine.environment import count_flops
    from bocb_hf.runs.config import BackboneConfig

    found: dict[tuple[str, str], int] = {}
    for setting, names in plans().items():
        for name in names:
            size = 224 if setting.startswith("imagenet1k") else BACKBONES.get(name).image_size
            source = resolve_backbone(BackboneConfig(name=name), 0.0, size)
            with torch.device("meta"):
                model = create_from_scratch(source.identity, CLASSES[setting.partition("/")[0]], 0)
            found[setting, name] = count_flops(model, size)
    return found


def read_flops() -> dict[tuple[str, str], int]:
    """What ``count`` found when it was last kept."""
    with FLOPS.open(encoding="utf-8", newline="") as file:
        return {(row["setting"], row["backbone"]): int(row["forward_flops"]) for row in csv.DictReader(file)}


def hours(setting: str, flops: int) -> float:
    """Estimated device-hours of one run."""
    data = setting.partition("/")[0]
    return 3 * flops * IMAGES[data] * EPOCHS[data] / RATE / 3600


def plan_hours(setting: str, flops: dict[tuple[str, str], int]) -> float:
    """Estimated device-hours of a whole plan without extensions."""
    each = sum(hours(setting, flops[setting, name]) for name in plans()[setting])
    return each * STUDY * (SEARCH + SEEDS)


def plan_name(setting: str) -> str:
    """The name by which ``bocb sweep`` takes the plan."""
    return f"paper-{setting.replace('/', '-')}"


def render_plan(setting: str, flops: dict[tuple[str, str], int]) -> str:
    """The plan of a setting."""
    names, data = plans()[setting], setting.partition("/")[0]
    cells = len(names) * STUDY
    head = {
        "Purpose": f"the study's {'CIFAR-100' if data == 'cifar100' else 'ImageNet'} table in the setting {setting}: "
        f"{len(names)} of its backbones × its 20 optimizers, 5 learning rates × 5 weight decays, then three seeds. "
        "docs/repeat_the_paper.md has its scores.",
        "Command": f"bocb sweep {plan_name(setting)} --dry-run && bocb sweep {plan_name(setting)}",
        "Measured": "not measured",
        "Cost": f"{cells * SEARCH:,} trials and {cells * SEEDS:,} final runs, about {plan_hours(setting, flops):,.0f} "
        "device-hours (estimated as in the header of the setting, without extensions); a part of it is a plan with "
        "fewer backbones, optimizers or rates",
    }
    lines = [line for key, text in head.items() for line in wrapped(f"# {key}:".ljust(13), text, "#" + " " * 12)]
    optimizers = textwrap.wrap(", ".join(study_optimizers()), 100)
    return "\n".join(
        [
            *lines,
            f"name: {plan_name(setting).replace('-', '_')}",
            f"config: {setting}",
            f"backbones: [{', '.join(names)}]",
            "optimizers:",
            f"  [{f'{chr(10)}   '.join(optimizers)}]",
            "tuning: {protocol: grid, points: 5, decay_points: 5, seeds: [0], selection: best}",
            f"final_seeds: [{', '.join(map(str, range(1, SEEDS + 1)))}]",
            "",
        ]
    )


def wrapped(start: str, text: str, further: str) -> list[str]:
    """One value of a header in lines."""
    return textwrap.wrap(text, 118, initial_indent=start, subsequent_indent=further, break_on_hyphens=False)


def render_table(flops: dict[tuple[str, str], int]) -> str:
    """The block of the page."""
    lines = [
        "| plan | backbone | px | GFLOPs an image | hours a run | published best | SGD-M | AdamW |",
        "|---|---|---:|---:|---:|---|---:|---:|",
    ]
    for setting, names in plans().items():
        data = setting.partition("/")[0]
        scores = published("cifar100" if data == "cifar100" else "imagenet1k")
        for name in names:
            row = BACKBONES.get(name)
            printed = name if data == "cifar100" else f"{name} ({IMAGENET[name][1]})"
            column = dict(zip(scores.optimizers, scores.values[scores.backbones.index(printed), :, 0], strict=True))
            best = max(column, key=lambda optimizer: column[optimizer])
            one = flops[setting, name]
            size = 224 if data == "imagenet1k" else row.image_size
            lines.append(
                f"| `{plan_name(setting)}` | {row.short} | {size} | {one / 1e9:.2f} | {hours(setting, one):.2f} | "
                f"{OPTIMIZERS.get(best).short} {column[best]:.2f} | {column['sgdm']:.2f} | {column['adamw']:.2f} |"
            )
    lines += ["", "| plan | cells | runs | device-hours, estimated |", "|---|---:|---:|---:|"]
    for setting, names in plans().items():
        cells = len(names) * STUDY
        lines.append(
            f"| `{plan_name(setting)}` | {cells} | {cells * (SEARCH + SEEDS):,} | {plan_hours(setting, flops):,.0f} |"
        )
    for data, title in (("cifar100", "CIFAR-100"), ("imagenet1k", "ImageNet")):
        each = [setting for setting in plans() if setting.startswith(data)]
        cells = sum(len(plans()[setting]) for setting in each) * STUDY
        total = sum(plan_hours(setting, flops) for setting in each)
        lines.append(f"| {title}, all of it | {cells} | {cells * (SEARCH + SEEDS):,} | {total:,.0f} |")
    return "\n".join(lines)


def places(flops: dict[tuple[str, str], int]) -> dict[Path, str]:
    """The text of each file that is written."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN + "\n")
    _, after = rest.split("\n" + END)
    written = {ROOT / f"recipes/sweeps/{plan_name(setting)}.yaml": render_plan(setting, flops) for setting in plans()}
    return written | {PAGE: f"{before}{BEGIN}\n{render_table(flops)}\n{END}{after}"}


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", action="store_true", help="count FLOPs anew, which takes half a minute")
    if parser.parse_args(argv).count:
        rows = [f"{setting},{name},{flops}" for (setting, name), flops in count().items()]
        FLOPS.write_text("\n".join(["setting,backbone,forward_flops", *rows]) + "\n", encoding="utf-8")
        print(f"wrote {FLOPS}")
    for path, text in places(read_flops()).items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
