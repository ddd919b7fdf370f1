"""The comparison of a winner with plain networks: intervals, choice of networks, verdict."""

from __future__ import annotations

import json
import shlex
import sys

import numpy as np
import pytest
from scipy import stats

import smash
from smash import evaluation
from smash.comparing.comparison import read_comparison
from smash.errors import InvalidValueError
from smash.evaluation.trainings import SeedSpread
from smash.profiling.cost import cost_of
from smash.run.child_folder import write_result
from smash.run.layout import COMPARISON
from smash.spaces.baselines import make_baseline
from smash.spaces.parameters import count_parameters
from tests.conftest import TINY


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
    smash.compare(run, **options)


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
    monkeypatch.setattr("smash.comparing.compare.spreads_of", lambda wrongs: spreads)
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


@pytest.fixture
def timed(few_digits, tmp_path):
    """Makes a run whose search was timed by a command: a second for a million bytes.

    The command counts its runs in a file.
    """
    script, log = tmp_path / "time.py", tmp_path / "log"
    log.touch()
    script.write_text(
        f"import pathlib, sys\nopen({str(log)!r}, 'a').write('.')\n"
        "files = pathlib.Path(sys.argv[1]).parent.iterdir()\n"
        "print(sum(each.stat().st_size for each in files) / 1e6)\n"
    )
    command = f"{shlex.join([sys.executable, str(script)])} {{model}}"
    run = smash.train(few_digits, tmp_path / "run", epochs=1, **TINY)
    counts = {"random": 2, "perturb": 0, "markov": 0, "device": "cpu", "latency_format": "py"}
    smash.search(run, **counts, latency_command=command, max_latency="1s")
    return run, command, log


def test_compare_times_plain_networks_by_the_command_of_the_search(timed):
    run, command, log = timed
    settings = {"ranks": "0", "epochs": 1, "seeds": 1, "random": 0, "median": False}
    settings |= {"families": ("cnn",), "device": "cpu"}
    without = smash.compare(run, **settings)
    winner, plain = without.contestants
    assert winner.latency > 0
    assert plain.latency is None
    assert "Plain networks were not timed" in without.verdict

    found = smash.compare(run, **settings, latency_command=command)
    again, timed_plain = found.contestants
    assert again.latency == winner.latency  # the file has as many bytes
    assert 0 < timed_plain.latency <= winner.latency
    assert "not timed" not in found.verdict
    runs = log.read_text()
    assert smash.compare(run, **settings, latency_command=command) == found
    assert log.read_text() == runs  # each network is timed once


def test_compare_refuses_a_command_that_the_search_did_not_have(timed, compared):
    settings = {"ranks": "0", "epochs": 1, "seeds": 1}
    for (run, *_), remedy in ((timed, "give the one that ran python"), (compared, "leave it out")):
        before = set(run.path.glob("children/*"))
        with pytest.raises(InvalidValueError, match=f"must be that of the search, .*{remedy}"):
            smash.compare(run, **settings, latency_command="python other.py {model}")
        assert set(run.path.glob("children/*")) == before
    with pytest.raises(InvalidValueError, match="latency_timeout is for a latency_command"):
        smash.CompareSettings(latency_timeout=5)


def test_compare_times_each_network_on_this_machine(compared):
    _, comparison, _ = compared
    assert all(0 < each.latency < 1 for each in comparison.contestants)
