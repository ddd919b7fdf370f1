"""The RAM and the flash that a child network needs on a device, exact for a stated model.

The model is that of an interpreter for microcontrollers that runs int8 networks in the order of
their definition (as TensorFlow Lite Micro does):

- A tensor takes one byte an element, from the operation that writes it to the last that reads it.
- Views, such as flattening, take nothing.
- An elementwise operation (a norm, an activation, a sum) writes over an operand of its size that
  nothing reads later. So a norm and an activation behind a convolution take nothing, as if fused.
- Flash holds int8 weights, once however often they are read; for each output channel an int32 bias
  and a float32 scale; and a record of each operation. A norm right behind a convolution is folded
  into it.

Scratch memory of kernels is not counted, because it depends on the library.
"""

from __future__ import annotations

from smash.profiling.operations import CONVOLUTION, NORM, Trace

_PER_CHANNEL = 8  # bytes: an int32 bias and a float32 scale
_PER_OPERATION = 128  # bytes: its kind, its options, and the shapes and scales of its tensors


def peak_memory(trace: Trace) -> int:
    """Computes the most bytes of activations that are alive at once, at one byte an element."""
    operations, sizes = trace.operations, trace.sizes
    last_read = [-1] * len(sizes)
    for step, operation in enumerate(operations):
        for read in operation.reads:
            last_read[read] = step
    for output in trace.outputs:
        last_read[output] = len(operations)
    place = list(range(len(sizes)))  # the buffer whose memory each one takes
    born, dies = [0] * len(sizes), last_read[:]
    for step, operation in enumerate(operations):
        for written in set(operation.writes) - set(operation.reads):
            born[written], dies[written] = step, max(step, last_read[written])
            if not operation.is_elementwise:
                continue
            for read in operation.reads:
                if last_read[read] == step and sizes[read] == sizes[written]:
                    place[written] = place[read]
                    dies[place[read]] = dies[written]
                    break
    owners = [number for number, owner in enumerate(place) if number == owner]
    return max(
        sum(sizes[owner] for owner in owners if born[owner] <= step <= dies[owner])
        for step in range(len(operations))
    )


def flash_size(trace: Trace) -> int:
    """Computes the bytes of a network's int8 weights, biases, scales and graph."""
    total = 0
    for operation in trace.folded():
        if operation.kind is NORM:
            total += _PER_CHANNEL * operation.inputs[0][1]
        for shape in operation.weights:
            if len(shape) > 1:
                channels = operation.output[1 if operation.kind is CONVOLUTION else -1]
                total += shape.numel() + _PER_CHANNEL * channels
        total += _PER_OPERATION
    return total
