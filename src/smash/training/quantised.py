"""Fine-tuning of a trained child for int8: it learns with the rounding that int8 will do.

Each tensor that an operation reads is rounded to the 256 values of int8 between its extremes, and
each weight to 255 values, with a scale per output channel, as in the exported graph; gradients pass
as if nothing was rounded (Jacob et al. 2018). BatchNorms keep their statistics, because the graph
holds them as constants. Folding a norm into a convolution changes no rounding, for it multiplies
the weights of an output channel and their scale alike.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from smash.config import ChildSettings
from smash.data import Data
from smash.run.child import Child
from smash.run.layout import METRICS
from smash.run.metrics_log import MetricsLog
from smash.runtime.progress import Progress, silent
from smash.training.child import ChildTraining
from smash.training.loop import TrainingLoop, Validation
from smash.training.optim import learning_rate

LEARNING_RATE = 0.05
"""Learning rate of fine-tuning, as a share of that of the training."""

CLIP_NORM = 1.0
"""Largest norm of a gradient: BatchNorms with the small variances of a narrow network multiply it,
and without a limit one of 962 parameters fell from 7% to 93% error."""

_WEIGHTED = {F.linear: 0} | {
    getattr(F, f"conv{kind}{dims}d"): axis
    for kind, axis in (("", 0), ("_transpose", 1))
    for dims in (1, 2, 3)
}  # functions with a weight, and its axis of output channels
_READING = frozenset(
    (
        *(Tensor.add, Tensor.__add__, torch.add, Tensor.mul, Tensor.__mul__, torch.mul),
        *(Tensor.mean, *(getattr(F, f"adaptive_avg_pool{dims}d") for dims in (1, 2, 3))),
        *(getattr(F, f"{kind}_pool{dims}d") for kind in ("avg", "max") for dims in (1, 2, 3)),
    )
)
_LEVELS = 255


class FakeQuantisation(TorchFunctionMode):
    """Rounds what the operations within it read.

    Example:
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> _ = layer.weight.data.copy_(torch.tensor([[1.27, 0.0149]]))
        >>> with FakeQuantisation():
        ...     layer(torch.tensor([[0.0, 1.0]]))
        tensor([[0.0100]], grad_fn=<MmBackward0>)
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if (axis := _WEIGHTED.get(func)) is not None:
            images, weight, *others = args
            args = (round_activations(images), round_weights(weight, axis), *others)
        elif func in _READING:
            args = tuple(round_activations(each) for each in args)
        return func(*args, **kwargs or {})


def round_activations(values: Any) -> Any:
    """Rounds a tensor of float32 to 256 values between its extremes and 0; returns others as is."""
    if not isinstance(values, Tensor) or not values.is_floating_point() or not values.ndim:
        return values
    with torch.no_grad():
        low, high = torch.aminmax(values)
        low, high = low.clamp(max=0), high.clamp(min=0)
        scale = ((high - low) / _LEVELS).clamp(min=1e-12)
        zero = (-128 - low / scale).round().int()
    return torch.fake_quantize_per_tensor_affine(values, scale, zero, -128, 127)


def round_weights(weight: Tensor, axis: int) -> Tensor:
    """Rounds the weights of each output channel to 255 values around 0."""
    with torch.no_grad():
        others = [each for each in range(weight.ndim) if each != axis]
        scale = (weight.abs().amax(others) / 127).clamp(min=1e-12)
        zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, axis, -127, 127)


class QuantisedTraining(ChildTraining):
    """The fine-tuning of a trained child for int8.

    It learns to give the probabilities that the child gave before (Hinton et al. 2015), so that it
    loses what rounding adds, and is not trained for longer. Its parameters are those of
    `ChildTraining`.
    """

    def __init__(self, label: str, model: nn.Module, data: Data, settings: ChildSettings) -> None:
        super().__init__(label, model, data, settings)
        self._before = deepcopy(model).eval()

    def step(self, step: int) -> Tensor:
        """Learns from one batch, in eval mode."""
        images, _ = self.draw_batch(step)
        with torch.no_grad():
            probabilities = self._before(images).softmax(1)
        with FakeQuantisation():
            loss = F.cross_entropy(self._model.eval()(images), probabilities)
        rate, length = self._child_settings.learning_rate, self.length
        rate = learning_rate(self._recipe, rate, length.position(step), length.steps)
        self.learn(loss, rate, CLIP_NORM)
        return loss.detach()

    def validate(self, epoch: int) -> Validation:
        """Validates with the same rounding."""
        with FakeQuantisation():
            return super().validate(epoch)


def fine_tune_for_int8(
    child: Child, epochs: int, folder: Path, progress: Progress = silent
) -> nn.Module:
    """Fine-tunes a copy of a trained child for int8, on the CPU.

    Args:
        child: The child, which stays as it is.
        epochs: Passes over the training split.
        folder: An empty folder for checkpoints.
        progress: Shows how far it is.

    Returns:
        The network in eval mode; it takes normalised images.

    Raises:
        DivergedError: The loss is no longer finite.
    """
    trained = child.record.settings
    settings = trained.replaced(
        epochs=epochs,
        recipe="published",
        learning_rate=LEARNING_RATE * trained.learning_rate,
        patience=None,
        precision="fp32",
    )
    model = child.model(torch.device("cpu"))
    training = QuantisedTraining("fine-tune for int8", model, child.data.to("cpu"), settings)
    TrainingLoop(training, folder, MetricsLog(folder / METRICS)).run(progress)
    return model.eval()
