r"""Trains many candidates, each once or twice: ground truth for rankings of a space.

Candidates are drawn at random and stratified by parameters; with ``--spread`` they are those whose
readable measures (`SearchSpace.readable`) differ most. With ``--max-macs`` they lie in a band below
the limit, as the candidates of a search under limits do. Each is trained from scratch by the
published recipe with seeds 0 and 1::

    python -m benchmarks.trainings FOLDER --out TABLE.csv
    python -m benchmarks.trainings FOLDER --out TABLE.csv --space '{"name": "mobile"}' \
        --max-params 78666 --max-macs 12501632

The table has a line for each: architecture, parameters, MACs, and the accuracy of both trainings on
examples that are cut out of the training split. ``smash correlate RUN --table TABLE.csv --column
accuracy`` reads it, and so does ``benchmarks.banks``. Each training adds a line to
``TABLE.csv.jsonl`` with the mean loss of each epoch; a repeated command continues.

Small networks keep a GPU waiting for Python, so there a whole training step is one CUDA graph, and
several children train side by side, each in a stream of its own, in several processes. Start
``nvidia-cuda-mps-control -d`` before, or processes take turns.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch import multiprocessing as mp

import smash
from smash.config import SpaceSettings
from smash.correlation.ground_truth import AUDIT_SEED
from smash.data import Data, Split, epoch_order
from smash.data.splits import cut
from smash.evaluation import evaluate
from smash.io.files import append, read_lines
from smash.profiling.budget import Budget
from smash.profiling.cost import Cost, measure_cost
from smash.profiling.feasible import FeasibleSampler
from smash.runtime.device import choose_device
from smash.runtime.rng import generator, torch_generator
from smash.spaces import SearchSpace, Task, make_space
from smash.spaces.layers import channels_last
from smash.spaces.memory_bank import MemoryBankSpace
from smash.spaces.memory_bank.options import PRESETS
from smash.spaces.parameters import initialise
from smash.training.optim import RECIPES, learning_rate

OPTIONS = {
    "depth": 2,
    "bank_width": 4,
    "max_width": 16,
    "max_groups": 4,
    "grid": "var",
    "variable_nonlinearity": True,
}
"""Options that differ from preset ``small``: narrow networks of few, varied ops."""

COLUMNS = ("accuracy", "again")
"""Columns of the trainings with seeds 0 and 1."""

_WARM = 3  # steps before a graph is captured, in which libraries choose their algorithms
_MOMENTUM = 0.9
_ROUNDS = 50  # steps that are queued in a stream before it is synchronised


@dataclass(frozen=True)
class Plan:
    """How children are trained: SGD with Nesterov momentum, and a cosine to 0."""

    epochs: int
    batch_size: int
    learning_rate: float = 0.1
    weight_decay: float = 1e-4


def main() -> None:
    """Trains candidates and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--image-size", type=int, default=16)
    parser.add_argument("--options", type=json.loads, default=OPTIONS, help="of preset small, JSON")
    parser.add_argument("--space", type=json.loads, help="other than memory banks, JSON")
    parser.add_argument("--max-params", type=int)
    parser.add_argument("--max-macs", type=int)
    parser.add_argument("--band", type=float, default=0.5, help="least share of the MACs allowed")
    parser.add_argument("--drawn", type=int, default=480)
    parser.add_argument("--draw-seed", type=int, default=0, help="of the candidates")
    parser.add_argument("--spread", action="store_true", help="candidates that differ most")
    parser.add_argument("--sample", type=int, default=80)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=2, choices=(1, 2), help="trainings of each")
    parser.add_argument("--audit", type=int, default=10_000, help="examples to judge on")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--side-by-side", type=int, default=4, help="children a process, on a GPU")
    parser.add_argument("--minutes", type=float, default=1e9, help="no training starts later")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    data = smash.load_data(options.data, image_size=options.image_size)
    space = space_of(options, data.task)
    found = random_candidates(space, options.drawn, options.draw_seed)
    if options.max_macs:
        budget = Budget(max_params=options.max_params, max_macs=options.max_macs)
        least = round(options.band * options.max_macs)
        found = in_band(space, data.task, budget, least, options.drawn, options.draw_seed)
    if options.spread:
        sample = spread_out(space, found, options.sample)
    else:
        sample = stratified_by_parameters(space, data, found, options.sample)
    lines = options.out.with_suffix(".csv.jsonl")
    kept = list(read_lines(lines, "delete it to train anew"))
    done = {(row["id"], row["seed"]) for row in kept}
    jobs = [
        (architecture, seed)
        for seed in range(options.seeds)
        for architecture in sample
        if (space.identify(architecture), seed) not in done
    ]
    costs = [measure_cost(space, architecture, data.task) for architecture in sample]
    context = mp.get_context("spawn")
    results = context.Queue()
    deadline = time.time() + 60 * options.minutes
    workers = [
        context.Process(
            target=work, args=(options, jobs[part :: options.processes], deadline, results)
        )
        for part in range(options.processes)
    ]
    for worker in workers:
        worker.start()
    started = time.monotonic()
    while any(worker.is_alive() for worker in workers) or not results.empty():
        try:
            result = results.get(timeout=1)
        except Empty:
            continue
        append(lines, json.dumps(result) + "\n")
        kept.append(result)
        seconds = time.monotonic() - started
        print(f"{result['id']} {result['accuracy']:.1%}, {seconds:.0f} s", flush=True)
        write_table(options.out, space, zip(sample, costs, strict=True), kept)
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        sys.exit("a process died; repeat the command to train the missing candidates")


