"""The paper's hypernetwork: fully convolutional, over the grid-shaped encoding of memory banks.

It generates the weights of all 1×1 convolutions of a child in one pass. The description of an op
lies at the positions of the grid where its weights are generated. (Brock et al. 2017, section 3.2.)

Legend: C channels of the encoding, k rows, S positions, N bank width, m max_bottleneck,
d depth_compression; I input channels and O output channels of a child's 1×1 convolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smash.hypernet.cutting import cut
from smash.hypernet.encoding import GridEncoding
from smash.hypernet.shared import SharedWeights
from smash.hypernet.source import WeightSource, send_like
from smash.spaces.memory_bank import MemoryBankArchitecture, MemoryBankSpace
from smash.spaces.task import Task

_SLOPE = 0.02  # of the LeakyReLU


class NormalisedConvolution(nn.Module):
    """A convolution whose filter tensor is divided by its whole norm.

    Normalisation per output channel was unstable in the original.
    """

    norm: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, generator: torch.Generator) -> None:
        super().__init__()
        weight = torch.empty(outputs, inputs, kernel, kernel)
        self.weight = nn.Parameter(nn.init.orthogonal_(weight, generator=generator))
        self.register_buffer("norm", torch.ones(1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps 1×inputs×k×S to 1×outputs×k×S."""
        return F.conv2d(x, with_norm(self.weight, self.norm), padding=self.weight.shape[-1] // 2)


class Hypernetwork(nn.Module):
    """A DenseNet without downsampling, bias or BatchNorm.

    Args:
        inputs: Channels of its input.
        outputs: Values that are generated per position of the grid.
        generator: Source of the initial values.
        groups: Number of layers of each group of the DenseNet.
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
        self.entry = NormalisedConvolution(inputs, 7, 3, generator)
        channels = inputs + 7
        self.groups = nn.ModuleList()
        self.bottlenecks = nn.ModuleList()
        for number, layers in enumerate(groups):
            group = nn.ModuleList(
                NormalisedConvolution(channels + layer * growth, growth, 3, generator)
                for layer in range(layers)
            )
            channels += layers * growth
            self.groups.append(group)
            if number < len(groups) - 1:
                self.bottlenecks.append(
                    NormalisedConvolution(channels, channels // 2, 3, generator)
                )
                channels //= 2
        self.exit = NormalisedConvolution(channels, outputs, 1, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Maps 1×inputs×k×S to 1×outputs×k×S."""
        x = torch.cat([x, self.entry(x)], dim=1)
        for number, group in enumerate(self.groups):
            x = F.leaky_relu(x, _SLOPE)
            for layer in group.children():
                x = torch.cat([x, F.leaky_relu(layer(x), _SLOPE)], dim=1)
            if number < len(self.bottlenecks):
                x = self.bottlenecks[number](x)
        values: Tensor = self.exit(x)
        return values


class ConvolutionalWeights(WeightSource[MemoryBankArchitecture]):
    """Generates the 1×1 convolutions of a child's ops; all its other parameters are shared.

    The first input channel is Gaussian noise, drawn once, so that scores are repeatable.

    Args:
        space: A space of memory banks.
        task: The task of the children.
        generator: Source of the initial values and of the noise.
    """

    encoding: GridEncoding
    hypernetwork: Hypernetwork
    noise: Tensor
    norm: Tensor

    def __init__(self, space: MemoryBankSpace, task: Task, generator: torch.Generator) -> None:
        options = space.options
        shapes = {
            name: shape
            for name, shape in space.shared_shapes(task).items()
            if not name.endswith("project.weight")
        }
        grid = GridEncoding(options)
        width = options.bank_width
        rows = width * options.depth_compression
        shared = SharedWeights(shapes, space.shared_name, generator)
        values = options.max_bottleneck * width * rows
        hypernetwork = Hypernetwork(grid.channels + 1, values, generator)
        super().__init__(shared, grid, hypernetwork)
        self._width, self._rows = width, rows  # output and input channels per position
        noise = torch.randn(grid.rows, grid.max_positions, generator=generator)
        self.register_buffer("noise", noise)
        self.register_buffer("norm", torch.ones(1, 1), persistent=False)

    def forward(
        self, architecture: MemoryBankArchitecture, child: nn.Module, code: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Gives a tensor for each parameter of a child, by name.

        Args:
            architecture: The architecture that the child is built from.
            child: The child network.
            code: Encoding of the architecture, (C, k, S), if a gradient with respect to it is
                wanted.
        """
        weights: dict[str, Tensor] = self.shared(child)
        if code is None:
            code = self.encoding.encode(architecture)
        matrix_IO = self._generate(send_like(code, self.noise))
        places = self.encoding.places(architecture)
        names = [place.parameter for place in places]
        shapes = {name: child.get_parameter(name).shape for name in names}
        rows_IO = matrix_IO.split([(place.stop - place.start) * self._rows for place in places])
        columns = {name: (name, (slice(None), slice(shape[0]))) for name, shape in shapes.items()}
        weights_IO = cut(dict(zip(names, rows_IO, strict=True)), columns)
        for name, shape in shapes.items():
            weights[name] = with_norm(weights_IO[name], self.norm).T.reshape(shape)
        return weights

    def _generate(self, code: Tensor) -> Tensor:
        """Generates the weights of all ops, I×O; rows are input channels in the order of reads."""
        noise_1kS = self.noise[None, :, : code.shape[-1]]
        values_VkS: Tensor = self.hypernetwork(torch.cat([noise_1kS, code])[None])[0]
        # (m o i) k s -> (s i) (m k o), with o = N and i = N · d
        values_mNIkS = values_VkS.reshape(-1, self._width, self._rows, *values_VkS.shape[1:])
        return values_mNIkS.permute(4, 2, 0, 3, 1).flatten(2).flatten(0, 1)


def with_norm(weight: Tensor, norm: Tensor) -> Tensor:
    """Scales a weight so that the norm of all its values is `norm`, of shape (1, 1)."""
    # The kernel of torch.nn.utils.weight_norm: 2 operations with the backward pass instead of 14.
    scaled: Tensor = torch._weight_norm(weight.reshape(1, -1), norm)
    return scaled.view(weight.shape)
