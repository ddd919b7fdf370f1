"""Whether an export computes what the child computes: it is run, and compared.

A stand-alone file is run in a new process that has torch and nothing else of this package.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
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
"""Numbers of examples that an export is run with."""

_TOLERANCE = 1e-4
_SECONDS = 600
_REFUSED = (
    *("smash", "safetensors", "numpy", "PIL", "torchvision", "scipy", "sklearn", "optuna"),
    *("pydantic", "typer", "rich", "tomli_w", "moocore", "onnx", "onnxscript", "onnxruntime"),
)
_SCRIPT = """
import importlib.util, json, sys

model, images, logits, shape, refused, path = sys.argv[1:]

class Refusal:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in json.loads(refused):
            raise ModuleNotFoundError(f"{name} is not part of torch", name=name)

sys.meta_path.insert(0, Refusal())
sys.path += json.loads(path)
spec = importlib.util.spec_from_file_location("model", model)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
import torch

content = bytearray(open(images, "rb").read())
batch = torch.frombuffer(content, dtype=torch.float32).reshape(json.loads(shape))
with torch.no_grad():
    found = module.load()(batch).contiguous()
open(logits, "wb").write(bytes(found.view(torch.uint8).flatten().tolist()))
"""


@dataclass(frozen=True)
class Parity:
    """How near an export comes to its child.

    Attributes:
        difference: The largest absolute difference of two logits.
        allowed: What it may be: 1e-4 · max(1, the largest absolute logit).
        batches: Numbers of examples that both were run with.
    """

    difference: float
    allowed: float
    batches: tuple[int, ...]


def example_images(signature: Signature, count: int, purpose: str = "parity") -> Tensor:
    """Draws inputs that are spread as the training data was; always the same.

    Args:
        signature: Says what inputs are like.
        count: How many.
        purpose: What they are for; each purpose has its own.

    Returns:
        Shape ``(count, channels, *size)``, float32.
    """
    axes = (1, -1, *[1] * len(signature.size))
    mean, std = (torch.tensor(one).view(axes) for one in (signature.mean, signature.std))
    shape = (count, signature.channels, *signature.size)
    images = mean + std * torch.randn(shape, generator=torch_generator(0, purpose))
    return images.clamp(0, 1) if signature.scaled else images


def check_parity(
    run: Callable[[Tensor], Tensor], child: nn.Module, signature: Signature, what: str
) -> Parity:
    """Runs an export and its child on the same inputs, at several numbers of examples.

    Args:
        run: Runs the export: inputs as the signature says to logits.
        child: Maps normalised inputs to logits; in eval mode, on the CPU.
        signature: What the export takes.
        what: Names the export.

    Raises:
        ParityError: They differ by more than 1e-4 · max(1, the largest absolute logit).
    """
    difference, largest = 0.0, 0.0
    for count in BATCHES:
        images = example_images(signature, count)
        with torch.no_grad():
            wanted = child(normalise(images, signature.mean, signature.std))
        found = run(images)
        if found.shape != wanted.shape:
            raise ParityError(
                f"{what} gives logits of shape {tuple(found.shape)} for {count} examples, and the "
                f"child {tuple(wanted.shape)}: nothing was written"
            )
        if not found.isfinite().all() or not wanted.isfinite().all():
            raise ParityError(
                f"{what} or its child gives logits that are not finite: nothing was "
                "written; train the child anew"
            )
        difference = max(difference, (found - wanted).abs().max().item())
        largest = max(largest, wanted.abs().max().item())
    allowed = _TOLERANCE * max(1.0, largest)
    if difference > allowed:
        raise ParityError(
            f"{what} differs from the child by {difference:.2e}, and may by {allowed:.2e}: "
            "nothing was written; export it in another format, and report this"
        )
    return Parity(difference, allowed, BATCHES)


def run_apart(path: Path, images: Tensor) -> Tensor:
    """Runs a stand-alone file in a new process without this package.

    Args:
        path: The file; its weights are beside it.
        images: N×channels×spatial, float32.

    Returns:
        Logits, N×classes.

    Raises:
        ParityError: It fails, or takes more than ten minutes.
    """
    with TemporaryDirectory() as name:
        given, gives = Path(name) / "images", Path(name) / "logits"
        given.write_bytes(images.contiguous().numpy().tobytes())
        arguments = [
            *(str(path.absolute()), str(given), str(gives), json.dumps(list(images.shape))),
            *(json.dumps(_REFUSED), json.dumps([folder for folder in sys.path if folder])),
        ]
        # Isolated, without site: no .pth file leads back to this package.
        command = [sys.executable, "-I", "-S", "-B", "-c", _SCRIPT, *arguments]
        try:
            done = subprocess.run(  # noqa: S603 # what was just written here
                command, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=name
            )
        except subprocess.TimeoutExpired:
            raise ParityError(
                f"{path.name} may run for {_SECONDS} s by itself, took longer and was stopped: "
                "nothing was written; export it while nothing else runs, or as .onnx or "
                ".safetensors"
            ) from None
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it was killed"])[-1]
            raise ParityError(f"{path.name} does not run by itself ({reason}): nothing was written")
        content = bytearray(gives.read_bytes())
    return torch.frombuffer(content, dtype=torch.float32).reshape(len(images), -1)
