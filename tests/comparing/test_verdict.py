"""The sentences of a verdict."""

from __future__ import annotations

import pytest

from smash.comparing.comparison import Contestant
from smash.comparing.verdict import against_random, of_untimed, verdict
from smash.io.records import Interval


def contestant(role, name, val, behind, low, high):
    interval = Interval(value=val, low=val, high=val)
    return Contestant(
        role=role, name=name, params=1, macs=1, memory=1, flash=1, minutes=1,
        val=interval, test=interval, behind=Interval(value=behind, low=low, high=high),
    )  # fmt: skip


WINNER = contestant("winner", "w", 0.1, 0, 0, 0)


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        (
            [contestant("plain", "a", 0.2, 0.014, 0.01, 0.02),
             contestant("plain", "b", 0.2, 0.03, 0.02, 0.04)],
            "The winner is better than each plain network by 1.4 to 3.0 points, beyond chance.",
        ),
        (
            [contestant("plain", "cnn-8", 0.09, -0.02, -0.03, -0.01)],
            "Take cnn-8: no network within the limits has a lower validation error; on the test "
            "split it is better by 2.0 points than the winner.",
        ),
        (
            [contestant("plain", "cnn-8", 0.09, 0.02, 0.01, 0.03)],
            "Take cnn-8: no network within the limits has a lower validation error; on the test "
            "split it is worse by 2.0 points than the winner.",
        ),
        (
            [contestant("random", "c", 0.08, 0.002, -0.001, 0.005),
             contestant("plain", "cnn-8", 0.09, -0.02, -0.03, -0.01)],
            "Take c (random): no network within the limits has a lower validation error; on the "
            "test split it is worse by 0.2 points than the winner, which may be chance.",
        ),
        (
            [contestant("random", "c", 0.08, 0.02, 0.01, 0.03)],
            "Take c (random): no network within the limits has a lower validation error; on the "
            "test split it is worse by 2.0 points than the winner.",
        ),
        (
            [contestant("plain", "cnn-8", 0.09, 0.0, -0.01, 0.01)],
            "Take cnn-8: no network within the limits has a lower validation error; on the test "
            "split it is as good as the winner, which may be chance.",
        ),
        (
            [contestant("random", "c", 0.12, 0.02, 0.01, 0.03)],
            "No plain network within the limits costs as little as the winner, so there is none to "
            "compare it with.",
        ),
        (
            [contestant("plain", "cnn-8", 0.12, 0.004, -0.002, 0.01)],
            "No plain network has a lower validation error than the winner, but on the test split "
            "its distance to cnn-8 (+0.4 points, -0.2 to +1.0) may be chance.",
        ),
        (
            [contestant("plain", "cnn-8", 0.2, 0.014, 0.01, 0.02),
             contestant("over the limits", "resnet18", 0.01, -0.09, -0.1, -0.08)],
            "The winner is better than each plain network by 1.4 points, beyond chance.",
        ),
    ],
)  # fmt: skip
def test_verdict_is_a_plain_sentence(others, sentence):
    assert verdict([WINNER, *others]) == sentence


@pytest.mark.parametrize(
    ("interval", "sentence"),
    [
        ((0.02, 0.01, 0.03), "is 2.0 points ahead of the mean of 5 random candidates, beyond"),
        ((-0.02, -0.03, -0.01), "is 2.0 points behind the mean of 5 random candidates, beyond"),
        ((0.02, -0.01, 0.05), "(+2.0 points, -1.0 to +5.0) may be chance."),
    ],
)
def test_against_random_says_whether_the_winner_is_ahead_beyond_chance(interval, sentence):
    value, low, high = interval
    (said,) = against_random(5, Interval(value=value, low=low, high=high))
    assert sentence in said
    assert not [*against_random(1, None)]


def test_plain_networks_that_were_not_timed_are_said_to_be_so():
    timed = [WINNER.model_copy(update={"latency": 0.002})]
    plain = contestant("plain", "a", 0.2, 0.014, 0.01, 0.02)
    (said,) = of_untimed([*timed, plain])
    assert "may be slower than the winner" in said
    assert not [*of_untimed([*timed, plain.model_copy(update={"latency": 0.002})])]
    assert not [*of_untimed([WINNER, plain])]  # the search timed nothing
