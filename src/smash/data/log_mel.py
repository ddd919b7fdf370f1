"""Recordings as inputs of networks: waveforms, or log-mel spectrograms.

It needs torch alone, because an exported network takes it along.
"""

from __future__ import annotations

import torch
from torch import Tensor

from smash.data.sound_format import SoundFormat

_LOUDNESS = 1e6  # so that 60 dB below a full-scale tone is near 0, as silence is
_QUIETEST = 1e-3  # a peak that is brought to 1


def sound_inputs(waveforms: Tensor, form: SoundFormat) -> Tensor:
    """Computes the inputs of a network.

    For spectrograms each recording is brought to full scale, because speakers and microphones
    differ in loudness: with that, networks erred less on speakers that they had never heard.

    Args:
        waveforms: Values in -1…1, shape ``(n, samples)``.
        form: The form of the inputs.

    Returns:
        Shape ``(n, 1, samples)``, or ``(n, 1, mels, frames)`` for ``log-mel``; float32.
    """
    if form.features == "raw":
        return waveforms[:, None].float()
    peaks = waveforms.abs().amax(1, keepdim=True).clamp(min=_QUIETEST)
    filters = mel_filters(form.mels, form.window, form.sample_rate)
    return log_mel(waveforms / peaks, filters, form.hop)[:, None]


def log_mel(waveforms: Tensor, filters: Tensor, hop: int) -> Tensor:
    """Computes log-mel spectrograms, in which silence is 0.

    In float64, so that processors agree after rounding to float32.

    Args:
        waveforms: Values in -1…1, shape ``(n, samples)``.
        filters: See `mel_filters`.
        hop: Samples between the beginnings of frames.

    Returns:
        ``log(1 + 10⁶ power)`` of each band, shape ``(n, mels, frames)``, float32.
    """
    window = torch.hann_window(2 * len(filters) - 2, dtype=torch.float64)
    frames = waveforms.double().unfold(-1, len(window), hop) * (window / window.sum())
    power = torch.fft.rfft(frames).abs().square() @ filters
    return torch.log1p(_LOUDNESS * power).transpose(1, 2).float()


def mel_filters(mels: int, window: int, sample_rate: int) -> Tensor:
    """Computes triangular filters that are evenly spaced on the mel scale, ``2595 log(1 + f/700)``.

    Returns:
        Weights of the bins of a spectrum in each band, shape ``(window / 2 + 1, mels)``, float64.
    """
    highest = torch.tensor(1 + sample_rate / 2 / 700, dtype=torch.float64).log10()
    steps = torch.linspace(0, 1, mels + 2, dtype=torch.float64)
    edges = 700 * (10 ** (highest * steps) - 1)
    bins = torch.linspace(0, sample_rate / 2, window // 2 + 1, dtype=torch.float64)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    return torch.minimum(rising, falling).clamp(min=0)
