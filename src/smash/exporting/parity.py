"""Parity of an export with its child: both are run on the same inputs and compared.

A stand-alone Python file is run in a new process that has torch and nothing else of this package.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from smash.data.transforms import normalise
from smash.errors import ParityError
from smash.exporting.signature import Signature
from smash.runtime.rng import torch_generator

BATCHES = (1, 5)
"""Batch sizes that an export is run with."""

_TOLERANCE = 1e-4
_SECONDS = 600
_REFUSED = (
    *("smash", "safetensors", "numpy", "PIL", "torchvision", "scipy", "sklearn", "optuna"),
    *("pydantic", "typer", "rich", "tomli_w", "moocore", "onnx", "onnxscript", "onnxruntime"),
    *("executorch",),
)
# Class names are compared by `ascii`, because JSON reads a pair of surrogates as one character.
_SCRIPT = """
import importlib.util, json, math, sys

model, images, logits, shapes, classes, refused, path = sys.argv[1:]

class Refusal:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in json.loads(refused):
            raise ModuleNotFoundError(f"{name} is not part of torch", name=name)

sys.meta_path.insert(0, Refusal())
sys.path += json.loads(path)
spec = importlib.util.spec_from_file_location("model", model)
module = sys.modules["model"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
if ascii(module.CLASSES) != classes:
    raise ValueError("its class names differ")

import torch

network, shapes = module.load(), json.loads(shapes)
content = torch.frombuffer(bytearray(open(images, "rb").read()), dtype=torch.float32)
batches = content.split([math.prod(shape) for shape in shapes])
with torch.no_grad(), open(logits, "wb") as file:
    for batch, shape in zip(batches, shapes):
        found = network(batch.reshape(shape)).contiguous()
        file.write(bytes(found.view(torch.uint8).flatten().tolist()))
"""


@dataclass(frozen=True)
class Parity:
    """The difference between an export and its child.

    Attributes:
        difference: The largest absolute difference of two logits.
        allowed: Its limit: 1e-4 · max(1, the largest absolute logit).
        batches: Batch sizes that both were run with.
    """

    difference: float
    allowed: float
    batches: tuple[int, ...]


def example_images(signature: Signature, count: int, purpose: str = "parity") -> Tensor:
    """Draws inputs with the mean and deviation of the training data, the same in each call.

    Args:
        signature: Describes the inputs.
        count: Number of inputs.
        purpose: Names the random stream; each purpose has its own.

    Returns:
        Shape ``(count, channels, *size)``, float32.
    """
    axes = (1, -1, *[1] * len(signature.size))
    mean, std = (torch.tensor(values).view(axes) for values in (signature.mean, signature.std))
    shape = (count, signature.channels, *signature.size)
    images = mean + std * torch.randn(shape, generator=torch_generator(0, purpose))
    return images.clamp(0, 1) if signature.scaled else images


def check_parity(
    run: Callable[[Sequence[Tensor]], Iterable[Tensor]],
    child: nn.Module,
    signature: Signature,
    name: str,
) -> Parity:
    """Compares an export with its child on the same inputs, at several batch sizes.

    Args:
        run: Runs the export: maps batches of inputs as the signature says to their logits.
        child: Maps normalised inputs to logits; in eval mode, on the CPU.
        signature: Describes the input of the export.
        name: Name of the export in error messages.

    Raises:
        ParityError: Two logits differ by more than 1e-4 · max(1, the largest absolute logit).
    """
    difference, largest = 0.0, 0.0
    batches = [example_images(signature, count) for count in BATCHES]
    for count, images, found in zip(BATCHES, batches, run(batches), strict=True):
        with torch.no_grad():
            expected = child(normalise(images, signature.mean, signature.std))
        if found.shape != expected.shape:
            raise ParityError(
                f"{name} gives logits of shape {tuple(found.shape)} for {count} examples, and the "
                f"child {tuple(expected.shape)}: nothing was written"
            )
        if not found.isfinite().all() or not expected.isfinite().all():
            raise ParityError(
                f"{name} or its child gives logits that are not finite: nothing was written; "
                "train the child again"
            )
        difference = max(difference, (found - expected).abs().max().item())
        largest = max(largest, expected.abs().max().item())
    allowed = _TOLERANCE * max(1.0, largest)
    if difference > allowed:
        raise ParityError(
            f"{name} differs from the child by {difference:.2e}, more than {allowed:.2e}: nothing "
            "was written; export it in another format, and report this"
        )
    return Parity(difference, allowed, BATCHES)


def run_isolated(path: Path, batches: Sequence[Tensor], classes: tuple[str, ...]) -> list[Tensor]:
    """Runs a stand-alone Python file in a new process without this package.

    Args:
        path: The file; its weights are beside it.
        batches: Each of N×channels×spatial, float32.
        classes: The class names that it must have.

    Returns:
        Logits of each batch, N×classes.

    Raises:
        ParityError: It fails, has other class names, or takes more than ten minutes.
    """
    with TemporaryDirectory() as name:
        inputs, outputs = Path(name) / "images", Path(name) / "logits"
        inputs.write_bytes(b"".join(images.contiguous().numpy().tobytes() for images in batches))
        shapes = [list(images.shape) for images in batches]
        arguments = [
            *(str(path.absolute()), str(inputs), str(outputs), json.dumps(shapes)),
            *(ascii(classes), json.dumps(_REFUSED)),
            json.dumps([folder for folder in sys.path if folder]),
        ]
        # Isolated and without site, so that no .pth file leads back to this package.
        command = [sys.executable, "-I", "-S", "-B", "-c", _SCRIPT, *arguments]
        try:
            process = subprocess.run(  # noqa: S603 # The file that was just written.
                command, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=name
            )
        except subprocess.TimeoutExpired:
            raise ParityError(
                f"{path.name} took longer than {_SECONDS} s to run on its own and was stopped: "
                "nothing was written; export it while the machine is idle, or as .onnx or "
                ".safetensors"
            ) from None
        if process.returncode:
            reason = (process.stderr.strip().splitlines() or ["it was killed"])[-1]
            raise ParityError(
                f"{path.name} does not run on its own ({reason}): nothing was written"
            )
        content = bytearray(outputs.read_bytes())
    examples = [len(images) for images in batches]
    logits = torch.frombuffer(content, dtype=torch.float32).reshape(sum(examples), -1)
    return list(logits.split(examples))
