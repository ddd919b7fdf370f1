"""Measures costs as ratios of two sides that take turns in one process.

A busy or slow machine slows both sides, so ratios can be compared between machines. All data are
synthetic. The measurements are:

- ``step``: a step of SMASH training ÷ forward and backward pass of the same child network, on the
  same batch, with weights of its own.
- ``score``: architectures ranked a minute, racing ÷ scoring each on all examples.
- ``sample``: drawing, encoding and building an architecture ÷ a training step.
- ``augment``: padded crop and flip of 50,000 images ÷ copying them.
- ``data``: images a second through loading and augmentation ÷ those that training steps consume.
- ``study``: adding a candidate, and reading the ranking, ÷ the same in the smallest study.
- ``start``: ``smash --help`` ÷ starting Python.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.speed.timing import WARM_UP, ratio_of, take_turns
from benchmarks.speed.workload import BATCH, SIZES, Workload
from smash.data import Augmentation, epoch_order, training_batch
from smash.runtime.device import autocast, choose_device
from smash.runtime.executor import SerialExecutor
from smash.runtime.progress import Progress, silent
from smash.runtime.rng import torch_generator
from smash.runtime.signals import hear_interruption
from smash.scoring.score import Score
from smash.scoring.scorer import Scorer
from smash.searching.predictions import Predictor
from smash.searching.racing import Race
from smash.study.candidate import Candidate
from smash.study.study import Study

_KEEP = 10


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: Measurements of each side.
        candidates: Sizes of the studies, ascending.
        images: Images that are augmented at once.
    """

    rounds: int = 15
    candidates: tuple[int, ...] = (100, 1000, 20000)
    images: int = 50000


QUICK = Effort(rounds=1, candidates=(10, 40), images=500)


@dataclass(frozen=True, kw_only=True)
class Row:
    """The result of one measurement.

    Attributes:
        name: Name of the measurement.
        size: Size of the network or of the study.
        device: Where it was measured.
        ratio: The ratio that the module's docstring names; see `ratio_of`.
        median: Median of the measured side, in `unit`.
        unit: Unit of `median`.
    """

    name: str
    size: str
    device: str
    ratio: float
    median: float
    unit: str


def measure(
    names: Sequence[str] = (),
    sizes: Sequence[str] = (),
    device: str = "cpu",
    effort: Effort | None = None,
    progress: Progress = silent,
) -> list[Row]:
    """Runs measurements.

    Args:
        names: Names in `MEASUREMENTS`; all if empty.
        sizes: Names in `SIZES`; all if empty.
        device: Where networks compute.
        effort: How much is measured.
        progress: Shows how far the work is.

    Raises:
        InvalidValueError: The device is not available.
    """
    chosen, effort = choose_device(device), effort or Effort()
    jobs: list[Callable[[], Iterator[Row]]] = [
        partial(_OF_SIZE[name], Workload(size, chosen), effort)
        for size in sizes or SIZES
        for name in names or MEASUREMENTS
        if name in _OF_SIZE
    ]
    jobs += [partial(_OF_HOST[name], effort) for name in names or MEASUREMENTS if name in _OF_HOST]
    rows: list[Row] = []
    with progress("measuring", len(jobs)) as advance:
        for done, job in enumerate(jobs):
            rows += job()
            advance(done + 1, f"{rows[-1].name} {rows[-1].size}")
    return rows


def _step(work: Workload, effort: Effort) -> Iterator[Row]:
    images, labels = work.batch()
    own = [work.child(number) for number in range(effort.rounds + WARM_UP)]

    def child_alone(number: int) -> None:
        with autocast(work.device):
            logits = own[number](images)
        F.cross_entropy(logits.float(), labels).backward()

    def smash(number: int) -> None:
        work.step(number, images, labels)

    steps, alone = take_turns((smash, child_alone), effort.rounds, work.device)
    yield _row("step", work, ratio_of(steps, alone), 1000 * statistics.median(steps), "ms a step")


