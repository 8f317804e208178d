"""Reads starting weights from safetensors files, and checks whether a network really took them.

timm turns ``strict`` off when the head's size differs, which is the normal case of fine-tuning, and transformers draws
every tensor anew that it does not find. So the tensors that either of them took are compared here with the network's
own.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from bocb_hf.errors import InputError
from bocb_hf.runs.measurements import StartingWeights
from bocb_hf.schema import one_line

log = logging.getLogger(__name__)

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

# prefixes that DistributedDataParallel, torch.compile and training frameworks put before the names of tensors
WRAPPERS = ("module.", "_orig_mod.", "model.", "encoder.", "backbone.")
_DEEPEST = 4  # largest number of wrappers around each other
_SHOWN = 5  # number of names in a message


def find_files(folder: Path) -> list[Path]:
    """Finds the safetensors files of a folder: a single file, or the shards that its index names.

    Raises:
        InputError: There is no file, or the index names something else than files beside it.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = folder / INDEX
    if not index.is_file():
        raise InputError(
            f"backbone.pretrained: {folder} holds no {WEIGHTS} (and no {INDEX}); weights are read from safetensors only"
        )
    files = [folder / name for name in read_index(index)]
    for file in files:
        if not file.is_file():
            raise InputError(f"backbone.pretrained: {index} names {file.name}, which is not there; fetch it as well")
    return files


def read_index(path: Path) -> list[str]:
    """Reads the names of the shards from an index, sorted.

    Raises:
        InputError: The file is not an index, or a name leads out of the folder or is not that of a safetensors file.
    """
    try:
        names = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"backbone.pretrained: {path} is not an index of safetensors files ({error!r})") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise InputError(f"backbone.pretrained: {path} names {name!r}; only safetensors files beside it are read")
    if not names:
        raise InputError(f"backbone.pretrained: {path} names no file")
    return names


