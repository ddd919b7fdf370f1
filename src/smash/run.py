"""The run folder: what a run leaves behind, and how it is found again.

Files are written under a temporary name, synced and renamed, so that a reader sees the old file or
the new one and nothing between. Nothing that is loaded can run code: TOML, JSON and safetensors.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from smash.config import RunSettings
from smash.data import IN_MEMORY, Data, load_data
from smash.errors import AlreadyExistsError, NotFoundError, RunStateError
from smash.spaces import SearchSpace, make_space
from smash.weights import SmashNetwork

CONFIG = "config.toml"
NETWORK = "network.safetensors"
CHECKPOINT = "state.safetensors"
METRICS = "metrics.jsonl"
STUDY = "study.journal"
CHILDREN = "children"
COPIES = "copies"


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that it is there whole or not at all, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes readable JSON, whole or not at all."""
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """Reads JSON.

    Raises:
        RunStateError: The file is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunStateError(f"{path} is damaged: {error}") from None


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Writes tensors, and what there is to say about them, as one safetensors file."""
    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"about": json.dumps(about)}
    write_atomically(path, safetensors.torch.save(flat, metadata))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads what `save_tensors` wrote.

    Raises:
        RunStateError: The file is truncated or altered.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["about"])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except (safetensors.SafetensorError, TypeError, KeyError, ValueError) as error:
        raise RunStateError(f"{path} is damaged: {error}") from None


class MetricsLog:
    """Training curves as JSON lines, one a epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """All lines; one that a power cut left unfinished is passed over."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return list(_whole(lines))

    def truncate(self, step: int) -> None:
        """Drops the lines of steps after `step`, which a resumed training writes again."""
        kept = [row for row in self.rows() if row["step"] <= step]
        write_atomically(self.path, "".join(json.dumps(row) + "\n" for row in kept).encode())


def _whole(lines: list[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return


class Checkpoint:
    """All that training needs to go on exactly: a module, its optimiser, and how far it is.

    What is drawn depends on the seed and the step alone, so there is no random state to keep.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, about: Mapping[str, Any]
    ) -> None:
        """Writes the state of both, and `about`."""
        tensors = {f"module.{name}": value for name, value in module.state_dict().items()}
        for index, entries in optimizer.state_dict()["state"].items():
            for key, value in entries.items():
                if value is not None:
                    tensors[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
        save_tensors(self.path, tensors, about)

    def load(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Restores both and gives `about`.

        Raises:
            RunStateError: The file is damaged, or of another module.
        """
        tensors, about = load_tensors(self.path)
        state: dict[int, dict[str, Tensor]] = {}
        weights: dict[str, Tensor] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "module":
                weights[rest] = value
            else:
                index, _, key = rest.partition(".")
                state.setdefault(int(index), {})[key] = value
        try:
            module.load_state_dict(weights)
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state, "param_groups": groups})
        except (RuntimeError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise RunStateError(f"{self.path} does not fit this run: {reason}") from None
        return about


class Run:
    """A run folder: made with `create`, found with `open`.

    Attributes:
        path: The folder.
        settings: What was asked for.
        data: The data, loaded at first use unless it was set.
    """

    def __init__(self, path: Path, settings: RunSettings) -> None:
        self.path = path
        self.settings = settings
        self._data: Data | None = None
        self.metrics = MetricsLog(path / METRICS)
        self.checkpoint = Checkpoint(path / CHECKPOINT)

    def create(self) -> None:
        """Makes the folder.

        Raises:
            AlreadyExistsError: There is something at this path.
        """
        check_free(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / "environment.json", environment())
        write_atomically(self.path / CONFIG, self.settings.to_toml().encode())

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Finds a run.

        Raises:
            NotFoundError: There is no run at this path.
            RunStateError: Its configuration is damaged.
        """
        path = Path(path)
        if not path.is_dir():
            raise NotFoundError(f"run {str(path)!r} is not there: make it with 'smash train'")
        if not (path / CONFIG).is_file():
            raise NotFoundError(
                f"{str(path)!r} is not a run: a run folder holds {CONFIG}; "
                "name the folder that was given to --out"
            )
        return cls(path, RunSettings.from_toml(path / CONFIG))

    @property
    def data(self) -> Data:
        """The data that the run was made with.

        Raises:
            RunStateError: It is no longer the same, or was given in memory and must be again.
        """
        if self._data is None:
            if self.settings.data.source == IN_MEMORY:
                raise RunStateError(
                    f"run {str(self.path)!r} was made with data in memory, which cannot be found "
                    "by a path: set run.data = load_data(...) of the same, with the same options"
                )
            data = load_data(**self.settings.data.model_dump(exclude={"fingerprint"}))
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

    @cached_property
    def space(self) -> SearchSpace[Any]:
        """The search space."""
        return make_space(self.settings.space, self.data.task.dims)

    def new_network(self) -> SmashNetwork:
        """A SMASH network as it is before the first step."""
        settings = self.settings
        return SmashNetwork(self.space, self.data.task, settings.hypernet, settings.seed)

    @property
    def study_path(self) -> Path:
        """Where candidates and scores are kept."""
        return self.path / STUDY

    @property
    def trained(self) -> bool:
        """Whether the SMASH network's training has finished."""
        return (self.path / NETWORK).is_file()

    def save_network(self, network: nn.Module) -> None:
        """Keeps the weights of a finished SMASH network."""
        save_tensors(
            self.path / NETWORK, network.state_dict(), {"steps": self.settings.training.steps}
        )

    def keep_copy(self, network: nn.Module, epoch: int) -> None:
        """Keeps a copy of the network as it is after an epoch of training."""
        path = self.path / COPIES / f"epoch-{epoch}.safetensors"
        path.parent.mkdir(exist_ok=True)
        save_tensors(path, network.state_dict(), {"epoch": epoch})

    def network(self, device: torch.device) -> SmashNetwork:
        """The finished SMASH network.

        Raises:
            RunStateError: Training has not finished, or the file is damaged.
        """
        if not self.trained:
            raise RunStateError(
                f"run {str(self.path)!r} has not finished training: "
                f"go on with 'smash train --resume --out {self.path}'"
            )
        tensors, _ = load_tensors(self.path / NETWORK)
        network = self.new_network()
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise RunStateError(f"{self.path / NETWORK} does not fit this run: {reason}") from None
        return network.to(device)

    def child_path(self, name: str) -> Path:
        """The folder of a trained child."""
        return self.path / CHILDREN / name


def check_free(path: Path) -> None:
    """Makes sure that nothing would be overwritten.

    Raises:
        AlreadyExistsError: There is something at this path.
    """
    if path.is_dir() and not any(path.iterdir()):
        return
    if path.exists():
        raise AlreadyExistsError(
            f"{str(path)!r} already exists and is kept: choose another --out, or add --resume"
        )


def environment() -> dict[str, Any]:
    """With what a run was made: versions, machine, threads."""
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
