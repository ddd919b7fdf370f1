"""Processes for tests that limit, kill or lock: forked from one that has imported torch."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

_PRELOADED = [
    "torch._dynamo",
    "sklearn.datasets",
    "smash.searching.search",
    "smash.correlation.correlate",
    "smash.cli.main",
]
_PATIENCE = 600.0  # seconds: what hangs fails, and the slowest of machines does not


def preload() -> None:
    """Says what the process that others are forked from imports, once in a session."""
    get_context("forkserver").set_forkserver_preload(_PRELOADED)


def begin(work: Callable[..., object], *arguments: Any) -> BaseProcess:
    """Starts a process."""
    preload()
    process = get_context("forkserver").Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def ended(process: BaseProcess) -> int | None:
    """Waits until a process ends, and gives its exit code; 1 where it raised."""
    process.join(_PATIENCE)
    return process.exitcode


def in_process(work: Callable[..., object], *arguments: Any) -> int | None:
    """Works in a process, and gives its exit code."""
    return ended(begin(work, *arguments))


def without_rights() -> None:
    """Gives up what lets root write where modes forbid it."""
    version_3 = 0x20080522
    header = (ctypes.c_uint32 * 2)(version_3, 0)
    none = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")
