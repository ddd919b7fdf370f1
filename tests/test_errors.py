"""The family of errors, and the words that they share."""

from __future__ import annotations

import pytest

from smash.errors import (
    DataError,
    InvalidValueError,
    NotFoundError,
    SmashError,
    collecting,
    faults_of,
    listed,
    shortened,
    unknown,
)


def subclasses(family: type[SmashError]) -> list[type[SmashError]]:
    return [each for own in family.__subclasses__() for each in (own, *subclasses(own))]


@pytest.mark.parametrize("kind", subclasses(SmashError))
def test_every_error_is_also_a_builtin(kind):
    builtins = {base for base in kind.__mro__ if base.__module__ == "builtins"}
    assert builtins - {Exception, BaseException, object}
    assert kind("a", "b").faults == ("a", "b")
    assert str(kind("a", "b")) == "a\nb"


def test_collecting_adds_faults_and_lets_other_errors_pass():
    faults: list[str] = []
    with collecting(faults):
        raise DataError("a", "b")
    with collecting(faults):
        raise InvalidValueError("c")
    assert faults == ["a", "b", "c"]
    with pytest.raises(NotFoundError), collecting(faults):
        raise NotFoundError("d")


def test_faults_of_runs_all_checks():
    def wrong() -> None:
        raise InvalidValueError("a")

    assert faults_of(wrong, lambda: None, wrong) == ["a", "a"]


def test_long_lists_are_shortened():
    assert shortened(map(str, range(3)), most=2) == ["0", "1", "and 1 more"]
    assert listed([]) == "none"
    assert listed(range(12)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, and 2 more"
    assert len(listed(["x" * 10**6] * 100)) < 1200


def test_unknown_suggests_the_likely_name_or_lists_a_few():
    assert (
        unknown("preset", "tinny", ["tiny"]) == "preset 'tinny' is not known: did you mean 'tiny'?"
    )
    many = [f"column {number}" for number in range(10_000)]
    assert len(unknown("column", "y" * 10**6, many)) < 1000
