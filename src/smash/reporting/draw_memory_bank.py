"""Drawing of memory-bank architectures: the banks of each op, and its convolutions.

Each block is a picture. A bank is a vertical line that begins where the bank is first written; an
op is a row across the lines. Hollow dots are banks that it reads, filled dots banks that it writes:

    0   1   2
    │   │          ┌──────────────────────────┐
    ○───○──────────┤ 1×1·32   3×5   3×3       │
    │   │   ●──────┤          7×3         +   │
    │   │   │      └──────────────────────────┘

The width of the picture follows from the number of banks and the widest op. The font is monospaced,
so that the width of text is known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup

from smash.reporting.drawing import Drawing, block_figure, block_picture
from smash.reporting.formatting import several
from smash.reporting.svg import element, path, text, translate
from smash.spaces.memory_bank.architecture import (
    Block,
    Convolution,
    Gate,
    Op,
)
from smash.spaces.memory_bank.options import MemoryBankOptions
from smash.spaces.memory_bank.validation import read_architecture

# Lengths in pixels.
_LANE = 15  # distance between banks
_LEFT = 34  # margin left of the first bank, for the numbers of ops
_TOP = 46  # margin above the first op, for the numbers of banks
_BOTTOM = 34
_ROW, _DEEP_ROW = 28, 48  # heights of an op with one path, and with two
_CHIP = 17  # height of a convolution's label
_LETTER = 6.3  # width of a letter in the font of the style sheet
_SIGNS = {"multiply": "⊙ ", "split": "⊙½ "}  # by the style of a gate
_RESOLUTIONS = ("full", "half", "quarter")


class BankDrawer:
    """Draws architectures of a memory-bank space.

    Args:
        options: The options of the space.
    """

    def __init__(self, options: MemoryBankOptions) -> None:
        self._options = options

    def __call__(self, value: Mapping[str, Any]) -> Drawing:
        """Draws an architecture.

        Args:
            value: The architecture as JSON.

        Raises:
            InvalidValueError: The JSON is not an architecture of the space.
        """
        blocks = read_architecture(value, self._options).blocks
        ops = " + ".join(str(len(block.ops)) for block in blocks)
        used = " + ".join(
            str(block.filled(self._inputs(index, block))) for index, block in enumerate(blocks)
        )
        extents = [extent for block in blocks for conv in _convolutions(block) for extent in conv]
        kernels = f"{min(extents)}–{max(extents)}" if min(extents) < max(extents) else extents[0]
        return Drawing(f"{ops} ops on {used} banks, kernels {kernels}", partial(self._draw, blocks))

    def _draw(self, blocks: Sequence[Block]) -> Markup:
        pictures = [self._block(index, block) for index, block in enumerate(blocks)]
        return element("div", *pictures, class_="drawing banks")

    def _inputs(self, index: int, block: Block) -> int:
        return self._options.layout.input_banks(index, block.bank_size)

    def _block(self, index: int, block: Block) -> Markup:
        picture = _Picture(self._options, index, block, self._inputs(index, block))
        channels = block.bank_size * self._options.bank_width
        head = (
            f"{_RESOLUTIONS[index]} resolution · {several(len(block.ops), 'op')} on "
            f"{several(picture.banks, 'bank')} of {channels} channels"
        )
        output = self._output(index, picture.banks * channels)
        return block_figure(f"Block {index}", head, picture.draw(), output, picture.sentences)

    def _output(self, index: int, channels: int) -> str:
        """Describes the layers after a block."""
        if index == len(_RESOLUTIONS) - 1:
            return f"{channels} channels → BatchNorm, ReLU, mean over space, classifier"
        following = self._options.budgets[index + 1].inputs
        return f"{channels} channels → 1×1 to {following}, half the resolution → block {index + 1}"


def _convolutions(block: Block) -> Iterator[tuple[int, ...]]:
    for op in block.ops:
        yield from (conv.kernel for conv in op.grid if conv is not None)


@dataclass(frozen=True)
class _Chip:
    """Draws a convolution as a small labelled box; the larger its `extent`, the darker it is."""

    words: str
    extent: int

    @property
    def width(self) -> float:
        return _LETTER * len(self.words) + 10

    def draw(self, x: float, y: float) -> Markup:
        return element(
            "g",
            element("rect", width=self.width, height=_CHIP, rx=4),
            text(5, 12.5, self.words),
            class_=f"chip k{min(self.extent, 7)}",
            transform=translate(x, y),
        )


class _Picture:
    """Draws a block, and describes its ops in sentences."""

    def __init__(self, options: MemoryBankOptions, index: int, block: Block, inputs: int) -> None:
        self._options, self._index, self._block, self._inputs = options, index, block, inputs
        self.banks = block.filled(inputs)
        self._rows = [self._chips(op) for op in block.ops]
        self.sentences = [self._sentence(op) for op in block.ops]
        self._outs = [_out(op, options.bank_width) for op in block.ops]
        self._box = _LEFT + self.banks * _LANE + 12  # left side of the boxes of ops
        # Chips of the same position in the op are aligned in a column.
        self._columns = [
            max([0.0, *(row[place].width for row in self._rows for place in places if row[place])])
            for places in ((0,), (1, 3), (2, 4))
        ]

    def _lane(self, bank: int) -> float:
        return _LEFT + (bank + 0.5) * _LANE

    def _project(self, op: Op) -> int:
        """Gives the number of channels after the 1×1 convolution."""
        unit = self._options.bank_width
        read = len(op.reads) * self._block.bank_size * unit
        return self._options.layout.project_width(read, op.outputs * unit)

    def _chips(self, op: Op) -> list[Any]:
        """Makes the chips of the 1×1 convolution and of the four positions; None if empty."""
        grid = [conv and _Chip(_short(conv), max(conv.kernel)) for conv in op.grid]
        ones = "×".join("1" for _ in range(self._options.dims))
        return [_Chip(f"{ones}·{self._project(op)}", 1), *grid]

    def _sentence(self, op: Op) -> str:
        paths = [
            ", then ".join(_long(conv) for conv in op.grid[first : first + 2] if conv is not None)
            for first in (0, 2)
        ]
        joined = " beside ".join(each for each in paths if each)
        gate = f", {_gate(op.gate)}" if op.gate else ""
        return (
            f"reads {_banks(op.reads)}; 1×1 to {self._project(op)} channels; {joined}{gate}; "
            f"writes {op.written * self._options.bank_width} channels to {_banks(op.writes)}"
        )

    def draw(self) -> Markup:
        heights = [_DEEP_ROW if row[3] else _ROW for row in self._rows]
        tops = [_TOP + sum(heights[:number]) for number in range(len(heights) + 1)]
        longest = max(map(len, self._outs))
        width = self._box + sum(each + 6 for each in self._columns if each) + _LETTER * longest + 14
        end = tops[-1] + 8
        rows = [
            self._row(number, op, height, top)
            for number, (op, top, height) in enumerate(
                zip(self._block.ops, tops, heights, strict=False)
            )
        ]
        label = (
            f"Block {self._index}: {several(len(self._rows), 'op')} on "
            f"{several(self.banks, 'bank')}; the same in words follows"
        )
        return block_picture(width, end + _BOTTOM, label, [*self._lanes(tops, heights, end), *rows])

    def _lanes(
        self, tops: Sequence[float], heights: Sequence[float], end: float
    ) -> Iterator[Markup]:
        """Draws the banks: a number, a line from the first write down, and the block's output."""
        begins: dict[int, float] = {}
        for op, top, height in zip(self._block.ops, tops, heights, strict=False):
            for bank in op.writes:
                begins.setdefault(bank, top + height - 9)
        for bank in range(self.banks):
            x = self._lane(bank)
            begin = _TOP - 10.0 if bank < self._inputs else begins[bank]
            yield text(x, _TOP - 16, str(bank), "number", "middle")
            yield path([(x, begin), (x, end)], "bank")
        first, last = self._lane(0) - 5, self._lane(self._inputs - 1) + 5
        yield path([(first, 19), (first, 14), (last, 14), (last, 19)], "bracket")
        yield text(first, 10, "input", "number")
        first, last = self._lane(0) - 5, self._lane(self.banks - 1) + 5
        yield path([(first, end), (first, end + 5), (last, end + 5), (last, end)], "bracket")
        channels = self.banks * self._block.bank_size * self._options.bank_width
        yield text(first, end + 20, f"{channels} channels out", "number")

    def _row(self, number: int, op: Op, height: float, top: float) -> Markup:
        # Drawn at the origin and then moved, so that similar rows are equal text and deflate well.
        read, write, middle = 9.0, height - 9, (height - _CHIP) / 2
        parts = [
            text(18, height / 2 + 4, str(number), "number", "end"),
            path([(self._lane(op.reads[0]), read), (self._box, read)], "read"),
            path([(self._lane(op.writes[0]), write), (self._box, write)], "write"),
        ]
        dots = ((op.reads, read, "read"), (op.writes, write, "write"))
        parts += [
            element("circle", cx=self._lane(bank), cy=y, r=4, class_=class_)
            for banks, y, class_ in dots
            for bank in banks
        ]
        chips = self._rows[number]
        x = self._box + 6.0
        parts.append(chips[0].draw(x, middle))
        x += self._columns[0] + 6
        above = 5.5 if chips[3] else middle
        for column in (1, 2):
            for place, y in ((column, above), (column + 2, height - _CHIP - 5.5)):
                if chips[place]:
                    parts.append(chips[place].draw(x, y))
            if self._columns[column]:
                x += self._columns[column] + 6
        out = self._outs[number]
        parts.append(text(x, height / 2 + 4, out, "out"))
        box = element(
            "rect",
            x=self._box,
            y=2,
            width=x + _LETTER * len(out) + 6 - self._box,
            height=height - 4,
            rx=6,
            class_="box",
        )
        return element(
            "g",
            box,  # first, because the other parts are drawn over it
            *parts,
            class_="op",
            data_op=f"{self._index}.{number}",
            transform=translate(0, top),
        )


