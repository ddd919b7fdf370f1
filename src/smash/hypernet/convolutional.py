"""The paper's hypernetwork: fully convolutional, over the grid-shaped encoding of memory banks.

It generates the weights of all 1×1 convolutions of a child in one pass; an architecture's
description lies in the grid where its weights come out. (Brock et al. 2017, section 3.2.)

Legend: C channels of the encoding, k rows, S positions, N bank width, m max_bottleneck,
d depth_compression.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smash.hypernet.autograd import activate, dense_group, over_norm, take
from smash.hypernet.encoding import GridEncoding
from smash.hypernet.shared import SharedWeights
from smash.runtime.device import send
from smash.spaces.memory_bank import MemoryBankArchitecture, MemoryBankSpace
from smash.spaces.task import Task


class _Filter(nn.Module):
    """Holds the filter tensor of a convolution, which is used divided by its whole norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int, generator: torch.Generator) -> None:
        super().__init__()
        weight = torch.empty(outputs, inputs, kernel, kernel)
        self.weight = nn.Parameter(nn.init.orthogonal_(weight, generator=generator))


class Hypernetwork(nn.Module):
    """A DenseNet without downsampling, bias or BatchNorm.

    Args:
        inputs: Channels of its input.
        outputs: Values that it gives a position of the grid.
        generator: Source of the initial values.
        groups: Layers of each group of the DenseNet.
        growth: Channels that a layer adds.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        generator: torch.Generator,
        groups: Sequence[int] = (8, 10, 4),
        growth: int = 10,
    ) -> None:
        super().__init__()
        self.entry = _Filter(inputs, 7, 3, generator)
        channels = inputs + 7
        self.groups = nn.ModuleList()
        self.bottlenecks = nn.ModuleList()
        for number, layers in enumerate(groups):
            group = nn.ModuleList(
                _Filter(channels + layer * growth, growth, 3, generator) for layer in range(layers)
            )
            channels += layers * growth
            self.groups.append(group)
            if number < len(groups) - 1:
                self.bottlenecks.append(_Filter(channels, channels // 2, 3, generator))
                channels //= 2
        self.exit = _Filter(channels, outputs, 1, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Maps 1×inputs×k×S to 1×outputs×k×S."""
        filters = [self.entry, *self.bottlenecks, self.exit]
        entry, *bottlenecks, last = over_norm([of.weight for of in filters])
        x = torch.cat([x, F.conv2d(x, entry, padding=1)], dim=1)
        for number, group in enumerate(self.groups):
            x = dense_group(activate(x), [layer.weight for layer in group])  # type: ignore[attr-defined]
            if number < len(bottlenecks):
                x = F.conv2d(x, bottlenecks[number], padding=1)
        return F.conv2d(x, last)


class ConvolutionalWeights(nn.Module):
    """Generates a child's 1×1 convolutions; all its other parameters are shared.

    The input's first channel is Gaussian noise. It is drawn once: a score must be repeatable.

    Args:
        space: A space of memory banks.
        task: What children are for.
        generator: Source of the initial values and of the noise.
    """

    noise: Tensor

    def __init__(self, space: MemoryBankSpace, task: Task, generator: torch.Generator) -> None:
        super().__init__()
        options = space.options
        shapes = {
            name: shape
            for name, shape in space.shared_shapes(task).items()
            if not name.endswith("project.weight")
        }
        self.shared = SharedWeights(shapes, space.shared_name, generator)
        self.encoding = GridEncoding(options)
        self._width = options.bank_width
        self._rows = options.bank_width * options.depth_compression  # of a position
        values = options.max_bottleneck * self._width * self._rows
        self.hypernetwork = Hypernetwork(self.encoding.channels + 1, values, generator)
        noise = torch.randn(self.encoding.rows, self.encoding.max_positions, generator=generator)
        self.register_buffer("noise", noise)

    def forward(
        self, architecture: MemoryBankArchitecture, child: nn.Module, code: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Gives `{name: tensor}` for all parameters of `child`.

        Args:
            architecture: What the child is built from.
            child: The child.
            code: The encoding, (C, k, S), where a gradient with respect to it is wanted.
        """
        weights: dict[str, Tensor] = self.shared(child)
        matrix_IO = self._generate(self.encode(architecture) if code is None else code)
        places = self.encoding.places(architecture)
        shapes = [child.get_parameter(place.parameter).shape for place in places]
        rows = [slice(place.start * self._rows, place.stop * self._rows) for place in places]
        parts = take(
            [matrix_IO],
            [(0, (of_op, slice(shape[0]))) for of_op, shape in zip(rows, shapes, strict=True)],
        )
        for place, shape, weight_IO in zip(places, shapes, over_norm(parts), strict=True):
            weights[place.parameter] = weight_IO.T.reshape(shape)
        return weights

    def encode(self, architecture: MemoryBankArchitecture) -> Tensor:
        """Gives the encoding, (C, k, S)."""
        return send(self.encoding.encode(architecture), self.noise.device).to(self.noise)

    def difference(self, base: MemoryBankArchitecture, other: MemoryBankArchitecture) -> Tensor:
        """How the encoding of `other` differs from that of `base`, at the positions of `base`."""
        return self.encoding.difference(base, other).to(self.noise)

    def _generate(self, code: Tensor) -> Tensor:
        """Gives the generated weights of all ops, rows in the order in which the ops read."""
        noise_1kS = self.noise[None, :, : code.shape[-1]]
        values_VkS: Tensor = self.hypernetwork(torch.cat([noise_1kS, code])[None])[0]
        # (m o i) k s -> (s i) (m k o), with o = N
        values_mNIkS = values_VkS.reshape(-1, self._width, self._rows, *values_VkS.shape[1:])
        return values_mNIkS.permute(4, 2, 0, 3, 1).flatten(2).flatten(0, 1)
