"""Several processes that train one SMASH network, as ``torchrun`` starts them.

Each process has a whole copy of the network; after each step the gradients are averaged, so that
all copies stay the same. Alone, nothing is exchanged.
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

from smash.errors import LostProcessError, SmashError

T = TypeVar("T")
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen from one of them.

    All methods are called by all processes, in the same order.

    Attributes:
        rank: Which one this is; 0 writes and speaks.
        count: How many there are.
        device: Where this one computes.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = _CPU

    def first(self, work: Callable[[], T]) -> T:
        """The first process works while the others wait; all get its result, or its error."""
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

        A parameter that one process did not use counts as zero there; one that none used keeps
        no gradient, so that an optimiser passes over it as it does in a single process.
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
        """The sum of a tensor over all processes."""
        if self.count == 1:
            return value
        value = value.clone()
        with _lost():
            dist.all_reduce(value)
        return value

    def any(self, flag: bool) -> bool:
        """Whether a flag is raised anywhere; alone, a GPU is not asked, which would wait for it."""
        if self.count == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=self.device)) > 0)

    def gather(self, number: float) -> list[float]:
        """A number of each process, by rank."""
        if self.count == 1:
            return [number]
        numbers = torch.zeros(self.count, dtype=torch.double, device=self.device)
        numbers[self.rank] = number
        return self.sum(numbers).tolist()


ALONE = Processes()


@contextmanager
def join(device: torch.device) -> Iterator[Processes]:
    """Joins the processes that ``torchrun`` started beside this one, if it did.

    Args:
        device: Where to compute; with several GPUs, each process takes its own.
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
        with _lost():  # who ends first would cut the wires of those that still talk
            dist.barrier()
    finally:
        dist.destroy_process_group()


@contextmanager
def _lost() -> Iterator[None]:
    """Words the failure of an exchange: torch raises plain errors of many texts for it."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, SmashError):
            raise
        reason = " ".join(str(error).split())[:120]
        raise LostProcessError(
            "another process of this training is gone; the last checkpoint is kept: begin again "
            f"with as many processes and --resume ({reason})"
        ) from None
