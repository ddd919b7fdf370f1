"""The data of a run in numbers, ``RUN/data.json``: reports read it, and not the data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from smash.data.dataset import Data
from smash.io.records import Amount, Record
from smash.run.layout import DATA


class DataFacts(Record):
    """The form of the examples and their number in each split."""

    channels: Amount
    """Channels of an example."""

    size: Annotated[list[Amount], Field(min_length=1, max_length=3)]
    """Spatial extent of an example, one number an axis."""

    classes: Amount
    """Number of classes."""

    examples: dict[str, Amount]
    """Number of examples by split."""

    notes: list[str] = Field(default=[])
    """Decisions made while the data was read."""

    augmentation: str = ""
    """Random changes of training examples in words; empty for none."""

    @classmethod
    def of(cls, data: Data) -> DataFacts:
        """Counts the examples of data."""
        task, splits = data.task, {"train": data.train, "val": data.val, "test": data.test}
        return cls(
            channels=task.channels,
            size=list(task.size),
            classes=task.classes,
            examples={name: len(split) for name, split in splits.items()},
            notes=list(data.notes),
            augmentation=data.augmentation.describe(),
        )

    @classmethod
    def of_run(cls, run: Path) -> DataFacts | None:
        """Reads the numbers of a run; None where they are missing.

        Raises:
            RunStateError: The file is damaged.
        """
        return cls.read(run / DATA) if (run / DATA).is_file() else None
