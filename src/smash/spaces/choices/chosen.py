"""The answers of an architecture, by which a network function builds its child.

This module needs the standard library alone, so that it stands in exported files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Chosen:
    """Answers ``choose(name, options)`` as the architecture says.

    Attributes:
        values: The chosen option of each choice, by name.

    Example:
        >>> Chosen({"width": 8})("width", (8, 16))
        8
    """

    values: Mapping[str, Any]

    def __call__(
        self, name: str, options: Sequence[Any], weights: Sequence[float] | None = None
    ) -> Any:
        """Gives the chosen option."""
        return self.values[name]

    def require(self, condition: bool) -> None:
        """Accepts every condition: the architecture was checked when it was drawn."""
