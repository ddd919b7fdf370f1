"""The signature of a network: the form of its input, and the classes of its outputs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from smash.data.sound_format import SoundFormat
from smash.errors import DataError
from smash.io.text import as_size
from smash.spaces.task import Task

_LONGEST = 2**31 - 1

SIGNATURE = "smash.signature"
"""Name under which a file keeps the signature of its network."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The input and the classes of an exported network.

    The network maps float32 of shape ``(n, channels, *size)`` to logits of shape ``(n, classes)``.
    It normalises its input itself, and does not resize it.

    Attributes:
        classes: Names of the classes, in the order of the logits.
        channels: Channels of an input.
        size: Spatial extent of an input, one number an axis.
        scaled: Whether inputs are 8-bit values divided by 255, in 0…1; otherwise they are in the
            units of the training data.
        mean: Mean of each channel, which is subtracted.
        std: Standard deviation of each channel, which the result is divided by.
        sound: The form of recordings as inputs; None if inputs are no recordings.
        white: Value of a pixel of 16-bit images that counts as 255 where inputs are scaled.

    Raises:
        DataError: A value is out of range; all faults are reported at once.

    Example:
        >>> signature = Signature(
        ...     classes=("cat", "dog"), channels=1, size=(8,), scaled=True, mean=(0.5,), std=(0.2,)
        ... )
        >>> Signature.from_json(signature.to_json()) == signature
        True
    """

    classes: tuple[str, ...]
    channels: int
    size: tuple[int, ...]
    scaled: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sound: SoundFormat | None = None
    white: int = 0xFFFF

    def __post_init__(self) -> None:
        lengths = {len(self.mean), len(self.std), self.channels}
        faults = []
        if not self.classes:
            faults.append("classes must name at least one class, got none")
        if not 1 <= len(self.size) <= 3 or min(self.size, default=0) < 1:
            faults.append(f"size must be 1 to 3 extents of at least 1, got {self.size}")
        if max(self.channels, *self.size, 0) > _LONGEST:
            faults.append(f"channels and size must be at most {_LONGEST:,}")
        if len(lengths) > 1 or self.channels < 1:
            faults.append(
                f"mean and std must have a number for each of the {self.channels} channels, got "
                f"{len(self.mean)} and {len(self.std)}"
            )
        if not 255 <= self.white <= 0xFFFF:
            faults.append(f"white must be 255 to 65535, got {self.white}")
        if self.sound and self.sound.shape != (self.channels, *self.size):
            faults.append(
                f"recordings become inputs of shape {as_size(self.sound.shape)}, not of "
                f"{as_size((self.channels, *self.size))}"
            )
        if not all(map(math.isfinite, (*self.mean, *self.std))) or not all(self.std):
            faults.append("mean and std must be finite, and std not 0")
        if faults:
            raise DataError(*faults)

    @property
    def task(self) -> Task:
        """The task that the network was trained for."""
        return Task(channels=self.channels, size=self.size, classes=len(self.classes))

    def to_json(self) -> str:
        """Gives the signature as one line of JSON, in ASCII."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Signature:
        """Reads a JSON object with what `to_json` wrote; it may hold more.

        Raises:
            DataError: A value is missing, of another type or out of range.
        """
        try:
            return _reader().validate_json(text, strict=True)
        except ValidationError as error:
            raise DataError(*_faults(error)) from None

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Signature:
        """Reads a mapping with a value for each attribute; it may hold more.

        Raises:
            DataError: A value is missing, of another type or out of range.
        """
        try:
            return _reader().validate_python(dict(values))
        except ValidationError as error:
            raise DataError(*_faults(error)) from None


@cache
def _reader() -> TypeAdapter[Signature]:
    return TypeAdapter(Signature)


def _faults(error: ValidationError) -> list[str]:
    faults: list[str] = []
    for detail in error.errors():
        if isinstance(cause := detail.get("ctx", {}).get("error"), DataError):
            faults += cause.faults
        else:
            place = ".".join(map(str, detail["loc"])) or "its signature"
            faults.append(f"{place}: {detail['msg']}, got {detail['input']!r:.60}")
    return faults


def metadata(signature: Signature, description: Mapping[str, Any]) -> dict[str, str]:
    """Gives what a file keeps of a network beside its graph, as JSON by name."""
    return {SIGNATURE: signature.to_json(), "smash.description": json.dumps(dict(description))}


class ShippedNetwork(nn.Module):
    """A child with the normalisation of its input, as one module.

    Args:
        child: Maps normalised images to logits.
        signature: Holds the normalisation.

    Example:
        >>> from torch import nn
        >>> signature = Signature(
        ...     classes=("a",), channels=1, size=(2,), scaled=False, mean=(1.0,), std=(2.0,)
        ... )
        >>> ShippedNetwork(nn.Identity(), signature)(torch.tensor([[[3.0, 5.0]]]))
        tensor([[[1., 2.]]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, child: nn.Module, signature: Signature) -> None:
        super().__init__()
        axes = (1, -1, *[1] * len(signature.size))
        for name in ("mean", "std"):
            values = torch.tensor(getattr(signature, name), dtype=torch.float32).view(axes)
            self.register_buffer(name, values, persistent=False)
        self.child = child

    def forward(self, images: Tensor) -> Tensor:
        """Maps N×channels×spatial, as the signature says, to logits, N×classes."""
        return self.child((images - self.mean) / self.std)  # type: ignore[no-any-return]
