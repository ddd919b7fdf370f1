"""The source of a network that has no definition: its operations, as torch.fx traces them."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from string import Template
from typing import Any

from torch import fx, nn

from smash.errors import InvalidValueError
from smash.exporting.source import ADVICE, NetworkSource

_TRACED = Template('''from torch import device, inf, nan, nn
import torch


class Network(nn.Module):
    """The operations of the network in order, as torch.fx has traced them."""

    def __init__(self, layers: dict[str, nn.Module]) -> None:
        super().__init__()
        for path, layer in layers.items():
            module: nn.Module = self
            *parents, name = path.split(".")
            for parent in parents:
                if parent not in module._modules:
                    module.add_module(parent, nn.Module())
                module = module.get_submodule(parent)
            module.add_module(name, layer)

$forward
''')


def trace(child: nn.Module) -> NetworkSource:
    """Traces a network.

    Raises:
        InvalidValueError: The network cannot be traced.
    """
    try:
        graph = fx.symbolic_trace(child).graph
        if any(node.op == "get_attr" for node in graph.nodes):
            raise ValueError("it uses a tensor that is not in a layer of torch")
        layers = {
            path: _Layer(module)
            for path, module in child.named_modules()
            if type(module).__module__.startswith("torch.nn.modules")
            and not isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
        }
    except Exception as error:  # The network may be a user's own and raise anything.
        raise InvalidValueError(
            f"{type(child).__name__} has no SearchSpace.definition, and torch.fx cannot trace it "
            f"({' '.join(str(error).split())[:200]}): {ADVICE}"
        ) from None
    code = re.sub(r";  \w+(?: = \w+)* = None", "", graph.python_code("self").src)
    forward = textwrap.indent(code.strip(), "    ")
    source = _TRACED.substitute(forward=forward)
    return NetworkSource({"torch.fx": source}, "Network", {"layers": layers})


class _Layer:
    """A layer of torch, whose `repr` is the call that makes it, without defaults."""

    def __init__(self, layer: nn.Module) -> None:
        call: Any = ast.parse(f"nn.{layer!r}", mode="eval").body
        defaults = {
            name: repr(parameter.default)
            for name, parameter in inspect.signature(type(layer)).parameters.items()
        }
        for keyword in list(call.keywords):
            if isinstance(keyword.value, ast.Name):  # Torch leaves out the quotes: padding=same.
                keyword.value = ast.Constant(keyword.value.id)
            if ast.unparse(keyword.value) == defaults.get(keyword.arg or ""):
                call.keywords.remove(keyword)
        self._code = ast.unparse(call)

    def __repr__(self) -> str:
        return self._code
