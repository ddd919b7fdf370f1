"""An executor of worker processes on this machine, which share the threads of this one.

A small network leaves most of many threads idle: on two cores two workers train eight networks for
the digits in 0.67 of the time that one process takes. Workers end with this process, however it
ends, and one that is to end in the middle of its work is sent SIGTERM, as by a scheduler, so that
it saves its state first.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, as_completed, wait
from concurrent.futures import Future as PoolFuture
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import cloudpickle
import torch
from loky import ProcessPoolExecutor
from loky.process_executor import BrokenProcessPool

from smash.errors import LostProcessError
from smash.runtime.executor import Executor, Future, Movable
from smash.runtime.signals import Terminated

R = TypeVar("R")

_PAUSE = 0.2  # seconds until a worker looks again whether it is still wanted


class WorkerExecutor(Executor):
    """Does work in processes of this machine, which start with the first piece of it.

    Args:
        workers: Number of processes; each computes with its share of the threads of this one.

    Example:
        >>> with WorkerExecutor(workers=2) as executor:
        ...     executor.submit(divmod, 17, 5).result()
        (3, 2)
    """

    def __init__(self, workers: int) -> None:
        self.slots = workers
        threads = max(1, torch.get_num_threads() // workers)
        self._folder = Path(mkdtemp(prefix="smash-workers-"))
        self._numbers = count()
        self._pool = ProcessPoolExecutor(
            workers,
            initializer=_begin,
            initargs=(self._folder, os.getpid(), threads),
            env={"OMP_NUM_THREADS": str(threads)},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self._pool.shutdown()
        rmtree(self._folder)  # which tells workers to end
        self._pool.shutdown()

    def scatter(self, value: Movable) -> Any:
        """Writes the value to a file, which each worker reads once; the last one is removed."""
        # A worker that has begun removes the file even if this process is killed.
        self._pool.submit(os.getpid).result()
        for last in self._folder.iterdir():
            last.unlink()
        path = self._folder / str(next(self._numbers))
        path.write_bytes(cloudpickle.dumps(value))
        return _Scattered(path)

    def submit(self, function: Callable[..., R], /, *arguments: Any) -> Future[R]:
        """Submits a piece of work; a future among its arguments is waited for."""
        plain = [each.result() if isinstance(each, _WorkerFuture) else each for each in arguments]
        return _WorkerFuture(self._pool.submit(_run, function, *plain))

    def as_completed(self, futures: Sequence[Future[R]]) -> Iterator[Future[R]]:
        """Yields first what is done first."""
        own = {each.future: each for each in futures if isinstance(each, _WorkerFuture)}
        for future in as_completed(own):
            yield own[future]

    def wait(self, futures: Sequence[Future[R]], seconds: float) -> list[Future[R]]:
        """Waits until a piece of work is done, or some seconds; returns what is done."""
        own = {each.future: each for each in futures if isinstance(each, _WorkerFuture)}
        done, _ = wait(own, seconds, FIRST_COMPLETED)
        return [own[future] for future in done]


@dataclass(frozen=True, eq=False)
class _WorkerFuture(Generic[R]):
    future: PoolFuture[R]

    def result(self) -> R:
        try:
            return self.future.result()
        except BrokenProcessPool:
            raise LostProcessError(
                "a worker process has ended, by a signal or for want of memory; what is finished "
                "is kept: repeat the command, with fewer workers if memory is scarce"
            ) from None


@dataclass(frozen=True)
class _Scattered:
    path: Path

    @lru_cache(maxsize=1)  # noqa: B019, a worker needs the last one only
    def open(self) -> Any:
        return cloudpickle.loads(self.path.read_bytes())


def _begin(folder: Path, parent: int, threads: int) -> None:
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # between two pieces of work; the parent hears it
    threading.Thread(target=_watch, args=(folder, parent), daemon=True).start()


def _watch(folder: Path, parent: int) -> None:
    """Ends this process once its parent has ended or removed the folder."""
    while folder.exists() and os.getppid() == parent:
        time.sleep(_PAUSE)
    rmtree(folder, ignore_errors=True)
    os.kill(os.getpid(), signal.SIGTERM)


def _run(function: Callable[..., R], *arguments: Any) -> R:
    try:
        return function(
            *(each.open() if isinstance(each, _Scattered) else each for each in arguments)
        )
    except (KeyboardInterrupt, Terminated):  # the state is saved; there is no more work to do
        os._exit(1)
