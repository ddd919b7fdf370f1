"""The comparison of a winner with plain networks: intervals, choice of networks, verdict."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

import smash
from smash import evaluation
from smash.errors import InvalidValueError
from smash.evaluation.trainings import SeedSpread
from smash.io.records import Interval
from smash.profiling.cost import cost_of
from smash.run.child_folder import write_result
from smash.run.layout import COMPARISON
from smash.spaces.baselines import make_baseline
from smash.spaces.parameters import count_parameters
from smash.training.compare import (
    Contestant,
    _plain_networks,
    against_random,
    read_comparison,
    verdict,
)
from smash.training.settings import CompareSettings
from tests.conftest import TINY
from tests.study.candidates import make_candidate


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
            [contestant("random", "c", 0.12, 0.02, 0.01, 0.03)],
            "No plain network within the limits is as small as the winner, so there is none to "
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


@pytest.mark.parametrize("limit", [{"max_memory": 8192}, {"max_flash": 20_000}])
def test_plain_networks_are_those_within_the_limits_of_the_search(limit):
    task = smash.Task(channels=3, size=(32, 32), classes=10)
    run = SimpleNamespace(data=SimpleNamespace(task=task))
    study = SimpleNamespace(settings=limit)
    winner = make_candidate(params=30_000)
    found = list(_plain_networks(run, study, winner, CompareSettings()))
    assert len(found) == 4
    (name,) = limit
    for each in found:
        assert each.role == "plain"
        assert getattr(each.network, name.removeprefix("max_")) <= limit[name]


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


@pytest.fixture(scope="module")
def compared(tmp_path_factory, few_digits):
    run = smash.train(few_digits, tmp_path_factory.mktemp("compare") / "run", epochs=1, **TINY)
    smash.search(run, random=8, perturb=0, markov=0, max_params=100_000)
    twice = ("resnet-8-1", "RESNET-8-1", "timm:test_resnet")
    plain = {"families": ("cnn", "ds-cnn"), "baselines": twice}
    options = {"epochs": 1, "seeds": 2, "random": 2, "finalists": 1, **plain}
    return run, smash.compare(run, **options), options


def test_compare_trains_winner_median_random_and_plain_networks(compared):
    run, comparison, _ = compared
    roles = [each.role for each in comparison.contestants]
    plain = ["plain", "plain", "plain", "over the limits"]
    assert roles == ["winner", "median-ranked", "random", "random", *plain]
    assert comparison.contestants[0].behind.value == 0
    for each in comparison.contestants:
        names = [path.name for path in (run.path / "children").iterdir()]
        assert sum(name.startswith(each.name) for name in names) == 2  # two seeds


def test_compare_of_one_seed_says_that_seeds_are_left_out(compared):
    run, comparison, options = compared
    once = smash.compare(run, **{**options, "seeds": 1})
    assert "each network was trained once" in once.verdict
    assert "each network was trained once" not in comparison.verdict


def test_compare_takes_plain_networks_no_larger_than_the_winner(compared):
    run, comparison, _ = compared
    winner = comparison.contestants[0]
    for each in comparison.contestants:
        if each.role == "plain" and each.name != "resnet-8-1":
            family, width = each.name.rsplit("-", 1)
            wider = make_baseline(f"{family}-{int(width) + 1}", run.data.task)
            assert each.params <= winner.params < count_parameters(wider)


def test_compare_states_the_costs_of_each_network(compared):
    run, comparison, _ = compared
    ranked = {each.id: each for each in smash.Study(run.study_path).ranked()}
    for each in comparison.contestants:
        if each.role in ("plain", "over the limits"):
            name = each.name.replace("timm-", "timm:")
            expected = cost_of(make_baseline(name, run.data.task), run.data.task)
        else:
            expected = ranked[each.name]
        for cost in ("params", "macs", "memory", "flash"):
            assert getattr(each, cost) == getattr(expected, cost)


def test_compare_says_whether_the_winner_beats_random_candidates(compared):
    run, comparison, options = compared
    drawn = [each.behind.value for each in comparison.contestants if each.role == "random"]
    found = comparison.random
    assert found.value == pytest.approx(np.mean(drawn))
    assert found.low < found.value < found.high
    assert "the mean of 2 random candidates" in comparison.verdict
    one = smash.compare(run, **options | {"random": 1})
    assert one.random is None
    assert "random" not in one.verdict.replace("(random)", "")
    smash.compare(run, **options)


def test_compare_takes_the_spread_of_each_network_for_its_own_intervals(compared, monkeypatch):
    run, comparison, options = compared
    spreads = [SeedSpread(0.01 * number, 3) for number in range(len(comparison.contestants))]
    monkeypatch.setattr("smash.training.compare.spreads_of", lambda wrongs: spreads)
    again = smash.compare(run, **options)
    for each, spread in zip(again.contestants, spreads, strict=True):
        half = stats.t.ppf(0.975, 3) * spread.deviation / np.sqrt(2)
        for found, examples in ((each.val, again.val_examples), (each.test, again.test_examples)):
            expected = evaluation.error_interval(found.value, examples, half)
            assert (found.low, found.high) == pytest.approx(expected)
    smash.compare(run, **options)


def test_compare_keeps_its_look_at_the_test_split(compared):
    run, _, options = compared
    child = smash.Child.of_run(run)[0]
    write_result(child.path, {"val": child.result["val"]})
    smash.compare(run, **options)
    assert "test" in child.result


def test_compare_errors_are_those_of_the_children(compared):
    run, comparison, _ = compared
    for each in comparison.contestants:
        errors = [
            json.loads((path / "result.json").read_text())["test"]["error"]
            for path in (run.path / "children").iterdir()
            if path.name.startswith(each.name)
        ]
        assert each.test.value == pytest.approx(np.mean(errors))


def test_compare_again_trains_nothing_and_says_the_same(compared):
    run, comparison, options = compared
    before = (run.path / COMPARISON).read_bytes()
    assert smash.compare(run, **options) == comparison == read_comparison(run.path)
    assert (run.path / COMPARISON).read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"families": ("cnnn",)}, "did you mean 'cnn'"),
        ({"families": ("inception",)}, "for data with 2 spatial axes, got inception: leave"),
        ({"baselines": ("resnet19",)}, "did you mean 'resnet18'"),
        ({"baselines": ("timm:resnt18",)}, "did you mean 'resnet18'"),
        ({"ranks": "2-0"}, "ranks must be numbers and ranges"),
        ({"init": "generated"}, "init must be 'scratch' to compare"),
        ({"seeds": 0}, "seeds must be at least 1"),
    ],
)
def test_compare_wrong_settings_are_refused(compared, changes, message):
    run, *_ = compared
    before = set(run.path.glob("children/*"))
    with pytest.raises(InvalidValueError, match=message):
        smash.compare(run, **{"epochs": 1, "seeds": 1, **changes})
    assert set(run.path.glob("children/*")) == before  # no finals were held first


def test_a_reference_network_without_a_size_is_fitted_to_the_winner(few_digits, tmp_path):
    run = smash.train(few_digits, tmp_path / "run", epochs=1, **TINY)
    smash.search(run, random=2, perturb=0, markov=0, device="cpu")
    settings = {"ranks": "0", "epochs": 1, "seeds": 1, "random": 0, "median": False}
    found = smash.compare(run, **settings, families=("cnn",), baselines=("WRN",), device="cpu")
    (winner, *_), fitted = found.contestants, found.contestants[-1]
    assert fitted.name.startswith("wrn-")
    assert 0.5 < fitted.params / winner.params < 2
