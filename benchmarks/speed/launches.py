"""Counts the operations that a training step dispatches, the same on every machine.

    python -m benchmarks.speed.launches --out benchmarks/results/launches.json

A GPU waits for Python where the operations of a step are many and small, so their number is the
figure of speed where no GPU is at hand. An operation on a list of tensors counts once; views, empty
tensors and tensors without values count nothing. The numbers are means over architectures.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.speed.workload import Workload

NETWORKS = (
    ("memory-bank", "convolutional"),
    ("memory-bank", "low-rank"),
    ("memory-bank", "none"),
    ("nas-bench-201", "low-rank"),
    ("nas-bench-201", "none"),
    ("mobile", "low-rank"),
    ("mobile", "none"),
)
"""Spaces, and how their children get weights."""

_SIZES = ("digits", "cifar-small", "cifar-default")
_ARCHITECTURES = 4
_STEPS_BEFORE = 8  # in which the optimiser makes its state of most tensors
_IMAGES = 2  # of a batch, whose size changes no number
_ALLOCATIONS = ("aten::empty", "aten::new_empty", "profiler::")


@dataclass(frozen=True, kw_only=True)
class Launches:
    """Operations of a training step, means over architectures.

    Attributes:
        space: Name of the space.
        hypernet: Name of the weight source.
        size: Name of the size.
        child: Operations of the forward and backward pass of the child alone.
        parts: Operations of a SMASH step by part; `backward` is of the part before.
        ratio: Operations of the step ÷ those of the child alone.
        graph_ratio: The same with the forward and the backward pass of the hypernetwork counted as
            one launch each, as CUDA graphs would be; only for the one whose layers never change.
    """

    space: str
    hypernet: str
    size: str
    child: float
    parts: Mapping[str, float]
    ratio: float
    graph_ratio: float | None


class OperationCounter(TorchDispatchMode):
    """Counts dispatched operations by part.

    The operations of a backward pass belong to the part in whose forward pass their node of the
    graph was made.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()
        self._part = ""
        self._begins = [
            (0, "")
        ]  # number of the first node of the graph, and the part that makes it

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Counts for a part, which may lie within another."""
        before, self._part = self._part, name
        self._begin()
        yield
        self._part = before
        self._begin()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Runs an operation and counts it."""
        result = func(*args, **(kwargs or {}))
        if not (func.is_view or func.name().startswith(_ALLOCATIONS) or _is_meta(result)):
            self.counts[self._owner()] += 1
        return result

    def _begin(self) -> None:
        self._begins.append((torch._C._autograd._get_sequence_nr(), self._part))

    def _owner(self) -> str:
        node = torch._C._current_autograd_node()
        if node is None:
            return self._part
        made_in = [part for begin, part in self._begins if begin <= node._sequence_nr()]
        return f"{made_in[-1]} backward"


def count(space: str, hypernet: str, size: str, architectures: int = _ARCHITECTURES) -> Launches:
    """Counts the operations of a child alone and of a SMASH step.

    Args:
        space: Name of the space.
        hypernet: Name of the weight source.
        size: Name in `SIZES`.
        architectures: Architectures that the means are over.
    """
    work = Workload(size, torch.device("cpu"), space, hypernet)
    images, labels = (each[:_IMAGES] for each in work.batch())
    for number in range(_STEPS_BEFORE):
        work.step(number, images, labels)
    alone, smash = OperationCounter(), OperationCounter()
    for number in range(architectures):
        child = work.child(number)
        with alone:
            F.cross_entropy(child(images), labels).backward()
        with smash:
            _step(work, number, images, labels, smash)
    parts = {name: of_part / architectures for name, of_part in smash.counts.items()}
    child_alone = alone.counts.total() / architectures
    graphs = {"hypernetwork": 1.0, "hypernetwork backward": 1.0}
    with_graphs = sum((parts | graphs).values()) / child_alone
    return Launches(
        space=space, hypernet=hypernet, size=size, child=child_alone, parts=parts,
        ratio=sum(parts.values()) / child_alone,
        graph_ratio=with_graphs if hypernet == "convolutional" else None,
    )  # fmt: skip


def _step(
    work: Workload, number: int, images: Tensor, labels: Tensor, counter: OperationCounter
) -> None:
    """Does what `Workload.step` does, part by part."""
    source = work.network.source
    with counter.part("encoding"):
        architecture = work.architecture(number)
        child = work.network.batch_child(architecture)
        code = source.encoding.encode(architecture) if source.encoding else None
    with counter.part("cutting"), _hypernetwork(work, counter):
        weights = source(architecture, child, code)
    with counter.part("child"):
        logits = functional_call(child, weights, (images,))
    with counter.part("loss"):
        loss = F.cross_entropy(logits, labels)
        work.optimizer.zero_grad(set_to_none=True)
        loss.backward()
    with counter.part("optimiser"):
        work.optimizer.step()


@contextmanager
def _hypernetwork(work: Workload, counter: OperationCounter) -> Iterator[None]:
    """Counts the operations of the hypernetwork for a part of its own."""
    hypernetwork = work.network.source.hypernetwork
    if hypernetwork is None:
        yield
        return
    forward = hypernetwork.forward

    def counted(*inputs: Any) -> Any:
        with counter.part("hypernetwork"):
            return forward(*inputs)

    hypernetwork.forward = counted
    yield
    hypernetwork.forward = forward


def _is_meta(result: Any) -> bool:
    return isinstance(result, Tensor) and result.device.type == "meta"


def main() -> None:
    """Counts for all networks and sizes, and writes JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.launches", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    found = []
    for space, hypernet in NETWORKS:
        for size in _SIZES if space == "memory-bank" else _SIZES[:2]:
            found.append(asdict(count(space, hypernet, size)))
            print(space, hypernet, size, f"{found[-1]['ratio']:.2f}", flush=True)
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
