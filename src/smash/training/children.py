"""The training of several children of a run: here, in worker processes, or on a cluster.

A worker is sent the data, and trains in the folder of the child. A machine of a cluster is sent the
files of the folder too, trains in a temporary one and returns the files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from smash.config import RunSettings
from smash.data import Data, Split
from smash.io.files import make_folder, write_atomically
from smash.io.locks import hold
from smash.run.child import Child
from smash.run.layout import ARCHITECTURE, METRICS, NETWORK, RESULT
from smash.run.metrics_log import MetricsLog
from smash.run.run import Run
from smash.runtime.device import choose_device
from smash.runtime.executor import Executor, SerialExecutor
from smash.runtime.progress import Progress, automatic, silent
from smash.runtime.signals import hear_interruption
from smash.runtime.worker_executor import WorkerExecutor
from smash.spaces import SPACES, SearchSpace
from smash.study.ranking import pick
from smash.study.study import Study
from smash.training.child import ChildJob, check_begun, check_start, network_of, train_child
from smash.training.settings import RetrainSettings
from smash.training.workers import MOST_SENT, open_trainer

SplitData = Callable[[Data, torch.device], tuple[Data, Mapping[str, Split]]]
"""Takes the data of a run and returns the data to train on and the splits to evaluate on by name,
both on a device."""


_PAUSE = 1.0  # seconds until the progress of workers is read again


def with_val(data: Data, device: torch.device) -> tuple[Data, Mapping[str, Split]]:
    """Trains on the training split, and evaluates on validation."""
    data = data.to(device)
    return data, {"val": data.val}


def with_test(data: Data, device: torch.device) -> tuple[Data, Mapping[str, Split]]:
    """Trains on the training split, and evaluates on validation and test."""
    data, splits = with_val(data, device)
    return data, {**splits, "test": data.test}


def retrain_several(
    run: Run,
    ranks: Sequence[int],
    settings: RetrainSettings | None = None,
    *,
    progress: Progress = automatic,
    **changes: Any,
) -> list[Child]:
    """Trains candidates of several ranks; those that were trained already are kept.

    Args:
        run: A run with ranked candidates.
        ranks: The ranks of the candidates; 0 is the best.
        settings: How they are trained; `rank` and other settings for one child do not matter.
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
    check_start(run, settings.child)
    ranked = Study(run.study_path).ranked()
    networks = [network_of(pick(ranked, rank)) for rank in dict.fromkeys(ranks)]
    jobs = [ChildJob.of(run, network, settings.child) for network in networks]
    with open_trainer(run, settings, pick(ranked, 0).macs) as executor:
        split_data = with_test if settings.test else with_val
        children = train_children(run, jobs, split_data, settings.device, progress, executor)
    for child in children:
        if settings.test and "test" not in child.result:  # it was trained without
            child.evaluate("test", choose_device(settings.device))
    return children


def train_children(
    run: Run,
    jobs: Sequence[ChildJob],
    split_data: SplitData,
    device: str = "auto",
    progress: Progress = silent,
    executor: Executor | None = None,
) -> list[Child]:
    """Trains children; finished ones are kept, and unfinished ones continue.

    Args:
        run: The run that they belong to.
        jobs: The children.
        split_data: Returns the data that they are trained and evaluated on; a function of a module.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        progress: Shows how far training is.
        executor: Trains them; by default this process.

    Returns:
        The children, in the order of `jobs`.

    Raises:
        DivergedError: A loss is no longer finite.
        RunStateError: A child is damaged or was begun with other settings, or another process is
            training it.
    """
    for job in jobs:
        check_begun(job)
    unfinished = [job for job in jobs if not (job.path / RESULT).is_file()]
    if unfinished and (executor is None or isinstance(executor, SerialExecutor)):
        chosen = choose_device(device)
        data, splits = split_data(run.data, chosen)
        for job in unfinished:
            train_child(run, job, data, splits, chosen, progress)
    elif unfinished and isinstance(executor, WorkerExecutor):
        _train_in_workers(run, unfinished, split_data, device, progress, executor)
    elif unfinished and executor:
        _train_remotely(run, unfinished, split_data, progress, executor)
    return [Child.read(job.path, run) for job in jobs]


def copy_child(job: ChildJob, name: str) -> None:
    """Copies a child that was trained to a folder of another name."""
    path = job.path.with_name(name)
    make_folder(path)
    _write_files(path, _read_files(job.path))


def _train_in_workers(
    run: Run,
    jobs: Sequence[ChildJob],
    split_data: SplitData,
    device: str,
    progress: Progress,
    executor: WorkerExecutor,
) -> None:
    local = executor.scatter(LocalRun.of(run, split_data, device))
    total = sum(_length(job) for job in jobs)
    label = f"train {len(jobs)} children, {min(executor.slots, len(jobs)):g} at once"
    with (
        hear_interruption() as interruption,
        interruption.at_once(),  # workers save their states
        progress(label, total) as advance,
    ):
        pending = {executor.submit(_train_locally, local, job): job for job in jobs}
        while pending:
            for future in executor.wait(list(pending), _PAUSE):
                future.result()
                del pending[future]
            left = sum(_length(job) - _trained(job) for job in pending.values())
            advance(total - left, f"{len(jobs) - len(pending)} trained")


def _length(job: ChildJob) -> int:
    """Gives the epochs of a training; 1 where it is told in minutes."""
    return job.settings.epochs if job.settings.minutes is None else 1


