"""Packages that import what they re-export on first use, so that importing them is quick."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def importer(package: str, homes: Mapping[str, Iterable[str]]) -> Callable[[str], Any]:
    """Makes the ``__getattr__`` of a package (PEP 562).

    Args:
        package: Name of the package.
        homes: The names that it re-exports, by the module that defines them.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def find(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(home_of[name]), name)

    return find
