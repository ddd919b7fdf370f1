from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace

import pytest

import smash
from smash.cli.main import app
from smash.errors import InvalidValueError
from smash.profiling.latency import CHILD, read_latencies
from smash.runtime.rng import generator
from smash.searching.objectives import check_objectives, front, of_study, quality_of, values
from smash.searching.strategies import Nsga2, Scored
from smash.study.study import Candidate
from tests.conftest import TINY

ONE = Candidate(
    id="a",
    architecture={},
    strategy="random",
    index=0,
    value=0.5,
    error=0.1,
    top5_error=0.0,
    ensemble_error=0.1,
    loss=0.5,
    split="val",
    examples=10,
    params=100,
    macs=1000,
)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["error"], "at least one of params, macs, latency"),
        (["params", "macs"], "one of error, loss, top5_error"),
        (["error", "loss", "params"], "one of error, loss, top5_error"),
        (["error", "params", "params"], "must differ"),
        (["eror", "params"], "did you mean 'error'"),
    ],
)
def test_objectives_are_one_quality_and_costs(given, words):
    assert any(words in fault for fault in check_objectives(given))
    assert check_objectives([]) == check_objectives(["latency", "loss", "macs"]) == []


def test_what_ranks_and_what_is_weighed():
    assert quality_of(["params", "top5_error"]) == "top5_error"
    assert values(ONE, ["params", "error"]) == (100.0, 0.1)
    assert values(ONE, []) == ()
    with pytest.raises(InvalidValueError, match="latency of candidate a was not measured"):
        values(ONE, ["error", "latency"])


def test_a_study_by_one_score_is_weighed_against_parameters():
    assert of_study({"rank_by": "loss", "objectives": None}) == ("loss", "params")
    assert of_study({"objectives": "error,params,macs"}) == ("error", "params", "macs")
    assert of_study(None) == ("loss", "params")


def test_the_front_holds_full_scores_that_none_dominates():
    def candidate(identity, error, params, **changes):
        return replace(ONE, id=identity, error=error, params=params, **changes)

    candidates = [
        candidate("large", 0.1, 900),
        candidate("small", 0.4, 50),
        candidate("dominated", 0.45, 60),
        candidate("middle", 0.2, 300),
        candidate("dropped", 0.0, 1, partial=True),
    ]
    assert [one.id for one in front(candidates, ["error", "params"])] == [
        "large",
        "middle",
        "small",
    ]
    assert [one.id for one in front(candidates, ["params", "error"])] == [
        "small",
        "middle",
        "large",
    ]
    assert front(candidates[-1:], ["error", "params"]) == []


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
def test_a_search_by_evolution_goes_on_where_it_was_cut(run, trained, tmp_path, strategy):
    asked = {**SEARCHES[strategy], "device": "cpu"}
    whole = smash.search(run, random=6, evolve=12, **asked).candidates()
    assert [one.strategy for one in whole] == ["random"] * 6 + [strategy] * 12
    shutil.copytree(trained.path, tmp_path / "cut")
    cut = smash.Run.open(tmp_path / "cut")
    smash.search(cut, random=6, evolve=3, **asked)
    again = smash.search(cut, random=6, evolve=12, **asked).candidates()
    assert {one.id: one.value for one in again} == {one.id: one.value for one in whole}


def test_nsga2_changes_those_that_were_not_dominated(run):
    study = smash.search(run, random=8, evolve=5, device="cpu", **SEARCHES["nsga2"])
    candidates = study.candidates()
    assert not any(one.partial for one in candidates)
    assert study.settings is not None
    assert study.settings["rank_by"] == "error"
    assert [one.value for one in candidates] == [one.error for one in candidates]
    # By hand: the same proposals from the same history.
    rng = generator(0, "nsga2 proposal", 3)
    history = [
        Scored(run.space.from_json(one.architecture), one.value, "random", None, 0, point)
        for one, point in ((one, values(one, ("error", "params"))) for one in candidates[:8])
    ]
    proposed = {one.index: one.id for one in candidates if one.strategy == "nsga2"}
    taken = {one.id for one in candidates[:8]} | {proposed[index] for index in range(3)}
    while (expected := run.space.identify(Nsga2(run.space).propose(history, rng))) in taken:
        pass
    assert proposed[3] == expected


def test_latency_is_measured_where_it_is_an_objective(run):
    asked = {"random": 3, "evolve": 2, "objectives": ("loss", "latency"), "device": "cpu"}
    candidates = smash.search(run, **asked).candidates()
    assert all(0 < one.latency < 1 for one in candidates)
    kept = read_latencies(run.path, CHILD)
    assert {one.id: one.latency for one in candidates} == {
        name: time.seconds for name, time in kept.items()
    }
    assert smash.search(run, **asked).candidates() == candidates  # kept, and not measured again


def test_what_does_not_fit_together_is_refused_before_scoring(run):
    with pytest.raises(InvalidValueError) as caught:
        smash.search(run, strategy="gradient", objectives=("error", "params"), evolve=5)
    assert len(caught.value.faults) == 2
    with pytest.raises(InvalidValueError, match="perturb must be 0 with strategy 'evolution'"):
        smash.search(run, strategy="evolution", perturb=5)
    with pytest.raises(InvalidValueError, match="needs objectives, got none"):
        smash.search(run, strategy="nsga2")
    with pytest.raises(InvalidValueError, match="rank_by must be among the objectives"):
        smash.search(run, objectives=("error", "params"), rank_by="top5_error")
    assert not run.study_path.exists()


def test_the_command_shows_the_front(run, capsys):
    def call(*words: str) -> str:
        app([*words], standalone_mode=False)
        return str(capsys.readouterr().out)

    path = str(run.path)
    search = call(
        *("search", path, "--objectives", "error,params", "--random", "9", "--evolve", "4"),
        *("--device", "cpu"),
    )
    shown = call("show", path)
    assert "Pareto front of error, params" in search
    assert "Pareto front of error, params" in shown
    rows = json.loads(call("show", path, "--json", "--top", "99"))
    candidates = smash.Study(run.study_path).candidates()
    dominated = {
        one.id
        for one, other in itertools.permutations(candidates, 2)
        if (other.error, other.params) != (one.error, one.params)
        and other.error <= one.error
        and other.params <= one.params
    }
    assert {row["id"] for row in rows if not row["pareto"]} == dominated
    front_only = json.loads(call("show", path, "--json", "--front"))
    assert front_only == [row for row in rows if row["pareto"]]
    assert all(row["id"] in shown for row in front_only)
