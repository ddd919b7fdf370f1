"""Checkpoints: the state from which a training resumes exactly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smash.errors import RunStateError
from smash.io.tensors import load_tensors, save_tensors


class Checkpoint:
    """The file of a module, its optimiser and the progress of their training.

    Random draws depend on the seed and the step alone, so there is no random state to save.

    Example:
        >>> network = nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        >>> checkpoint = Checkpoint(Path("state.safetensors"))
        >>> checkpoint.save(network, optimizer, {"step": 40})
        >>> checkpoint.load(network, optimizer)
        {'step': 40}
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, metadata: Mapping[str, Any]
    ) -> None:
        """Saves the state of both, with metadata as JSON."""
        tensors = {f"module.{name}": value for name, value in module.state_dict().items()}
        for index, entries in optimizer.state_dict()["state"].items():
            for key, value in entries.items():
                if value is not None:
                    tensors[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
        save_tensors(self.path, tensors, metadata)

    def load(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Restores the state of both and returns the metadata.

        Raises:
            RunStateError: The file is damaged, or of another module.
        """
        tensors, metadata = load_tensors(self.path)
        state: dict[int, dict[str, Tensor]] = {}
        weights: dict[str, Tensor] = {}
        try:
            for name, value in tensors.items():
                kind, _, rest = name.partition(".")
                if kind == "module":
                    weights[rest] = value
                else:
                    index, _, key = rest.partition(".")
                    state.setdefault(int(index), {})[key] = value
            module.load_state_dict(weights)
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state, "param_groups": groups})
        except (RuntimeError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise RunStateError(f"{self.path} does not fit this run: {reason}") from None
        return metadata
