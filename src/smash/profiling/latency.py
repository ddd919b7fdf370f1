"""Latency of child networks for one input on this machine."""

from __future__ import annotations

import math
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from smash.io.measurements import MeasurementLog, Numbers, measurement_kind
from smash.profiling.stored_times import CHILD, Latency
from smash.runtime.device import machine_name
from smash.runtime.executor import Future, SerialExecutor
from smash.runtime.rng import torch_generator
from smash.spaces.base import SearchSpace
from smash.spaces.baselines import make_baseline
from smash.spaces.parameters import initialise
from smash.spaces.task import Task

_WARM_UP = 5
_RUNS = 10
_ROUNDS = 3


def measure_latency(
    space: SearchSpace[Any], architecture: Any, task: Task, device: torch.device
) -> Latency:
    """Measures the latency of an architecture's child with freshly initialised weights."""
    return time_built(space.build(architecture, task, str(device)), task, device)


def time_built(network: nn.Module, task: Task, device: torch.device) -> Latency:
    """Measures the latency of a network without weights, which it initialises."""
    # Uninitialised memory may hold denormal numbers, which are slow.
    initialise(network, torch_generator(0, "latency"))
    return time_network(network.eval(), task, device)


@torch.no_grad()
def time_network(
    network: nn.Module, task: Task, device: torch.device, batch: int = 1, runs: int = _RUNS
) -> Latency:
    """Measures the latency of a network that maps images (n, channels, *size) to logits.

    Args:
        network: The network, on the device, in eval mode.
        task: Gives the shape of the input.
        device: The device.
        batch: Number of inputs.
        runs: Number of calls in each of three rounds.
    """
    images = torch.zeros(batch, task.channels, *task.size, device=device)

    def run() -> None:
        network(images)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()

    seconds, spread = time_call(run, runs)
    return Latency(seconds, spread, batch, torch.get_num_threads(), str(device))


def time_call(run: Callable[[], object], runs: int = _RUNS) -> tuple[float, float]:
    """Times calls after a warm-up; returns median and spread in seconds, as `Latency` has them."""

    def timed() -> float:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    for _ in range(_WARM_UP):
        run()
    rounds = [statistics.quantiles([timed() for _ in range(runs)], n=4) for _ in range(_ROUNDS)]
    first, median, third = min(rounds, key=lambda quartiles: quartiles[1])
    return median, third - first


def kind_of_time(what: str, device: torch.device, /, **settings: Any) -> str:
    """Names a kind of time together with this machine, as times of others are not comparable.

    Args:
        what: `CHILD` or `GRAPH`.
        device: The device that is timed.
        **settings: Other conditions that change the time.
    """
    machine = "_".join(machine_name(device).split())  # the parts of a kind are separated by spaces
    return measurement_kind(what, machine=machine, threads=torch.get_num_threads(), **settings)


class Timer(ABC):
    """Measures the latency of architectures.

    Attributes:
        kind: Names the measurement and its conditions, from `kind_of_time`.
        is_parallel: Whether `start` lets several measurements go on at once.
    """

    kind: str
    is_parallel = False

    @abstractmethod
    def __call__(self, architecture: Any) -> Numbers:
        """Measures an architecture.

        Returns:
            ``seconds`` for one input, infinite where the child does not run, and their ``spread``;
            ``memory_bytes`` and ``flash_bytes`` if they are measured as well.
        """

    def start(self, architecture: Any) -> Future[Numbers]:
        """Begins to measure an architecture; by default, it is measured when it is waited for."""
        return SerialExecutor().submit(self, architecture)


class NetworkTimer(Timer):
    """Measures the latency of reference networks too, to compare candidates with."""

    @abstractmethod
    def time_baseline(self, name: str) -> Numbers:
        """Measures a reference network.

        Args:
            name: Its name; see `smash.spaces.baselines`.

        Returns:
            The same as for an architecture.
        """


T = TypeVar("T", bound=Timer)


