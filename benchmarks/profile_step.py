"""Where does a training step go, and how fast is each kind of convolution?

Medians of CPU time over architectures as training draws them, one thread, at a size of
`smash bench`::

    python benchmarks/profile_step.py --size cifar-default --rounds 9
    python benchmarks/profile_step.py --size cifar-default --rounds 3 --kinds

- without ``--kinds``: milliseconds of each part of a step, and the step ÷ passes of the child;
- with it: of each kind of layer in passes of a child alone, by torch's profiler, its share of their
  time, and for convolutions also of their operations, and their rate ÷ that of a product of
  matrices of 1024×1024, measured before each pass. The weight gradient of a dilated convolution
  counts as that of one without dilation, which is how it is computed; see
  `smash.hypernet.dilated_conv`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call
from torch.profiler import ProfilerActivity, profile

from smash.benching import SIZES, Setting

_CONVOLUTIONS = ("aten::mkldnn_convolution", "aten::convolution_backward")


def parts(setting: Setting, number: int, images: Tensor, labels: Tensor) -> dict[str, float]:
    """CPU seconds of the parts of a step, in order."""
    network, marks = setting.network, [("", time.process_time())]

    def done(part: str) -> None:
        marks.append((part, time.process_time()))

    architecture = setting.architecture(number)
    done("draw")
    child = network.batch_child(architecture)
    done("build")
    weights = network.source(architecture, child)
    done("encode and generate")
    loss = F.cross_entropy(functional_call(child, weights, (images,)), labels)
    done("forward")
    setting.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    done("backward")
    setting.optimizer.step()
    done("optimiser")
    done("step")
    taken = {part: end - marks[i][1] for i, (part, end) in enumerate(marks[1:])}
    taken["step"] = marks[-1][1] - marks[0][1]
    own = {name: tensor.detach().clone().requires_grad_() for name, tensor in weights.items()}
    began = time.process_time()
    F.cross_entropy(functional_call(child, own, (images,)), labels).backward()
    return taken | {"child": time.process_time() - began}


def kind_of(event: Any) -> tuple[str, int]:
    """What a profiled operation is, and its multiplications and additions."""
    if event.name not in _CONVOLUTIONS:
        return "all else", 0
    back = event.name == _CONVOLUTIONS[1]
    shapes, values = event.input_shapes, event.concrete_inputs
    x, weight = (shapes[1], shapes[2]) if back else (shapes[0], shapes[1])
    # mkldnn_convolution(x, weight, bias, padding, stride, dilation, groups);
    # convolution_backward(gradient, x, weight, sizes, stride, padding, dilation, transposed, output
    # padding, groups, mask)
    dilation, groups = (values[6], values[9]) if back else (values[5], values[6])
    extent = shapes[0][2:] if back else x[2:]
    operations = 2 * x[0] * weight[0] * weight[1] * weight[2] * weight[3] * extent[0] * extent[1]
    if back:
        operations *= sum(values[10][:2])
    if x[1] <= 4:
        return "stem", operations
    if weight[2:] == [1, 1]:
        return "1×1", operations
    words = ["grouped"] * (groups > 1) + ["dilated"] * (max(dilation) > 1)
    return " ".join(words) or "dense", operations


def within(event: Any) -> bool:
    """Whether it is a part of a convolution, which has its time."""
    parent = event.cpu_parent
    return parent is not None and (parent.name in _CONVOLUTIONS or within(parent))


def kinds(setting: Setting, rounds: int, images: Tensor, labels: Tensor) -> Mapping[str, Any]:
    """Seconds and operations of each kind of layer in passes of children alone."""
    seconds: dict[str, float] = defaultdict(float)
    operations: dict[str, int] = defaultdict(int)
    square = torch.randn(1024, 1024)
    products: list[float] = []
    for number in range(-1, rounds):
        architecture = setting.architecture(number + 1)
        child = setting.network.batch_child(architecture)
        own = {
            name: tensor.detach().clone().requires_grad_()
            for name, tensor in setting.network.source(architecture, child).items()
        }
        for _ in range(5):
            began = time.perf_counter()
            torch.mm(square, square)
            products.append(time.perf_counter() - began)
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiled:
            F.cross_entropy(functional_call(child, own, (images,)), labels).backward()
        if number < 0:  # the first round prepares what later ones keep
            continue
        for event in profiled.events():
            if within(event):
                continue
            kind, work = kind_of(event)
            taken = event.cpu_time_total if work else event.self_cpu_time_total
            seconds[kind] += taken / 1e6
            operations[kind] += work
    rate = 2 * 1024**3 / statistics.median(products)
    whole, work = sum(seconds.values()), sum(operations.values())
    return {
        kind: {
            "time": taken / whole,
            "operations": operations[kind] / work,
            "rate": operations[kind] / taken / rate,
        }
        for kind, taken in sorted(seconds.items(), key=lambda pair: -pair[1])
    } | {"together": {"rate": work / whole / rate}}


def main() -> None:
    """Profiles steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=list(SIZES), default="demo")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--kinds", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    setting = Setting(given.size, torch.device("cpu"))
    images, labels = setting.batch()
    if given.kinds:
        print(json.dumps(kinds(setting, given.rounds, images, labels), ensure_ascii=False))
        return
    rows = [parts(setting, number, images, labels) for number in range(given.rounds + 2)][2:]
    row = {part: round(1000 * statistics.median(one[part] for one in rows), 2) for part in rows[0]}
    row["ratio"] = round(statistics.median(one["step"] / one["child"] for one in rows), 3)
    print(json.dumps({"size": given.size, "rounds": given.rounds, **row}))


if __name__ == "__main__":
    main()
