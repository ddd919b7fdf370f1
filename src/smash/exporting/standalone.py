"""A network as a file of Python that needs torch alone, and its weights as safetensors beside it.

The code is written from what the child did when it was run (`smash.exporting.recording`): a class
for each part that has a forward of its own, with the layers that this one network has. Layers keep
their names, so that the weights are the child's, under the child's names.
"""

from __future__ import annotations

import builtins
import json
import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from string import Template
from typing import Any

import torch
from torch import Tensor, nn

from smash.errors import InvalidValueError
from smash.exporting.layers import layer_code
from smash.exporting.recording import Part, Value, is_chain, leaves, record
from smash.exporting.signature import Signature
from smash.exporting.wrapping import list_code, wrap
from smash.exporting.writing import body_code
from smash.io.text import as_size

_RESERVED = frozenset({"F", "OrderedDict", "Path", "Tensor", *keyword.kwlist, *dir(builtins)})
_FEW = 64  # numbers of a tensor that is written into the code

_HEAD = Template('''"""$title

It needs torch alone, and its weights, which are beside it in $weights:

    network = load()
    probabilities = network(images).softmax(1)
    print(CLASSES[probabilities[0].argmax()])

The network takes float32 of shape $shape,
$units. It normalises by itself, and does not resize.
"""

from __future__ import annotations

import json
$collections
from pathlib import Path

import torch
$functional
from torch import Tensor, nn

CLASSES = $classes
"""Names of the classes, in the order of the outputs."""

CHANNELS = $channels
SIZE = $size
SCALED = $scaled
"""What the network takes; whether its values are 8-bit values divided by 255."""

MEAN = $mean
STD = $std
"""Of each channel, over the examples that it was trained on."""


''')

_TAIL = Template('''def load(weights: str | Path = Path(__file__).with_name($weights)) -> $network:
    """Gives the network with its trained weights, ready to predict."""
    network = $network()
    network.load_state_dict(read_safetensors(weights))
    return network.eval()


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """Reads tensors: eight bytes with the length of a header, the header as JSON, then numbers."""
    content = bytearray(Path(path).read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    types = {$types}
    numbers = torch.frombuffer(content, dtype=torch.uint8, offset=start)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = numbers[begin:end].clone().view(types[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    return tensors
''')
_TYPES = {
    torch.float32: "F32",
    torch.float64: "F64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
}


def write_code(network: nn.Module, signature: Signature, title: str, weights: str) -> str:
    """Writes a network as Python.

    Args:
        network: The child, in eval mode; it takes normalised images.
        signature: What it takes and gives.
        title: One line on what it is.
        weights: Name of the file with its weights.

    Returns:
        The code.

    Raises:
        InvalidValueError: It does what cannot be written as code.
    """
    images = torch.zeros(1, signature.channels, *signature.size)
    classes = _Classes(network, record(network, images))
    code = "\n\n\n".join(classes.code)
    channels = signature.channels
    head = _HEAD.substitute(
        title=_words(title),
        weights=_words(weights),
        shape=f"N×{channels}×{as_size(signature.size).replace('x', '×')}",
        units="of values in 0…1: 8-bit values divided by 255"
        if signature.scaled
        else "in the units of the data that it was trained on",
        collections="from collections import OrderedDict" if "OrderedDict(" in code else "",
        functional="import torch.nn.functional as F" if re.search(r"\bF\.", code) else "",
        classes=list_code(signature.classes),
        channels=channels,
        size=signature.size,
        scaled=signature.scaled,
        mean=list_code(signature.mean),
        std=list_code(signature.std),
    )
    found = {_TYPES.get(value.dtype) for value in network.state_dict().values()}
    if None in found:
        raise InvalidValueError(
            f"weights must be of {', '.join(map(str, _TYPES))} to be read by code without "
            "libraries: export it as .onnx or .safetensors"
        )
    named = {name: kind for kind, name in _TYPES.items() if name in found}
    tail = _TAIL.substitute(
        weights=json.dumps(weights),
        network=classes.last,
        types=", ".join(f'"{name}": {kind}' for name, kind in named.items()),
    )
    lines = f"{head}{code}\n\n\n{tail}".splitlines()
    # A template leaves an empty line for what is not imported.
    text = "\n".join(wrapped for line in lines for wrapped in wrap(line)) + "\n"
    return re.sub(r"(\nimport \w+)\n\n(from pathlib)", r"\1\n\2", text).replace(
        "import torch\n\nfrom torch", "import torch\nfrom torch"
    )


