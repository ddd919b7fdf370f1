"""A network as int8 ONNX: weights and activations of 8 bits, by ONNX Runtime's static quantiser.

The graph is in QDQ form: it takes and gives float32, and each tensor between two operations passes
a QuantizeLinear and a DequantizeLinear, which runtimes fuse into int8 kernels. Weights have a scale
per output channel, activations one scale and zero point each, from the range that they have over
some training examples. BatchNorms that the exporter could not fold into a convolution become
depthwise convolutions, so that no float operation is left between convolutions. So does the
normalisation of 8-bit inputs, which int8 holds exactly. Other inputs are normalised in float32
before they are rounded: their channels may have units of their own, and one scale for a pressure in
pascals and an acceleration leaves nothing of the acceleration.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from smash.data import Data
from smash.errors import ParityError
from smash.exporting.evaluation import as_exported, evaluate_exported
from smash.exporting.onnx import IMAGES, OnnxNetwork, strip_metadata
from smash.exporting.packages import import_package, without_warnings
from smash.profiling.latency import time_call
from smash.run.child import describe_input
from smash.runtime.rng import torch_generator

CALIBRATION = 256
"""Training examples whose activations set the ranges of int8."""

NOTABLE_LOSS = 0.01
"""Increase of the error by int8 that is reported as large."""


@dataclass(frozen=True)
class Quantisation:
    """The cost of int8, compared with the same network in float32.

    Attributes:
        errors: Error in float32 and in int8, 0…1, by split.
        bytes: Size of the files, in float32 and in int8.
        seconds: Time for one input in ONNX Runtime with one thread, in float32 and in int8.
        examples: Training examples that the ranges were calibrated on.
        epochs: Epochs in which the network in int8 was fine-tuned before.

    Example:
        >>> Quantisation({"val": (0.25, 0.27)}, (4000, 1500), (2e-3, 1e-3), 256).loss
        0.02
    """

    errors: dict[str, tuple[float, float]]
    bytes: tuple[int, int]
    seconds: tuple[float, float]
    examples: int
    epochs: int = 0

    @property
    def loss(self) -> float:
        """Increase of the validation error."""
        before, after = self.errors["val"]
        return round(after - before, 12)

    @property
    def more_epochs(self) -> int:
        """Epochs of fine-tuning that are worth a try."""
        return 2 * self.epochs or 5

    def check(self, max_loss: float | None) -> None:
        """Checks that the validation error increases by no more than `max_loss`.

        Raises:
            ParityError: It increases by more.
        """
        if max_loss is not None and self.loss > max_loss:
            before, after = self.errors["val"]
            raise ParityError(
                f"int8 raises the validation error from {before:.2%} to {after:.2%}, by more than "
                f"max-loss {max_loss:.2%}: nothing was written; fine-tune it with quantise-epochs "
                f"{self.more_epochs}, allow more, or export as .onnx"
            )


def calibration_images(data: Data, count: int = CALIBRATION) -> Tensor:
    """Draws training examples in the form that an exported network takes, always the same ones.

    Returns:
        Shape ``(count, channels, *size)``, float32; fewer where the split has fewer.
    """
    order = torch.randperm(len(data.train), generator=torch_generator(0, "calibration"))
    chosen = data.train.first_views.subset(order[:count])
    return as_exported(data).normalise(chosen.images)


def quantise(float_path: Path, data: Data, path: Path) -> None:
    """Writes the int8 form of a network that `write_onnx` wrote.

    Args:
        float_path: The network in float32.
        data: The data of its run; the training split calibrates the ranges.
        path: The file.

    Raises:
        MissingExtraError: The packages for ONNX are not installed.
    """
    onnx, quantization = import_package("onnx"), import_package("onnxruntime.quantization")
    model = with_convolutions(onnx.load(float_path), with_input=describe_input(data).scaled)
    examples = iter(calibration_images(data).split(1))

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def get_next(self) -> dict[str, Any] | None:
            example = next(examples, None)
            return None if example is None else {IMAGES: example.numpy()}

    with without_warnings():
        quantization.quantize_static(
            model,
            path,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
        )
    written = onnx.load(path)
    strip_metadata(written)
    del written.graph.value_info[:]
    written.metadata_props.extend(model.metadata_props)
    path.write_bytes(written.SerializeToString())


def with_convolutions(model: Any, *, with_input: bool) -> Any:
    """Writes BatchNorms, and on demand the normalisation of the input, as depthwise convolutions.

    Their kernels are 1×1.
    """
    import numpy as np
    from onnx import helper, numpy_helper, shape_inference

    model = shape_inference.infer_shapes(model)
    graph = model.graph
    values = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    infos = [*graph.value_info, *graph.input]
    axes = {each.name: len(each.type.tensor_type.shape.dim) for each in infos}
    nodes = list(graph.node)

    def convolution(node: Any, source: str, weight: Any, bias: Any) -> Any:
        spatial = axes[source] - 2
        names = [f"{node.output[0]}_weight", f"{node.output[0]}_bias"]
        shaped = weight.reshape(-1, 1, *[1] * spatial)
        for name, array in zip(names, (shaped, bias.reshape(-1)), strict=True):
            graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
        settings: dict[str, Any] = {"group": len(shaped), "kernel_shape": [1] * spatial}
        return helper.make_node("Conv", [source, *names], [node.output[0]], node.name, **settings)

    for place, node in enumerate(nodes):
        if node.op_type == "BatchNormalization" and axes.get(node.input[0], 0) > 2:
            scale, bias, mean, variance = (values[name] for name in node.input[1:])
            (epsilon,) = [each.f for each in node.attribute if each.name == "epsilon"] or [1e-5]
            scale = scale / np.sqrt(variance + epsilon)
            nodes[place] = convolution(node, node.input[0], scale, bias - mean * scale)
    for scaled in [node for node in nodes if with_input and node.op_type == "Div"]:
        before = [node for node in nodes if node.output[0] == scaled.input[0]]
        if [(node.op_type, node.input[0]) for node in before] == [("Sub", IMAGES)]:
            mean, std = values[before[0].input[1]], values[scaled.input[1]]
            nodes[nodes.index(scaled)] = convolution(scaled, IMAGES, 1 / std, -mean / std)
            nodes.remove(before[0])
    used = {name for node in nodes for name in node.input}
    kept = [each for each in graph.initializer if each.name in used]
    for field, new in ((graph.node, nodes), (graph.initializer, kept)):
        copies = [type(each).FromString(each.SerializeToString()) for each in new]
        del field[:]
        field.extend(copies)
    return model


def compare(
    float_path: Path, path: Path, data: Data, splits: tuple[str, ...], epochs: int = 0
) -> Quantisation:
    """Measures a network in float32 and in int8.

    Args:
        float_path: The network in float32, as ONNX.
        path: The network in int8, as ONNX.
        data: The data of its run.
        splits: Splits to evaluate on, with ``val``.
        epochs: Epochs in which the network in int8 was fine-tuned before.
    """
    networks = [OnnxNetwork(each, threads=1) for each in (float_path, path)]
    first = calibration_images(data, 1)
    before, after = (
        {split: evaluate_exported(network, data, split).error for split in splits}
        for network in networks
    )
    times = [time_call(lambda network=network: network(first))[0] for network in networks]  # type: ignore[misc]
    return Quantisation(
        errors={split: (before[split], after[split]) for split in splits},
        bytes=(float_path.stat().st_size, path.stat().st_size),
        seconds=(times[0], times[1]),
        examples=min(CALIBRATION, len(data.train)),
        epochs=epochs,
    )
