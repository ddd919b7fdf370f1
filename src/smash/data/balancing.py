"""Weights of classes, for a loss that counts each class the same."""

from __future__ import annotations

import torch
from torch import Tensor

from smash.data.base import Data


def class_weights(data: Data) -> Tensor:
    """Weighs each class by the inverse of its frequency in the training split.

    The weight of class c is ``n / (k · n_c)``, with n examples, n_c of them of class c, and k
    classes. So all classes weigh the same together, and the mean weight of an example is 1: a
    learning rate means what it means without weights.

    Returns:
        Shape ``(k,)``, float32, on the device of the labels.
    """
    labels = data.train.labels
    counts = torch.bincount(labels, minlength=len(data.classes))
    return (len(labels) / (len(data.classes) * counts.double())).float()
