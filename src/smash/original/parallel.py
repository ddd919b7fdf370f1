"""One process a GPU: the program starts itself anew under ``torchrun``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn


def relaunch(processes: int, script: str, arguments: Sequence[str]) -> NoReturn:
    """Becomes ``torchrun``, which runs a script in several processes of this machine.

    Args:
        processes: How many.
        script: Path of the script.
        arguments: Its command line; each process sees the same.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), script, *arguments]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, command)  # noqa: S606 - no shell, and nothing of the user's but flags
