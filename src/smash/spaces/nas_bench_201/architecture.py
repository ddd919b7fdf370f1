"""A cell of NAS-Bench-201: four nodes, and an operation on each edge between them.

Node 0 is the input of the cell and node 3 its output. A node is the sum of its incoming edges, each
of which applies its operation to its source node. (Dong and Yang 2020, section 2.1.)
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from smash.errors import InvalidValueError, unknown
from smash.spaces.nas_bench_201.operations import KERNELS, NODES

EDGES = tuple((source, target) for target in range(NODES) for source in range(target))
CONVOLUTIONS = tuple(KERNELS)
OPERATIONS = ("none", "skip_connect", *CONVOLUTIONS, "avg_pool_3x3")

_NOTHING = "0"
_SAME = "'"  # marks a convolution whose output is used several times
_NODE = r"\|([^+]*)\|"


@dataclass(frozen=True)
class CellArchitecture:
    """A cell.

    Attributes:
        operations: One per edge, in the order of `EDGES`.
    """

    operations: tuple[str, ...]

    def __str__(self) -> str:
        """Formats the cell in the published form: ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``."""
        nodes = []
        for target in range(1, NODES):
            edges = (f"{op}~{source}" for source, end, op in self.edges() if end == target)
            nodes.append(f"|{'|'.join(edges)}|")
        return "+".join(nodes)

    def edges(self) -> Iterator[tuple[int, int, str]]:
        """Yields the source node, the target node and the operation of each edge."""
        for (source, target), operation in zip(EDGES, self.operations, strict=True):
            yield source, target, operation

    @property
    def canonical(self) -> str:
        """The function that the cell computes, as an expression; equal for isomorphic cells.

        It expresses node 3 in terms of the input ``x``: ``none`` is left out, ``skip_connect`` is
        the identity, and the terms of a sum are sorted; it is ``0`` if nothing remains. Equal
        convolutions of one input are different terms, since each has its own weights; a prime
        marks a convolution whose output is used several times: ``2·c(x)`` is ``c'(x)+c'(x)``, not
        ``c(x)+c(x)``.

        The 15,625 cells have 5,260 canonical expressions. The benchmark counts 6,466: it has no
        prime, but keeps each ``none`` as a term of its sum, and brackets the sums of skipped nodes.
        (It counts 12,751 if ``none`` is an operation like any other.)
        """
        text = self._expression(_SAME)
        return text if text.count(_SAME) > 1 else self._expression("")

    def _expression(self, mark: str) -> str:
        """Gives the expression, with `mark` after the convolution from node 0 to node 1.

        No other edge can occur twice: paths to node 3 diverge at node 1 only.
        """
        terms: list[list[str]] = [["x"], *([] for _ in range(NODES - 1))]
        for source, target, operation in self.edges():
            if operation == "none" or not terms[source]:
                continue
            if operation == "skip_connect":
                terms[target] += terms[source]
                continue
            same = mark if (source, target) == EDGES[0] and operation in CONVOLUTIONS else ""
            terms[target].append(f"{operation}{same}({'+'.join(sorted(terms[source]))})")
        return "+".join(sorted(terms[-1])) or _NOTHING

    @property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        """The operations of each path from the input to the output that `none` does not interrupt.

        ``skip_connect`` is left out, so a path of it alone is empty.
        """
        ways: list[list[tuple[str, ...]]] = [[()], *([] for _ in range(NODES - 1))]
        for source, target, operation in self.edges():  # ordered by target
            if operation != "none":
                own = () if operation == "skip_connect" else (operation,)
                ways[target] += [(*way, *own) for way in ways[source]]
        return tuple(ways[-1])

    @property
    def connected(self) -> bool:
        """Whether the output depends on the input."""
        return any(self.live)

    @property
    def live(self) -> tuple[bool, ...]:
        """The edges that lie on a path from the input to the output."""
        edges = [(source, target) for source, target, op in self.edges() if op != "none"]
        reached, reaching = {0}, {NODES - 1}
        for source, target in edges:  # ordered by target
            if source in reached:
                reached.add(target)
        for source, target in sorted(edges, reverse=True):
            if target in reaching:
                reaching.add(source)
        return tuple(edge in edges and edge[0] in reached and edge[1] in reaching for edge in EDGES)


def read_cell(text: str) -> CellArchitecture:
    """Reads the published text form.

    Raises:
        InvalidValueError: The text is not a cell.
    """
    form = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
    match = re.fullmatch(r"\+".join([_NODE] * (NODES - 1)), text.strip())
    nodes = match.groups() if match else ()
    words = [word for node in nodes for word in node.split("|")]
    pairs = [word.rpartition("~") for word in words]
    if [source for *_, source in pairs] != [str(source) for source, _ in EDGES]:
        raise InvalidValueError(f"cell {text[:120]!r} must have the form {form}")
    operations = tuple(operation for operation, *_ in pairs)
    wrong = [operation for operation in operations if operation not in OPERATIONS]
    if wrong:
        raise InvalidValueError(*(unknown("operation", each, OPERATIONS) for each in wrong))
    return CellArchitecture(operations)


def all_cells() -> Iterator[CellArchitecture]:
    """Yields all 15,625 cells in a fixed order."""
    return map(CellArchitecture, itertools.product(OPERATIONS, repeat=len(EDGES)))


@cache
def first_cells() -> Mapping[str, CellArchitecture]:
    """Maps each canonical expression to the first cell that has it."""
    first: dict[str, CellArchitecture] = {}
    for cell in all_cells():
        first.setdefault(cell.canonical, cell)
    return first
