"""Training curves: lines of JSON, one an epoch, and optionally TensorBoard (``[dashboard]``)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from smash.errors import MissingExtraError, RunStateError
from smash.io.files import append, make_folder, read_lines, write_atomically

_NAMES = {
    "train_loss": "loss/train",
    "val_loss": "loss/{split}",
    "val_error": "error/{split}",
    "val_top5_error": "top-5 error/{split}",
}


def check_tensorboard() -> None:
    """Checks that TensorBoard is installed.

    Raises:
        MissingExtraError: It is not.
    """
    if find_spec("tensorboard") is None:
        raise MissingExtraError(
            "TensorBoard is not installed: pip install 'smash-nas[dashboard]', or leave out "
            "--tensorboard"
        )


class Curves:
    """The curves of one network in TensorBoard.

    Args:
        folder: The folder to write to; TensorBoard shows its name.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        check_tensorboard()
        self._folder = folder
        self._path: Path | None = None

    def write(self, row: Mapping[str, Any]) -> None:
        """Adds a line of ``metrics.jsonl``, which can be seen at once."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        values = [
            Summary.Value(tag=name.format(split=row.get("split", "val")), simple_value=row[key])
            for key, name in _NAMES.items()
            if row.get(key) is not None
        ]
        events = [Event(step=row["step"], summary=Summary(value=values))]
        if self._path is None:
            make_folder(self._folder)
            # Writers of TensorBoard and torch put the host name into the name of the file.
            self._path = self._folder / f"events.out.tfevents.{time.time_ns()}"
            # An interrupted process may have written later steps, which are trained again.
            start = SessionLog(status=SessionLog.START)
            first = Event(file_version="brain.Event:2"), Event(step=row["step"], session_log=start)
            events = [*first, *events]
        with self._path.open("ab") as file:
            for event in events:
                event.wall_time = time.time()
                RecordWriter(file).write(event.SerializeToString())


class _Row(BaseModel):
    """The rules of a line; a reader then takes its values as they are."""

    model_config = ConfigDict(strict=True, defer_build=True)

    step: int = Field(ge=0, lt=2**63)
    epoch: int = Field(ge=0, lt=2**63)
    train_loss: float
    seconds: float = 0.0
    val_loss: float | None = None
    val_error: float | None = None
    val_top5_error: float | None = None
    split: str = "val"


_REMEDY = "restore the file, or delete it to lose the curves alone"


class MetricsLog:
    """Training curves as JSON lines, one an epoch, and in TensorBoard where curves are given.

    Example:
        >>> log = MetricsLog(Path("metrics.jsonl"))
        >>> log.append({"step": 10, "epoch": 1, "train_loss": 0.5, "seconds": 2.0})
        >>> log.rows()[-1]["train_loss"]
        0.5
    """

    def __init__(self, path: Path, curves: Curves | None = None) -> None:
        self.path = path
        self.curves = curves

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds a line."""
        append(self.path, json.dumps(row) + "\n")
        if self.curves is not None:
            self.curves.write(row)

    def rows(self) -> list[dict[str, Any]]:
        """Reads all lines but one that a power cut left unfinished.

        Raises:
            RunStateError: The file is damaged.
        """
        rows = list(read_lines(self.path, _REMEDY))
        for number, row in enumerate(rows, start=1):
            try:
                _Row.model_validate(row)
            except ValidationError as error:
                fields = ", ".join(sorted({str(each["loc"][0]) for each in error.errors()}))
                raise RunStateError(
                    f"{self.path} is damaged in line {number} ({fields:.100}): {_REMEDY}"
                ) from None
        return rows

    def table(self) -> Any:
        """Returns the lines as a pandas DataFrame where pandas is installed, else as `rows` do."""
        if find_spec("pandas") is None:
            return self.rows()
        return import_module("pandas").DataFrame(self.rows())

    def truncate(self, step: int) -> None:
        """Removes the lines of steps after `step`, which a resumed training writes again."""
        rows = self.rows()
        kept = [row for row in rows if row["step"] <= step]
        if len(kept) < len(rows):
            write_atomically(self.path, "".join(json.dumps(row) + "\n" for row in kept).encode())
