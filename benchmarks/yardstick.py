"""How much faster is a training step of the package than the method written down plainly?

The plain side takes one architecture a step, keeps tensors contiguous, writes the encoding entry by
entry and calls the child op by op, each weight indexed and divided by itself. It has the package's
parameters, and its logits are compared with the package's before anything is timed. Both sides take
turns, on the same architectures::

    python benchmarks/yardstick.py --rounds 10 --threads 2

- ``faster``: training steps a second, package ÷ plain; see `smash.benching.ratio_of`;
- ``seconds``, ``plain``: of a step, medians;
- ``rate``: multiplications and additions a second in passes of a child alone ÷ those of a product
  of matrices of 1024×1024.

It knows the ops of the preset ``original``: without BatchNorm, gates or post-activation.
"""

from __future__ import annotations

import argparse
import json
import statistics
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from smash.benching import Setting, in_turn, ratio_of
from smash.profiling.cost import measure
from smash.runtime.rng import torch_generator
from smash.spaces.layers import initialise

_POSITIONS = ("a1", "a2", "b1", "b2")


class Plain:
    """The method step by step, on the parameters of a SMASH network."""

    def __init__(self, setting: Setting) -> None:
        self.source: Any = setting.network.source
        self.options = setting.space.options  # type: ignore[attr-defined]
        encoding = self.source.encoding
        self.columns = {key: column for column, key in enumerate(encoding._layout())}

    def shared(self, name: str, *extents: int) -> Tensor:
        """The part of a shared tensor: leading channels, central crop of a kernel."""
        tensor: Tensor = self.source.shared.tensors[name.replace(".", "/")]
        for axis, extent in enumerate(extents):
            first = (tensor.shape[axis] - extent) // 2 if axis > 1 else 0
            tensor = tensor.narrow(axis, first, extent)
        return tensor.contiguous()

    def encode(self, architecture: Any) -> Tensor:
        """The encoding, C×k×S, entry by entry."""
        options, places = self.options, self.source.encoding.places(architecture)
        rows = options.max_outputs
        code = torch.full((len(self.columns), rows, places[-1].stop), -1.0)
        ops = [(i, block, op) for i, block in enumerate(architecture.blocks) for op in block.ops]
        for (index, block, op), place in zip(ops, places, strict=True):
            true: list[tuple[Any, ...]] = [("block", index), ("outputs", op.outputs)]
            true += [("writes", bank) for bank in op.writes]
            for position, conv in enumerate(op.grid):
                if conv is None:
                    continue
                true.append(("active", position))
                for axis in range(2):
                    true.append(("kernel", position, axis, conv.kernel[axis]))
                    true.append(("dilation", position, axis, conv.dilation[axis]))
                true.append(("groups", position, conv.groups))
                true.append(("nonlinearity", position, conv.nonlinearity))
            for row in range(op.outputs):
                for key in true:
                    for position in range(place.start, place.stop):
                        code[self.columns[key], row, position] = 1
                for number, bank in enumerate(op.reads):
                    for unit in range(number * block.bank_size, (number + 1) * block.bank_size):
                        position = place.start + unit // options.depth_compression
                        code[self.columns["reads", bank], row, position] = 1
        return code

    def generate(self, architecture: Any) -> Tensor:
        """The generated weights of all ops, inputs×outputs."""
        network, code = self.source.hypernetwork, self.encode(architecture)

        def convolve(x: Tensor, layer: Any) -> Tensor:
            weight = layer.weight / layer.weight.norm()
            return F.conv2d(x, weight, padding=weight.shape[-1] // 2)

        x = torch.cat([self.source.noise[None, :, : code.shape[-1]], code])[None]
        x = torch.cat([x, convolve(x, network.entry)], 1)
        for number, group in enumerate(network.groups):
            for layer in group:
                x = torch.cat([x, convolve(F.leaky_relu(x, 0.02), layer)], 1)
            if number < len(network.bottlenecks):
                x = convolve(F.leaky_relu(x, 0.02), network.bottlenecks[number])
        values = convolve(F.leaky_relu(x, 0.02), network.exit)[0]
        width = self.options.bank_width
        values = values.view(-1, width, width * self.options.depth_compression, *values.shape[1:])
        return values.permute(4, 2, 0, 3, 1).flatten(2).flatten(0, 1)

    def norm(self, x: Tensor, name: str) -> Tensor:
        """BatchNorm with the batch's own statistics, then ReLU."""
        scale, shift = (self.shared(f"{name}.{one}", x.shape[1]) for one in ("weight", "bias"))
        return F.relu(F.batch_norm(x, None, None, scale, shift, training=True))

    def __call__(self, architecture: Any, images: Tensor) -> Tensor:
        """Logits, N×classes."""
        options, weights = self.options, self.generate(architecture)
        places = iter(self.source.encoding.places(architecture))
        rows_of_position = options.bank_width * options.depth_compression
        x = F.conv2d(images, self.shared("stem.weight"), padding=3)
        for index, block in enumerate(architecture.blocks):
            banks = list(x.split(block.bank_size * options.bank_width, 1))
            for op in block.ops:
                x = torch.cat([banks[bank] for bank in op.reads], 1)
                place, outputs = next(places), op.outputs * options.bank_width
                rows = slice(place.start * rows_of_position, place.stop * rows_of_position)
                weight = weights[rows, : options.project_width(x.shape[1], outputs)]
                weight = (weight / weight.norm()).T.contiguous()
                x = F.relu(F.conv2d(x, weight[:, : x.shape[1], None, None]))
                paths = []
                for path in (0, 2):
                    y = x
                    for position in (path, path + 1):
                        conv = op.grid[position]
                        if conv is None:
                            continue
                        name = f"blocks.{index}.{_POSITIONS[position]}.conv.weight"
                        inputs = y.shape[1] // conv.groups
                        weight = self.shared(name, outputs, inputs, *conv.kernel)
                        pairs = zip(conv.kernel, conv.dilation, strict=True)
                        padding = [d * (k - 1) // 2 for k, d in pairs]
                        settings = (padding, conv.dilation, conv.groups)
                        y = F.conv2d(F.relu(y), weight, None, 1, *settings)
                    if op.grid[path] is not None:
                        paths.append(y)
                written = sum(paths[1:], paths[0]).split(block.bank_size * options.bank_width, 1)
                for number, bank in enumerate(op.writes):
                    part = written[number % len(written)]
                    if bank < len(banks):
                        banks[bank] = banks[bank] + part
                    else:
                        banks.append(part)
            x = torch.cat(banks, 1)
            if index < 2:
                name, outputs = f"transitions.{index}", options.budgets[index + 1].inputs
                x = self.norm(x, f"{name}.norm")
                x = F.conv2d(x, self.shared(f"{name}.conv.weight", outputs, x.shape[1]))
                x = F.avg_pool2d(x, 2)
        x = self.norm(x, "norm").mean((2, 3))
        weight = self.source.shared.tensors["classifier/weight"][:, : x.shape[1]]
        return F.linear(x, weight, self.source.shared.tensors["classifier/bias"])


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    setting = Setting("cifar-default", torch.device("cpu"))
    plain, (images, labels) = Plain(setting), setting.batch()
    architecture = setting.architecture(0)
    with torch.no_grad():
        found = plain(architecture, images[:4])
        torch.testing.assert_close(found, setting.network(architecture, images[:4]), rtol=1e-3,
                                   atol=1e-3)  # fmt: skip

    def step(number: int) -> None:
        setting.step(number, images, labels)

    def plain_step(number: int) -> None:
        loss = F.cross_entropy(plain(setting.architecture(number), images), labels)
        setting.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        setting.optimizer.step()

    def alone(number: int) -> None:
        F.cross_entropy(children[number](images), labels).backward()

    square = torch.randn(1024, 1024)

    def product(_: int) -> None:
        torch.mm(square, square)

    drawn = [setting.architecture(number) for number in range(given.rounds + 1)]
    children = [setting.space.build(one, setting.task, "cpu") for one in drawn]
    for child in children:
        initialise(child, torch_generator(0, "yardstick"))
    sides = (step, plain_step, alone, product)
    steps, plainly, passes, products = in_turn(sides, given.rounds, warm_up=1)
    macs = [measure(setting.space, one, setting.task).macs for one in drawn[1:]]
    rates = [6 * len(images) * one / taken for one, taken in zip(macs, passes, strict=True)]
    peaks = [2 * 1024**3 / taken for taken in products]
    row = {
        "rounds": given.rounds,
        "threads": given.threads,
        "faster": ratio_of(plainly, steps),
        "seconds": statistics.median(steps),
        "plain": statistics.median(plainly),
        "rate": ratio_of(rates, peaks),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
