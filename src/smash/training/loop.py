"""loop."""

from __future__ import annotations

_SECONDS_BETWEEN_SAVES = 300.0  # looked at where the loss is


def is_due(every: int | None, epoch: int) -> bool:
    """Whether what happens every so many epochs happens after this one; 0 and None are never."""
    return every is not None and every > 0 and epoch % every == 0


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Whole batches in an epoch; a last one that is smaller is left out, at least one is there."""
    return max(1, examples // batch_size)
