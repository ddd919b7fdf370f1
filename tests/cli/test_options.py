from __future__ import annotations

from typing import Annotated, Any

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from smash.cli.options import load, program, settings_options
from smash.config import Count, Option, Settings
from smash.errors import InvalidValueError


class Walk(Settings):
    """An example of settings."""

    steps: Count = 10
    """Number of steps. Each takes a second."""

    fast: bool = False
    """Walk fast."""

    rests: bool = True
    """Rest at times."""

    stops: tuple[str, ...] = ()
    """Places to stop at."""

    gear: Annotated[dict[str, Any], Option(flags=("--gear", "-g"))] = Field(default={})
    """What to carry."""


class Weather(Settings):
    """An example of settings that share a field."""

    fast: bool = False
    """Change fast."""


@pytest.fixture
def received():
    return []


@pytest.fixture
def run(received):
    def walk(place: str, settings: Walk, weather: Weather) -> None:
        """Walk somewhere."""
        received.append((place, settings.given(), weather.given()))

    app = typer.Typer(rich_markup_mode=None)
    app.command()(settings_options(walk))
    return lambda *arguments: CliRunner().invoke(app, arguments, terminal_width=100)


def test_command_receives_only_what_was_given(run, received):
    run("hill")
    run("hill", "--steps", "3", "--fast", "--no-rests", "--stops", "inn,lake", "--stops", "top")
    run("hill", "-g", "rope=2", "-g", "map=old")
    walk = {"steps": 3, "fast": True, "rests": False, "stops": ("inn", "lake", "top")}
    assert received == [
        ("hill", {}, {}),
        ("hill", walk, {"fast": True}),
        ("hill", {"gear": {"rope": 2, "map": "old"}}, {}),
    ]


def test_command_help_is_taken_from_the_fields(run):
    lines = [" ".join(line.split()) for line in run("--help").output.splitlines()]
    assert "Walk somewhere." in lines
    assert "--steps <int> Number of steps. [default: 10]" in lines
    assert "--fast Walk fast." in lines
    assert "--rests / --no-rests Rest at times. [default: true]" in lines
    assert "-g, --gear <dict> What to carry." in lines


def test_command_reports_all_faults_of_its_settings(run):
    gear = ("rope", "map=old", "map=new", "tent=2", "tent=2")
    flags = [word for each in gear for word in ("--gear", each)]
    error = run("hill", "--steps", "none", *flags).exception
    assert isinstance(error, InvalidValueError)
    assert error.faults == (
        "option 'rope' must be KEY=VALUE, such as depth=6",
        "option 'map' is given as old and new: leave one out",
        "steps must be a whole number, got 'none'",
    )


@pytest.mark.parametrize(
    ("augment", "line"), [(True, "  augmentation: random shifts by up to 1 (leave it"), (False, "")]
)
def test_load_says_how_examples_are_augmented(capsys, augment, line):
    load("digits", augment=augment)
    said = capsys.readouterr().err
    assert ("augmentation" in said) is augment
    assert line in said


@pytest.mark.parametrize(
    ("typed", "next_one"),
    [
        ("smash train digits --space mobile", "smash"),
        ("smash train digits --space a.py:f", "smash --space a.py:f"),
        ("smash --space=a.py:f search runs/a", "smash --space a.py:f"),
        ("smash search runs/a --space", "smash"),
    ],
)
def test_program_names_the_space_of_ones_own_that_was_named(monkeypatch, typed, next_one):
    monkeypatch.setattr("sys.argv", typed.split())
    assert program() == next_one
