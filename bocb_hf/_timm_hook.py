"""Registers our architectures when timm is imported, without importing timm (and torch) ourselves.

timm has no entry points for models; a module must be imported after it. This finder waits for ``import timm``, lets the
usual machinery do it, and imports ``bocb_hf.backbones.architectures`` afterwards.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_MODELS = "bocb_hf.backbones.architectures"


class _ThenRegister(Loader):
    """timm's own loader, followed by our registration."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        importlib.import_module(_MODELS)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


class _TimmFinder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "timm":
            return None
        # the finder stays in place: others ask for the spec without importing (transformers' is_timm_available)
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _ThenRegister(spec.loader)
                return spec
        return None


def register_with_timm() -> None:
    """Registers now or after the first ``import timm``; calling it again changes nothing."""
    if "timm" in sys.modules:
        importlib.import_module(_MODELS)
    elif not any(isinstance(finder, _TimmFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TimmFinder())
