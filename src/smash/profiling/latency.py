"""How long a child takes for one input, on the machine and the device at hand."""

from __future__ import annotations

import math
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from smash.errors import InvalidValueError, RunStateError
from smash.io.measurements import Ledger, kind_of
from smash.profiling.cost import Budget
from smash.run.layout import LATENCIES
from smash.runtime.device import machine_name
from smash.runtime.rng import torch_generator
from smash.spaces.base import SearchSpace, Task
from smash.spaces.layers import initialise

CHILD, GRAPH = "latency", "graphs"
"""What is timed there: the child while searching, the exported graph of the best afterwards."""

TIMED = 10
"""How many of the best are timed as exported graphs."""

_WARM_UP = 5
_RUNS = 10
_ROUNDS = 3
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}


@dataclass(frozen=True)
class Latency:
    """Time that a network takes, and under which conditions.

    Attributes:
        seconds: Median over the runs of the fastest round: other work on the machine only adds.
        spread: From the first to the third quartile of that round, in seconds.
        batch: Inputs at once.
        threads: Of the CPU.
        device: Where it was computed.
    """

    seconds: float
    spread: float
    batch: int
    threads: int
    device: str


def measure_latency(
    space: SearchSpace[Any], architecture: Any, task: Task, device: torch.device
) -> Latency:
    """Times the child of an architecture, with weights as training begins with.

    What is left in memory that was never written may be denormal numbers, which are slow.
    """
    child = space.build(architecture, task, str(device))
    initialise(child, torch_generator(0, "latency"))
    return time_network(child.eval(), task, device)


@torch.no_grad()
def time_network(
    network: nn.Module, task: Task, device: torch.device, batch: int = 1, runs: int = _RUNS
) -> Latency:
    """Times a network that maps n×channels×spatial to logits, after a few runs to warm up.

    Args:
        network: The network, on the device, in eval mode.
        task: Gives the input's shape.
        device: Where it is computed.
        batch: Inputs at once.
        runs: Of each of three rounds.
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
    """Times calls after a few to warm up: median and spread, in seconds, as `Latency` has them."""

    def timed() -> float:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    for _ in range(_WARM_UP):
        run()
    rounds = [statistics.quantiles([timed() for _ in range(runs)], n=4) for _ in range(_ROUNDS)]
    first, median, third = min(rounds, key=lambda quartiles: quartiles[1])
    return median, third - first


def parse_latency(text: str) -> float:
    """Reads a time such as ``5ms`` or ``0.005s``, in seconds.

    Raises:
        InvalidValueError: It is no time, or has no unit.
    """
    found = re.fullmatch(r"\s*([0-9.]+(?:e-?[0-9]+)?)\s*(s|ms|us|µs)\s*", text)
    try:
        seconds = float(found[1]) * _UNITS[found[2]] if found else math.nan
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InvalidValueError(
            f"max_latency must be a time of more than 0 with its unit, such as 5ms or 0.005s, "
            f"got {text!r:.60}"
        )
    return seconds


def in_seconds(limit: float | str | None) -> float | None:
    """A limit in seconds, which may be given as a number of them or as `parse_latency` reads it."""
    return parse_latency(limit) if isinstance(limit, str) else limit


def kind_of_time(what: str, place: torch.device, **settings: Any) -> str:
    """Names a kind of time with this machine and its threads: another's times are not this one's.

    Args:
        what: `CHILD` or `GRAPH`.
        place: Where it is computed.
        **settings: What else changes it.
    """
    machine = "_".join(machine_name(place).split())  # a kind's words are apart by spaces
    return kind_of(what, machine=machine, threads=torch.get_num_threads(), **settings)


class Stopwatch:
    """Times architectures of a space, each once: what was measured is kept, and not repeatable.

    So a search that is taken up again decides as it did before. On another machine it times anew.

    Args:
        space: The search space.
        task: What children are for.
        device: Where they are computed.
        ledger: Where times are kept.
    """

    def __init__(
        self, space: SearchSpace[Any], task: Task, device: torch.device, ledger: Ledger
    ) -> None:
        self._space, self._task, self._device, self._ledger = space, task, device, ledger
        self._kind = kind_of_time(CHILD, device, device=device)

    def __call__(self, architecture: Any, within: float = math.inf) -> float:
        """Seconds of its child for one input.

        Args:
            architecture: The architecture.
            within: A longer time is not kept, and one that was is measured again: the load that
                made it long may have gone.
        """
        identity = self._space.identify(architecture)
        known = self._ledger.get(self._kind, identity)
        if known is None or known["seconds"] > within:
            found = measure_latency(self._space, architecture, self._task, self._device)
            known = {"seconds": found.seconds, "spread": found.spread}
            if found.seconds <= within:
                self._ledger.add(self._kind, identity, known)
                self._ledger.flush()  # now: what is refused is nowhere else
        return known["seconds"]


def read_latencies(run: Path, what: str) -> dict[str, Latency]:
    """Times that a run keeps, by the architecture's id; of several of one, the last.

    Args:
        run: Folder of the run.
        what: `CHILD` or `GRAPH`.

    Raises:
        RunStateError: The file that keeps them is damaged.
    """
    found = {}
    path = run / LATENCIES
    for kind, identity, values in Ledger(path):
        try:
            timed, *pairs = kind.split()
            if timed != what:
                continue
            how = dict(pair.split("=", 1) for pair in pairs)
            found[identity] = Latency(
                values["seconds"],
                values["spread"],
                1,
                int(how["threads"]),
                how.get("device", "onnxruntime"),
            )
        except (ValueError, KeyError, AttributeError):
            raise RunStateError(
                f"{path} is damaged, it says {kind!r:.60}: delete the file, and what it held is "
                "measured again"
            ) from None
    return found


def in_words(latency: Latency) -> str:
    """A latency for people: ``1.23 ± 0.04 ms``."""
    return f"{_ms(latency)} ms"


def _ms(latency: Latency) -> str:
    return f"{1000 * latency.seconds:.2f} ± {500 * latency.spread:.2f}"


def check_feasible(
    budget: Budget, space: SearchSpace[Any], stopwatch: Callable[[Any, float], float]
) -> None:
    """Makes sure that the smallest architecture of a space is fast enough, at this time.

    Args:
        budget: Gives the limit.
        space: The search space.
        stopwatch: Gives seconds of an architecture, and need not keep what is over a limit.

    Raises:
        InvalidValueError: It is not.
    """
    if budget.max_latency is None:
        return
    least = stopwatch(space.smallest(), budget.max_latency)
    if not budget.allows_latency(least):
        raise InvalidValueError(
            f"max_latency {1000 * budget.max_latency:g} ms cannot be met: the smallest "
            f"architecture of this space takes {1000 * least:.3g} ms on this machine; raise the "
            "limit to more than that, search while nothing else runs, or take a smaller space or "
            "another --device"
        )
