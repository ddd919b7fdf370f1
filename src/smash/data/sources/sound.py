"""Recordings: reads sound files, resamples them, and cuts or pads them to one length."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smash.config import LoadSettings
from smash.data.dataset import MIN_SIDE
from smash.data.log_mel import sound_inputs
from smash.data.sound_format import SoundFormat
from smash.errors import DataError, MissingExtraError, Unusable, describe_unusable, reason_of
from smash.io.text import as_size
from smash.runtime.memory import main_memory

WAV = frozenset({".wav"})
SOUND_EXTENSIONS = WAV | {".flac", ".ogg"}

_RATES = range(1000, 400_001)  # Hz
_HIGHEST_DEFAULT_RATE = 16_000
_LONGEST_DEFAULT = 10.0  # seconds
_WINDOW = 0.032  # seconds; frames overlap by half
_SETTLING = 0.1  # seconds beside the part that is kept, for the filter that resamples
_BATCH = 64

T = TypeVar("T")


class Recording(NamedTuple):
    """Properties of a sound file.

    Attributes:
        sample_rate: Samples per second.
        samples: Number of samples.
        kind: Type of the samples and number of channels.
    """

    sample_rate: int
    samples: int
    kind: str

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.samples / self.sample_rate


def examine_sounds(paths: Iterable[Path]) -> Iterator[Recording | Unusable]:
    """Opens each file, in order, and yields its properties, or why it cannot be used."""
    return (_attempt(_inspect, path) for path in paths)


def read_sounds(
    paths: Sequence[Path], settings: LoadSettings
) -> tuple[Tensor, SoundFormat, tuple[str, ...]]:
    """Reads sound files as inputs of networks.

    Args:
        paths: The files.
        settings: `features`, `sample_rate` and `seconds`; by default log-mel, the lowest rate of
            the files, at most 16 kHz, and the length of 19 of 20 files, at most 10 s.

    Returns:
        Inputs, shape ``(n, 1, *size)`` float32; their form; and notes on decisions.

    Raises:
        DataError: Files cannot be used, each named; or they do not fit in memory.
        MissingExtraError: Files other than WAV need a package that is not installed.
    """
    found = list(examine_sounds(paths))
    if unusable := [each for each in found if isinstance(each, Unusable)]:
        raise DataError(*describe_unusable(unusable))
    recordings = [recording for recording in found if isinstance(recording, Recording)]
    form = _choose_format(recordings, settings)
    shape = (len(paths), *form.shape)
    memory, size = main_memory(), 4 * math.prod(shape)
    if memory is not None and size > memory:
        raise DataError(
            f"recordings of shape {as_size(shape)} must fit in memory, but take "
            f"{size / 2**30:,.1f} GiB of {memory / 2**30:,.1f}: choose fewer --seconds or a lower "
            "--sample-rate"
        )
    inputs = torch.empty(shape)
    for start in range(0, len(paths), _BATCH):
        read = [_attempt(_waveform, path, form) for path in paths[start : start + _BATCH]]
        waveforms = [each for each in read if isinstance(each, Tensor)]
        unusable += [each for each in read if isinstance(each, Unusable)]
        if not unusable:
            inputs[start : start + _BATCH] = sound_inputs(torch.stack(waveforms), form)
    if unusable:
        raise DataError(*describe_unusable(unusable))
    return inputs, form, _describe(recordings, form)


def read_waveform(path: Path, form: SoundFormat) -> Tensor:
    """Reads a file as one channel in -1…1, resampled, and cut or padded at both ends.

    Returns:
        Shape ``(samples,)``, float32.

    Raises:
        DataError: The file cannot be used.
        MissingExtraError: It needs a package that is not installed.
    """
    found = _attempt(_waveform, path, form)
    if isinstance(found, Unusable):
        raise DataError(*describe_unusable([found]))
    return found


def _attempt(read: Callable[..., T], path: Path, *args: object) -> T | Unusable:
    """Reads a file; readers raise anything on a damaged one."""
    try:
        return read(path, *args)
    except MissingExtraError:
        raise
    except Exception as error:
        return Unusable(str(path), reason_of(error))


def _inspect(path: Path) -> Recording:
    rate, values = _open(path)
    if values.dtype.kind == "f":
        _check_finite(values)
    plural = "s" * (values.shape[1] > 1)
    kind = f"{rate} Hz, {values.dtype}, {values.shape[1]} channel{plural}"
    return Recording(rate, len(values), kind)


def _waveform(path: Path, form: SoundFormat) -> Tensor:
    from scipy.signal import resample_poly  # slow to import

    rate, values = _open(path)
    needed = math.ceil((form.samples / form.sample_rate + 2 * _SETTLING) * rate)
    values = _middle(values, needed)  # a recording of hours is not resampled as a whole
    waveform = values.mean(1, dtype=np.float64)
    if values.dtype.kind != "f":
        waveform = waveform / 2.0 ** (8 * values.dtype.itemsize - 1) - (values.dtype.kind == "u")
    _check_finite(waveform)
    if rate != form.sample_rate:
        common = math.gcd(rate, form.sample_rate)
        waveform = resample_poly(waveform, form.sample_rate // common, rate // common)
    waveform = _middle(waveform, form.samples)
    missing = form.samples - len(waveform)
    waveform = np.pad(waveform, (missing // 2, missing - missing // 2))
    return torch.from_numpy(waveform.astype(np.float32))


def _check_finite(values: NDArray[Any]) -> None:
    if not np.isfinite(values).all():
        raise ValueError("it has values that are not finite")


def _middle(values: NDArray[Any], length: int) -> NDArray[Any]:
    start = max(0, len(values) - length) // 2
    return values[start : start + length]


def _open(path: Path) -> tuple[int, NDArray[Any]]:
    """Opens a file: its rate, and samples of shape ``(samples, channels)``, mapped where possible.

    Raises:
        MissingExtraError: It is no WAV, and the package that reads it is not installed.
        Exception: It is damaged.
    """
    rate, values = (_open_wav if path.suffix.lower() in WAV else _open_other)(path)
    values = values[:, None] if values.ndim == 1 else values
    if rate not in _RATES:
        raise ValueError(f"its rate must be {_RATES[0]:,} to {_RATES[-1]:,} Hz, got {rate:,}")
    if not values.size:
        raise ValueError("it has no samples")
    if values.dtype.kind not in "iuf":
        raise ValueError(f"its samples are {values.dtype}")
    return rate, values


def _open_wav(path: Path) -> tuple[int, NDArray[Any]]:
    from scipy.io import wavfile  # slow to import

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # further chunks, such as tags
        warnings.filterwarnings("error", "Reached EOF", wavfile.WavFileWarning)
        try:
            rate, values = wavfile.read(path, mmap=True)
        except ValueError:  # 24 bits cannot be mapped
            rate, values = wavfile.read(path)
    return int(rate), values


def _open_other(path: Path) -> tuple[int, NDArray[Any]]:
    try:
        import soundfile
    except ImportError:
        raise MissingExtraError(
            f"{path} is no WAV, and reading it needs the package 'soundfile', which is not "
            "installed: pip install 'smash-nas[sound]'"
        ) from None
    values, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return int(rate), values


def _choose_format(recordings: Sequence[Recording], settings: LoadSettings) -> SoundFormat:
    lowest = min(recording.sample_rate for recording in recordings)
    rate = settings.sample_rate or min(lowest, _HIGHEST_DEFAULT_RATE)
    seconds = settings.seconds
    if seconds is None:
        lengths = sorted(recording.seconds for recording in recordings)
        common = lengths[math.ceil(0.95 * len(lengths)) - 1]
        seconds = min(max(math.ceil(10 * common) / 10, 0.1), _LONGEST_DEFAULT)
    window = 2 * round(_WINDOW * rate / 2)
    features = settings.features or "log-mel"
    fewest = MIN_SIDE if features == "raw" else window + (MIN_SIDE - 1) * window // 2
    samples = round(seconds * rate)
    if samples < fewest:
        raise DataError(
            f"seconds must be at least {math.ceil(1000 * fewest / rate) / 1000:g} at {rate:,} Hz "
            f"for {features} features, got {seconds:g}: choose more"
        )
    return SoundFormat(
        features=features, sample_rate=rate, samples=samples, window=window, hop=window // 2
    )


def _describe(recordings: Sequence[Recording], form: SoundFormat) -> tuple[str, ...]:
    """Words how recordings were read, for notes."""
    shortest, *_, longest = sorted([recording.seconds for recording in recordings] * 2)
    rates = Counter(recording.sample_rate for recording in recordings)
    others = sum(count for rate, count in rates.items() if rate != form.sample_rate)
    seconds = form.samples / form.sample_rate
    cut = sum(recording.seconds > seconds + 0.5 / form.sample_rate for recording in recordings)
    notes = [
        f"recordings of {shortest:.2f} to {longest:.2f} s read as {seconds:g} s at "
        f"{form.sample_rate:,} Hz ({cut:,} cut at both ends, {others:,} resampled): see --seconds "
        "and --sample-rate"
    ]
    if form.features == "log-mel":
        notes.append(
            f"features: log-mel, {form.mels} bands, frames of {form.window} samples every "
            f"{form.hop} (--features raw learns from the waveform)"
        )
    return tuple(notes)