def work(
    options: argparse.Namespace, jobs: Iterable[tuple[Any, int]], deadline: float, results: Any
) -> None:
    """Trains some of the candidates in a process of its own.

    Args:
        options: Options of the command.
        jobs: Architectures and seeds.
        deadline: Time after which no training starts, in seconds since the epoch.
        results: Queue that takes the results.
    """
    torch.set_num_threads(1)
    for result in train(options, iter(jobs), deadline):
        results.put(result)


def train(
    options: argparse.Namespace, jobs: Iterator[tuple[Any, int]], deadline: float
) -> Iterator[dict[str, Any]]:
    """Trains candidates and yields their results in the order in which they end."""
    place = choose_device(options.device)
    data = smash.load_data(options.data, image_size=options.image_size)
    rest, audit = cut(data.train, options.audit / len(data.train), AUDIT_SEED, keep=1)
    rest, audit = rest.to(place), audit.to(place)
    space = space_of(options, data.task)
    plan = Plan(options.epochs, options.batch_size)
    feeds = [Feed(data, rest, seed, plan) for seed in range(len(COLUMNS))]
    width = options.side_by_side if place.type == "cuda" else 1
    training: dict[tuple[Any, int], Training] = {}
    while True:
        while len(training) < width and time.time() < deadline and (job := next(jobs, None)):
            training[job] = Training(space, job[0], feeds[job[1]])
        if not training:
            return
        for _ in range(_ROUNDS):
            for child in training.values():
                child.step()
        for child in training.values():
            child.wait()
        for job in [job for job, child in training.items() if child.finished]:
            child = training.pop(job)
            accuracy = 1 - evaluate(child.model.eval(), audit, data, "audit").error
            losses = [round(loss, 4) for loss in child.losses.tolist()]
            name = space.identify(job[0])
            yield {"id": name, "seed": job[1], "accuracy": accuracy, "losses": losses}


def space_of(options: argparse.Namespace, task: Task) -> SearchSpace[Any]:
    """Makes the space that the options name."""
    if options.space is None:
        return banks(options.options)
    return make_space(SpaceSettings(**options.space), task.dims).bind(task)


