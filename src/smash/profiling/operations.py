"""Records the operations that a network calls for one input, without computing anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry

from smash.spaces.task import Task

CONVOLUTION = torch.ops.aten.convolution.default
NORM = F.batch_norm
_POOLS = frozenset(
    getattr(torch.ops.aten, name).default
    for dims in (2, 3)
    for name in (f"max_pool{dims}d_with_indices", f"adaptive_max_pool{dims}d")
)
_PRELU = torch.ops.aten._prelu_kernel.default
Arguments = tuple[tuple[Any, ...], dict[str, Any]]
_UNARY = frozenset({F.batch_norm, F.relu, F.hardswish, torch.relu, torch.tanh, torch.sigmoid})
_ADD = frozenset({Tensor.add, Tensor.__add__, torch.add})


@dataclass(frozen=True)
class Operation:
    """An operation of a network.

    Attributes:
        kind: The operator, or the function of torch.
        reads: Numbers of the buffers that it reads; 0 is the input of the network.
        writes: Numbers of the buffers that it writes.
        weights: Shapes of the parameters, or parts of them, that it is the first to read.
        inputs: Shapes of the other tensors that it reads.
        output: Shape of the first tensor that it returns.
        arguments: Positional and keyword arguments, with tensors on the meta device.
        macs: Its multiply-accumulates.
        is_elementwise: Whether each element that it writes depends on the same one of its operands.
    """

    kind: Any
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    weights: tuple[torch.Size, ...]
    inputs: tuple[torch.Size, ...]
    output: torch.Size
    arguments: Arguments
    macs: int
    is_elementwise: bool

    @property
    def is_view(self) -> bool:
        """Whether it writes nothing, but gives a buffer another shape."""
        return set(self.writes) <= set(self.reads) and not self.is_elementwise


@dataclass(frozen=True)
class Trace:
    """The operations of a network in the order of execution.

    Attributes:
        operations: The operations; views are none.
        sizes: Elements of each buffer.
        outputs: Buffers that hold what the network returns.
    """

    operations: Sequence[Operation]
    sizes: Sequence[int]
    outputs: Sequence[int]

    def folded(self) -> list[Operation]:
        """Returns the operations without the norms that the convolution before them absorbs."""
        reads = [read for operation in self.operations for read in operation.reads]
        convolved = {each.writes[0] for each in self.operations if each.kind is CONVOLUTION}
        return [
            each
            for each in self.operations
            if each.kind is not NORM
            or each.reads[0] not in convolved
            or reads.count(each.reads[0]) > 1
        ]


def record_operations(child: nn.Module, task: Task) -> Trace:
    """Records the operations of a network in eval mode.

    Args:
        child: A module on the meta device.
        task: Gives the shape of the input.
    """
    images = torch.empty(1, task.channels, *task.size, device="meta")
    recorder = _Recorder(images, (*child.parameters(), *child.buffers()))
    training = child.training
    try:
        with torch.no_grad(), _Shortcuts(recorder), recorder:
            outputs = child.eval()(images)
    finally:
        child.train(training)
    return Trace(
        operations=[each for each in recorder.operations if not each.is_view],
        sizes=recorder.sizes,
        outputs=recorder.buffers(_tensors(outputs)),
    )


class _Recorder(TorchDispatchMode):
    """Records each operator that is called within it, and the buffers that it uses.

    `torch.utils.flop_counter.FlopCounterMode` gives the same MACs, but takes ten times as long
    because it also decomposes operators and keeps counts by module.
    """

    def __init__(self, images: Tensor, weights: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []
        self.sizes: list[int] = []
        self._weights = {_storage(weight) for weight in weights}
        self._weights_read: set[tuple[int, int]] = set()
        self._viewed: dict[int, int] = {}  # the weights that views are of
        self._numbers: dict[int, int] = {}
        self._kept: list[Tensor] = []  # so that no later buffer takes the address of one
        self.buffers([images])

    def buffers(self, tensors: Iterable[Tensor]) -> tuple[int, ...]:
        """Numbers the buffers of tensors other than weights; views share that of their base."""
        found = []
        for tensor in tensors:
            key = _storage(tensor)
            if key in self._weights or not tensor.numel():
                continue
            if key not in self._numbers:
                self._numbers[key] = len(self.sizes)
                self.sizes.append(tensor.untyped_storage().nbytes() // tensor.element_size())
                self._kept.append(tensor)
            found.append(self._numbers[key])
        return tuple(found)

    def record(
        self, kind: Any, inputs: Arguments, output: Any, macs: int, is_elementwise: bool
    ) -> None:
        """Records an operation with its arguments and what it returned."""
        read: list[Tensor] = []
        # Equal layers may share a storage on the meta device; a part of a weight has its own place.
        weights: dict[tuple[int, int], torch.Size] = {}
        for tensor in _tensors(inputs):
            if _storage(tensor) in self._weights:
                weight = self._viewed.get(id(tensor), id(tensor))
                weights.setdefault((weight, int(tensor.storage_offset())), tensor.shape)
            else:
                read.append(tensor)
        # A max-pool returns the places of the maxima too, which a device does not keep.
        written = list(_tensors(output[0] if kind in _POOLS else output))
        operation = Operation(
            kind=kind,
            reads=self.buffers(read),
            writes=self.buffers(written),
            weights=tuple(weights[key] for key in weights if key not in self._weights_read),
            inputs=tuple(each.shape for each in read),
            output=written[0].shape if written else torch.Size(),
            arguments=inputs,
            macs=macs,
            is_elementwise=is_elementwise,
        )
        self.operations.append(operation)
        if not operation.is_view:
            self._weights_read.update(weights)
        elif weights:  # what only transposes or cuts a weight leaves it to the next to read
            ((weight, _),) = weights
            self._viewed.update((id(tensor), weight) for tensor in written)
            self._kept += written

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if func is CONVOLUTION:  # directly: the registry's wrapper costs as much as the call
            flops = conv_flop_count(args[0].shape, args[1].shape, output.shape, args[6])
        else:
            formula = flop_registry.get(func._overloadpacket)
            flops = formula(*args, **kwargs, out_val=output) if formula else 0
        # A multiply-accumulate is two floating-point operations.
        is_elementwise = torch.Tag.pointwise in func.tags or func is _PRELU
        self.record(func, (args, kwargs), output, flops // 2, is_elementwise)
        return output


class _Shortcuts(TorchFunctionMode):
    """Records functions whose output shape is evident, and does not call them.

    On the meta device they would take most of the time.
    """

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        evident = _evident_output(func, args, kwargs)
        if evident is None:
            return func(*args, **kwargs)  # the recorder sees what it calls
        shape, dtype = evident
        with torch._C._DisableTorchDispatch():
            output = torch.empty(shape, dtype=dtype, device="meta")
        self._recorder.record(func, (args, kwargs), output, 0, func is not torch.cat)
        return output


def _evident_output(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Sequence[int], torch.dtype] | None:
    """Gives shape and type of what a function returns; None where that takes more than a look."""
    if func is torch.cat and kwargs.keys() <= {"tensors", "dim"}:
        return _output_of_cat(*args, **kwargs)
    if func in _UNARY and args:
        return args[0].shape, args[0].dtype
    if func in _ADD and len(args) == 2:
        found, other = (
            (getattr(each, "shape", None), getattr(each, "dtype", None)) for each in args
        )
        return found if found == other else None  # type: ignore[return-value]
    return None


def _output_of_cat(
    tensors: Sequence[Tensor], dim: int = 0
) -> tuple[Sequence[int], torch.dtype] | None:
    if len({tensor.dtype for tensor in tensors}) != 1:
        return None
    shape = list(tensors[0].shape)
    shape[dim] = sum(tensor.shape[dim] for tensor in tensors)
    return shape, tensors[0].dtype


def _tensors(tree: Any) -> Iterator[Tensor]:
    """Finds the tensors in arguments or results; faster than `torch.utils._pytree`."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, list | tuple):
        for branch in tree:
            yield from _tensors(branch)
    elif isinstance(tree, dict):
        yield from _tensors(list(tree.values()))


def _storage(tensor: Tensor) -> int:
    identity: int = tensor.untyped_storage()._cdata
    return identity
