"""Descriptions of runs and spaces, for the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from smash.cli.options import announce
from smash.config import AUGMENTED_EPOCHS, ChildSettings
from smash.profiling.cost import Cost, measure_cost, survey
from smash.profiling.latency import measure_latency
from smash.profiling.stored_times import Latency
from smash.run.run import Run
from smash.runtime.device import choose_device
from smash.searching.settings import SearchSettings
from smash.spaces.base import SearchSpace
from smash.spaces.task import Task
from smash.training.loop import steps_per_epoch
from smash.training.smash_network import budget_of

_SAMPLES = 50  # architectures that say how large those of a space are


@dataclass(frozen=True)
class Size:
    """Size of an architecture of a space.

    Attributes:
        name: ``smallest``, ``median`` or ``largest``.
        cost: Parameters and MACs.
        latency: The time of its child for one input.
    """

    name: str
    cost: Cost
    latency: Latency


def sizes_of(space: SearchSpace[Any], task: Task, device: torch.device) -> list[Size]:
    """Measures the smallest, the median and the largest architecture of a space.

    The median is that of a sample, by parameters; always the same.
    """
    _, median = survey(space, task, _SAMPLES)[_SAMPLES // 2]
    architectures = {
        "smallest": space.smallest(),
        "median": median,
        "largest": space.largest(),
    }
    return [
        Size(name, measure_cost(space, one, task), measure_latency(space, one, task, device))
        for name, one in architectures.items()
    ]


def announce_sizes(run: Run, settings: SearchSettings) -> None:
    """Tells the user the sizes of a space, and which limits are looser than those of training."""
    lines = describe_sizes(sizes_of(run.space, run.data.task, choose_device(settings.device)))
    trained = budget_of(run.settings.training).counted
    for name, limit in settings.budget.counted.items():
        if limit > trained.get(name, limit):
            lines.append(
                f"max_{name} {limit:,} is more than the {trained[name]:,} of the training: larger "
                "children have weights that were never learned, and are ranked less well"
            )
    announce(lines)


def describe_sizes(sizes: list[Size]) -> list[str]:
    """Sizes in words, a line each, and how times were measured."""
    timed = sizes[0].latency
    return [
        f"{one.name + ' architecture':>21}: {one.cost.params:,} parameters, {one.cost.macs:,} "
        f"MACs, {one.cost.memory:,} bytes of RAM, {one.cost.flash:,} of flash, {one.latency}"
        for one in sizes
    ] + [
        f"times are for {timed.batch} input on {timed.device}, threads: {timed.threads}, median ± "
        "half the interquartile range; other work on this machine makes them longer"
    ]


def describe_run(run: Run) -> list[str]:
    """Describes how the SMASH network of a run is trained."""
    settings, lines = run.settings, []
    training, space = settings.training, settings.space
    size = training.batch_size * training.processes
    steps = training.length.total
    epochs = steps / steps_per_epoch(len(run.data.train), size)
    lines.append(
        f"space {space.name}{f', preset {space.preset}' if space.preset else ''}: "
        f"{steps:,} steps of {size} ({epochs:.3g} epoch{'' if epochs == 1 else 's'}) on "
        f"{settings.device}"
    )
    proxies = []
    if (smaller := run.search_data.task.size) != run.data.task.size:
        proxies.append(f"from {'×'.join(map(str, smaller))}")
    if run.search_space is not run.space:
        proxies.append("with the smaller children of the space's proxy")
    if proxies:
        lines.append(f"learns and ranks {' '.join(proxies)}; children are trained as asked for")
    if run.data.augmentation.describe() and not training.augment:
        lines.append(
            f"learns without augmentation; children are trained with it from {AUGMENTED_EPOCHS} "
            "epochs on"
        )
    if epochs < 1:
        lines.append(
            f"{steps:,} steps are less than one epoch: with more --minutes, or with no "
            "other work on this machine, the ranking would be better"
        )
    return lines


def describe_space(run: Run) -> list[str]:
    """Describes how large the children of a run are."""
    params = [each for each, _ in survey(run.space, run.data.task, _SAMPLES)]
    sizes = " / ".join(f"{each:,}" for each in (params[0], params[_SAMPLES // 2], params[-1]))
    return [f"networks of {sizes} parameters (smallest / median / largest of {_SAMPLES} drawn)"]


def announce_run(run: Run) -> None:
    """Tells the user how a new run is trained, and how large its children are."""
    announce([*describe_run(run), *describe_space(run)])


def announce_resumed(run: Run) -> None:
    """Tells the user how a resumed run is trained."""
    announce(describe_run(run))


def announce_short(run: Run, settings: ChildSettings) -> None:
    """Tells the user where children learn without augmentation because they learn briefly."""
    unasked = not settings.augment and "augment" not in settings.given()
    if unasked and run.data.augmentation.describe():
        announce(
            [
                f"learns without augmentation, which helps from {AUGMENTED_EPOCHS} epochs on "
                "(--augment has it)"
            ]
        )
