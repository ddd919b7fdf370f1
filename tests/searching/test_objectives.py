from __future__ import annotations

import itertools
import json
import shutil

import pytest

import smash
from smash.cli.main import app
from smash.errors import InvalidValueError
from smash.profiling.names import COSTS
from smash.profiling.stored_times import CHILD, read_latencies
from smash.runtime.rng import generator
from smash.searching.objectives import (
    objective_faults,
    objective_values,
    pareto_front,
    quality_of,
    study_objectives,
)
from smash.searching.strategies import Nsga2
from tests.conftest import TINY
from tests.study.candidates import make_candidate


@pytest.mark.parametrize(
    ("objectives", "words"),
    [
        (["error"], "at least one of params, macs, memory, flash, latency"),
        (["params", "macs"], "one of error, loss, top5_error"),
        (["error", "loss", "params"], "one of error, loss, top5_error"),
        (["error", "params", "params"], "must differ"),
        (["eror", "params"], "did you mean 'error'"),
    ],
)
def test_objective_faults_name_the_rule(objectives, words):
    assert any(words in fault for fault in objective_faults(objectives))


def test_objective_faults_of_a_quality_and_costs_are_none():
    assert objective_faults([]) == objective_faults(["latency", "loss", "macs"]) == []


def test_quality_of_objectives_is_the_one_that_ranks():
    assert quality_of(["params", "top5_error"]) == "top5_error"


def test_objective_values_are_those_of_the_candidate():
    candidate = make_candidate()
    assert objective_values(candidate, ["params", "error"]) == (100.0, 0.1)
    with pytest.raises(InvalidValueError, match="latency of candidate a was not measured"):
        objective_values(candidate, ["error", "latency"])


def test_study_objectives_of_one_score_are_score_and_parameters():
    assert study_objectives({"rank_by": "error", "objectives": []}) == ("error", "params")
    assert study_objectives({"objectives": ["error", "macs"]}) == ("error", "macs")
    assert study_objectives(None) == ("loss", "params")


def test_pareto_front_holds_full_scores_that_none_dominates():
    candidates = [
        make_candidate("large", error=0.1, params=900),
        make_candidate("small", error=0.4, params=50),
        make_candidate("dominated", error=0.45, params=60),
        make_candidate("middle", error=0.2, params=300),
        make_candidate("dropped", error=0.0, params=1, partial=True),
    ]
    by_error = pareto_front(candidates, ["error", "params"])
    assert [each.id for each in by_error] == ["large", "middle", "small"]
    by_params = pareto_front(candidates, ["params", "error"])
    assert [each.id for each in by_params] == ["small", "middle", "large"]
    assert pareto_front(candidates[-1:], ["error", "params"]) == []


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    return smash.train(digits, tmp_path_factory.mktemp("objectives") / "run", epochs=1, **TINY)


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a run, without candidates."""
    shutil.copytree(trained.path, tmp_path / "run")
    return smash.Run.open(tmp_path / "run")


SEARCHES = {
    "evolution": {"strategy": "evolution"},
    "nsga2": {"objectives": ("error", "params")},
}


@pytest.mark.parametrize("strategy", SEARCHES)
def test_search_by_evolution_resumes_to_the_same_candidates(run, trained, tmp_path, strategy):
    settings = {**SEARCHES[strategy], "device": "cpu"}
    whole = smash.search(run, random=6, evolve=12, **settings).candidates()
    assert [each.strategy for each in whole] == ["random"] * 6 + [strategy] * 12
    shutil.copytree(trained.path, tmp_path / "cut")
    cut = smash.Run.open(tmp_path / "cut")
    smash.search(cut, random=6, evolve=3, **settings)
    again = smash.search(cut, random=6, evolve=12, **settings).candidates()
    assert {each.id: each.value for each in again} == {each.id: each.value for each in whole}


def test_search_by_nsga2_mutates_its_parents(run):
    study = smash.search(run, random=8, evolve=5, device="cpu", **SEARCHES["nsga2"])
    candidates = study.candidates()
    assert not any(each.partial for each in candidates)
    assert study.settings is not None
    assert study.settings["rank_by"] == "error"
    assert [each.value for each in candidates] == [each.error for each in candidates]
    # By hand: the same proposals from the same history.
    rng = generator(0, "nsga2 proposal", 3)
    strategy = Nsga2(run.space, ("error", "params"))
    proposed = {each.index: each.id for each in candidates if each.strategy == "nsga2"}
    taken = {each.id for each in candidates[:8]} | {proposed[index] for index in range(3)}
    while True:
        (architecture,) = strategy.propose(candidates[:8], rng, 1)
        if (expected := run.space.identify(architecture)) not in taken:
            break
    assert proposed[3] == expected


@pytest.mark.parametrize("cost", COSTS)
def test_search_by_each_cost_can_be_read_and_repeated(run, cost):
    settings = {"random": 2, "evolve": 1, "objectives": ("error", cost), "device": "cpu"}
    candidates = smash.search(run, **settings).candidates()
    assert len(candidates) == 3
    assert all(getattr(each, cost) for each in candidates)
    assert smash.search(run, **settings).candidates() == candidates


def test_search_with_latency_as_objective_measures_it_once(run):
    settings = {"random": 3, "evolve": 2, "objectives": ("loss", "latency"), "device": "cpu"}
    candidates = smash.search(run, **settings).candidates()
    assert all(0 < each.latency < 1 for each in candidates)
    stored = read_latencies(run.path, CHILD)
    assert {each.id: each.latency for each in candidates} == {
        name: time.seconds for name, time in stored.items()
    }
    assert smash.search(run, **settings).candidates() == candidates


def test_search_command_prints_the_pareto_front(run, capsys):
    def call(*words: str) -> str:
        app([*words], standalone_mode=False)
        return str(capsys.readouterr().out)

    path = str(run.path)
    printed = call(
        *("search", path, "--objectives", "error,params", "--random", "9", "--evolve", "4"),
        *("--device", "cpu"),
    )
    shown = call("show", path)
    assert "Pareto front of error, params" in printed
    assert "Pareto front of error, params" in shown
    rows = json.loads(call("show", path, "--json", "--top", "99"))
    candidates = smash.Study(run.study_path).candidates()
    dominated = {
        each.id
        for each, other in itertools.permutations(candidates, 2)
        if (other.error, other.params) != (each.error, each.params)
        and other.error <= each.error
        and other.params <= each.params
    }
    assert {row["id"] for row in rows if not row["pareto"]} == dominated
    front_only = json.loads(call("show", path, "--json", "--front"))
    assert front_only == [row for row in rows if row["pareto"]]
    assert all(row["id"] in shown for row in front_only)
