"""Packages of the extras that formats need."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from smash.errors import MissingExtraError

_PACKAGES = {
    ".onnx": ("onnx", "onnxscript", "onnxruntime"),
    ".pte": ("executorch",),
}


def check_packages(ending: str) -> None:
    """Checks that the packages for a format are installed, without the seconds of importing them.

    Raises:
        MissingExtraError: A package is not installed.
    """
    missing = [name for name in _PACKAGES.get(ending, ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise missing_extra(", ".join(map(repr, missing)))


def import_package(name: str) -> ModuleType:
    """Imports a package that a format needs, or a module of it.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise missing_extra(repr(name)) from None


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silences packages that warn of their own code, or advise what was done already."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def missing_extra(packages: str) -> MissingExtraError:
    """Makes the error for packages that are not installed."""
    extra, title = ("executorch", "ExecuTorch") if "executorch" in packages else ("onnx", "ONNX")
    return MissingExtraError(
        f"{title} needs packages that are not installed, {packages}: install them with "
        f"pip install 'smash-nas[{extra}]'"
    )
