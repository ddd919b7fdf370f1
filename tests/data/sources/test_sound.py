import builtins
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from smash.config import LoadSettings
from smash.data import check_data, load_data
from smash.data.log_mel import mel_filters, sound_inputs
from smash.data.sound_format import SoundFormat
from smash.data.sources.sound import read_waveform
from smash.errors import DataError, InvalidValueError, MissingExtraError

RATE = 8000
RAW = SoundFormat(features="raw", sample_rate=RATE, samples=RATE // 2)


def tone(hertz: float, seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write(path: Path, values: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, values)
    return path


@pytest.fixture
def tones(tmp_path):
    """Low and high tones of four speakers, five each."""
    rng = np.random.default_rng(0)
    for name, hertz in (("low", 300), ("high", 2000)):
        for number in range(20):
            wave = tone(hertz * rng.uniform(0.9, 1.1), rng.uniform(0.3, 0.5))
            file = tmp_path / "tones" / name / f"{'abcd'[number % 4]}_{number}.wav"
            write(file, (8000 * wave).astype(np.int16))
    return tmp_path / "tones"


@pytest.mark.parametrize(
    "values",
    [
        (32767 * tone(440)).astype(np.int16),
        (2**31 * 0.999 * tone(440)).astype(np.int32),
        np.round(127 * tone(440) + 128).astype(np.uint8),
        tone(440).astype(np.float32),
        tone(440),
        np.stack([2 * tone(440), 0 * tone(440)], 1).astype(np.float32),
    ],
    ids=["int16", "int32", "uint8", "float32", "float64", "stereo"],
)
def test_read_waveform_of_any_kind_of_samples_is_the_same_wave(tmp_path, values):
    found = read_waveform(write(tmp_path / "a.wav", values), RAW)
    assert found.numpy() == pytest.approx(tone(440), abs=0.02)


def test_read_waveform_of_24_bits_is_scaled_to_1(tmp_path):
    samples = np.round((2**23 - 1) * tone(440)).astype("<i4")
    data = b"".join(sample.tobytes()[:3] for sample in samples)
    form = struct.pack("<HHIIHH", 1, 1, RATE, 3 * RATE, 3, 24)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data))
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body + data)) + body + data)
    found = read_waveform(tmp_path / "a.wav", RAW)
    assert found.numpy() == pytest.approx(tone(440), abs=1e-4)


@pytest.mark.parametrize("rate", [4000, 11025, 44100])
def test_read_waveform_of_another_rate_is_resampled(tmp_path, rate):
    path = write(tmp_path / "a.wav", tone(440, rate=rate).astype(np.float32), rate)
    inner = slice(400, -400)  # the filter settles at both ends
    assert read_waveform(path, RAW).numpy()[inner] == pytest.approx(tone(440)[inner], abs=0.02)


@pytest.mark.parametrize(
    ("length", "expected"),
    [(2, [0, 1, 2, 0]), (3, [1, 2, 3, 0]), (4, [1, 2, 3, 4]), (7, [2, 3, 4, 5])],
)
def test_read_waveform_is_cut_or_padded_at_both_ends(tmp_path, length, expected):
    path = write(tmp_path / "a.wav", np.arange(1, length + 1, dtype=np.float32))
    form = SoundFormat(features="raw", sample_rate=RATE, samples=4)
    assert read_waveform(path, form).tolist() == expected


def test_log_mel_of_a_tone_is_loudest_in_its_band():
    form = SoundFormat(features="log-mel", sample_rate=RATE, samples=RATE)
    waves = torch.from_numpy(np.stack([tone(each, 1.0) for each in (300, 1000, 3000)]))
    found = sound_inputs(waves, form)
    assert tuple(found.shape[1:]) == form.shape == (1, 40, 61)
    centres = mel_filters(40, 256, RATE).argmax(0) * RATE / 256
    loudest = centres[found.mean(3)[:, 0].argmax(1)]
    assert loudest.tolist() == pytest.approx([300, 1000, 3000], rel=0.06)


def test_log_mel_of_silence_is_0_and_of_a_full_tone_as_computed_by_hand():
    form = SoundFormat(features="log-mel", sample_rate=RATE, samples=256)
    assert not sound_inputs(torch.zeros(1, 256), form).any()
    # The Hann window gives half the amplitude to the bin of the tone, and a quarter to each side.
    power = torch.tensor([1 / 16, 1 / 4, 1 / 16], dtype=torch.float64)
    by_hand = torch.log1p(1e6 * power @ mel_filters(40, 256, RATE)[31:34])
    found = sound_inputs(torch.from_numpy(tone(1000, 256 / RATE))[None], form)[0, 0, :, 0]
    loud = by_hand > 5
    assert found[loud].tolist() == pytest.approx(by_hand[loud].tolist(), rel=1e-4)


