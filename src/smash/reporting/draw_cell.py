"""Drawing of a cell of NAS-Bench-201: four nodes in a row, and an arc for each edge."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from markupsafe import Markup

from smash.errors import InvalidValueError
from smash.reporting.drawing import Drawing, block_figure, block_picture
from smash.reporting.formatting import several
from smash.reporting.svg import element, text
from smash.spaces.nas_bench_201.architecture import CellArchitecture, read_cell
from smash.spaces.nas_bench_201.operations import NODES
from smash.spaces.nas_bench_201.options import NasBench201Options

_WIDTH, _HEIGHT = 470, 240
_MIDDLE = 130
_FIRST, _STEP = 40, 130  # place of the first node, and distance between nodes
_BENDS = {(0, 2): 100, (1, 3): -120, (0, 3): 210}  # how far an edge bends upwards
_NAMES: Mapping[str, tuple[str, str, str]] = {  # name, label of an edge, CSS class
    "none": ("nothing", "", "none"),
    "skip_connect": ("identity", "identity", "identity"),
    "nor_conv_1x1": ("1×1 convolution", "1×1 conv", "k1"),
    "nor_conv_3x3": ("3×3 convolution", "3×3 conv", "k3"),
    "avg_pool_3x3": ("3×3 average", "3×3 avg", "pool"),
}


class CellDrawer:
    """Draws cells of NAS-Bench-201.

    Args:
        options: The options of the space.
    """

    def __init__(self, options: NasBench201Options) -> None:
        self._options = options

    def __call__(self, value: Mapping[str, Any]) -> Drawing:
        """Draws a cell.

        Args:
            value: The cell as JSON.

        Raises:
            InvalidValueError: The JSON is not a cell.
        """
        if not isinstance(value.get("cell"), str):
            raise InvalidValueError(f"a cell must be {{'cell': '|…|'}}, got {dict(value)!r:.200}")
        cell = read_cell(value["cell"])
        return Drawing(_words(cell), partial(self._draw, cell))

    def _draw(self, cell: CellArchitecture) -> Markup:
        edges = list(zip(cell.edges(), cell.live, strict=True))
        sentences = [
            f"{_NAMES[op][0]} from node {source} to node {target}"
            + ("" if live or op == "none" else ", on no way from the input to the output")
            for (source, target, op), live in edges
        ]
        drawn = [_edge(*edge, live, number) for number, (edge, live) in enumerate(edges)]
        drawn += [_node(number) for number in range(NODES)]
        picture = block_picture(_WIDTH, _HEIGHT, "A cell; the same in words follows", drawn)
        cells, channels = several(self._options.cells, "cell"), self._options.channels
        stages = " → halve → ".join(f"{cells}, {channels << stage} channels" for stage in range(3))
        network = f"3×3 stem → {stages} → mean over space, classifier"
        figure = block_figure("The cell", "repeated, as below", picture, network, sentences)
        return element("div", figure, class_="drawing cell")


def _words(cell: CellArchitecture) -> str:
    """Counts the operations of a cell."""
    used = [_NAMES[op][0] for op in cell.operations if op != "none"]
    counts = {name: used.count(name) for name in used}
    return ", ".join(f"{number} {name}" for name, number in counts.items()) or "no operation"


def _x(node: int) -> float:
    return _FIRST + node * _STEP


def _edge(source: int, target: int, op: str, live: bool, number: int) -> Markup:
    _, words, class_ = _NAMES[op]
    # A quadratic curve reaches half as far as its control point.
    bend = _BENDS.get((source, target), 0)
    begin, end, middle = _x(source), _x(target), (_x(source) + _x(target)) / 2
    at = _MIDDLE - bend / 2
    width = 6.8 * len(words) + 14
    parts = [
        element(
            "path",
            d=f"M{begin} {_MIDDLE}Q{middle} {_MIDDLE - bend} {end} {_MIDDLE}",
            class_="edge",
        ),
    ]
    if op != "none":
        box = element("rect", x=middle - width / 2, y=at - 11, width=width, height=22, rx=11)
        parts += [box, text(middle, at + 4, words, anchor="middle")]
    state = "" if live or op == "none" else " dead"
    return element("g", *parts, class_=f"op {class_}{state}", data_op=f"0.{number}")


def _node(number: int) -> Markup:
    words = {0: "input", NODES - 1: "output"}.get(number, f"sum {number}")
    return element(
        "g",
        element("circle", cx=_x(number), cy=_MIDDLE, r=19),
        text(_x(number), _MIDDLE + 4, str(number), anchor="middle"),
        text(_x(number), _MIDDLE + 36, words, "number", "middle"),
        class_="node",
    )
