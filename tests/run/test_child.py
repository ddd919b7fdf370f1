from __future__ import annotations

from smash.config import ChildSettings
from smash.run.child import child_name


def test_child_name_lists_settings_that_change_weights():
    settings = ChildSettings(epochs=7, seed=3, precision="fp16", augment=False, keep_every=5)
    assert child_name("abc", settings) == "abc-e7-s3-unaugmented-fp16"
    assert child_name("abc", ChildSettings(validate_on="test", validate_every=0)) == "abc"


def test_child_name_distinguishes_long_seeds():
    names = {child_name("abc", ChildSettings(seed=seed)) for seed in (1_000_001, 1_000_002)}
    assert names == {"abc-s1000001", "abc-s1000002"}
    assert child_name("abc", ChildSettings(learning_rate=0.1234567)) == "abc-lr0.123457"
