"""What the work costs, as ratios: both sides of each are measured in turn, in one process.

So a busy or a slow machine slows both, and a ratio can be compared with another machine's. Data are
synthetic. What each figure compares:

- ``step``: a step of SMASH training ÷ forward and backward pass of the same child, on the same
  batch, with weights of its own.
- ``score``: architectures ranked a minute, racing ÷ full scoring.
- ``sample``: drawing, encoding and building an architecture ÷ a training step.
- ``augment``: padded crop and flip of 50,000 images ÷ copying them.
- ``data``: images a second through loading and augmentation ÷ what training steps consume.
- ``study``: adding a candidate, and reading the best, ÷ the same at the fewest candidates.
- ``start``: ``smash --help`` ÷ starting Python.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from smash.benching.setting import BATCH, SIZES, Setting
from smash.benching.turns import WARM_UP, in_turn, ratio_of
from smash.data import Augmentation, epoch_order, training_batch
from smash.errors import InvalidValueError, unknown
from smash.hypernet.dilated_conv import quicken
from smash.runtime.device import autocast, choose_device
from smash.runtime.progress import Progress, silent
from smash.runtime.rng import torch_generator
from smash.scoring.scorer import Scorer
from smash.searching.racing import Entrant, Promise, Race
from smash.spaces.layers import initialise
from smash.study.study import Candidate, Study

_KEEP = 10


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How often things are measured.

    Attributes:
        rounds: Measurements of each side.
        candidates: Counts of candidates in studies, ascending.
        images: That are augmented at once.
    """

    rounds: int = 15
    candidates: tuple[int, ...] = (100, 1000, 20000)
    images: int = 50000


