"""A network as one Python file that needs torch alone; its weights are beside it as safetensors.

The file holds the source of the network, reduced to the definitions that it uses, the arguments of
the call that builds it, the class names and the normalisation of the input, and `load()`. It reads
no pickle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from string import Template
from typing import Any

from rich.pretty import pretty_repr
from torch import nn

from smash.config import SpaceSettings
from smash.data.log_mel import sound_inputs
from smash.data.sound_format import SoundFormat
from smash.errors import InvalidValueError
from smash.exporting.signature import Signature
from smash.exporting.source import ADVICE, NetworkSource, gather, source_of
from smash.exporting.tracing import trace
from smash.io.text import as_size, printable
from smash.spaces import make_space
from smash.spaces.base import Definition
from smash.spaces.baselines import define_baseline
from smash.spaces.task import Task

_FILE = Template('''"""$title

It needs torch alone, and its weights, which are beside it in $weights:

    network = load()
    probabilities = network(images).softmax(1)
    print(CLASSES[probabilities[0].argmax()])

The network takes float32 of shape $shape, $units.
It normalises its input itself, and does not resize it.$recordings
"""

from __future__ import annotations

$imports


$definitions


ARCHITECTURE = $arguments
"""Arguments that `$network` is built with."""

CLASSES = $classes
"""Names of the classes, in the order of the outputs."""

INPUT = $input
"""What the network takes: whether 8-bit values are divided by 255 (scaled), and the mean and the
standard deviation of each channel that normalise them; of recordings also the form (sound)."""


class NormalisedNetwork(nn.Module):
    """The trained network, with the normalisation of its input."""

    def __init__(self) -> None:
        super().__init__()
        axes = (1, -1, *[1] * len(INPUT["size"]))
        self.register_buffer("mean", torch.tensor(INPUT["mean"]).view(axes), persistent=False)
        self.register_buffer("std", torch.tensor(INPUT["std"]).view(axes), persistent=False)
        self.network = $network(**ARCHITECTURE)

    def forward(self, images: Tensor) -> Tensor:
        """Maps N×channels×spatial to logits, N×classes."""
        return self.network((images - self.mean) / self.std)


def load(weights: str | Path = Path(__file__).with_name($file)) -> NormalisedNetwork:
    """Builds the network with its trained weights, in eval mode."""
    model = NormalisedNetwork()
    model.network.load_state_dict(read_safetensors(weights))
    return model.eval()


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """Reads tensors: eight bytes with the length of the header, the header as JSON, then values."""
    content = bytearray(Path(path).read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    types = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16}
    types |= {"BF16": torch.bfloat16, "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8}
    values = torch.frombuffer(content, dtype=torch.uint8, offset=start)
    tensors = {}
    for name, entry in header.items():
        first, end = entry["data_offsets"]
        tensor = values[first:end].clone().view(types[entry["dtype"]])
        tensors[name] = tensor.reshape(entry["shape"])
    return tensors
''')
_RECORDINGS = """
Waveforms in -1…1 of `INPUT["sound"]["samples"]` samples become its input by

    images = sound_inputs(waveforms, SoundFormat(**INPUT["sound"]))  # n×samples
"""
_OWN = """
import json
import torch
from pathlib import Path
from torch import Tensor, nn
ARCHITECTURE = CLASSES = INPUT = NormalisedNetwork = load = read_safetensors = None
"""


def find_source(child: nn.Module, description: Mapping[str, Any], task: Task) -> NetworkSource:
    """Finds the source of a network: as its space defines it, else as torch.fx traces it.

    Args:
        child: The network.
        description: An ``architecture`` of a ``space``, or the name of a ``baseline``.
        task: The task of the network.

    Raises:
        InvalidValueError: The network has no definition and cannot be traced.
    """
    definition: Definition | None = None
    if "baseline" in description:
        definition = define_baseline(description["baseline"], task)
    elif "space" in description:
        space = make_space(SpaceSettings(**description["space"]), task.dims).bind(task)
        definition = space.definition(space.from_json(description["architecture"]), task)
    if definition is None:
        return trace(child)
    modules = {name: source_of(name) for name in definition.modules}
    return NetworkSource(modules, definition.network.__name__, definition.arguments)


def write_code(source: NetworkSource, signature: Signature, title: str, weights: str) -> str:
    """Writes a network as Python.

    Args:
        source: The source of the network, and the code that builds it.
        signature: Its input and its classes.
        title: One line that describes it.
        weights: Name of the file with its weights.

    Returns:
        The code.

    Raises:
        InvalidValueError: The source needs more than torch and the standard library.
    """
    arguments = _code(dict(source.arguments))
    modules, code = dict(source.modules), f"{source.network}, {arguments}"
    if signature.sound:
        for each in (SoundFormat, sound_inputs):
            modules[each.__module__] = source_of(each.__module__)
            code += f", {each.__name__}"
    try:
        imports, definitions = gather(modules, code, own=_OWN)
    except SyntaxError:  # Some `repr` is no code.
        raise InvalidValueError(
            "arguments of a network must be numbers, strings, tuples and dataclasses, got "
            f"{arguments:.100}: {ADVICE}"
        ) from None
    return _FILE.substitute(
        title=_quoted(title),
        weights=_quoted(weights),
        shape=f"N×{signature.channels}×{as_size(signature.size).replace('x', '×')}",
        recordings=_RECORDINGS if signature.sound else "",
        units="8-bit values divided by 255"
        if signature.scaled
        else "in the units of the training data",
        imports=imports,
        definitions=definitions,
        network=source.network,
        arguments=arguments,
        classes=_code(signature.classes),
        input=_code(
            {name: value for name, value in asdict(signature).items() if name != "classes"}
        ),
        file=repr(weights),
    )


def _code(value: object) -> str:
    return pretty_repr(value, max_width=100)


def _quoted(text: str) -> str:
    """Makes text that can stand in a docstring."""
    return re.sub(r'[\\"]', "'", printable(text))
