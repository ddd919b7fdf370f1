"""The options of the memory-bank space, and the budgets that follow from them.

Legend: N is `bank_width`, N_max is `max_width`, k = N_max / N, G is `Op.outputs`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from smash.config import Settings
from smash.spaces.memory_bank.architecture import Layout

NONLINEARITIES = ("relu", "tanh", "sigmoid")
GRIDS: Mapping[tuple[bool, ...], float] = {
    (True, False, False, False): 0.05,  # single
    (True, False, True, False): 0.10,  # parallel
    (True, True, False, False): 0.15,  # stacked
    (True, True, True, False): 0.25,  # three
    (True, True, True, True): 0.45,  # full
}
FIXED_GRIDS: Mapping[str, tuple[bool, ...]] = {
    "single": (True, False, False, False),
    "long": (True, True, False, False),
    "big": (True, True, True, True),
}

_MOST = 2**16  # a bound on every option, larger than any real network needs
Positive = Annotated[int, Field(ge=1, le=_MOST)]


@dataclass(frozen=True)
class BlockBudget:
    """The budget of a block.

    Attributes:
        inputs: Channels of the block's input.
        width: Most channels of all banks together.
        positions: Most groups of `N · depth_compression` input channels that all ops read together.
    """

    inputs: int
    width: int
    positions: int


class MemoryBankOptions(Settings):
    """Options of the memory-bank space; the defaults are the published ones.

    Attributes:
        depth: Nominal convolutions per block, those of the wide ResNet of equal budget.
        width: Widening factor of that wide ResNet; the stem has `2 · N · width` channels.
        bank_width: N, the base width of a bank in channels.
        max_width: N_max, the most channels that an op computes.
        bottleneck: Largest ratio of the width of a 1×1 convolution to that of its op's output.
        max_bottleneck: Widest 1×1 convolution, in units of N_max.
        depth_compression: Units of N input channels that share a position of the hypernetwork.
        max_dilation: Largest dilation.
        max_kernel: Largest kernel extent, odd.
        max_groups: Largest number of groups, a divisor of N.
        grid: Convolutions per op: one, two stacked (``long``), two by two (``big``) or drawn.
        variable_kernel: Draw kernel extents; otherwise every kernel is 3 wide.
        variable_groups: Draw the number of groups; otherwise 1.
        variable_nonlinearity: Draw ReLU, tanh or sigmoid; otherwise ReLU.
        gates: Draw gates, where one path of an op gates the other; needs a grid of two paths.
        preactivation: A grid convolution is preceded by its non-linearity, not followed.
        normalisation: ``batch``: BatchNorm and ReLU before the 1×1 convolution and BatchNorm
            after it; ``bare``: no BatchNorm in ops, as in the original's SMASH network.
        op_norm: BatchNorm before each grid convolution (in place of the one after the 1×1).
        bank_size: Bank size of every block; drawn if None.
        stem_stride: Stride of the stem; if None, the first block works at 32² (256 samples of a
            signal, 16³ voxels) or less.
        dims: Spatial axes of the inputs.
    """

    depth: Positive = 12
    width: Positive = 4
    bank_width: Positive = 8
    max_width: Positive = 64
    bottleneck: Positive = 4
    max_bottleneck: Positive = 2
    depth_compression: Positive = 2
    max_dilation: Positive = 3
    max_kernel: Annotated[int, Field(ge=3, le=_MOST)] = 7
    max_groups: Positive = 8
    grid: Literal["single", "long", "big", "var"] = "single"
    variable_kernel: bool = True
    variable_groups: bool = True
    variable_nonlinearity: bool = False
    gates: bool = False
    preactivation: bool = True
    normalisation: Literal["bare", "batch"] = "batch"
    op_norm: bool = False
    bank_size: Positive | None = None
    stem_stride: Positive | None = None
    dims: Literal[1, 2, 3] = 2

    def rules(self) -> list[str]:
        """Checks that the options fit together."""
        faults = []
        if self.max_width % self.bank_width:
            faults.append(
                f"bank_width (N) must divide max_width (N_max), got {self.bank_width} and "
                f"{self.max_width}: try max_width={self.bank_width * self.max_outputs or 1}"
            )
        if self.max_kernel % 2 == 0:
            faults.append(
                f"max_kernel must be odd, so that a kernel has a centre, got {self.max_kernel}: "
                f"try {self.max_kernel + 1}"
            )
        if self.bank_width % self.max_groups:
            fitting = max(g for g in _divisors(self.bank_width) if g <= self.max_groups)
            faults.append(
                f"max_groups must divide bank_width (N = {self.bank_width}), "
                f"got {self.max_groups}: try {fitting}"
            )
        if self.gates and not any(first_b for _, _, first_b, _ in self.grids):
            faults.append(
                f"gates join two paths, grid {self.grid!r} has one: try grid='var', or gates=False"
            )
        if not faults and not all(self.bank_sizes(block) for block in range(3)):
            faults.append(
                f"no bank size fits depth_compression {self.depth_compression} and bank_size "
                f"{self.bank_size}: leave bank_size open, or lower depth_compression"
            )
        return faults

    @property
    def max_outputs(self) -> int:
        """The largest G: k = N_max / N."""
        return self.max_width // self.bank_width

    @property
    def max_project(self) -> int:
        """Channels of the widest 1×1 convolution."""
        return self.max_bottleneck * self.max_width

    @cached_property
    def kernels(self) -> tuple[int, ...]:
        """Kernel extents that may be drawn."""
        return tuple(range(3, self.max_kernel + 1, 2)) if self.variable_kernel else (3,)

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """Numbers of groups that may be drawn: the divisors of N up to `max_groups`."""
        if not self.variable_groups:
            return (1,)
        return tuple(g for g in _divisors(self.bank_width) if g <= self.max_groups)

    @cached_property
    def nonlinearities(self) -> tuple[str, ...]:
        """Non-linearities that may be drawn."""
        return NONLINEARITIES if self.variable_nonlinearity else NONLINEARITIES[:1]

    @cached_property
    def grids(self) -> Mapping[tuple[bool, ...], float]:
        """Grids that may be drawn, with their probabilities."""
        return GRIDS if self.grid == "var" else {FIXED_GRIDS[self.grid]: 1.0}

    @cached_property
    def budgets(self) -> tuple[BlockBudget, ...]:
        """The budget of each block, from the channels of the wide ResNet of equal budget."""
        base = 2 * self.bank_width
        stem = base * self.width
        inputs_1 = stem
        width_1 = inputs_1 + 2 * stem
        inputs_2 = width_1 // 2 // base * base
        width_2 = inputs_2 + 2 * stem
        inputs_3 = width_2 // 2 // base * base
        blocks = zip((inputs_1, inputs_2, inputs_3), (width_1, width_2, 4 * stem), strict=True)
        unit = self.bank_width * self.depth_compression
        return tuple(
            BlockBudget(inputs, width, (inputs + self.depth * (stem << i)) // unit)
            for i, (inputs, width) in enumerate(blocks)
        )

    @cached_property
    def layout(self) -> Layout:
        """The sizes that all networks of the space have in common."""
        return Layout(
            inputs=tuple(budget.inputs for budget in self.budgets),
            bank_width=self.bank_width,
            bottleneck=self.bottleneck,
            max_project=self.max_project,
            normalised=self.normalisation == "batch",
            op_norm=self.op_norm,
            preactivation=self.preactivation,
            stem_stride=self.stem_stride,
        )

    def bank_sizes(self, block: int) -> tuple[int, ...]:
        """Lists the bank sizes with which inputs fill whole banks, and reads whole positions."""
        inputs = self.budgets[block].inputs
        fitting = (
            b
            for b in range(1, self.max_outputs + 1)
            if inputs % (b * self.bank_width) == 0
            and (
                b % self.depth_compression == 0
                or inputs // (b * self.bank_width) >= self.depth_compression
            )
            and self.cheapest(b) <= self.budgets[block].positions
        )
        return tuple(b for b in fitting if self.bank_size in (None, b))

    def max_banks(self, block: int, bank_size: int, fraction: float = 1.0) -> int:
        """Counts the banks that a block may have with a fraction of its budget."""
        opened = math.ceil(fraction * self.depth * self.max_outputs) // bank_size
        by_width = self.budgets[block].width // (bank_size * self.bank_width)
        return min(self.layout.input_banks(block, bank_size) + opened, by_width)

    def read_step(self, bank_size: int) -> int:
        """Computes the multiple in which banks are read, so that reads are whole positions."""
        return 1 if bank_size % self.depth_compression == 0 else self.depth_compression

    def cost(self, reads: int, bank_size: int) -> int:
        """Computes the positions that an op uses for its reads."""
        return reads * bank_size // self.depth_compression

    def cheapest(self, bank_size: int) -> int:
        """Computes the positions that the cheapest op uses."""
        return self.cost(self.read_step(bank_size), bank_size)

    def max_dilation_of(self, kernel: int) -> int:
        """Computes the largest dilation of a kernel extent; smaller kernels may dilate more."""
        return min(self.max_dilation, max(1, 4 - (kernel - 1) // 2))


def reference_network(options: MemoryBankOptions) -> tuple[str, int]:
    """Gives the name and the parameters of the wide ResNet of equal nominal budget.

    WRN-(3 · depth + 4)-width for RGB images, without its classifier, and with 2N channels where the
    published one has 16: a 3×3 stem, then three stages of `depth` 3×3 convolutions, each after a
    BatchNorm, and a 1×1 convolution where the width changes.
    """
    base = 2 * options.bank_width
    params, inputs = 9 * 3 * base, base
    for width in (base * options.width << stage for stage in range(3)):
        params += inputs * width if inputs != width else 0
        for _ in range(options.depth):
            params += 2 * inputs + 9 * inputs * width
            inputs = width
    return f"WRN-{3 * options.depth + 4}-{options.width}", params + 2 * inputs


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


PRESETS: Mapping[str, MemoryBankOptions] = {
    # The released program's defaults, with the ops of its SMASH network.
    "original": MemoryBankOptions(normalisation="bare"),
    # SMASHv1: one 3×3 convolution per op; reads, writes, G and dilation vary.
    "v1": MemoryBankOptions(
        bank_size=2, max_kernel=3, variable_kernel=False, max_groups=1, variable_groups=False
    ),
    # SMASHv2: grids, kernels, groups and bottlenecks vary too.
    "v2": MemoryBankOptions(grid="var"),
    # For a CPU: CIFAR-10 in minutes.
    "small": MemoryBankOptions(depth=4, width=1, max_width=32, max_kernel=5),
    # For images of 8×8, such as scikit-learn's digits.
    "tiny": MemoryBankOptions(depth=4, width=1, max_width=32, max_kernel=3),
}
