"""Data-parallel training in the processes that ``torchrun`` starts.

Each process has a copy of the network. Gradients are averaged after each step, so that all copies
stay equal. A single process exchanges nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from smash.errors import LostProcessError, SmashError, reason_of

T = TypeVar("T")
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Processes:
    """The processes of a training, as one of them sees them.

    All processes call the same methods in the same order.

    Attributes:
        rank: Number of this process; process 0 writes files and prints.
        count: Number of processes.
        device: Device of this process.

    Example:
        >>> processes = Processes()  # a single process
        >>> processes.gather(0.5)
        [0.5]
    """

    rank: int = 0
    count: int = 1
    device: torch.device = _CPU

    def first(self, work: Callable[[], T]) -> T:
        """Runs `work` in process 0 only; all processes return its result or raise its error."""
        if self.count == 1:
            return work()
        answer: list[Any] = [None, None]
        if self.rank == 0:
            try:
                answer[0] = work()
            except SmashError as error:
                answer[1] = error
        with _lost():
            dist.broadcast_object_list(answer, src=0, device=self.device)
        if answer[1] is not None:
            raise answer[1]
        return answer[0]  # type: ignore[no-any-return]

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Averages gradients over all processes, in one exchange.

        The gradient of a parameter that a process did not use counts as zero. A parameter that no
        process used keeps no gradient, so that the optimiser skips it as in a single process.
        """
        if self.count == 1:
            return
        parameters = list(parameters)
        used = torch.tensor([p.grad is not None for p in parameters], device=self.device)
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([used.float(), *(grad.flatten() for grad in grads)])
        with _lost():
            dist.all_reduce(flat)
        used, flat = flat[: len(parameters)] > 0, flat[len(parameters) :] / self.count
        parts = flat.split([p.numel() for p in parameters])
        for parameter, part, is_used in zip(parameters, parts, used.tolist(), strict=True):
            parameter.grad = part.view_as(parameter) if is_used else None

    def sum(self, value: Tensor) -> Tensor:
        """Sums a tensor over all processes."""
        if self.count == 1:
            return value
        value = value.clone()
        with _lost():
            dist.all_reduce(value)
        return value

    def any(self, flag: bool) -> bool:
        """Says whether a flag is set in any process. A single process need not wait for a GPU."""
        if self.count == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=self.device)) > 0)

    def gather(self, number: float) -> list[float]:
        """Gathers a number of each process, by rank."""
        if self.count == 1:
            return [number]
        numbers = torch.zeros(self.count, dtype=torch.double, device=self.device)
        numbers[self.rank] = number
        return self.sum(numbers).tolist()


ALONE = Processes()


@contextmanager
def process_group(device: torch.device) -> Iterator[Processes]:
    """Joins the process group of ``torchrun``, if it started this process.

    Args:
        device: Device to compute on; each process takes the GPU of its local rank.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(device=device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    with _lost():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), device)
        with _lost():  # a process that ends first breaks the connections of the others
            dist.barrier()
    finally:
        dist.destroy_process_group()


@contextmanager
def _lost() -> Iterator[None]:
    """Raises `LostProcessError` for a failed exchange, for which torch has many errors."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, SmashError):
            raise
        raise LostProcessError(
            "another process of this training has ended; the last checkpoint is kept: start as "
            f"many processes again, with --resume ({reason_of(error)})"
        ) from None
