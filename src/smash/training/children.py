"""Training several children of a run, at once on several machines of a cluster.

Here, a child is trained in its folder, as `smash.training.retrain` does it. A machine of a cluster
is sent the data and what the child's folder holds already, trains in a folder of its own, and sends
the files back: only this process writes to the run folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from smash.config import ChildSettings, RunSettings
from smash.data import Data, Split
from smash.io.files import make_folder, write_atomically
from smash.io.locks import hold
from smash.run.child import Child, child_name, read_about
from smash.run.layout import NETWORK, RESULT
from smash.run.run import Run
from smash.runtime.device import choose_device
from smash.runtime.executor import Executor, SerialExecutor
from smash.runtime.progress import Progress, silent
from smash.runtime.ray_executor import open_executor
from smash.runtime.signals import hear_interruption
from smash.study.study import Study
from smash.training.child import train_child
from smash.training.retrain import about_candidate, check_begun, check_start, pick
from smash.training.settings import RetrainSettings

Parting = Callable[[Data, torch.device], tuple[Data, Mapping[str, Split]]]
"""Gives from the data of a run what children train on, and the splits that judge them; both on a
device."""

_MOST_BYTES = 2**31  # of data that is sent; what is larger, each machine reads at its path


@dataclass(frozen=True)
class Order:
    """A child that is to be trained.

    Attributes:
        path: Its folder.
        about: What it is, such as `smash.training.retrain.about_candidate` says.
        settings: How it is trained.
    """

    path: Path
    about: Mapping[str, Any]
    settings: ChildSettings


def with_test(data: Data, place: torch.device) -> tuple[Data, Mapping[str, Split]]:
    """Trains on the training split, and judges on validation and test."""
    data = data.to(place)
    return data, {"val": data.val, "test": data.test}


def retrain_several(
    run: Run,
    ranks: Sequence[int],
    settings: RetrainSettings | None = None,
    *,
    progress: Progress = silent,
    **changes: Any,
) -> list[Child]:
    """Trains candidates of several ranks; those that were trained already are kept.

    Args:
        run: A run with ranked candidates.
        ranks: Which candidates: 0 is the best.
        settings: How they are trained; `rank` and the like do not matter.
        progress: Shows how many are trained.
        **changes: Fields of `RetrainSettings`, which replace those of `settings`.

    Returns:
        The children, in the order of `ranks`.

    Raises:
        InvalidValueError: A setting is wrong.
        NotFoundError: There is no candidate of a rank.
        DivergedError: A loss is no longer finite.
    """
    settings = RetrainSettings.merged(settings, changes)
    asked, device = settings.child, settings.device
    check_start(run, asked)
    ranked = Study(run.study_path).ranked()
    candidates = [pick(ranked, rank) for rank in dict.fromkeys(ranks)]
    orders = [
        Order(run.child_path(child_name(one.id, asked)), about_candidate(one), asked)
        for one in candidates
    ]
    with open_executor(settings.ray, device) as executor:
        return train_children(run, orders, with_test, device, progress, executor)


def train_children(
    run: Run,
    orders: Sequence[Order],
    parting: Parting,
    device: str = "auto",
    progress: Progress = silent,
    executor: Executor | None = None,
) -> list[Child]:
    """Trains children; those that are there already are kept, and unfinished ones go on.

    Args:
        run: The run that they are of.
        orders: What is to be trained.
        parting: Gives what they train on; a function of a module.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        progress: Shows how far it is.
        executor: Trains them; by default this process.

    Returns:
        The children, in the order in which they were asked for.

    Raises:
        DivergedError: A loss is no longer finite.
        RunStateError: A child is damaged or was begun otherwise, or another process is training it.
    """
    for one in orders:
        check_begun(one.path, one.about, one.settings)
    open_ = [one for one in orders if not (one.path / RESULT).is_file()]
    if open_ and (executor is None or isinstance(executor, SerialExecutor)):
        place = choose_device(device)
        data, judged = parting(run.data, place)
        for one in open_:
            train_child(run, one.path, one.about, one.settings, data, judged, place, progress)
    elif open_ and executor:
        _train_far(run, open_, parting, progress, executor)
    return [Child(one.path, run, read_about(one.path)) for one in orders]


def _train_far(
    run: Run, orders: Sequence[Order], parting: Parting, progress: Progress, executor: Executor
) -> None:
    with ExitStack() as held, hear_interruption() as interruption:
        for one in orders:
            make_folder(one.path)
            held.enter_context(hold(one.path, "retrain"))
        advance = held.enter_context(progress("train children", len(orders)))
        workshop = executor.scatter(Workshop.of(run, orders, parting))
        futures = {
            executor.submit(
                _train, workshop, one.path.name, one.about, one.settings, _files_of(one.path)
            ): one.path
            for one in orders
        }
        completed = executor.as_completed(list(futures))
        for count in range(1, len(futures) + 1):
            with interruption.at_once():
                future = next(completed)
                files = future.result()
            _write(futures[future], files)
            advance(count, futures[future].name)
            interruption.check()


@dataclass(frozen=True)
class Workshop:
    """What a machine needs to train children of a run.

    Attributes:
        settings: What the run was asked for.
        network: The file of the SMASH network, where children begin from generated weights.
        data: The data of the run; None where each machine reads them at their path.
        parting: Gives what children train on.
        place: Where they are computed.
    """

    settings: RunSettings
    network: bytes | None
    data: Data | None
    parting: Parting
    place: torch.device

    @classmethod
    def of(cls, run: Run, orders: Sequence[Order], parting: Parting) -> Workshop:
        """Gathers what is needed for some children of a run."""
        generated = any(one.settings.init == "generated" for one in orders)
        stored = {id(split.stored): split.stored for split in _splits(run.data)}.values()
        is_small = sum(images.nbytes for images in stored) <= _MOST_BYTES
        return cls(
            settings=run.settings,
            network=(run.path / NETWORK).read_bytes() if generated else None,
            data=run.data if is_small else None,
            parting=parting,
            place=torch.device("cpu"),
        )

    def to(self, device: torch.device) -> Workshop:
        """The same for work on another device."""
        return replace(self, place=device)

    def open(self, folder: Path) -> Run:
        """Makes a run of it in a folder of this machine."""
        run = Run(folder, self.settings)
        if self.data is not None:
            run.data = self.data
        if self.network is not None:
            (folder / NETWORK).write_bytes(self.network)
        return run


def _train(
    workshop: Workshop,
    name: str,
    about: Mapping[str, Any],
    settings: ChildSettings,
    files: Mapping[str, bytes],
) -> dict[str, bytes]:
    """Trains a child on a machine of a cluster; returns the files of its folder."""
    with tempfile.TemporaryDirectory() as folder:
        run = workshop.open(Path(folder))
        path = run.child_path(name)
        make_folder(path)
        _write(path, files)
        data, judged = workshop.parting(run.data, workshop.place)
        train_child(run, path, about, settings, data, judged, workshop.place)
        return _files_of(path)


def _files_of(path: Path) -> dict[str, bytes]:
    """The files in a folder and below, by their path from there; without hidden ones."""
    files = (file for file in sorted(path.rglob("*")) if file.is_file())
    return {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in files
        if not file.name.startswith(".")
    }


def _write(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes files of a child's folder; the result last, with which it is finished."""
    for name in sorted(files, key=lambda name: name == RESULT):
        make_folder((path / name).parent)
        write_atomically(path / name, files[name])


def _splits(data: Data) -> Iterator[Split]:
    return iter((data.train, data.val, data.test))
