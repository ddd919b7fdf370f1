"""Records: what is written to a run folder and read back, one model for each kind of file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from smash.config import faults_in
from smash.errors import RunStateError
from smash.io.files import read_json, write_json


class Record(BaseModel):
    """A record of a run folder; values from a file are checked before they are used.

    Example:
        >>> class Point(Record):
        ...     x: int
        >>> Point.parse({"x": "one"}, Path("point.json"))
        Traceback (most recent call last):
        smash.errors.RunStateError: point.json is damaged: x must be a whole number, got 'one'
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any], path: Path) -> Self:
        """Makes a record of what a file holds.

        Args:
            values: The content of the file.
            path: The file, for the message.

        Raises:
            RunStateError: The content is not such a record.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            faults = faults_in(error, cls)[:_MOST_FAULTS]
            raise RunStateError(*(f"{path} is damaged: {fault}" for fault in faults)) from None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads the record of a JSON file.

        Raises:
            RunStateError: The file is damaged or is no regular file.
        """
        return cls.parse(read_json(path), path)

    def write(self, path: Path) -> None:
        """Writes the record as a JSON file; values that were not set are left out."""
        write_json(path, self.model_dump(exclude_unset=True))


_MOST_FAULTS = 10
