"""The machines of a Ray cluster as a fleet.

A piece of work is a Ray task: Ray sends it where there is room, and does it again elsewhere where
its machine or its process is lost. What is shared goes to the object store once, and from there to
each process that works, once. All processes compute with as many threads as this one does, for the
rounding of results depends on that.
"""

from __future__ import annotations

import platform
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import Any, Generic, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

import smash
from smash.errors import InvalidValueError, LostProcessError, MissingExtraError, RunStateError
from smash.runtime.device import choose_device
from smash.runtime.executor import HERE, Fleet, Job, Movable

R = TypeVar("R")

_TRIES_AGAIN = 3  # of a piece whose machine is lost; a piece that kills its process ends the run
_SHARED = 2  # values that a process holds at once: a search or a retraining shares one


@contextmanager
def join(address: str, device: str) -> Iterator[Cluster]:
    """Joins a Ray cluster for as long as the context lasts; see `smash.runtime.executor.gather`."""
    try:
        import ray
    except ImportError:
        raise MissingExtraError(
            f"ray {address!r} needs Ray, which is not installed: pip install 'smash-nas[ray]'"
        ) from None
    # Ray prints what it has to say about lost machines where results are to be.
    with redirect_stdout(sys.stderr):
        joined = not ray.is_initialized()
        if joined:
            _join(ray, address)
        try:
            yield Cluster(ray, device)
        finally:
            if joined:
                ray.shutdown()


def _join(ray: Any, address: str) -> None:
    if address != "local":
        _check_there(address)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    options = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR", **options)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise _not_there(address, str(error)) from None
    finally:
        for number, handler in handlers.items():  # Ray puts its own in their place
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


class Cluster:
    """A fleet of the machines of a Ray cluster.

    Args:
        ray: The module; this process has joined a cluster with it.
        device: Where machines compute.

    Raises:
        InvalidValueError: No machine has what a piece of work needs.
    """

    def __init__(self, ray: Any, device: str) -> None:
        threads = torch.get_num_threads()
        gpus = int(_wants_gpu(ray, device))
        _check_room(ray, threads)
        self._ray = ray
        options = {"num_cpus": threads, "num_gpus": gpus, "max_retries": _TRIES_AGAIN}
        far = ray.remote(_work).options(num_returns=2, **options)
        setting = _Setting(device.partition(":")[0], threads, _versions())
        self._far = partial(far.remote, setting)

    def share(self, value: Movable) -> Any:
        """Puts the value into the object store."""
        return _Shared(self._ray.put(value.to(torch.device("cpu"))))

    def submit(self, work: Callable[..., tuple[R, Any]], *arguments: Any) -> Job[R]:
        """Hands out a piece of work, which begins as soon as there is room for it."""
        result, kept = self._far(work, *arguments)
        return _Far(self._ray, result, kept)

    def as_done(self, jobs: Sequence[Job[R]]) -> Iterator[tuple[int, R]]:
        """Gives what is done first first."""
        numbers = {job.ref: number for number, job in enumerate(jobs) if isinstance(job, _Far)}
        left = list(numbers)
        while left:
            (ref,), left = self._ray.wait(left)
            yield numbers[ref], jobs[numbers[ref]].result()


@dataclass(frozen=True)
class _Far(Generic[R]):
    """A piece of work that is done far away; `kept` stays there."""

    ray: Any
    ref: Any
    kept: Any

    def result(self) -> R:
        errors = self.ray.exceptions
        try:
            found: R = self.ray.get(self.ref)
        except errors.RayTaskError as error:  # the work itself failed: as it would have here
            raise (error.cause or error) from None
        except errors.RayError as error:
            raise LostProcessError(
                f"a piece of work was lost on {1 + _TRIES_AGAIN} machines or processes of the Ray "
                "cluster; what is scored and trained is kept: look after the cluster, and repeat "
                f"the command ({_first_line(error)})"
            ) from None
        return found


@dataclass(frozen=True)
class _Shared:
    """Stands for a shared value among arguments; Ray leaves what is inside alone."""

    ref: Any


@dataclass(frozen=True)
class _Setting:
    device: str
    threads: int
    versions: str


def _work(setting: _Setting, work: Callable[..., Any], *arguments: Any) -> Any:
    """What a process of the cluster does with a piece of work."""
    if setting.versions != _versions():
        raise RunStateError(
            f"machine {platform.node()!r} of the Ray cluster has {_versions()}, and this one has "
            f"{setting.versions}: install the same on all"
        )
    torch.set_num_threads(setting.threads)
    _send_arrays()
    opened = [
        _open(one.ref, setting.device) if isinstance(one, _Shared) else one for one in arguments
    ]
    return work(*opened)


@cache
def _send_arrays() -> None:
    """Lets what this process gives hold tensors as arrays: torch pickles some hundred slowly."""
    import ray

    ray.util.register_serializer(torch.Tensor, serializer=_to_array, deserializer=_to_tensor)


def _to_array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array


def _to_tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array.copy())  # Ray gives memory that must not be written to


@lru_cache(maxsize=_SHARED)
def _open(ref: Any, device: str) -> Any:
    import ray

    return ray.get(ref).to(choose_device(device))


def _versions() -> str:
    return f"smash {smash.__version__} with torch {torch.__version__}"


def _wants_gpu(ray: Any, device: str) -> bool:
    there = ray.cluster_resources().get("GPU", 0) > 0
    if device.startswith("cuda") and not there:
        raise InvalidValueError(
            f"device {device!r} is on no machine of the Ray cluster: use --device cpu, or auto"
        )
    return there and device.partition(":")[0] in ("auto", "cuda")


def _check_room(ray: Any, threads: int) -> None:
    most = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
    if most < threads:
        raise InvalidValueError(
            f"this process has {threads} threads, and the machines of the Ray cluster have at most "
            f"{most:.0f} CPUs: set OMP_NUM_THREADS to that or less; with 1, most pieces of work "
            "are done at once"
        )


def _check_there(address: str) -> None:
    """Makes sure that somebody listens at an address: Ray waits long, or ends."""
    check_address(address)
    if address == "auto":
        return
    import socket

    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise _not_there(address, str(error)) from None


def _not_there(address: str, reason: str) -> InvalidValueError:
    return InvalidValueError(
        f"ray {address!r} is no Ray cluster that can be joined: start one with "
        f"'ray start --head', or take 'local' ({_first_line(reason)})"
    )


def _first_line(error: object) -> str:
    return " ".join(str(error).split())[:120]


def check_address(ray: str | None) -> None:
    """Makes sure that an address of a Ray cluster is one; whether it is there, `gather` says.

    Raises:
        InvalidValueError: It is none.
    """
    if ray is None or ray in ("auto", "local"):
        return
    host, _, port = ray.rpartition(":")
    if not host or not port.isdecimal():
        raise InvalidValueError(
            f"ray must be auto, local or HOST:PORT of a Ray cluster, got {ray!r}"
        )


@contextmanager
def gather(ray: str | None, device: str) -> Iterator[Fleet]:
    """Gives the fleet that was asked for.

    Args:
        ray: Address of a Ray cluster, ``auto`` for the one that this machine belongs to, or
            ``local`` for one on this machine alone; None for this process.
        device: Where machines compute: ``cpu``, ``cuda`` or ``auto``.

    Raises:
        InvalidValueError: There is no such cluster, or its machines have not what is needed.
        MissingExtraError: Ray is not installed.
    """
    if ray is None:
        yield HERE
        return
    from smash.runtime.ray_executor import join

    with join(ray, device) as fleet:
        yield fleet