def _trained(job: ChildJob) -> int:
    """Reads how many epochs an unfinished training has behind it."""
    rows = [] if job.settings.minutes is not None else MetricsLog(job.path / METRICS).rows()
    return rows[-1]["epoch"] if rows else 0


@dataclass(frozen=True)
class SentRun:
    """The part of a run that another process needs to train its children.

    Attributes:
        settings: Its settings.
        space: Its search space, which may be code of the user's that this process alone knows.
        data: Its data; None where they are large, and are read at their path.
    """

    settings: RunSettings
    space: SearchSpace[Any]
    data: Data | None

    @classmethod
    def of(cls, run: Run) -> SentRun:
        """Gathers what is needed."""
        # The source of a space has been checked, and another process may have no file of it.
        space = run.settings.space.replaced(source="")
        return cls(
            settings=run.settings.replaced(space=space),
            space=run.space,
            data=run.data if run.data.nbytes <= MOST_SENT else None,
        )

    def open(self, folder: Path) -> Run:
        """Makes the run in a folder."""
        SPACES.setdefault(self.settings.space.name, lambda settings, dims: self.space)
        run = Run(folder, self.settings)
        if self.data is not None:
            run.data = self.data
        return run


@dataclass(frozen=True)
class LocalRun:
    """A run, as another process of this machine needs it to train children in their folders.

    Attributes:
        path: Its folder.
        sent: What is sent of it.
        split_data: Returns the data that children are trained and evaluated on.
        device: Name of the device to compute on.
        tensorboard: Whether curves are written for TensorBoard.
    """

    path: Path
    sent: SentRun
    split_data: SplitData
    device: str
    tensorboard: bool

    @classmethod
    def of(cls, run: Run, split_data: SplitData, device: str) -> LocalRun:
        """Gathers what is needed."""
        return cls(
            path=run.path,
            sent=SentRun.of(run),
            split_data=split_data,
            device=device,
            tensorboard=run.tensorboard,
        )

    def to(self, device: torch.device) -> LocalRun:
        """Returns the same: a worker moves the data once it has split them."""
        return self

    @cached_property
    def opened(self) -> tuple[Run, torch.device, Data, Mapping[str, Split]]:
        """The run, the device, the data on it, and the splits to evaluate on."""
        run, device = self.sent.open(self.path), choose_device(self.device)
        if self.tensorboard:
            run.show_in_tensorboard()
        return (run, device, *self.split_data(run.data, device))


def _train_locally(local: LocalRun, job: ChildJob) -> None:
    """Trains a child in a worker process."""
    run, device, data, splits = local.opened
    train_child(run, job, data, splits, device)


def _train_remotely(
    run: Run,
    jobs: Sequence[ChildJob],
    split_data: SplitData,
    progress: Progress,
    executor: Executor,
) -> None:
    with ExitStack() as held, hear_interruption() as interruption:
        for job in jobs:
            make_folder(job.path)
            held.enter_context(hold(job.path, "retrain"))
        advance = held.enter_context(progress("train children", len(jobs)))
        remote = executor.scatter(RemoteRun.of(run, jobs, split_data))
        paths = {
            executor.submit(_train, remote, job, _read_files(job.path)): job.path for job in jobs
        }
        completed = executor.as_completed(list(paths))
        for count in range(1, len(paths) + 1):
            with interruption.at_once():
                future = next(completed)
                files = future.result()
            _write_files(paths[future], files)
            advance(count, paths[future].name)
            interruption.check()


@dataclass(frozen=True)
class RemoteRun:
    """A run, as another machine needs it to train children.

    Attributes:
        sent: What is sent of it.
        network: The file of the SMASH network, where children begin from generated weights.
        split_data: Returns the data that children are trained and evaluated on.
        device: Device to compute on.
    """

    sent: SentRun
    network: bytes | None
    split_data: SplitData
    device: torch.device

    @classmethod
    def of(cls, run: Run, jobs: Sequence[ChildJob], split_data: SplitData) -> RemoteRun:
        """Gathers what is needed for some children of a run."""
        generated = any(job.settings.init == "generated" for job in jobs)
        return cls(
            sent=SentRun.of(run),
            network=(run.path / NETWORK).read_bytes() if generated else None,
            split_data=split_data,
            device=torch.device("cpu"),
        )

    def to(self, device: torch.device) -> RemoteRun:
        """Returns the same run for another device."""
        return replace(self, device=device)

    def open(self, folder: Path) -> Run:
        """Makes the run in a folder of this machine."""
        run = self.sent.open(folder)
        if self.network is not None:
            (folder / NETWORK).write_bytes(self.network)
        return run


def _train(remote: RemoteRun, job: ChildJob, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Trains a child on a machine of a cluster; returns the files of its folder."""
    with tempfile.TemporaryDirectory() as folder:
        run = remote.open(Path(folder))
        job = replace(job, path=run.child_path(job.path.name))
        make_folder(job.path)
        _write_files(job.path, files)
        data, splits = remote.split_data(run.data, remote.device)
        train_child(run, job, data, splits, remote.device)
        return _read_files(job.path)


def _read_files(path: Path) -> dict[str, bytes]:
    """Reads the files below a folder, without hidden ones, by their path relative to it."""
    return {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and not file.name.startswith(".")
    }


def _write_files(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes the files of a child's folder.

    What marks the training as begun comes last but one, and last what marks it as finished.
    """
    for name in sorted(files, key=lambda name: (name == RESULT, name == ARCHITECTURE)):
        make_folder((path / name).parent)
        write_atomically(path / name, files[name])
