"""The size of a cell and its convolutions; without torch, and part of exported files."""

from __future__ import annotations

from collections.abc import Mapping

KERNELS: Mapping[str, int] = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}
"""Kernel extents of the operations that are convolutions."""

NODES = 4
"""Nodes of a cell, the first of which is its input and the last its output."""