def _score(work: Workload, effort: Effort) -> Iterator[Row]:
    few = effort.rounds < Effort.rounds
    candidates = _KEEP + 2 if few else work.size.candidates
    examples = min(500, work.size.examples) if few else work.size.examples
    scorer = Scorer(work.network, work.data, examples=examples)
    architectures = [work.architecture(number) for number in range(candidates)]

    def full(_: int) -> None:
        for architecture in architectures:
            scorer(architecture)

    def racing(_: int) -> None:
        keep = min(_KEEP, candidates // 4)
        cohort = [
            replace(_candidate(number), architecture=each, score=None)
            for number, each in enumerate(architectures)
        ]

        def settle(candidate: Candidate) -> None:
            candidate.score = scorer.score(torch.zeros(1, work.task.classes))

        with hear_interruption() as interruption:
            predict = Predictor(scorer, SerialExecutor(), interruption).predict
            Race(scorer.rungs, keep).run(cohort, [], predict, scorer.ranking_values, settle)

    rounds = 1 if few else 3
    whole, raced = take_turns((full, racing), rounds, work.device, warm_up=0)
    a_minute = 60 * candidates / statistics.median(raced)
    yield _row("score", work, ratio_of(whole, raced), a_minute, "architectures a minute")


def _sample(work: Workload, effort: Effort) -> Iterator[Row]:
    images, labels = work.batch()
    encoding = work.network.source.encoding

    def draw(number: int) -> None:
        architecture = work.architecture(1000 + number)
        if encoding is not None:
            encoding.encode(architecture)
        work.network.batch_child(architecture)

    def step(number: int) -> None:
        work.step(number, images, labels)

    drawn, steps = take_turns((draw, step), effort.rounds, work.device)
    median = 1000 * statistics.median(drawn)
    yield _row("sample", work, ratio_of(drawn, steps), median, "ms an architecture")


def _data(work: Workload, effort: Effort) -> Iterator[Row]:
    images, labels = work.batch()
    data = work.data

    def load(number: int) -> None:
        order = epoch_order(len(data.train), 0, number // 10)
        batch = training_batch(data.train, order[:BATCH], 0, number)
        data.normalise(data.augmentation(batch.images, torch_generator(0, "bench", number)))

    def step(number: int) -> None:
        work.step(number, images, labels)

    loads, steps = take_turns((load, step), effort.rounds, work.device)
    a_second = BATCH / statistics.median(loads)
    yield _row("data", work, ratio_of(steps, loads), a_second, "images a second")


def _study(effort: Effort) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{count}.journal" for count in effort.candidates]
        studies = [Study(path, create=True) for path in paths]
        for study, count in zip(studies, effort.candidates, strict=True):
            for number in range(count):
                study.add(_candidate(number), {"depth": 12.0})

        def add(study: Study, number: int) -> None:
            study.add(_candidate(10**6 + number), {"depth": 12.0})

        def read(path: Path, number: int) -> None:
            Study(path).ranked()

        adds = take_turns([partial(add, study) for study in studies], effort.rounds)
        reads = take_turns([partial(read, path) for path in paths], 3)
    for name, taken in (("study add", adds), ("study read", reads)):
        for count, seconds in zip(effort.candidates, taken, strict=True):
            median = 1000 * statistics.median(seconds)
            ratio = ratio_of(seconds, taken[0])
            yield Row(
                name=name, size=f"{count:,}", device="cpu", ratio=ratio, median=median, unit="ms"
            )


def _start(effort: Effort) -> Iterator[Row]:
    def start(arguments: list[str], _: int) -> None:
        command = [sys.executable, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 # our own

    sides = [partial(start, ["-m", "smash", "--help"]), partial(start, ["-c", "pass"])]
    helps, bare = take_turns(sides, effort.rounds, warm_up=1)
    median = statistics.median(helps)
    yield Row(
        name="start", size="--help", device="cpu", ratio=ratio_of(helps, bare), median=median,
        unit="s",
    )  # fmt: skip


def _augment(work: Workload, effort: Effort) -> Iterator[Row]:
    shape = (effort.images, work.task.channels, *work.task.size)
    images = torch.zeros(shape, dtype=torch.uint8, device=work.device)
    augmentation = Augmentation(min(4, work.size.side // 8), flip=True)

    def augment(number: int) -> None:
        augmentation(images, torch_generator(0, "bench", number))

    def copy(_: int) -> None:
        images.clone()

    seconds, copies = take_turns((augment, copy), 3, work.device, warm_up=1)
    unit = f"s for {effort.images:,} images"
    median = statistics.median(seconds)
    yield _row("augment", work, ratio_of(seconds, copies), median, unit)


def _row(name: str, work: Workload, ratio: float, median: float, unit: str) -> Row:
    return Row(
        name=name, size=work.name, device=str(work.device), ratio=ratio, median=median,
        unit=unit,
    )  # fmt: skip


def _candidate(number: int) -> Candidate:
    """A candidate with as much JSON as one at CIFAR's default size has."""
    ops = [{"reads": [0, 1], "writes": [2], "outputs": 4, "grid": [None] * 4}] * 30
    return Candidate(
        id=f"{number:012x}", architecture={"blocks": [{"bank_size": 2, "ops": ops}]},
        strategy="random", index=number, params=10**6, macs=10**8, memory=10**5,
        flash=10**6, ensemble_error=0.4,
        score=Score(
            error=0.5, top5_error=0.1, loss=number % 977 / 977, rank_by="loss", split="val",
            examples=2000,
        ),
    )  # fmt: skip


_OF_SIZE: Mapping[str, Callable[[Workload, Effort], Iterator[Row]]] = {
    "step": _step,
    "score": _score,
    "sample": _sample,
    "data": _data,
    "augment": _augment,
}
_OF_HOST: Mapping[str, Callable[[Effort], Iterator[Row]]] = {"study": _study, "start": _start}
MEASUREMENTS = (*_OF_SIZE, *_OF_HOST)