@pytest.mark.parametrize("factor", [0.01, 0.3, 3.0])
def test_log_mel_of_a_louder_recording_is_the_same(factor):
    form = SoundFormat(features="log-mel", sample_rate=RATE, samples=4000)
    waves = torch.from_numpy(tone(440))[None]
    assert sound_inputs(factor * waves, form).flatten().tolist() == pytest.approx(
        sound_inputs(waves, form).flatten().tolist(), rel=1e-5, abs=1e-5
    )


def test_load_data_of_recordings_says_how_they_are_read(tones):
    data = load_data(tones, group_pattern="/([a-d])_")
    assert data.sound == SoundFormat(features="log-mel", sample_rate=RATE, samples=4000)
    assert data.task.size == (40, 30)
    assert any("read as 0.5 s at 8,000 Hz (0 cut" in note for note in data.notes)
    assert any("features: log-mel" in note for note in data.notes)
    assert not set(data.train.groups.tolist()) & set(data.test.groups.tolist())


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"features": "raw"}, (4000,)),
        ({"features": "raw", "sample_rate": 4000}, (2000,)),
        ({"seconds": 0.25, "sample_rate": 16000}, (40, 14)),
    ],
)
def test_load_data_of_recordings_follows_its_settings(tones, settings, size):
    assert load_data(tones, **settings).task.size == size


@pytest.mark.parametrize(
    ("settings", "fault"),
    [({"image_size": 32}, "not for recordings"), ({"seconds": 0.05}, "seconds must be at least")],
)
def test_load_data_of_recordings_with_unsuited_settings_is_refused(tones, settings, fault):
    with pytest.raises((InvalidValueError, DataError), match=fault):
        load_data(tones, **settings)


def wav(kind=1, channels=1, rate=RATE, block=2, bits=16, data=bytes(4), announced=None):
    """The bytes of a WAV file with this header."""
    form = struct.pack("<HHIIHH", kind, channels, rate, 0, block, bits)
    size = len(data) if announced is None else announced
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", len(body) - len(data) + size) + body


DAMAGED = {
    "empty": b"",
    "no wav": b"no sound at all",
    "header": b"RIFF\xff\xff\xff\xffWAVEfmt ",
    "no samples": wav(data=b""),
    "rate 0": wav(rate=0),
    "rate 4 GHz": wav(rate=2**32 - 1),
    "no channels": wav(channels=0, block=0),
    "mu-law": wav(kind=7, block=1, bits=8),
    "truncated": wav(announced=2**16),
    "4 GiB": wav(announced=2**32 - 100),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_read_of_a_damaged_wav_is_refused_in_one_line(tones, kind):
    bad = tones / "low" / "bad.wav"
    bad.write_bytes(DAMAGED[kind])
    with pytest.raises(DataError) as caught:
        load_data(tones)
    (fault,) = caught.value.faults
    assert fault.startswith(f"{bad} cannot be used (")
    assert check_data(tones).faults == (fault,)


def test_read_of_values_that_are_not_finite_is_refused(tones):
    write(tones / "low" / "bad.wav", np.full(4000, np.nan, dtype=np.float32))
    with pytest.raises(DataError, match=r"bad\.wav cannot be used .*not finite"):
        load_data(tones)
    (tones / "low" / "worse.wav").write_bytes(b"no sound")
    faults = " ".join(check_data(tones).faults)  # of both files at once
    assert "bad.wav" in faults
    assert "worse.wav" in faults


def test_read_of_many_damaged_files_is_one_line_with_their_number(tones):
    for number in range(12):
        (tones / "low" / f"bad{number}.wav").write_bytes(b"no sound")
    with pytest.raises(DataError) as caught:
        load_data(tones)
    (fault,) = caught.value.faults
    assert fault.startswith("12 files cannot be used (")


def test_flac_needs_the_package_that_reads_it(tones, monkeypatch):
    (tones / "low" / "a.flac").write_bytes(b"fLaC")
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "soundfile":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"smash-nas\[sound\]"):
        load_data(tones)


def test_flac_is_read_as_the_wav_of_the_same_wave(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    values = (20000 * tone(440)).astype(np.int16)
    soundfile.write(tmp_path / "a.flac", values, RATE)
    write(tmp_path / "a.wav", values)
    flac, wav = (read_waveform(tmp_path / name, RAW) for name in ("a.flac", "a.wav"))
    assert torch.equal(flac, wav)


def test_check_data_of_recordings_reports_durations_and_kinds(tones):
    report = check_data(tones, group_pattern="/([a-d])_")
    assert report.ok
    assert sum(report.sizes.values()) == 40
    assert report.modes == {"8000 Hz, int16, 1 channel": 40}
    assert "size 40x30, 1 channel" in report.learned


def test_settings_of_recordings_are_refused_for_images(make_folder):
    with pytest.raises(InvalidValueError, match="features is not for images"):
        load_data(make_folder({"a": 4, "b": 4}), LoadSettings(features="raw"))
