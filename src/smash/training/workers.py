"""Chooses the executor that trains the children of a run: a cluster, workers or this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from smash.data import IN_MEMORY
from smash.run.run import Run
from smash.runtime.device import choose_device
from smash.runtime.executor import Executor, SerialExecutor
from smash.runtime.memory import main_memory
from smash.runtime.ray_executor import open_executor
from smash.runtime.worker_executor import WorkerExecutor
from smash.training.settings import ChildrenSettings

MOST_SENT = 2**31
"""Bytes of data that another process is sent; larger ones it reads at their path."""

_LONG = 5  # seconds of a training, from which it is worth the four that a worker takes to start
_STEP = 0.01  # seconds of a step of the smallest network
_RATE = 1e10  # multiply-accumulates a second of one thread, about
_PASSES = 3  # forward, and backward by inputs and by weights
_MEMORY = 2**30  # bytes of a worker, beside its copy of the data
_MOST = 16  # workers, all of which start at once: more would wait for trainings
_SHARE = 0.5  # of the machine's memory, at most, for all workers


@contextmanager
def open_trainer(run: Run, settings: ChildrenSettings, macs: int) -> Iterator[Executor]:
    """Opens the executor that trains the children of a run.

    Args:
        run: The run.
        settings: The settings of the training.
        macs: Multiply-accumulates of a typical child.

    Raises:
        InvalidValueError: There is no such Ray cluster, or its machines lack what the work needs.
        MissingExtraError: Ray is not installed.
    """
    if settings.ray is not None:
        with open_executor(settings.ray, settings.device) as executor:
            yield executor
        return
    workers = settings.workers or suitable_workers(run, settings, macs)
    if workers == 1:
        yield SerialExecutor()
        return
    with WorkerExecutor(workers) as executor:
        yield executor


def suitable_workers(run: Run, settings: ChildrenSettings, macs: int) -> int:
    """Chooses how many children are trained at once: one a thread, where each takes long.

    It depends on the settings and the machine, and not on what is left to train: a child is trained
    with as many threads when a command is repeated.

    Args:
        run: The run.
        settings: The settings of the training.
        macs: Multiply-accumulates of a typical child.
    """
    data = run.data
    stays = data.nbytes > MOST_SENT and run.settings.data.source == IN_MEMORY
    if stays or choose_device(settings.device).type != "cpu":
        return 1
    of_example = _STEP / settings.batch_size + _PASSES * macs / _RATE
    seconds = settings.epochs * len(data.train) * of_example
    if settings.minutes is not None:
        seconds = 60 * settings.minutes
    if seconds < _LONG:
        return 1
    memory, each = main_memory(), _MEMORY + data.nbytes
    most = 1 if memory is None else int(_SHARE * memory / each)
    return max(1, min(torch.get_num_threads(), most, _MOST))