QUICK = Effort(rounds=3, candidates=(10, 40), images=500)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A figure.

    Attributes:
        name: Which.
        size: Of the network, or of what it is about.
        device: Where it was measured.
        ratio: What `smash.benching.figures` says of it, over all rounds; see `ratio_of`.
        median: Of the measured side, in `unit`.
        unit: Of `median`.
    """

    name: str
    size: str
    device: str
    ratio: float
    median: float
    unit: str


def bench(
    figures: Sequence[str] = (),
    sizes: Sequence[str] = (),
    device: str = "cpu",
    effort: Effort | None = None,
    progress: Progress = silent,
) -> list[Row]:
    """Measures figures.

    Args:
        figures: Names in `FIGURES`; all if empty.
        sizes: Names in `SIZES`; all if empty.
        device: Where networks are computed.
        effort: How often things are measured.
        progress: Shows how far it is.

    Raises:
        InvalidValueError: A name is not known, or the device is not there.
    """
    figures, sizes = list(figures) or list(FIGURES), list(sizes) or list(SIZES)
    faults = [unknown("figure", name, FIGURES) for name in figures if name not in FIGURES]
    faults += [unknown("size", name, SIZES) for name in sizes if name not in SIZES]
    if faults:
        raise InvalidValueError(*faults)
    chosen = choose_device(device)
    effort = effort or Effort()
    work: list[Callable[[], Iterator[Row]]] = [
        partial(_OF_SIZE[name], Setting(size, chosen), effort)
        for size in sizes
        for name in figures
        if name in _OF_SIZE
    ]
    work += [partial(_OF_HOST[name], effort) for name in figures if name in _OF_HOST]
    rows: list[Row] = []
    with progress("measuring", len(work)) as advance:
        for done, measure in enumerate(work):
            rows += measure()
            advance(done + 1, f"{rows[-1].name} {rows[-1].size}")
    return rows


def _step(setting: Setting, effort: Effort) -> Iterator[Row]:
    images, labels = setting.batch()
    own: dict[int, torch.nn.Module] = {}
    for number in range(effort.rounds + WARM_UP):
        architecture = setting.architecture(number)
        child = setting.space.build(architecture, setting.task, str(setting.device))
        initialise(child, torch_generator(0, "bench child"))
        for module in child.modules():  # the same convolutions on both sides
            quicken(module)
        own[number] = child

    def child_alone(number: int) -> None:
        with autocast(setting.device):
            logits = own[number](images)
        F.cross_entropy(logits.float(), labels).backward()

    def smash(number: int) -> None:
        setting.step(number, images, labels)

    steps, alone = in_turn((smash, child_alone), effort.rounds, setting.device)
    yield _row(
        "step", setting, ratio_of(steps, alone), 1000 * statistics.median(steps), "ms a step"
    )


def _score(setting: Setting, effort: Effort) -> Iterator[Row]:
    few = effort.rounds < Effort.rounds
    candidates = _KEEP + 2 if few else setting.size.candidates
    examples = min(500, setting.size.examples) if few else setting.size.examples
    scorer = Scorer(setting.network, setting.data, examples=examples)
    architectures = [setting.architecture(number) for number in range(candidates)]

    def full(_: int) -> None:
        for architecture in architectures:
            scorer(architecture)

    def racing(_: int) -> None:
        keep = min(_KEEP, candidates // 4)
        Race(scorer.rungs, keep).run(
            [Entrant(parts=partial(_promises, scorer, one)) for one in architectures],
            [],
            scorer.each,
            lambda entrant: None,
            nullcontext,
        )

    rounds = 1 if few else 3
    whole, raced = in_turn((full, racing), rounds, setting.device, warm_up=0)
    a_minute = 60 * candidates / statistics.median(raced)
    yield _row("score", setting, ratio_of(whole, raced), a_minute, "architectures a minute")


def _sample(setting: Setting, effort: Effort) -> Iterator[Row]:
    images, labels = setting.batch()
    source: Any = setting.network.source

    def draw(number: int) -> None:
        architecture = setting.architecture(1000 + number)
        source.encode(architecture)
        setting.network.batch_child(architecture)

    def step(number: int) -> None:
        setting.step(number, images, labels)

    drawn, steps = in_turn((draw, step), effort.rounds, setting.device)
    median = 1000 * statistics.median(drawn)
    yield _row("sample", setting, ratio_of(drawn, steps), median, "ms an architecture")


def _data(setting: Setting, effort: Effort) -> Iterator[Row]:
    images, labels = setting.batch()
    data = setting.data

    def load(number: int) -> None:
        order = epoch_order(len(data.train), 0, number // 10)
        batch = training_batch(data.train, order[:BATCH], 0, number)
        data.normalise(data.augmentation(batch.images, torch_generator(0, "bench", number)))

    def step(number: int) -> None:
        setting.step(number, images, labels)

    loads, steps = in_turn((load, step), effort.rounds, setting.device)
    a_second = BATCH / statistics.median(loads)
    yield _row("data", setting, ratio_of(steps, loads), a_second, "images a second")


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

        adds = in_turn([partial(add, study) for study in studies], effort.rounds)
        reads = in_turn([partial(read, path) for path in paths], 3)
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
    helps, bare = in_turn(sides, effort.rounds, warm_up=1)
    median = statistics.median(helps)
    yield Row(
        name="start", size="--help", device="cpu", ratio=ratio_of(helps, bare), median=median,
        unit="s",
    )  # fmt: skip


def _augment(setting: Setting, effort: Effort) -> Iterator[Row]:
    """All images of CIFAR at once, against copying them."""
    shape = (effort.images, setting.task.channels, *setting.task.size)
    images = torch.zeros(shape, dtype=torch.uint8, device=setting.device)
    augmentation = Augmentation(min(4, setting.size.side // 8), flip=True)

    def augment(number: int) -> None:
        augmentation(images, torch_generator(0, "bench", number))

    def copy(_: int) -> None:
        images.clone()

    seconds, copies = in_turn((augment, copy), 3, setting.device, warm_up=1)
    unit = f"s for {effort.images:,} images"
    median = statistics.median(seconds)
    yield _row("augment", setting, ratio_of(seconds, copies), median, unit)


def _row(name: str, setting: Setting, ratio: float, median: float, unit: str) -> Row:
    return Row(
        name=name, size=setting.name, device=str(setting.device), ratio=ratio, median=median,
        unit=unit,
    )  # fmt: skip


def _candidate(number: int) -> Candidate:
    """One with as much to say as those of a search at CIFAR's default size."""
    ops = [{"reads": [0, 1], "writes": [2], "outputs": 4, "grid": [None] * 4}] * 30
    return Candidate(
        id=f"{number:012x}", architecture={"blocks": [{"bank_size": 2, "ops": ops}]},
        strategy="random", index=number, value=number % 977 / 977, error=0.5, top5_error=0.1,
        ensemble_error=0.4, loss=1.0, split="val", examples=2000, params=10**6, macs=10**8,
    )  # fmt: skip


_OF_SIZE: Mapping[str, Callable[[Setting, Effort], Iterator[Row]]] = {
    "step": _step,
    "score": _score,
    "sample": _sample,
    "data": _data,
    "augment": _augment,
}
_OF_HOST: Mapping[str, Callable[[Effort], Iterator[Row]]] = {"study": _study, "start": _start}
FIGURES = (*_OF_SIZE, *_OF_HOST)
"""What can be measured."""


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as plain values."""
    return [asdict(row) for row in rows]


def _promises(scorer: Scorer, architecture: Any, first: int) -> Iterator[Promise]:
    """Logits part by part, as a race on this machine alone gets them."""
    for logits in islice(scorer.predict_parts(architecture), first, None):
        yield partial(_same, logits)


def _same(logits: Tensor) -> Tensor:
    return logits
