"""The options of the cell space."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from smash.config import Settings

Positive = Annotated[int, Field(ge=1, le=2**16)]  # the bound is larger than any real network needs


class NasBench201Options(Settings):
    """Options of the cell space; the defaults are the published ones.

    Attributes:
        channels: C, channels of the first stage; the second has 2C, the third 4C.
        cells: N, cells per stage.
        stem_stride: Stride of the stem; if None, the first stage works at 32² (256 samples of a
            signal, 16³ voxels) or less.
        connected: Draw only cells whose output depends on their input.
        distinct: Draw only one of the cells that compute the same function.
        weighted: Draw convolutions more often than other operations while a SMASH network trains.
    """

    channels: Positive = 16
    cells: Positive = 5
    stem_stride: Positive | None = None
    connected: bool = False
    distinct: bool = False
    weighted: bool = True
