"""Builds the network that a stranger's record describes, within the limits of its weights.

A record of a few bytes may ask for a width or a depth that no memory holds. The header of its safetensors file says how
many numbers there are, so no argument, number of layers or tensor beyond that is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from bocb_hf.errors import InputError
from bocb_hf.schema import one_line

_LARGEST_ARGUMENT = 4096  # always allowed: sizes that no tensor shows (a kernel, a window) are smaller
_MODULES_A_TENSOR = 50  # more than one, since activations, dropouts and containers hold no tensor
_FREE_ELEMENTS = 2**26  # numbers in buffers that are not saved, such as masks of windows (256 MB)


@dataclass(frozen=True)
class Header:
    """The header of a safetensors file, which describes its tensors.

    Attributes:
        shapes: Shape of each tensor by its name.
    """

    shapes: Mapping[str, tuple[int, ...]]

    @property
    def elements(self) -> int:
        """Number of values in the file."""
        return sum(torch.Size(shape).numel() for shape in self.shapes.values())

    @property
    def largest(self) -> int:
        """The largest side of a tensor, or the number of tensors if that is more."""
        return max([len(self.shapes), *(side for shape in self.shapes.values() for side in shape)])


def read_header(path: Path) -> Header:
    """Reads names and shapes of the tensors without their values.

    Raises:
        SafetensorError: The file is not in the format of safetensors.
        OSError: The file cannot be read.
    """
    with safe_open(path, framework="pt") as file:
        names = file.keys()  # not a dictionary, so it cannot be gone through by itself
        return Header({name: tuple(file.get_slice(name).get_shape()) for name in names})


class _BeyondError(InputError):
    """Error for a network with more modules or numbers than the file can fill."""


def check_arguments(args: Mapping[str, Any], header: Header) -> None:
    """Refuses arguments with a number that is larger than every size in the file.

    Raises:
        InputError: There is such a number.
    """
    most = max(header.largest, _LARGEST_ARGUMENT)
    for name, value in args.items():
        if any(abs(number) > most for number in _numbers(value)):
            raise InputError(
                f"backbone.args: {one_line(name, 100)} is larger than anything in the weights, whose largest size is "
                f"{header.largest}; this network is not built"
            )


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _numbers(item)


@contextmanager
def limited(header: Header) -> Iterator[None]:
    """Inside this context, no more layers and numbers can be registered with modules than a file can fill.

    Raises:
        InputError: A network would need more.
    """
    modules, elements = len(header.shapes) * _MODULES_A_TENSOR + 1000, header.elements + _FREE_ELEMENTS
    seen = {"modules": 0, "elements": 0}

    def count(kind: str, by: int, most: int) -> None:
        seen[kind] += by
        if seen[kind] > most:
            raise _BeyondError(
                f"backbone.args: they describe a network of more {kind} than its weights can fill ({header.elements:,} "
                f"numbers in {len(header.shapes):,} tensors); this network is not built"
            )

    def on_module(module: nn.Module, name: str, child: nn.Module | None) -> None:
        count("modules", 1, modules)

    def on_tensor(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        count("modules", 1, modules)
        count("elements", 0 if tensor is None else tensor.numel(), elements)

    handles = [
        register_module_module_registration_hook(on_module),
        register_module_parameter_registration_hook(on_tensor),
        register_module_buffer_registration_hook(on_tensor),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def check_described(build: Callable[[], nn.Module], args: Mapping[str, Any], header: Header, beginning: str) -> None:
    """Builds a network without memory and compares it with the file, before it is built with memory.

    An architecture that cannot be built without memory is left to ``limited``.

    Args:
        build: Function that builds the network on torch's default device.
        args: Arguments of the network in the record.
        header: Header of the weights.
        beginning: Beginning of an error message.

    Raises:
        InputError: The network asks for more than the file can fill, or its tensors are not those of the file.
    """
    check_arguments(args, header)
    try:
        with limited(header), torch.device("meta"):
            own = build().state_dict()
    except _BeyondError:
        raise
    except (InputError, NotImplementedError):
        return  # building with memory will say whether the arguments are wrong
    shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
    if shapes != header.shapes:
        changed = [n for n in sorted(shapes.keys() | header.shapes.keys()) if shapes.get(n) != header.shapes.get(n)]
        name = changed[0]
        raise InputError(
            f"{beginning}: {len(changed)} tensors are not the same, the first of them {one_line(name, 100)} "
            f"(record: {shapes.get(name, 'none')}, file: {header.shapes.get(name, 'none')})"
        )
