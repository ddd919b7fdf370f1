"""Training curves for TensorBoard, as they grow.

TensorBoard is optional: the extra ``[dashboard]`` brings it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smash.errors import MissingExtraError

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
