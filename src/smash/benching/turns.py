"""Sides of a ratio, measured in turn: a busy or a slow machine slows all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch

WARM_UP = 2
"""Rounds that do not count."""


def in_turn(
    sides: Sequence[Callable[[int], None]],
    rounds: int,
    device: torch.device | None = None,
    warm_up: int = WARM_UP,
) -> list[list[float]]:
    """Measures each side once a round; who begins changes from round to round.

    Args:
        sides: What is measured, called with the number of the round.
        rounds: Measurements of each.
        device: Where they compute; on a GPU its own clock is read.
        warm_up: Rounds before these, which do not count.

    Returns:
        Of each side the seconds of each round.
    """
    seconds: list[list[float]] = [[] for _ in sides]
    for number in range(-warm_up, rounds):
        numbers = range(len(sides))
        for side in numbers if number % 2 else reversed(numbers):
            taken = _seconds(partial(sides[side], number + warm_up), device)
            if number >= 0:
                seconds[side].append(taken)
    return seconds


def _seconds(work: Callable[[], None], device: torch.device | None) -> float:
    if device is None or device.type != "cuda":
        began = time.perf_counter()
        work()
        if device is not None and device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter() - began
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    work()
    last.record()
    last.synchronize()
    return float(first.elapsed_time(last)) / 1000


def ratio_of(over: Sequence[float], under: Sequence[float]) -> float:
    """The geometric mean of the median ratios of the rounds that either side began.

    Whoever begins a round pays for what both sides need, such as convolutions of new shapes. So the
    ratios lie in two heaps, and the median of all would be anywhere between.
    """
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    return statistics.geometric_mean(
        statistics.median(heap) for heap in (ratios[0::2], ratios[1::2]) if heap
    )
