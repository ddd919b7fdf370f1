from __future__ import annotations

from pathlib import Path

import pytest

from smash.config import ChildSettings
from smash.data.sound_format import SoundFormat
from smash.errors import RunStateError
from smash.run.child_folder import InputFormat, child_name

RAW = SoundFormat(features="raw", sample_rate=8000, samples=800)


def test_child_name_lists_settings_that_change_weights():
    settings = ChildSettings(epochs=17, seed=3, precision="fp16", augment=False, keep_every=5)
    assert child_name("abc", settings) == "abc-e17-s3-unaugmented-fp16"
    assert child_name("abc", ChildSettings(minutes=2, epochs=3)) == "abc-e3-m2"
    assert child_name("abc", ChildSettings(validate_on="test", validate_every=0)) == "abc"


def test_child_name_distinguishes_long_seeds():
    names = {child_name("abc", ChildSettings(seed=seed)) for seed in (1_000_001, 1_000_002)}
    assert names == {"abc-s1000001", "abc-s1000002"}
    assert child_name("abc", ChildSettings(learning_rate=0.1234567)) == "abc-lr0.123457"


@pytest.mark.parametrize("sound", [None, RAW])
def test_input_format_is_read_back(sound):
    written = InputFormat(channels=1, size=[800], scaled=False, white=4095, sound=sound)
    assert InputFormat.parse(written.model_dump(mode="json"), Path("a.json")) == written


@pytest.mark.parametrize("sound", [{"features": "raw"}, {"sample_rate": 0}, "raw"])
def test_input_format_of_a_damaged_file_is_refused(sound):
    written = InputFormat(channels=1, size=[800], scaled=False, sound=RAW)
    values = written.model_dump()
    damaged = {**values["sound"], **sound} if "sample_rate" in sound else sound
    with pytest.raises(RunStateError, match=r"a\.json is damaged: sound"):
        InputFormat.parse({**values, "sound": damaged}, Path("a.json"))