class _Classes:
    """A class for each part; parts of the same code share one."""

    def __init__(self, network: nn.Module, parts: Sequence[Part]) -> None:
        self._network = network
        self._of: dict[nn.Module, str] = {}
        self._made: dict[tuple[str, str], str] = {}  # (kind, code) to its placeholder
        self._uses: dict[str, list[Part]] = {}
        for part in parts:
            if not is_chain(part.module) or part.module is network:
                self._add(part)
        names = self._names()
        self.last = names[self._of[network]]
        self.code = []
        for (_, body), placeholder in self._made.items():
            base = "nn.Sequential" if is_chain(self._uses[placeholder][0].module) else "nn.Module"
            text = f"class {placeholder}({base}):\n    {self._says(placeholder)}\n\n{body}"
            self.code.append(_PLACEHOLDER.sub(lambda found: names[found[0]], text))

    def _add(self, part: Part) -> None:
        body = "\n".join([*self._init_code(part), "", *self._forward_code(part)])
        key = (_kind(part.module), body)
        placeholder = self._made.setdefault(key, f"⟦{len(self._made)}⟧")
        if self._of.setdefault(part.module, placeholder) != placeholder:
            raise InvalidValueError(
                f"{type(part.module).__name__} is used twice and computes otherwise the second "
                "time, which cannot be written as code: export it as .onnx or .safetensors"
            )
        self._uses.setdefault(placeholder, []).append(part)

    def _names(self) -> dict[str, str]:
        """The placeholders' names: that of the module's class, numbered where it has several."""
        kinds = [kind for kind, _ in self._made]
        numbers: dict[str, int] = {}
        names: dict[str, str] = {}
        for (kind, _), placeholder in self._made.items():
            numbers[kind] = numbers.get(kind, 0) + 1
            number = numbers[kind] if kinds.count(kind) > 1 else ""
            name = f"{kind}{number}"
            names[placeholder] = f"{name}_" if name in names.values() else name
        return names

    def _says(self, placeholder: str) -> str:
        part, *others = self._uses[placeholder]
        what = _words(part.path) or "The network"
        more = f" and {len(others)} alike" if others else ""
        given, result = _shapes(part.inputs), _shapes(part.result)
        return f'"""{what}{more}: maps {given} to {result}."""'

    def _init_code(self, part: Part) -> Iterator[str]:
        module = part.module
        yield "    def __init__(self) -> None:"
        yield f"        super().__init__({self._chained(module) if is_chain(module) else ''})"
        if module is self._network:
            axes = f"(1, -1{', 1' * (len(_first(part).shape) - 2)})"
            for name, values in (("input_mean", "MEAN"), ("input_std", "STD")):
                made = f"torch.tensor({values}).view{axes}"
                yield f'        self.register_buffer("{name}", {made}, persistent=False)'
        for line in self._own_tensors(module):
            yield f"        {line}"
        if not is_chain(module):
            for name, child in module.named_children():
                yield f"        self.{_identifier(name, module)} = {self._make(child)}"

    def _forward_code(self, part: Part) -> Iterator[str]:
        arguments = ", ".join(
            f"{name}: {_annotation(value)}" for name, value in part.inputs.items()
        )
        yield f"    def forward(self, {arguments}) -> {_annotation(part.result)}:"
        if part.module is self._network:
            name = next(iter(part.inputs))
            yield f"        {name} = ({name} - self.input_mean) / self.input_std"
        if is_chain(part.module):
            yield f"        return super().forward({name})"
            return
        for line in body_code(part, lambda path: self._member(part, path)):
            yield f"        {line}"

    def _own_tensors(self, module: nn.Module) -> Iterator[str]:
        """Parameters and buffers of a module itself."""
        for name, parameter in module._parameters.items():
            made = "None" if parameter is None else f"nn.Parameter({_empty(parameter)})"
            yield f"self.{_identifier(name, module)} = {made}"
        for name, buffer in module._buffers.items():
            if buffer is None:
                yield f'self.register_buffer("{_identifier(name, module)}", None)'
            elif name not in module._non_persistent_buffers_set:
                yield f'self.register_buffer("{_identifier(name, module)}", {_empty(buffer)})'
            elif buffer.numel() > _FEW:
                raise InvalidValueError(
                    f"buffer {name!r} of {type(module).__name__} is not saved with the weights "
                    "and too large for code: make it persistent, or export as .onnx"
                )
            else:
                values = f"torch.tensor({buffer.tolist()!r}, dtype={buffer.dtype})"
                yield (
                    f'self.register_buffer("{_identifier(name, module)}", {values}, '
                    "persistent=False)"
                )

    def _make(self, module: nn.Module) -> str:
        """The code that makes a module."""
        made = layer_code(module)
        if made is not None:
            return made
        if module in self._of:
            return f"{self._of[module]}()"
        if is_chain(module):
            return f"nn.Sequential({self._chained(module)})"
        children = [
            f"{json.dumps(name)}: {self._make(one)}" for name, one in module.named_children()
        ]
        if isinstance(module, nn.ModuleList):
            return f"nn.ModuleList([{', '.join(self._make(one) for one in module)}])"
        if isinstance(module, nn.ParameterList):
            tensors = (f"nn.Parameter({_empty(one)})" for one in module)
            return f"nn.ParameterList([{', '.join(tensors)}])"
        if module._parameters or module._buffers:
            raise InvalidValueError(
                f"{type(module).__name__} has parameters and was not called, so that its code is "
                "not known: remove it, or export as .onnx or .safetensors"
            )
        return f"nn.ModuleDict({{{', '.join(children)}}})" if children else "nn.ModuleDict()"

    def _chained(self, module: nn.Module) -> str:
        names = list(module._modules)
        made = [self._make(child) for child in module.children()]
        if names == [str(index) for index in range(len(names))]:
            return ", ".join(made)
        both = zip(names, made, strict=True)
        return f"OrderedDict({{{', '.join(f'{json.dumps(name)}: {one}' for name, one in both)}}})"

    def _member(self, part: Part, path: str) -> str:
        """The code for what has a path in the child, seen from a part."""
        own = path.removeprefix(f"{part.path}." if part.path else "")
        code, module = "self", part.module
        for name in own.split("."):
            if isinstance(module, nn.ModuleDict) and module is not part.module:
                code += f"[{name!r}]".replace("'", '"')
            elif name.isdigit() and isinstance(
                module, nn.Sequential | nn.ModuleList | nn.ParameterList
            ):
                code += f"[{name}]"
            else:
                code += f".{_identifier(name, module)}"
            module = module._modules.get(name) or module
        return code


