from __future__ import annotations

import wave

import numpy as np
from benchmarks.compare import write_recordings


def test_recordings_are_written_by_class_with_their_speaker_and_without_padding(tmp_path):
    sounds = np.array([[[5, -7, 0, 0]], [[1, 2, 3, 0]]], dtype=np.int16)
    labels, groups = np.array([3, 0]), np.array(["theo", "lucas"])
    np.savez(tmp_path / "sounds.npz", data=sounds, labels=labels, groups=groups)
    write_recordings(tmp_path / "sounds.npz", tmp_path / "made")
    files = sorted(path.relative_to(tmp_path / "made") for path in tmp_path.glob("made/*/*"))
    assert [str(file) for file in files] == ["0/0_lucas_1.wav", "3/3_theo_0.wav"]
    with wave.open(str(tmp_path / "made" / "3" / "3_theo_0.wav")) as recording:
        assert (recording.getframerate(), recording.getnchannels()) == (8000, 1)
        samples = np.frombuffer(recording.readframes(9), dtype=np.int16)
    assert samples.tolist() == [5, -7]
