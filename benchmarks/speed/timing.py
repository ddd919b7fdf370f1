"""Times two or more pieces of work in alternation, so that a busy machine slows all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch

WARM_UP = 2
"""Rounds that are not counted."""


def take_turns(
    sides: Sequence[Callable[[int], None]],
    rounds: int,
    device: torch.device | None = None,
    warm_up: int = WARM_UP,
) -> list[list[float]]:
    """Times each side once a round; the order of the sides is reversed in every other round.

    Args:
        sides: Pieces of work, called with the number of the round.
        rounds: Measurements of each side.
        device: Where they compute; on a GPU its own clock is read.
        warm_up: Rounds before these, which are not counted.

    Returns:
        Seconds of each round, for each side.
    """
    seconds: list[list[float]] = [[] for _ in sides]
    for number in range(-warm_up, rounds):
        order = range(len(sides))
        for side in order if number % 2 else reversed(order):
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
    """Computes the ratio of two sides that took turns.

    The side that begins a round pays for what both need, such as preparing convolutions of new
    shapes, so the ratios of even and of odd rounds form two clusters. The result is the geometric
    mean of their two medians.
    """
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    return statistics.geometric_mean(
        statistics.median(cluster) for cluster in (ratios[0::2], ratios[1::2]) if cluster
    )
