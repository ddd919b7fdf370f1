"""Networks that tests export, and how a file of code is run in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from smash.exporting.signature import Signature
from smash.exporting.standalone import write_code
from smash.io.tensors import save_tensors
from smash.spaces import Task
from tests.spaces.cases import fill


def signature_for(task: Task, *, scaled: bool = True) -> Signature:
    """A signature whose normalisation changes every channel in its own way."""
    return Signature(
        classes=tuple(f"class {number}" for number in range(task.classes)),
        channels=task.channels,
        size=task.size,
        scaled=scaled,
        mean=tuple(0.3 + 0.1 * channel for channel in range(task.channels)),
        std=tuple(0.2 + 0.05 * channel for channel in range(task.channels)),
    )


def images_for(signature: Signature, count: int = 3, seed: int = 0) -> torch.Tensor:
    shape = (count, signature.channels, *signature.size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def expected(child: nn.Module, signature: Signature, images: torch.Tensor) -> torch.Tensor:
    """What the child says, normalised here by hand, channel by channel."""
    normalised = images.clone()
    for channel, (mean, std) in enumerate(zip(signature.mean, signature.std, strict=True)):
        normalised[:, channel] = (images[:, channel] - mean) / std
    logits: torch.Tensor = child(normalised)
    return logits


def run_code(child: nn.Module, signature: Signature, folder: Path) -> tuple[str, Any]:
    """Writes a child as code and loads the network from it.

    Returns:
        The code, and the network.
    """
    code = write_code(child, signature, "A network for tests.", "model.safetensors")
    save_tensors(folder / "model.safetensors", child.state_dict(), {})
    names: dict[str, Any] = {"__file__": str(folder / "model.py"), "__name__": "model"}
    exec(compile(code, "model.py", "exec"), names)  # noqa: S102
    return code, names["load"]()


def assert_same(found: torch.Tensor, wanted: torch.Tensor) -> None:
    """The bound that is promised to users."""
    assert found.shape == wanted.shape
    difference = (found - wanted).abs().max().item()
    assert difference <= 1e-4 * max(1.0, wanted.abs().max().item()), difference
    assert wanted.std() > 0  # else anything would do


def filled(child: nn.Module, seed: int = 0) -> nn.Module:
    """A child with weights, in eval mode."""
    fill(child, seed)
    return child.eval()
