"""Trained child networks: the folder of each, and how well it does.

The folder holds what was trained (``architecture.json``), its weights (``model.safetensors``), how
training went (``metrics.jsonl``) and, once it has finished, how good it is (``result.json``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from smash.config import ChildSettings, describe
from smash.data import Data
from smash.errors import InvalidValueError, RunStateError
from smash.evaluation import Evaluation, evaluate
from smash.io.files import read_json, require
from smash.io.tensors import load_tensors
from smash.run.layout import ARCHITECTURE, MODEL, RESULT, check_child
from smash.run.run import Run
from smash.spaces import Task, make_space
from smash.spaces.baselines import make_baseline

_SPLITS = ("train", "val", "test")
_NUMBER = int | float
_LONGEST = 2**31 - 1  # channels or extent of an input
_ONLY_WATCHED = {"validate_every", "validate_on", "keep_every"}  # settings that change no weight


@dataclass(frozen=True)
class Child:
    """A trained child network in its folder.

    Attributes:
        path: The folder, ``RUN/children/NAME``.
        run: The run it is from.
        about: What ``architecture.json`` says.
    """

    path: Path
    run: Run
    about: dict[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> Child:
        """Finds a trained child.

        Raises:
            NotFoundError: There is no child at this path.
            RunStateError: It is damaged, or its training has not finished.
        """
        path = Path(path)
        check_child(path)
        return cls(path, Run.open(path.absolute().parent.parent), read_about(path))

    @property
    def takes(self) -> dict[str, Any]:
        """What its inputs are like, as `describe_input` says."""
        names = ("channels", "size", "scaled")
        if "size" not in self.about:
            return describe_input(self.run.data)
        return {name: self.about[name] for name in names}

    @property
    def result(self) -> dict[str, Any]:
        """What retraining found at its end: ``val`` and, where it was asked for, ``test``.

        Raises:
            RunStateError: The file is damaged.
        """
        return read_result(self.path)

    def error(self, split: str) -> float:
        """The error that retraining found at its end, 0…1.

        Raises:
            RunStateError: It was not found for this split, or the file is damaged.
        """
        found = self.result
        require(found, self.path / RESULT, **{split: dict})
        return float(found[split]["error"])

    def model(self, device: torch.device) -> nn.Module:
        """The network with its trained weights, in eval mode; it takes normalised images.

        Raises:
            RunStateError: The weights are damaged.
        """
        model = build(self.run, self.about, device)
        tensors, _ = load_tensors(self.path / MODEL)
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise RunStateError(f"{self.path / MODEL} does not fit its child: {reason}") from None
        return model.eval()

    def evaluate(self, split: str, device: torch.device) -> Evaluation:
        """Evaluates the trained network.

        Raises:
            InvalidValueError: There is no such split.
        """
        if split not in _SPLITS:
            raise InvalidValueError(f"split must be one of {', '.join(_SPLITS)}, got {split!r}")
        data = self.run.data.to(device)
        return evaluate(self.model(device), getattr(data, split), data, split)


def read_about(path: Path) -> dict[str, Any]:
    """What a child's ``architecture.json`` says.

    Args:
        path: The child's folder.

    Raises:
        RunStateError: It is damaged.
    """
    file = path / ARCHITECTURE
    about = read_json(file)
    network = {"baseline": str} if "baseline" in about else {"architecture": dict}
    takes = {"channels": int, "size": list[int], "scaled": bool} if "size" in about else {}
    settings = {"settings": dict} if "settings" in about else {}
    numbers = {"params": int, "macs": int, "mean": list[_NUMBER], "std": list[_NUMBER]}
    require(about, file, id=str, classes=list[str], **numbers, **network, **takes, **settings)
    if takes:
        extents = (about["channels"], *about["size"])
        if not (2 <= len(extents) <= 4 and all(1 <= each <= _LONGEST for each in extents)):
            raise RunStateError(f"{file} is damaged: 'channels' and 'size' are {extents!r:.60}")
    return about


def read_result(path: Path) -> dict[str, Any]:
    """What a child's ``result.json`` says: what was found at the end, by split.

    Args:
        path: The child's folder.

    Raises:
        RunStateError: It is damaged.
    """
    file = path / RESULT
    found = read_json(file)
    require(found, file, **dict.fromkeys(found, dict))
    for split in found.values():
        recall = {"recall": list[_NUMBER]} if "recall" in split else {}
        require(split, file, error=_NUMBER, loss=_NUMBER, examples=int, **recall)
    return found


def build(run: Run, about: Mapping[str, Any], device: torch.device) -> nn.Module:
    """Builds the network that ``architecture.json`` describes; its weights are still open."""
    if "size" in about:  # without the data, which may be far away by now
        classes = len(about["classes"])
        task = Task(channels=about["channels"], size=tuple(about["size"]), classes=classes)
        space = make_space(run.settings.space, task.dims).bind(task)
    else:
        task, space = run.data.task, run.space
    if "baseline" in about:
        return make_baseline(about["baseline"], task, str(device))
    return space.build(space.from_json(about["architecture"]), task, str(device))


def describe_input(data: Data) -> dict[str, Any]:
    """What a network for data takes, as plain JSON.

    Returns:
        ``channels`` and ``size`` of an input, and whether it is ``scaled``: numbers in 0…1 that
        were 8-bit values, and not numbers in the units of the data.
    """
    scaled = data.train.stored.dtype == torch.uint8
    return {"channels": data.task.channels, "size": list(data.task.size), "scaled": scaled}


def child_name(identity: str, settings: ChildSettings) -> str:
    """A child's name: its id and what differs from the default recipe and changes the weights."""
    default = ChildSettings().model_dump()
    marks = {"epochs": "e", "patience": "p", "seed": "s", "batch_size": "b", "learning_rate": "lr"}
    words = {"augment": "unaugmented", "class_weights": "weighted"}  # each differs in one way
    parts = [identity]
    values = of_weights(settings)
    for name in (field.name for field in describe(ChildSettings) if field.name in values):
        if (value := values[name]) == default[name]:
            continue
        if isinstance(value, str):
            parts.append(value)
        else:
            number = f"{value:g}" if isinstance(value, float) else str(value)
            parts.append(words.get(name) or f"{marks.get(name, name)}{number}")
    return "-".join(parts)


def of_weights(settings: ChildSettings) -> dict[str, Any]:
    """The settings that change a child's weights."""
    # How often is looked says when training stops, if it may stop early.
    watched = _ONLY_WATCHED - {"validate_every"} if settings.patience else _ONLY_WATCHED
    return settings.model_dump(exclude=watched)
