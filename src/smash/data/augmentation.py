"""Random changes that leave an example what it is, drawn for a whole batch at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from smash.data.placing import send


@dataclass(frozen=True)
class Augmentation:
    """A crop from a padded example and a flip of its last axis, each example with its own draw.

    Attributes:
        padding: Zeros added on each side of each spatial axis before the crop; 0 for no crop.
        flip: Whether half of the examples are mirrored.
    """

    padding: int = 0
    flip: bool = False

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augments a batch.

        Args:
            images: Shape ``(n, channels, *size)``, of any type, on any device.
            generator: Source of randomness, on the CPU: the draws are the same on every device.

        Returns:
            Shape, type and device of `images`.
        """
        if not self.padding and not self.flip:
            return images
        n, channels, *size = images.shape
        shifts = torch.randint(2 * self.padding + 1, (n, len(size)), generator=generator)
        mirrored = torch.randint(2, (n, 1), generator=generator) == 1
        shifts, mirrored = send(shifts, images.device), send(mirrored, images.device)

        # One index into the flattened padded example for each pixel of the result: a single
        # gather then does crop and flip of all examples.
        index = torch.zeros(n, 1, dtype=torch.int64, device=images.device)
        for axis, extent in enumerate(size):
            place = torch.arange(extent, device=images.device).expand(n, -1)
            if self.flip and axis == len(size) - 1:
                place = torch.where(mirrored, place.flip(1), place)
            place = place + shifts[:, axis, None]
            width = extent + 2 * self.padding
            index = (index[:, :, None] * width + place[:, None, :]).flatten(1)
        padded = F.pad(images, [self.padding] * (2 * len(size))).flatten(2)
        return padded.gather(2, index[:, None].expand(-1, channels, -1)).view(images.shape)
