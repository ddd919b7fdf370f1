"""checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smash.errors import RunStateError
from smash.io.files import (
    require,
)
from smash.io.tensors import load_tensors, save_tensors


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

    def load(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, **kinds: Any
    ) -> dict[str, Any]:
        """Restores both and gives `about`.

        Args:
            module: The module.
            optimizer: Its optimiser.
            **kinds: The types of what `about` must hold.

        Raises:
            RunStateError: The file is damaged, or of another module.
        """
        tensors, about = load_tensors(self.path)
        require(about, self.path, **kinds)
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
        return about