_PLACEHOLDER = re.compile("⟦[0-9]+⟧")


def _kind(module: nn.Module) -> str:
    name = type(module).__name__.lstrip("_")
    if is_chain(module):
        return "Network"
    return name if name.isidentifier() and name not in _RESERVED else "Part"


def _identifier(name: str, module: nn.Module) -> str:
    if not name.isidentifier():
        raise InvalidValueError(
            f"{type(module).__name__} has a part called {name!r}, which is no name in Python: "
            "rename it, or export as .onnx or .safetensors"
        )
    return name


def _empty(tensor: Tensor) -> str:
    extents = ", ".join(map(str, tensor.shape)) or "()"
    kind = "" if tensor.dtype == torch.float32 else f", dtype={tensor.dtype}"
    return f"torch.empty({extents}{kind})"


def _first(part: Part) -> Value:
    return next(one for one in leaves(part.inputs) if isinstance(one, Value))


def _shapes(value: Any) -> str:
    first, *others = (one for one in leaves(value) if isinstance(one, Value))
    more = f" and {len(others)} more" if others else ""
    return "×".join(["N", *map(str, first.shape[1:])]) + more


def _annotation(value: Any) -> str:
    if isinstance(value, Value):
        return "Tensor"
    if isinstance(value, list):
        return "list[Tensor]"
    if isinstance(value, Mapping):
        return "dict[str, Tensor]"
    return "tuple[Tensor, ...]"


def _words(text: str) -> str:
    """Text that can stand in a docstring, whatever it is."""
    return re.sub(r'[\\"\x00-\x1f\x7f]', "'", text)
