"""Drawings are read back and compared with the architecture and with the network that is built."""

from __future__ import annotations

import numpy as np
import pytest

from smash.errors import InvalidValueError
from smash.reporting.draw_memory_bank import BankDrawer
from smash.spaces import Task
from smash.spaces.memory_bank import MemoryBankSpace
from smash.spaces.memory_bank.options import MemoryBankOptions
from tests.reporting.html import moved, of_class, parsed, said

OPTIONS = {
    "plain": {"depth": 3, "width": 1, "max_width": 32},
    "varied": {
        "depth": 3,
        "width": 1,
        "max_width": 32,
        "grid": "var",
        "gates": True,
        "variable_nonlinearity": True,
    },
    "signals": {"depth": 2, "width": 1, "max_width": 32, "dims": 1},
    "volumes": {"depth": 2, "width": 1, "max_width": 32, "dims": 3, "grid": "big"},
}


@pytest.fixture(params=OPTIONS)
def space(request):
    return MemoryBankSpace(MemoryBankOptions(**OPTIONS[request.param]))


def architectures(space, count=4):
    rng = np.random.default_rng(7)
    return [space.sample(rng) for _ in range(count)]


def draw(space, architecture):
    drawing = BankDrawer(space.options)(space.to_json(architecture))
    return drawing, of_class(parsed(drawing.html), "block")


def lanes_of(figure):
    """Where each bank's line is, by the number that stands over it."""
    heads = [text for text in figure.iter("text") if text.attrib.get("text-anchor") == "middle"]
    return {float(text.attrib["x"]): int(said(text)) for text in heads}


def test_drawing_puts_dots_on_banks_read_and_written(space):
    for architecture in architectures(space):
        _, figures = draw(space, architecture)
        assert len(figures) == 3
        for figure, block in zip(figures, architecture.blocks, strict=True):
            lanes = lanes_of(figure)
            rows = of_class(figure, "op")
            assert len(rows) == len(block.ops)
            for row, op in zip(rows, block.ops, strict=True):
                dots = {"read": [], "write": []}
                for circle in row.iter("circle"):
                    dots[circle.attrib["class"]].append(lanes[float(circle.attrib["cx"])])
                assert tuple(dots["read"]) == op.reads
                assert tuple(dots["write"]) == op.writes


def test_drawing_begins_a_bank_at_its_first_write(space):
    for architecture in architectures(space):
        for index, figure in enumerate(draw(space, architecture)[1]):
            block = architecture.blocks[index]
            inputs = space.options.layout.input_banks(index, block.bank_size)
            rows = of_class(figure, "op")
            lines = of_class(figure, "bank")
            assert len(lines) == block.filled(inputs)
            for bank, line in enumerate(lines):
                begin = float(line.attrib["d"].split("L")[0].split()[1])
                if bank < inputs:
                    assert begin < moved(rows[0])[1]
                    continue
                first = next(n for n, op in enumerate(block.ops) if bank in op.writes)
                dot = next(one for one in of_class(rows[first], "write") if one.tag == "circle")
                assert begin == pytest.approx(moved(rows[first])[1] + float(dot.attrib["cy"]))


def test_drawing_shows_widths_and_kernels_of_the_built_network(space):
    task = Task(channels=3, size=(16,) * space.options.dims, classes=4)
    for architecture in architectures(space):
        network = space.build(architecture, task)
        _, figures = draw(space, architecture)
        for index, figure in enumerate(figures):
            banks = len(of_class(figure, "bank")) * architecture.blocks[index].bank_size
            out = banks * space.options.bank_width
            following = network.transitions[index].conv if index < 2 else network.classifier
            assert following.weight.shape[1] == out
            assert said(of_class(figure, "way-out")[0]).startswith(f"{out} channels → ")
            for number, row in enumerate(of_class(figure, "op")):
                built = network.blocks[index].ops[number]
                chips = [said(chip) for chip in of_class(row, "chip")]
                ones = "×".join("1" * space.options.dims)
                assert chips[0] == f"{ones}·{built.project.weight.shape[0]}"
                present = [one for one in (built.a1, built.a2, built.b1, built.b2) if one]
                found = sorted(chip.split()[0] for chip in chips[1:])
                shapes = ["×".join(map(str, one.conv.weight.shape[2:])) for one in present]
                assert found == sorted(shapes)


def test_chip_says_what_differs_from_a_plain_convolution():
    space = MemoryBankSpace(MemoryBankOptions(**OPTIONS["varied"]))
    said_of, seen = {}, set()
    for architecture in architectures(space, 12):
        for figure, block in zip(draw(space, architecture)[1], architecture.blocks, strict=True):
            for row, op in zip(of_class(figure, "op"), block.ops, strict=True):
                convolutions = [conv for conv in op.grid if conv is not None]
                chips = sorted(said(chip) for chip in of_class(row, "chip")[1:])
                expected = []
                for conv in convolutions:
                    words = ["×".join(map(str, conv.kernel))]
                    high, wide = conv.dilation
                    if high == wide > 1:
                        words.append(f"d{high}")
                    elif high != wide:
                        words.append(f"d{high}×{wide}")
                    words += [f"g{conv.groups}"] * (conv.groups > 1)
                    words += [conv.nonlinearity] * (conv.nonlinearity != "relu")
                    expected.append(" ".join(words))
                assert chips == sorted(expected)
                sign = said(of_class(row, "out")[0])
                assert sign.endswith(f"→ {op.written * space.options.bank_width}")
                style = op.gate.style if op.gate else None
                said_of[style, op.grid[2] is not None] = sign.split("→")[0].strip()
                seen.add(style)
    assert seen == {None, "multiply", "split"}
    assert said_of[None, False] == ""
    assert said_of[None, True] == "+"
    assert said_of["multiply", True] == "⊙"
    assert said_of["split", True] == "⊙½"


def test_drawing_stays_within_its_view(space):
    for architecture in architectures(space):
        for figure in draw(space, architecture)[1]:
            picture = next(figure.iter("svg"))
            _, _, width, height = map(float, picture.attrib["viewBox"].split())
            for row in of_class(figure, "op"):
                box = of_class(row, "box")[0].attrib
                right = float(box["x"]) + float(box["width"])
                assert right <= width
                assert moved(row)[1] + float(box["y"]) + float(box["height"]) < height
                for chip in of_class(row, "chip"):
                    rect = next(chip.iter("rect")).attrib
                    assert moved(chip)[0] + float(rect["width"]) < right
                out = of_class(row, "out")[0]
                assert float(out.attrib["x"]) + 6 * len(said(out)) < right


def test_drawing_describes_each_op_in_words(space):
    architecture = architectures(space, 1)[0]
    drawing, figures = draw(space, architecture)
    for figure, block in zip(figures, architecture.blocks, strict=True):
        items = [said(item) for item in figure.iter("li")]
        for words, op in zip(items, block.ops, strict=True):
            assert f"{', '.join(map(str, op.reads))};" in words
            assert words.endswith(f" {', '.join(map(str, op.writes))}")
    assert drawing.words.startswith(" + ".join(str(len(b.ops)) for b in architecture.blocks))


def test_drawing_of_another_value_is_refused():
    space = MemoryBankSpace(MemoryBankOptions(**OPTIONS["plain"]))
    with pytest.raises(InvalidValueError):
        BankDrawer(space.options)({"blocks": []})