def _out(op: Op, bank_width: int) -> str:
    """Writes how two paths join and how many channels are written: ``+ → 16``."""
    sign = _SIGNS[op.gate.style] if op.gate else "+ "
    return f"{sign if op.grid[2] else ''}→ {op.written * bank_width}"


def _short(conv: Convolution) -> str:
    """Writes a convolution without its defaults of one group and ReLU: ``3×5 d2 g4 tanh``."""
    parts = ["×".join(map(str, conv.kernel))]
    if any(each > 1 for each in conv.dilation):
        alike = len(set(conv.dilation)) == 1
        parts.append(f"d{conv.dilation[0]}" if alike else "d" + "×".join(map(str, conv.dilation)))
    if conv.groups > 1:
        parts.append(f"g{conv.groups}")
    if conv.nonlinearity != "relu":
        parts.append(conv.nonlinearity)
    return " ".join(parts)


def _long(conv: Convolution) -> str:
    """Writes a convolution as part of a sentence."""
    parts = ["×".join(map(str, conv.kernel))]
    if any(each > 1 for each in conv.dilation):
        parts.append(f"dilated {'×'.join(map(str, conv.dilation))}")
    if conv.groups > 1:
        parts.append(f"in {conv.groups} groups")
    if conv.nonlinearity != "relu":
        parts.append(f"with {conv.nonlinearity}")
    return " ".join(parts)


def _gate(gate: Gate) -> str:
    how = "one path gates the other" if gate.style == "multiply" else "half gates the other half"
    return f"{how} after the {gate.junction} convolutions"


def _banks(banks: Sequence[int]) -> str:
    return f"{'bank' if len(banks) == 1 else 'banks'} {', '.join(map(str, banks))}"
