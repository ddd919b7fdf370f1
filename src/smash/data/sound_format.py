"""The form in which networks take recordings: waveforms, or log-mel spectrograms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class SoundFormat:
    """The form of recordings as inputs.

    Attributes:
        features: ``raw`` for the waveform, or ``log-mel`` for a spectrogram of it.
        sample_rate: Samples per second.
        samples: Samples of a recording, after it was cut or padded.
        window: Samples of a frame of the spectrogram.
        hop: Samples between the beginnings of frames.
        mels: Frequency bands of the spectrogram.

    Raises:
        ValueError: A value is out of range.

    Example:
        >>> form = SoundFormat(features="log-mel", sample_rate=8000, samples=8000)
        >>> form.shape
        (1, 40, 61)
    """

    features: Literal["raw", "log-mel"]
    sample_rate: int
    samples: int
    window: int = 256
    hop: int = 128
    mels: int = 40

    def __post_init__(self) -> None:
        if not 1 <= self.sample_rate <= 2**20 or not 1 <= self.samples <= 2**28:
            raise ValueError(f"a recording cannot have {self.samples} at {self.sample_rate} Hz")
        if not 2 <= self.window <= 2**20 or not 1 <= self.hop <= 2**20:
            raise ValueError(f"frames cannot have {self.window} samples every {self.hop}")
        if self.features == "log-mel" and self.window > self.samples:
            raise ValueError(f"a window of {self.window} samples exceeds those of a recording")
        if not 1 <= self.mels <= 2**10:
            raise ValueError(f"mels must be 1 to 1,024, got {self.mels}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an input: ``(1, samples)``, or ``(1, mels, frames)``."""
        if self.features == "raw":
            return 1, self.samples
        return 1, self.mels, (self.samples - self.window) // self.hop + 1
