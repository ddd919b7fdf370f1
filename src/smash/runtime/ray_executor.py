"""An executor on the machines of a Ray cluster.

A piece of work is a Ray task: Ray runs it where there is room, and repeats it elsewhere if its
machine or process is lost. Scattered values go to the object store once, and from there to each
worker process once. All processes compute with as many threads as this one, because rounding
depends on their number.
"""

from __future__ import annotations

import math
import platform
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import Any, Generic, TypeVar

import cloudpickle
import torch
from numpy.typing import NDArray
from torch import Tensor

import smash
from smash.errors import (
    InvalidValueError,
    LostProcessError,
    MissingExtraError,
    RunStateError,
    reason_of,
)
from smash.runtime.device import choose_device
from smash.runtime.executor import Executor, Future, Movable, SerialExecutor

R = TypeVar("R")

DEVICE = "smash_device"
"""Ray resource of which a machine declares one for each device that measures networks."""

_RETRIES = 3  # of a task whose machine is lost; a task that kills its process fails the run
_SCATTERED = 2  # values that a process holds at once: a search or a retraining scatters one


@contextmanager
def open_executor(ray: str | None, device: str) -> Iterator[Executor]:
    """Opens the executor of a setting ``ray``.

    Args:
        ray: Address of a Ray cluster, ``auto`` for the one that this machine belongs to, or
            ``local`` for a new one on this machine alone; None for this process.
        device: Device that the machines compute on: ``cpu``, ``cuda`` or ``auto``.

    Raises:
        InvalidValueError: There is no such cluster, or its machines lack what the work needs.
        MissingExtraError: Ray is not installed.
    """
    if ray is None:
        yield SerialExecutor()
        return
    try:
        import ray as module
    except ImportError:
        raise MissingExtraError(
            f"ray {ray!r} needs Ray, which is not installed: pip install 'smash-nas[ray]'"
        ) from None
    # Ray prints about lost machines to standard output, which is for results.
    with redirect_stdout(sys.stderr):
        joins = not module.is_initialized()
        if joins:
            _join(module, ray)
        try:
            yield RayExecutor(module, device)
        finally:
            if joins:
                module.shutdown()


def check_address(ray: str | None) -> None:
    """Checks the form of a Ray cluster's address, without looking for the cluster.

    Raises:
        InvalidValueError: It is no address.
    """
    if ray is None or ray in ("auto", "local"):
        return
    host, _, port = ray.rpartition(":")
    if not host or not port.isdecimal():
        raise InvalidValueError(
            f"ray must be auto, local or HOST:PORT of a Ray cluster, got {ray!r}"
        )


def _join(module: Any, address: str) -> None:
    if address != "local":
        _check_reachable(address)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    options = {"include_dashboard": False} if address == "local" else {}
    try:
        module.init(address, log_to_driver=False, logging_level="ERROR", **options)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise _unreachable(address, str(error)) from None
    finally:
        for number, handler in handlers.items():  # Ray replaces them
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


class RayExecutor(Executor):
    """Does work on the machines of a Ray cluster.

    Args:
        module: The module ``ray``; this process has joined a cluster with it.
        device: Device that the machines compute on.

    Raises:
        InvalidValueError: No machine has what a piece of work needs.
    """

    slots = math.inf  # more machines may join

    def __init__(self, module: Any, device: str) -> None:
        threads = torch.get_num_threads()
        gpus = int(_wants_gpu(module, device))
        _check_room(module, threads)
        for name in cloudpickle.list_registry_pickle_by_value():  # files that define a space
            module.cloudpickle.register_pickle_by_value(sys.modules[name])
        self._ray = module
        options: dict[str, Any] = {"num_cpus": threads, "num_gpus": gpus, "max_retries": _RETRIES}
        worker = _Worker(device.partition(":")[0], threads, _versions())
        run = module.remote(_run)
        self._remote = partial(run.options(**options).remote, worker)
        # A machine with devices may have no GPU, and no CPU that scores.
        options |= {"num_cpus": 0, "num_gpus": 0, "resources": {DEVICE: 1}}
        self._remote_device = partial(run.options(**options).remote, worker)
        self.has_devices = module.cluster_resources().get(DEVICE, 0) >= 1

    def scatter(self, value: Movable) -> Any:
        """Puts the value into the object store."""
        return _Scattered(self._ray.put(value.to(torch.device("cpu"))))

    def submit(self, function: Callable[..., R], /, *arguments: Any) -> Future[R]:
        """Submits a task, which starts as soon as there is room for it."""
        return _RayFuture(self._ray, self._remote(function, *_plain(arguments)))

    def submit_to_device(self, function: Callable[..., R], /, *arguments: Any) -> Future[R]:
        """Submits a task, which starts as soon as a device is free; needs `has_devices`."""
        return _RayFuture(self._ray, self._remote_device(function, *_plain(arguments)))

    def as_completed(self, futures: Sequence[Future[R]]) -> Iterator[Future[R]]:
        """Yields first what is done first."""
        by_ref = {each.ref: each for each in futures if isinstance(each, _RayFuture)}
        pending = list(by_ref)
        while pending:
            (ref,), pending = self._ray.wait(pending)
            yield by_ref[ref]


