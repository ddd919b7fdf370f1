"""Trained child networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import nn

from smash.config import ChildSettings
from smash.data import Data
from smash.data.downscale import shrink
from smash.errors import RunStateError
from smash.evaluation import Evaluation, evaluate
from smash.io.tensors import load_tensors
from smash.run.child_folder import (
    ChildFolder,
    ChildNetwork,
    ChildRecord,
    InputFormat,
    finished_children,
    read_record,
    write_result,
)
from smash.run.layout import MODEL, check_child, check_split
from smash.run.run import Run
from smash.spaces import Task, make_space
from smash.spaces.baselines import make_baseline


@dataclass(frozen=True)
class Child(ChildFolder):
    """A trained child network in its folder.

    Attributes:
        path: The folder, ``RUN/children/NAME``.
        record: Its ``architecture.json``.
        run: The run that it belongs to.

    Example:
        >>> child = Child.open(next(Path("runs/digits/children").iterdir()))
        >>> model = child.model(torch.device("cpu"))
        >>> 0 <= child.result["val"].error <= 1
        True
    """

    run: Run

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Opens a trained child.

        Raises:
            NotFoundError: There is no child at this path.
            RunStateError: It is damaged, or its training has not finished.
        """
        path = Path(path)
        check_child(path)
        return cls.read(path, Run.open(path.absolute().parent.parent))

    @classmethod
    def read(cls, path: Path, run: Run) -> Self:
        """Reads a trained child of an open run.

        Raises:
            RunStateError: It is damaged.
        """
        return cls(path, read_record(path), run)

    @classmethod
    def of_run(cls, run: Run) -> list[Self]:
        """Opens the trained children of a run, but for those of `correlate`.

        Returns:
            The children, sorted by validation error.

        Raises:
            RunStateError: A child is damaged.
        """
        return [cls(each.path, each.record, run) for each in finished_children(run.path)]

    @property
    def data(self) -> Data:
        """The data of the run, as large as the network was trained on."""
        return shrink(self.run.data, max(self.record.size))

    def model(self, device: torch.device) -> nn.Module:
        """Builds the network with its trained weights, in eval mode; it takes normalised images.

        Raises:
            RunStateError: The weights are damaged.
        """
        model = build(self.run, self.record, device)
        tensors, _ = load_tensors(self.path / MODEL)
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise RunStateError(f"{self.path / MODEL} does not fit its child: {reason}") from None
        return model.eval()

    def evaluate(self, split: str, device: torch.device) -> Evaluation:
        """Evaluates the trained network; an evaluation on the test split is kept in its result.

        Raises:
            InvalidValueError: There is no such split.
        """
        check_split(split)
        data = self.data.to(device)
        found = evaluate(self.model(device), getattr(data, split), data, split)
        if split == "test" and split not in self.result:
            write_result(self.path, {**self.result, split: found})
        return found


def describe_input(data: Data) -> InputFormat:
    """Describes the inputs of networks that are trained on data."""
    scaled = data.train.stored.dtype == torch.uint8
    return InputFormat(
        channels=data.task.channels,
        size=list(data.task.size),
        scaled=scaled,
        white=data.white,
        sound=data.sound,
    )


def describe_child(network: ChildNetwork, settings: ChildSettings, data: Data) -> ChildRecord:
    """Describes a network that is trained on data."""
    return ChildRecord(
        **network.model_dump(),
        **describe_input(data).model_dump(),
        settings=settings,
        classes=list(data.classes),
        mean=list(data.mean),
        std=list(data.std),
    )


def build(run: Run, record: ChildRecord, device: torch.device) -> nn.Module:
    """Builds the network of a record, without weights; the data is not needed."""
    task = Task(channels=record.channels, size=tuple(record.size), classes=len(record.classes))
    if record.baseline is not None:
        return make_baseline(record.baseline, task, str(device))
    space = make_space(run.settings.space, task.dims).bind(task)
    return space.build(space.from_json(record.architecture or {}), task, str(device))
