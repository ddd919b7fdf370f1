"""How does the cost of training steps, scoring and loading grow?

Each row changes one setting of a network of depth 6 and width 2, preset ``small`` otherwise, for
images of 32×32 in batches of 50; scores are of that preset as it is. All rows of a table take
turns, so that a busy machine slows all; numbers are medians of CPU time, one thread::

    python benchmarks/growth.py --rounds 7
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from smash.benching import synthetic
from smash.benching.setting import SIZES
from smash.config import SpaceSettings, TrainingSettings
from smash.data import load_data
from smash.hypernet import SmashNetwork
from smash.runtime.rng import generator, torch_generator
from smash.scoring.scorer import Scorer
from smash.spaces import make_space
from smash.spaces.base import Task
from smash.training.defaults import RECIPES
from smash.training.optim import make_optimizer

Work = Callable[[int], object]
_DEFAULT: Mapping[str, int] = {"depth": 6, "width": 2, "batch": 50, "side": 32}


def training_step(depth: int, width: int, batch: int, side: int) -> Work:
    """A training step; the architecture is another one each round."""
    settings = SpaceSettings(
        name="memory-bank", preset="small", options={"depth": depth, "width": width}
    )
    space = make_space(settings, 2)
    network = SmashNetwork(space, Task(channels=3, size=(side, side), classes=10))
    optimizer = make_optimizer(network, TrainingSettings(steps=1, **RECIPES["small"]))
    images = torch.randn(batch, 3, side, side, generator=torch_generator(0, "growth"))
    labels = torch.arange(batch) % 10

    def step(number: int) -> None:
        architecture = space.sample_for_training(generator(0, "growth", number), 0.5)
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(network(architecture, images), labels).backward()
        optimizer.step()

    return step


def scoring(examples: int) -> Work:
    """A score on so many validation examples."""
    space = make_space(SpaceSettings(name="memory-bank", preset="small"), 2)
    network = SmashNetwork(space, Task(channels=3, size=(32, 32), classes=10))
    data = synthetic(SIZES["cifar-small"], 2 * examples)
    scorer = Scorer(network, data, examples=examples)
    return lambda number: scorer(space.sample(generator(0, "growth", number)))


def loading(folder: Path, examples: int) -> Work:
    """Reads an .npz of so many images."""
    path = folder / f"{examples}.npz"
    images = generator(0, "growth").integers(256, size=(examples, 3, 32, 32), dtype="uint8")
    np.savez(path, data=images, labels=np.arange(examples) % 10)
    return lambda _: load_data(path)


def in_turn(sides: Mapping[str, Work], rounds: int) -> dict[str, float]:
    """CPU milliseconds of each, medians over rounds after one that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, work in sides.items():
            began = time.process_time()
            work(number)
            taken[name].append(1000 * (time.process_time() - began))
    return {name: round(statistics.median(times[1:]), 1) for name, times in taken.items()}


def main() -> None:
    """Prints a JSON line for each table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    scores = {f"{examples}": scoring(examples) for examples in (250, 500, 1000)}
    print(json.dumps({"what": "score", "by": "examples", "ms": in_turn(scores, rounds)}))
    with tempfile.TemporaryDirectory() as folder:
        loads = {str(count): loading(Path(folder), count) for count in (1000, 10000, 50000)}
        print(json.dumps({"what": "load", "by": "examples", "ms": in_turn(loads, rounds)}))
    steps = {"depth": (3, 6, 12), "width": (1, 2, 4), "batch": (25, 50, 100), "side": (8, 16, 32)}
    for name, values in steps.items():
        sides = {f"{value}": training_step(**{**_DEFAULT, name: value}) for value in values}
        print(json.dumps({"what": "step", "by": name, "ms": in_turn(sides, rounds)}), flush=True)


if __name__ == "__main__":
    main()