@dataclass(frozen=True, eq=False)
class _RayFuture(Generic[R]):
    ray: Any
    ref: Any

    def result(self) -> R:
        errors = self.ray.exceptions
        try:
            result: R = self.ray.get(self.ref)
        except errors.RayTaskError as error:  # the work itself failed, as it would have here
            raise (error.cause or error) from None
        except errors.RayError as error:
            raise LostProcessError(
                f"a piece of work was lost on {1 + _RETRIES} machines or processes of the Ray "
                "cluster; finished scores and children are kept: check the cluster and repeat "
                f"the command ({reason_of(error)})"
            ) from None
        return result


def _plain(arguments: Sequence[Any]) -> list[Any]:
    return [each.ref if isinstance(each, _RayFuture) else each for each in arguments]


@dataclass(frozen=True)
class _Scattered:
    """Stands for a scattered value among arguments: Ray resolves references at the top only."""

    ref: Any


@dataclass(frozen=True)
class _Worker:
    """Settings of a worker process."""

    device: str
    threads: int
    versions: str


def _run(worker: _Worker, function: Callable[..., Any], *arguments: Any) -> Any:
    """Runs a piece of work in a worker process."""
    if worker.versions != _versions():
        raise RunStateError(
            f"machine {platform.node()!r} of the Ray cluster has {_versions()}, and this one has "
            f"{worker.versions}: install the same versions on all machines"
        )
    torch.set_num_threads(worker.threads)
    _send_tensors_as_arrays()
    return function(
        *(
            _open(each.ref, worker.device) if isinstance(each, _Scattered) else each
            for each in arguments
        )
    )


@cache
def _send_tensors_as_arrays() -> None:
    """Makes results of this process hold tensors as arrays: torch pickles many tensors slowly."""
    import ray

    ray.util.register_serializer(torch.Tensor, serializer=_to_array, deserializer=_to_tensor)


def _to_array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array


def _to_tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array.copy())  # Ray's memory is read-only


@lru_cache(maxsize=_SCATTERED)
def _open(ref: Any, device: str) -> Any:
    import ray

    return ray.get(ref).to(choose_device(device))


def _versions() -> str:
    return f"smash {smash.__version__} with torch {torch.__version__}"


def _wants_gpu(module: Any, device: str) -> bool:
    has_gpu = module.cluster_resources().get("GPU", 0) > 0
    if device.startswith("cuda") and not has_gpu:
        raise InvalidValueError(
            f"no machine of the Ray cluster has the device {device!r}: use --device cpu, or auto"
        )
    return has_gpu and device.partition(":")[0] in ("auto", "cuda")


def _check_room(module: Any, threads: int) -> None:
    most = max(node["Resources"].get("CPU", 0) for node in module.nodes() if node["Alive"])
    if most < threads:
        raise InvalidValueError(
            f"this process has {threads} threads, and the machines of the Ray cluster have at most "
            f"{most:.0f} CPUs: set OMP_NUM_THREADS to that or less; with 1, most pieces of work "
            "run at once"
        )


def _check_reachable(address: str) -> None:
    """Checks that something listens at an address: Ray would wait long, or exit."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, str(error)) from None


def _unreachable(address: str, reason: str) -> InvalidValueError:
    return InvalidValueError(
        f"ray {address!r} is not a Ray cluster that can be joined: start one with "
        f"'ray start --head', or use 'local' ({reason_of(reason)})"
    )
