from __future__ import annotations

import math
import subprocess
import sys
from typing import Annotated, Literal

import pytest
from pydantic import Field

from smash.comparing.settings import CompareSettings
from smash.config import (
    MOST,
    ChildSettings,
    Count,
    LoadSettings,
    Option,
    Settings,
    describe,
    refuse_changes,
)
from smash.correlation.settings import CorrelateSettings
from smash.errors import InvalidValueError, RunStateError
from smash.searching.settings import SearchSettings
from smash.training.settings import RetrainSettings, TrainSettings

VERBS = [
    LoadSettings,
    TrainSettings,
    SearchSettings,
    RetrainSettings,
    CompareSettings,
    CorrelateSettings,
]


class Walk(Settings):
    """An example of settings."""

    pace: Literal["slow", "fast"] = "slow"
    """Pace of the walk. It may change
    on the way."""

    steps: Count | None = None
    """Number of steps."""

    stops: tuple[str, ...] = ()
    """Places to stop at."""


class Hike(Walk):
    """An example of settings that extend others."""

    height: Annotated[float, Field(gt=0), Option(default="that of the hill")] = 1.5
    """Height in metres."""

    def rules(self):
        return ["steps must be given with stops"] if self.stops and not self.steps else []


def test_settings_with_several_faults_report_all():
    with pytest.raises(InvalidValueError) as caught:
        Hike(pace="fats", height=-1, weight=3, stops=["inn"])
    assert caught.value.faults == (
        "pace 'fats' is not known: did you mean 'fast'?",
        "height must be greater than 0, got -1",
        "setting 'weight' is not known: did you mean 'height'?",
        "steps must be given with stops",
    )


class Walkers(Settings):
    """An example of settings of which one is needed."""

    adults: Count | None = None
    children: Count | None = None

    def rules(self):
        return [] if self.adults or self.children else ["give adults or children: got neither"]


@pytest.mark.parametrize("value", [0, -1, math.nan, "many"])
def test_settings_with_a_wrong_value_do_not_call_it_missing(value):
    with pytest.raises(InvalidValueError) as caught:
        Walkers(adults=value)
    (fault,) = caught.value.faults
    assert fault.startswith("adults must be")
    with pytest.raises(InvalidValueError, match="got neither"):
        Walkers()


def test_settings_with_a_wrong_value_report_no_rule_on_it():
    with pytest.raises(InvalidValueError) as caught:
        Hike(steps=0, stops=["inn"])
    assert caught.value.faults == ("steps must be at least 1, got 0",)
    with pytest.raises(InvalidValueError) as caught:
        SearchSettings(max_latency="soon", latency_table="board.csv")
    (fault,) = caught.value.faults
    assert fault.startswith("max_latency must be")


@pytest.mark.parametrize("value", [math.nan, "nan", "NaN"])
def test_settings_of_no_number_are_told_so_and_not_that_they_are_large(value):
    for verb, name in ((TrainSettings, "minutes"), (LoadSettings, "val_fraction")):
        with pytest.raises(InvalidValueError) as caught:
            verb(**{name: value})
        assert caught.value.faults == (f"{name} must be a finite number, got {value!r}",)


@pytest.mark.parametrize("verb", VERBS)
def test_settings_with_a_truth_value_for_a_number_are_refused(verb):
    numbers = [field.name for field in describe(verb) if field.kind in (int, float)]
    assert numbers
    for name in numbers:
        with pytest.raises(InvalidValueError) as caught:
            verb(**{name: True})
        assert f"{name} must not be true or false, got True" in caught.value.faults


@pytest.mark.parametrize("verb", VERBS)
def test_settings_with_a_number_beyond_64_bits_are_refused(verb):
    names = [field.name for field in describe(verb) if field.kind is int]
    assert names
    for name in names:
        with pytest.raises(InvalidValueError) as caught:
            verb(**{name: 10**30})
        assert any(fault.startswith(f"{name} must be ") for fault in caught.value.faults), name


@pytest.mark.parametrize(
    ("verb", "settings", "fault"),
    [
        (TrainSettings, {"minutes": 1e300}, "minutes must be at most 525600, got 1e+300"),
        (SearchSettings, {"minutes": 1e300}, "minutes must be at most 525600, got 1e+300"),
        (RetrainSettings, {"minutes": "1e9"}, "minutes must be at most 525600, got '1e9'"),
        (CorrelateSettings, {"minutes": 1e300}, "minutes must be at most 525600, got 1e+300"),
        (TrainSettings, {"epochs": 10**7}, "epochs must be at most 1e+06, got 10000000"),
        (SearchSettings, {"random": 10**8}, "random must be at most 1e+07, got 100000000"),
    ],
)
def test_settings_that_no_machine_would_finish_are_refused(verb, settings, fault):
    with pytest.raises(InvalidValueError) as caught:
        verb(**settings)
    assert caught.value.faults == (fault,)


def test_describe_lists_own_fields_before_inherited_ones():
    fields = {field.name: field for field in describe(Hike)}
    assert list(fields) == ["height", "pace", "steps", "stops"]
    assert [(field.type, field.default) for field in fields.values()] == [
        ("float > 0", "that of the hill"),
        ("slow | fast", "slow"),
        (f"int ≥ 1 ≤ {MOST}", ""),
        ("str", ""),
    ]
    assert fields["pace"].help == "Pace of the walk. It may change on the way."
    assert [field.many for field in fields.values()] == [False, False, False, True]


def test_merged_takes_an_object_keywords_or_both():
    assert Walk.merged(None, {"steps": 3}) == Walk(steps=3)
    assert Walk.merged(Walk(steps=3), {"pace": "fast"}).given() == {"steps": 3, "pace": "fast"}
    with pytest.raises(InvalidValueError, match="settings must be Walk, got 3"):
        Walk.merged(3, {})


@pytest.mark.parametrize(
    ("given", "augment"),
    [
        ({"epochs": 9}, False),
        ({"epochs": 10}, True),
        ({"epochs": 9, "augment": True}, True),
        ({"augment": False}, False),
        ({"epochs": 9, "minutes": 2}, True),
    ],
)
def test_children_of_few_epochs_are_not_augmented_unless_asked(given, augment):
    settings = ChildSettings(**given)
    assert settings.augment is augment
    assert settings.given() == given


def test_a_longer_copy_of_a_short_training_is_augmented():
    finals = CompareSettings(epochs=30).child
    assert not finals.replaced(epochs=4).augment
    assert finals.replaced(epochs=4).replaced(epochs=30).augment


def test_toml_round_trip_keeps_values_and_names_damage(tmp_path):
    path = tmp_path / "walk.toml"
    path.write_text(Walk(steps=3).to_toml())
    assert Walk.from_toml(path) == Walk(steps=3)
    path.write_text("steps = 'many'")
    with pytest.raises(RunStateError, match=r"walk.toml is damaged: steps must be a whole number"):
        Walk.from_toml(path)


def test_refuse_changes_names_each_change():
    with pytest.raises(RunStateError) as caught:
        refuse_changes({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}, since="it began", mend="stop")
    assert caught.value.faults == (
        "b was 2 when it began, got 3: stop",
        "c was None when it began, got 4: stop",
    )


def test_settings_of_all_verbs_are_imported_without_torch():
    code = """
import sys
import smash.config, smash.cli.main, smash.training.settings
assert not {"torch", "optuna", "numpy"} & sys.modules.keys(), sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