def hash_files(files: list[Path]) -> str:
    """SHA-256 of a safetensors file; for several files, it is that of their names and hashes, one a line.

    Raises:
        InputError: A file is truncated or not safetensors.
    """
    hashes: list[str] = []
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                file.keys()
            with path.open("rb") as file:
                hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"backbone.pretrained: {path} is damaged or not safetensors ({error}); fetch it again"
            ) from error
    if len(files) == 1:
        return hashes[0]
    lines = "".join(f"{path.name}\0{found}\n" for path, found in zip(files, hashes, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Reads every tensor of the safetensors files in a folder.

    Raises:
        InputError: A file is missing or damaged, two files hold a tensor of the same name, or there is no tensor at
            all.
    """
    tensors: dict[str, Tensor] = {}
    for path in find_files(folder):
        try:
            read = load_file(path)
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"backbone.pretrained: {path} is damaged or not safetensors ({error}); fetch it again"
            ) from error
        twice = sorted(tensors.keys() & read.keys())
        if twice:
            raise InputError(f"backbone.pretrained: two files of {folder} hold {_few(twice)}; only one of them may")
        tensors |= read
    if not tensors:
        raise InputError(f"backbone.pretrained: {folder} holds no tensor; give the weights of the network")
    return tensors


@dataclass(frozen=True)
class Fit:
    """The fit of the tensors in a file to those of a network.

    Only tensors of floating-point numbers count; the others are counters and indices, which were not learned.

    Attributes:
        taken: Names of the network's tensors that come from the file.
        missing: Names of tensors that the file lacks, without those of the classifier.
        misfits: Descriptions of tensors of a wrong shape or type, without those of the classifier.
        broken: Names of taken tensors that hold NaN or an infinity.
        drawn: Names of the classifier's tensors that are drawn anew.
        unused: Names of tensors in the file that the network has no place for.
        prefix: Prefixes of wrappers that were taken off the names.
    """

    taken: tuple[str, ...]
    missing: tuple[str, ...]
    misfits: tuple[str, ...]
    broken: tuple[str, ...]
    drawn: tuple[str, ...]
    unused: tuple[str, ...]
    prefix: str = ""

    @property
    def complete(self) -> bool:
        """Whether every tensor but the classifier's comes from the file."""
        return bool(self.taken) and not self.missing and not self.misfits


def describe_misfit(name: str, given: Tensor, own: Tensor) -> str | None:
    """Describes why a tensor does not fit (its shape, or integers instead of floats); None if it fits."""
    if given.shape != own.shape:
        return f"{name} ({tuple(given.shape)} in the file, {tuple(own.shape)} here)"
    if own.is_floating_point() and not given.is_floating_point():
        types = (str(tensor.dtype).removeprefix("torch.") for tensor in (given, own))
        return "{} ({} in the file, {} here)".format(name, *types)
    return None


def not_finite(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Names of the tensors that hold NaN or an infinity, sorted."""
    return tuple(
        sorted(name for name, t in tensors.items() if t.is_floating_point() and not bool(torch.isfinite(t).all()))
    )


def unwrapped(tensors: dict[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yields pairs of prefix and tensors: all tensors with no prefix, then without each prefix of wrappers in names."""
    found = [("", tensors)]
    for depth in range(_DEEPEST + 1):
        yield from found
        if depth == _DEEPEST:
            return
        deeper: list[tuple[str, dict[str, Tensor]]] = []
        for prefix, named in found:
            for wrapper in WRAPPERS:
                rest = {name.removeprefix(wrapper): t for name, t in named.items() if name.startswith(wrapper)}
                if rest:
                    deeper.append((prefix + wrapper, rest))
        found = deeper


Attempt = Callable[[dict[str, Tensor]], tuple[nn.Module, Fit]]


def start_from(tensors: dict[str, Tensor], attempt: Attempt, where: str) -> tuple[nn.Module, StartingWeights]:
    """Builds a network all of whose tensors but the classifier's start from the given ones.

    Prefixes of wrappers are taken off the names when the tensors then fit exactly.

    Args:
        tensors: Tensors from ``read_tensors``.
        attempt: Function that builds the network from tensors by their names; it is called only once where they fit as
            they are.
        where: The folder or id of the weights, for errors.

    Returns:
        The network, and the description of its start for the record.

    Raises:
        InputError: A tensor is missing, has a wrong shape, or is not finite.
    """
    fits: list[Fit] = []
    for prefix, named in unwrapped(tensors):
        try:
            model, fit = attempt(named)
        except InputError:
            if not prefix:
                raise
            continue
        if fit.complete and (not prefix or not fit.unused):
            outside = tuple(sorted(name for name in tensors if not name.startswith(prefix)))
            return model, _accept(replace(fit, prefix=prefix, unused=fit.unused + outside), where)
        fits.append(replace(fit, prefix=prefix))
    raise InputError(_explain(max(fits, key=lambda fit: (len(fit.taken), not fit.prefix)), len(tensors), where))


def _accept(fit: Fit, where: str) -> StartingWeights:
    if fit.broken:
        raise InputError(
            f"backbone.pretrained: {len(fit.broken)} of {len(fit.taken)} tensors of {where} hold NaN or an infinity: "
            f"{_few(fit.broken)}; a run cannot start from them, so take another checkpoint"
        )
    prefix = f", without the prefix {fit.prefix!r} of their names" if fit.prefix else ""
    log.info("starting weights: %d of %d tensors taken%s", len(fit.taken), len(fit.taken) + len(fit.drawn), prefix)
    if fit.drawn:
        log.info("starting weights: drawn anew, since the file has no such classifier: %s", _few(fit.drawn))
    if fit.unused:
        log.warning(
            "starting weights: %d tensors of %s have no place in this network and are not used: %s",
            len(fit.unused),
            where,
            _few(fit.unused),
        )
    return StartingWeights(taken=len(fit.taken), drawn=list(fit.drawn), unused=len(fit.unused), prefix=fit.prefix)


def _explain(fit: Fit, given: int, where: str) -> str:
    wanted = len(fit.taken) + len(fit.missing) + len(fit.misfits)
    parts = []
    if fit.missing:
        parts.append(f"{len(fit.missing)} are missing from it: {_few(fit.missing)}")
    if fit.misfits:
        parts.append(f"{len(fit.misfits)} are of another shape or type: {_few(fit.misfits)}")
    if fit.unused:
        parts.append(f"of the file's {given} tensors {len(fit.unused)} have no place here: {_few(fit.unused)}")
    return (
        f"backbone.pretrained: {where} does not hold the weights of this network, of which "
        f"{len(fit.missing) + len(fit.misfits)} of {wanted} tensors would be drawn anew; "
        + "; ".join(parts)
        + ". Take a checkpoint of this very network, or the backbone.args and data.image_size that it was trained with"
    )


def _few(names: Collection[str]) -> str:
    """The first few names and the number of the others; names are made safe, since they come from strangers' files."""
    shown = ", ".join(one_line(name, 150) for name in list(names)[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
