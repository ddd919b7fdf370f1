"""Training curves for TensorBoard, as they grow.

TensorBoard is optional: the extra ``[dashboard]`` brings it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smash.errors import MissingExtraError
from smash.io.files import (
    append,
    read_lines,
    require,
    write_atomically,
)

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"
"""Where they are in a run folder; TensorBoard shows it with ``--logdir``."""

_NAMES = {
    "train_loss": "loss/train",
    "val_loss": "loss/{split}",
    "val_error": "error/{split}",
    "val_top5_error": "top-5 error/{split}",
}


def check_tensorboard() -> None:
    """Makes sure that TensorBoard can be written to.

    Raises:
        MissingExtraError: It is not installed.
    """
    if find_spec("tensorboard") is None:
        raise MissingExtraError(
            "TensorBoard is not installed: pip install 'smash-nas[dashboard]', or leave out "
            "--tensorboard"
        )


class Curves:
    """The curves of one network.

    Args:
        folder: Where they are written; TensorBoard shows its name.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        check_tensorboard()
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def write(self, row: Mapping[str, Any]) -> None:
        """Adds what a line of ``metrics.jsonl`` says; it can be seen at once."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # What an earlier process wrote from this step on was not kept, and is not shown.
            self._writer = SummaryWriter(str(self._folder), purge_step=row["step"])
        for key, name in _NAMES.items():
            if row.get(key) is not None:
                tag = name.format(split=row.get("split", "val"))
                self._writer.add_scalar(tag, row[key], row["step"])
        self._writer.flush()


class MetricsLog:
    """Training curves as JSON lines, one an epoch; where asked for, TensorBoard gets them too."""

    def __init__(self, path: Path, curves: Curves | None = None) -> None:
        self.path = path
        self.curves = curves

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds a line."""
        append(self.path, json.dumps(row) + "\n")
        if self.curves is not None:
            self.curves.write(row)

    def rows(self) -> list[dict[str, Any]]:
        """All lines; one that a power cut left unfinished is passed over.

        Raises:
            RunStateError: The file is damaged.
        """
        rows = read_lines(self.path, "restore the file, or delete it to lose the curves alone")
        for row in rows:
            require(row, self.path, step=int)
        return rows

    def truncate(self, step: int) -> None:
        """Drops the lines of steps after `step`, which a resumed training writes again."""
        rows = self.rows()
        kept = [row for row in rows if row["step"] <= step]
        if len(kept) < len(rows):
            write_atomically(self.path, "".join(json.dumps(row) + "\n" for row in kept).encode())
