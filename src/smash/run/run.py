"""A run and its folder.

Nothing that is loaded from the folder can run code: it holds TOML, JSON and safetensors. Tensors
carry a checksum, so that altered files are refused.
"""

from __future__ import annotations

import os
import platform
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from smash.config import Length, RunSettings
from smash.data import IN_MEMORY, Data, load_data, shrink
from smash.data.names import check_exists
from smash.errors import InvalidValueError, NotFoundError, RunStateError
from smash.hypernet import SmashNetwork
from smash.io.files import make_folder, write_atomically, write_json
from smash.io.tensors import load_tensors, save_tensors
from smash.run.data_facts import DataFacts
from smash.run.layout import (
    CONFIG,
    DATA,
    ENVIRONMENT,
    METRICS,
    NETWORK,
    SNAPSHOTS,
    STUDY,
    TENSORBOARD,
    check_free,
    check_trained,
    child_path,
    copy_path,
    find_run,
)
from smash.run.metrics_log import Curves, MetricsLog
from smash.spaces import SearchSpace, make_space


class Run:
    """A run: a SMASH network, the study of its candidates, and trained children, in one folder.

    Attributes:
        path: The folder.
        settings: Its resolved settings.
        metrics: The training curves of the SMASH network.
        tensorboard: Whether curves are written for TensorBoard as well.

    Example:
        >>> run = Run.open("runs/digits")
        >>> network = run.network(torch.device("cpu"))
        >>> 0 <= run.metrics.rows()[-1]["val_error"] <= 1
        True
    """

    def __init__(self, path: Path, settings: RunSettings) -> None:
        self.path = path
        self.settings = settings
        self._data: Data | None = None
        self._search_data: Data | None = None
        self.tensorboard = False
        self.metrics = MetricsLog(path / METRICS)

    def show_in_tensorboard(self) -> None:
        """Writes the training curves of the network and of children for TensorBoard as well.

        Raises:
            MissingExtraError: TensorBoard is not installed.
        """
        self.tensorboard = True
        self.metrics.curves = Curves(self.path / TENSORBOARD / "network")

    def metrics_of(self, child: Path) -> MetricsLog:
        """Returns the training curves of a child, by its folder."""
        curves = Curves(self.path / TENSORBOARD / child.name) if self.tensorboard else None
        return MetricsLog(child / METRICS, curves)

    def create(self) -> None:
        """Makes the folder. The settings are written last, because they make it a run.

        Raises:
            AlreadyExistsError: The path exists.
        """
        check_free(self.path)
        make_folder(self.path)
        write_json(self.path / ENVIRONMENT, environment())
        DataFacts.of(self.data).write(self.path / DATA)
        self._write_settings()

    def keep_length(self, length: Length) -> None:
        """Takes over a revised length of the training, and writes it into the settings."""
        self.take_length(length)
        self._write_settings()

    def take_length(self, length: Length) -> None:
        """Takes over the length of the training."""
        training = self.settings.training.replaced(length=length)
        self.settings = self.settings.replaced(training=training)

    def _write_settings(self) -> None:
        write_atomically(self.path / CONFIG, self.settings.to_toml().encode())

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Opens a run.

        Raises:
            NotFoundError: There is no run at this path.
            RunStateError: Its configuration is damaged.
        """
        return cls(Path(path), find_run(path))

    @classmethod
    def of(cls, run: Run | str | Path) -> Run:
        """Gives a run, which its folder may stand for.

        Raises:
            InvalidValueError: It is neither.
            NotFoundError: There is no run at this path.
            RunStateError: Its configuration is damaged.
        """
        if isinstance(run, Run):
            return run
        if not isinstance(run, str | Path):
            raise InvalidValueError(f"run must be a Run or its folder, got {run!r:.100}")
        return cls.open(run)

    @property
    def data(self) -> Data:
        """The data of the run, loaded at first use unless it was set.

        Raises:
            NotFoundError: It is no longer where it was.
            RunStateError: It has changed, or it was given in memory and must be set again.
        """
        if self._data is None:
            if self.settings.data.source == IN_MEMORY:
                raise RunStateError(
                    f"run {str(self.path)!r} was made with data in memory, which has no path: set "
                    "run.data = load_data(...) with the same arrays and the same options"
                )
            try:
                check_exists(self.settings.data.source)
            except NotFoundError:
                raise NotFoundError(
                    f"data {self.settings.data.source!r} of run {str(self.path)!r} does not exist: "
                    "restore it, or work in the folder that 'smash train' ran in"
                ) from None
            data = load_data(**self.settings.data.model_dump(exclude={"fingerprint", "duplicates"}))
            if data.settings.fingerprint != self.settings.data.fingerprint:
                raise RunStateError(
                    f"data {self.settings.data.source!r} has changed since run "
                    f"{str(self.path)!r} was made: restore it, or train anew"
                )
            self._data = data
        return self._data

    @data.setter
    def data(self, data: Data) -> None:
        if data.settings.fingerprint != self.settings.data.fingerprint:
            raise RunStateError(
                f"run {str(self.path)!r} was made with other data ({self.settings.data.source!r}, "
                "or other splits): give the data and the data options it was made with"
            )
        self._data = data
        self._search_data = None

    @property
    def search_data(self) -> Data:
        """The data at the size that the SMASH network learns and ranks from."""
        if self._search_data is None:
            self._search_data = shrink(self.data, self.settings.training.proxy_size)
        return self._search_data

    @cached_property
    def space(self) -> SearchSpace[Any]:
        """The search space."""
        task = self.data.task
        return make_space(self.settings.space, task.dims).bind(task)

    @cached_property
    def search_space(self) -> SearchSpace[Any]:
        """The space with the children that the SMASH network learns and ranks with."""
        return self.space.proxy() if self.settings.training.proxy_space else self.space

    def new_network(self) -> SmashNetwork:
        """Makes a SMASH network as it is before the first step."""
        settings, task = self.settings, self.search_data.task
        return SmashNetwork(self.search_space, task, settings.hypernet, settings.seed)

    @property
    def study_path(self) -> Path:
        """The study's journal."""
        return self.path / STUDY

    @property
    def trained(self) -> bool:
        """Whether the SMASH network's training has finished."""
        return (self.path / NETWORK).is_file()

    def save_network(self, network: nn.Module) -> None:
        """Saves the weights of the trained SMASH network."""
        save_tensors(
            self.path / NETWORK,
            network.state_dict(),
            {"steps": self.settings.training.length.total},
        )

    def network(self, device: torch.device) -> SmashNetwork:
        """Loads the trained SMASH network.

        Raises:
            RunStateError: Training has not finished, or the file is damaged.
        """
        check_trained(self.path)
        return self._network(self.path / NETWORK, device)

    def snapshots(self, device: torch.device) -> list[SmashNetwork]:
        """Loads the networks that rank beside the last one, oldest first.

        Raises:
            RunStateError: A file is damaged or missing.
        """
        steps = sorted(self.settings.training.snapshot_steps)
        folder = self.path / SNAPSHOTS
        return [self._network(copy_path(folder, "step", step), device) for step in steps]

    def _network(self, path: Path, device: torch.device) -> SmashNetwork:
        tensors, _ = load_tensors(path)
        network = self.new_network()
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise RunStateError(f"{path} does not fit this run: {reason}") from None
        return network.to(device)

    def child_path(self, name: str) -> Path:
        """Returns the folder of a trained child.

        Raises:
            InvalidValueError: The name would lead outside the run folder.
        """
        return child_path(self.path, name)


def environment() -> dict[str, Any]:
    """Describes what a run is made with: versions, machine and threads."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": device,
    }
