"""Initial weights of a network that is built: of a child, a reference network, or for a proxy."""

from __future__ import annotations

import torch
from torch import nn


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Draws initial weights: He's for convolutions and the classifier, the identity for norms."""
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            drawn = torch.empty(module.weight.shape)
            nn.init.kaiming_normal_(drawn, nonlinearity="relu", generator=generator)
            with torch.no_grad():
                module.weight.copy_(drawn)
                if module.bias is not None:
                    module.bias.zero_()
