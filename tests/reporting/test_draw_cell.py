from __future__ import annotations

import numpy as np
import pytest

from smash.errors import InvalidValueError
from smash.reporting.draw_cell import CellDrawer
from smash.spaces import NasBench201Space
from smash.spaces.nas_bench_201 import NasBench201Options
from tests.reporting.html import of_class, parsed, said

LABELS = {
    "skip_connect": "identity",
    "nor_conv_1x1": "1×1 conv",
    "nor_conv_3x3": "3×3 conv",
    "avg_pool_3x3": "3×3 avg",
}


def draw(text: str):
    return CellDrawer(NasBench201Options(cells=3, channels=8))({"cell": text})


def test_draw_cell_gives_each_edge_its_operation_and_ends():
    space, rng = NasBench201Space(NasBench201Options()), np.random.default_rng(0)
    for _ in range(20):
        cell = space.sample(rng)
        root = parsed(draw(str(cell)).html)
        nodes = [float(node.find("circle").attrib["cx"]) for node in of_class(root, "node")]
        assert nodes == sorted(nodes)
        edges = of_class(root, "op")
        for edge, (source, target, op) in zip(edges, cell.edges(), strict=True):
            label = [] if op == "none" else [LABELS[op]]
            assert [said(text) for text in edge.iter("text")] == label
            numbers = of_class(edge, "edge")[0].attrib["d"].strip("M").replace("Q", " ").split()
            assert float(numbers[0]) == nodes[source]
            assert float(numbers[-2]) == nodes[target]


def test_draw_cell_marks_an_edge_without_effect():
    # Node 2 is on no way to the output.
    text = "|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|none~0|skip_connect~1|none~2|"
    root = parsed(draw(text).html)
    dead = [edge.attrib["data-op"] for edge in of_class(root, "dead")]
    assert dead == ["0.1"]
    assert "on no way from the input to the output" in [*root.iter("li")][1].text


def test_draw_cell_describes_the_network_around_it():
    drawing = draw("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|skip_connect~2|")
    words = said(of_class(parsed(drawing.html), "way-out")[0])
    assert "3 cells, 8 channels → halve → 3 cells, 16 channels → halve → 3 cells, 32" in words
    assert drawing.words == "1 3×3 convolution, 1 identity"


@pytest.mark.parametrize("value", [{}, {"cell": 3}, {"cell": "|x~0|"}])
def test_draw_cell_of_another_value_is_refused(value):
    with pytest.raises(InvalidValueError):
        CellDrawer(NasBench201Options())(value)
