"""Processes for tests that limit, kill or lock, forked from one that has imported torch."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

_PATIENCE = 600.0  # seconds after which a process hangs, even on a slow machine


def preload() -> None:
    """Sets the imports of the process that all others are forked from."""
    get_context("forkserver").set_forkserver_preload(["benchmarks.preloaded"])


def begin(work: Callable[..., object], *arguments: Any) -> BaseProcess:
    """Starts a process."""
    preload()
    process = get_context("forkserver").Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def ended(process: BaseProcess) -> int | None:
    """Waits until a process ends and returns its exit code, 1 after an exception."""
    process.join(_PATIENCE)
    return process.exitcode


def in_process(work: Callable[..., object], *arguments: Any) -> int | None:
    """Runs `work` in a process and returns its exit code."""
    return ended(begin(work, *arguments))


def is_running(pid: int) -> bool:
    """Says whether a process runs; a killed one may wait for the system to collect it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def join_two(rank: int, port: int) -> None:
    """Sets the variables by which `torchrun` numbers two processes."""
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )


def in_two(work: Callable[..., object], *arguments: Any) -> list[int | None]:
    """Runs `work` in two processes and returns their exit codes."""
    port = free_port()
    processes = [begin(work, rank, port, *arguments) for rank in range(2)]
    return [ended(process) for process in processes]


def without_rights() -> None:
    """Drops the capabilities by which root ignores file modes."""
    version_3 = 0x20080522
    header = (ctypes.c_uint32 * 2)(version_3, 0)
    none = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")