class ChildTimer(NetworkTimer):
    """Times networks on a device of this machine.

    Args:
        space: The search space.
        task: The task that children are built for.
        device: The device that is timed.
    """

    def __init__(self, space: SearchSpace[Any], task: Task, device: torch.device) -> None:
        self._space, self._task, self._device = space, task, device
        self.kind = kind_of_time(CHILD, device, device=device)

    def __call__(self, architecture: Any) -> Numbers:
        """Times the child of an architecture."""
        return _numbers(measure_latency(self._space, architecture, self._task, self._device))

    def time_baseline(self, name: str) -> Numbers:
        """Times a reference network."""
        network = make_baseline(name, self._task, str(self._device))
        return _numbers(time_built(network, self._task, self._device))


def _numbers(found: Latency) -> Numbers:
    return {"seconds": found.seconds, "spread": found.spread}


class Stopwatch(Generic[T]):
    """Measures the latency of architectures, each once, and keeps the times.

    A measurement is not repeatable, so a resumed search must see the times that it saw before. On
    another machine everything is measured anew.

    Args:
        space: The search space.
        timer: Measures what is not kept.
        measurements: Keeps the times.
        max_memory: Most ``memory_bytes``, if the timer measures them.
        max_flash: Most ``flash_bytes``, if the timer measures them.

    Attributes:
        is_parallel: Whether `measure_ahead` measures several architectures at once.
    """

    def __init__(
        self,
        space: SearchSpace[Any],
        timer: T,
        measurements: MeasurementLog,
        *,
        max_memory: int | None = None,
        max_flash: int | None = None,
    ) -> None:
        self._space, self._timer, self._measurements = space, timer, measurements
        self.is_parallel = timer.is_parallel
        limits = {"memory_bytes": max_memory, "flash_bytes": max_flash}
        self._limits = {name: limit for name, limit in limits.items() if limit is not None}

    def __call__(self, architecture: Any, within: float = math.inf) -> float:
        """Returns the seconds that the architecture's child takes for one input.

        They are infinite where it does not run, or needs more memory or flash than the limits.

        Args:
            architecture: The architecture.
            within: A longer time is not kept, and a longer time that was kept is measured again,
                because the load that caused it may be gone.
        """
        identity = self._space.identify(architecture)
        known = self._measurements.get(self._timer.kind, identity)
        if known is None or known["seconds"] > within:
            known = self._timer(architecture)
            if known["seconds"] <= within:
                self._keep(identity, known)
        return self._allowed_seconds(known)

    def _keep(self, identity: str, known: Numbers) -> None:
        self._measurements.add(self._timer.kind, identity, known)
        # At once: the time of a refused architecture is kept nowhere else.
        self._measurements.flush()

    def _allowed_seconds(self, known: Mapping[str, float]) -> float:
        fits = all(known.get(name, 0) <= limit for name, limit in self._limits.items())
        # A log holds NaN for what is not finite.
        return known["seconds"] if fits and math.isfinite(known["seconds"]) else math.inf

    def measure_ahead(self, architectures: Iterable[Any]) -> None:
        """Measures architectures whose times are not kept, as many at once as the timer can."""
        by_id = {self._space.identify(each): each for each in architectures}
        started = {
            identity: self._timer.start(architecture)
            for identity, architecture in by_id.items()
            if self._measurements.get(self._timer.kind, identity) is None
        }
        for identity, measured in started.items():
            self._keep(identity, measured.result())


class NetworkStopwatch(Stopwatch[NetworkTimer]):
    """Measures the latency of reference networks too, each once, and keeps the times.

    Its parameters are those of `Stopwatch`.
    """

    def time_baseline(self, name: str, within: float = math.inf) -> float:
        """Returns the seconds of a reference network, or infinity as for architectures.

        Args:
            name: Its name; see `smash.spaces.baselines`.
            within: A longer time is measured once more, and the shorter one kept, because other
                work on the machine only adds time.
        """
        known = self._measurements.get(self._timer.kind, name)
        if known is None:
            known = self._timer.time_baseline(name)
            if known["seconds"] > within:
                again = self._timer.time_baseline(name)
                known = min(known, again, key=itemgetter("seconds"))
            self._keep(name, known)
        return self._allowed_seconds(known)
