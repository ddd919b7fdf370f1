from __future__ import annotations

import wave

import numpy as np
import pytest
import scipy.stats
from benchmarks.compare import out_of_fold, write_recordings


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


def test_folds_are_joined_over_all_examples_with_the_best_plain_network_of_each():
    def network(role, name, val, test, behind):
        errors = {"val": {"value": val}, "test": {"value": test}, "behind": {"value": behind}}
        return {"role": role, "name": name, "params": 10, "macs": 100, **errors}

    folds = [
        {
            "test_examples": examples,
            "contestants": [
                network("winner", "w", 0.1, missed / examples, 0.0),
                network("plain", "worse", 0.3, 0.0, -0.1),
                network("plain", "best", 0.2, 0.5, behind),
            ],
            "random": {"value": behind + 0.1},
        }
        for examples, missed, behind in ((10, 1, 0.3), (20, 3, 0.1), (10, 0, 0.2))
    ]
    joined = out_of_fold(folds)
    winner, plain = joined["contestants"]
    assert (winner["test"]["value"], plain["test"]["value"]) == pytest.approx((0.1, 0.5))
    wilson = proportion_ci(4, 40)
    assert (winner["test"]["low"], winner["test"]["high"]) == pytest.approx(wilson)
    assert plain["names"] == ["best"] * 3
    half = scipy.stats.t.ppf(0.975, 2) * 0.1 / 3**0.5  # of a deviation of 0.1 between folds
    assert tuple(plain["behind"].values()) == pytest.approx((0.2, 0.2 - half, 0.2 + half))
    assert joined["random"]["value"] == pytest.approx(0.3)


def proportion_ci(misses, examples):
    found = scipy.stats.binomtest(misses, examples).proportion_ci(method="wilson")
    return found.low, found.high
