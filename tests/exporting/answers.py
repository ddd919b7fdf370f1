"""Networks that tests export, the logits that they must give, and how a stand-alone file is run."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from smash.exporting.signature import Signature
from smash.exporting.source import NetworkSource
from smash.exporting.standalone import write_code
from smash.io.tensors import save_tensors
from smash.spaces.task import Task
from tests.spaces.cases import fill


def signature_for(task: Task, *, scaled: bool = True) -> Signature:
    """A signature whose normalisation differs from channel to channel."""
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
    """The child's logits; the images are normalised here by hand, channel by channel."""
    normalised = images.clone()
    for channel, (mean, std) in enumerate(zip(signature.mean, signature.std, strict=True)):
        normalised[:, channel] = (images[:, channel] - mean) / std
    logits: torch.Tensor = child(normalised)
    return logits


def run_code(
    source: NetworkSource, child: nn.Module, signature: Signature, folder: Path
) -> tuple[str, Any]:
    """Writes a child as a stand-alone file in `folder` and runs it in this process.

    Returns:
        The code, and its module.
    """
    code = write_code(source, signature, "A network for tests.", "model.safetensors")
    (folder / "model.py").write_text(code, encoding="utf-8")
    save_tensors(folder / "model.safetensors", child.state_dict(), {})
    module = ModuleType("model")
    module.__file__ = str(folder / "model.py")
    sys.modules["model"] = module  # Dataclasses look it up there.
    try:
        exec(compile(code, "model.py", "exec"), vars(module))  # noqa: S102
    finally:
        del sys.modules["model"]
    return code, module


def assert_same(found: torch.Tensor, wanted: torch.Tensor) -> None:
    """Compares within the bound that users are promised."""
    assert found.shape == wanted.shape
    difference = (found - wanted).abs().max().item()
    assert difference <= 1e-4 * max(1.0, wanted.abs().max().item()), difference
    assert wanted.std() > 0  # Otherwise any constant would pass.


def filled(child: nn.Module, seed: int = 0) -> nn.Module:
    """The child with weights, in eval mode."""
    fill(child, seed)
    return child.eval()