def in_band(
    space: SearchSpace[Any], task: Task, budget: Budget, least: int, count: int, seed: int
) -> dict[str, Any]:
    """Draws architectures within limits, as a search does, that have at least so many MACs."""
    sampler = FeasibleSampler(space, task, budget, seed)
    found = {}
    for index in range(count):
        architecture = sampler.draw(generator(seed, "band", index))
        if measure_cost(space, architecture, task).macs >= least:
            found[space.identify(architecture)] = architecture
    return dict(sorted(found.items()))


def banks(options: dict[str, Any]) -> MemoryBankSpace:
    """Makes preset ``small`` with some options changed."""
    small = PRESETS["small"]
    return MemoryBankSpace(type(small).model_validate({**small.model_dump(), **options}))


def random_candidates(space: SearchSpace[Any], count: int, seed: int) -> dict[str, Any]:
    """Draws architectures, sorted by id."""
    found = {}
    for index in range(count):
        architecture = space.sample(generator(seed, "banks", index))
        found[space.identify(architecture)] = architecture
    return dict(sorted(found.items()))


def stratified_by_parameters(
    space: SearchSpace[Any], data: Data, found: dict[str, Any], count: int
) -> list[Any]:
    """Takes one architecture of each of `count` equal parts, in the order of parameters."""
    ordered = sorted(found.values(), key=lambda each: measure_cost(space, each, data.task).params)
    return [ordered[len(ordered) * (2 * part + 1) // (2 * count)] for part in range(count)]


def spread_out(space: SearchSpace[Any], found: dict[str, Any], count: int) -> list[Any]:
    """Takes the architecture nearest the mean, then repeatedly the one farthest from all taken.

    Distances are Euclidean, between the space's readable measures in standard deviations.
    """
    points = np.asarray([list(space.readable(each).values()) for each in found.values()])
    points = points[:, np.ptp(points, axis=0) > 0]
    points = (points - points.mean(axis=0)) / points.std(axis=0)
    taken = [int(np.argmin((points**2).sum(axis=1)))]
    gaps = np.full(len(points), np.inf)
    while len(taken) < count:
        gaps = np.minimum(gaps, ((points - points[taken[-1]]) ** 2).sum(axis=1))
        taken.append(int(np.argmax(gaps)))
    return [list(found.values())[index] for index in taken]


class Feed:
    """Batches of all steps, drawn on the device, so that a CUDA graph can read them.

    Args:
        data: Data with the augmentation and the normalisation.
        train: Training examples, on the device.
        seed: Seed of order and augmentation.
        plan: Settings of the training.
    """

    def __init__(self, data: Data, train: Split, seed: int, plan: Plan) -> None:
        self.data, self.seed, self.plan = data, seed, plan
        self.device, n, size = train.labels.device, len(train), plan.batch_size
        self.per_epoch = n // size
        self.steps = plan.epochs * self.per_epoch
        shape = (self.steps, size)
        orders = [
            epoch_order(n, seed, epoch)[: self.per_epoch * size] for epoch in range(plan.epochs)
        ]
        self.orders = torch.cat(orders).to(self.device).view(shape)
        padding, draws = data.augmentation.padding, torch_generator(seed, "augmentation")
        self.images = data.normalise(F.pad(train.images, [padding] * 4))
        self.labels, self.size = train.labels, tuple(train.stored.shape[2:])
        self.shifts = torch.randint(2 * padding + 1, (2, *shape), generator=draws).to(self.device)
        mirrored = torch.randint(2, shape, generator=draws).bool() & data.augmentation.flip
        self.mirrored = mirrored.to(self.device)
        rates = [
            learning_rate(RECIPES["published"], plan.learning_rate, step, self.steps)
            for step in range(self.steps)
        ]
        self.rates = torch.tensor(rates, device=self.device)

    def batch(self, step: Tensor) -> tuple[Tensor, Tensor]:
        """Gives images and labels of a step; its number is a tensor of one element."""
        rows = self.orders.index_select(0, step)[0]
        height, width = (torch.arange(extent, device=self.device) for extent in self.size)
        down, right = self.shifts.index_select(1, step)[:, 0]
        flipped = self.mirrored.index_select(0, step)[0]
        across = torch.where(flipped[:, None], width.flip(0), width) + right[:, None]
        along = height + down[:, None]
        images = self.images[
            rows[:, None, None, None],
            torch.arange(self.images.shape[1], device=self.device)[:, None, None],
            along[:, None, :, None],
            across[:, None, None, :],
        ]
        return channels_last(images), self.labels[rows]


class Training:
    """The training of a child; on a GPU its step is captured and replayed.

    Args:
        space: Space of the architecture.
        architecture: Architecture of the child.
        feed: Batches to learn from.

    Attributes:
        model: The child.
        losses: Mean loss of each epoch, (epochs,); complete at the end.
    """

    def __init__(self, space: SearchSpace[Any], architecture: Any, feed: Feed) -> None:
        self.feed = feed
        self.model = space.build(architecture, feed.data.task, str(feed.device))
        initialise(self.model, torch_generator(feed.seed, "initial weights"))
        self.model.train()
        self.losses = torch.zeros(feed.plan.epochs, device=feed.device)
        self._parameters: list[Tensor] = list(self.model.parameters())
        self._momenta = [torch.zeros_like(each) for each in self._parameters]
        self._number = torch.zeros(1, dtype=torch.int64, device=feed.device)
        self._taken = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        if feed.device.type == "cuda":
            self._stream = torch.cuda.Stream()
            self._stream.wait_stream(torch.cuda.current_stream())  # fills the tensors above
            with torch.cuda.stream(self._stream):
                for _ in range(_WARM):
                    self._learn()
                self._taken = _WARM
                self._stream.synchronize()
                self._graph = torch.cuda.CUDAGraph()
                # `torch.cuda.graph` would wait for the other streams.
                self._graph.capture_begin()
                self._learn()
                self._graph.capture_end()

    def _learn(self) -> None:
        plan, feed = self.feed.plan, self.feed
        images, labels = feed.batch(self._number)
        loss = F.cross_entropy(self.model(images), labels)
        gradients = list(torch.autograd.grad(loss, self._parameters))
        with torch.no_grad():
            torch._foreach_add_(gradients, self._parameters, alpha=plan.weight_decay)
            torch._foreach_mul_(self._momenta, _MOMENTUM)
            torch._foreach_add_(self._momenta, gradients)
            torch._foreach_add_(gradients, self._momenta, alpha=_MOMENTUM)
            torch._foreach_mul_(gradients, feed.rates.index_select(0, self._number)[0])
            torch._foreach_sub_(self._parameters, gradients)
            epoch = self._number // feed.per_epoch
            self.losses.index_add_(0, epoch, loss.detach()[None] / feed.per_epoch)
            self._number += 1

    @property
    def finished(self) -> bool:
        """Whether all steps are taken."""
        return self._taken >= self.feed.steps

    def step(self) -> None:
        """Takes a step if one is left; on a GPU it is only queued."""
        if self.finished:
            return
        self._taken += 1
        if self._graph is None:
            self._learn()
        else:
            with torch.cuda.stream(self._stream):
                self._graph.replay()

    def wait(self) -> None:
        """Waits for the queued steps."""
        if self._graph is not None:
            self._stream.synchronize()


def write_table(
    path: Path,
    space: SearchSpace[Any],
    candidates: Iterable[tuple[Any, Cost]],
    kept: Iterable[dict[str, Any]],
) -> None:
    """Writes a line for each candidate that was trained once or twice, the smallest first."""
    found = {(row["id"], row["seed"]): row["accuracy"] for row in kept}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("architecture", "params", "macs", *COLUMNS))
        for architecture, cost in candidates:
            name = space.identify(architecture)
            accuracies = [found.get((name, seed), "") for seed in range(len(COLUMNS))]
            if accuracies[0] != "":
                text = json.dumps(space.to_json(architecture), separators=(",", ":"))
                writer.writerow((text, cost.params, cost.macs, *accuracies))


if __name__ == "__main__":
    main()
