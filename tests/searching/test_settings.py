from __future__ import annotations

import subprocess
import sys

import pytest

from smash.errors import InvalidValueError
from smash.searching.settings import SearchSettings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"random": 0}, "random must be at least 1, got 0"),
        ({"perturb": -1}, "perturb must be at least 0, got -1"),
        ({"rate": 0}, "rate must be greater than 0, got 0"),
        ({"keep": 0}, "keep must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"rank_by": "los"}, "did you mean 'loss'"),
        ({"split": "tset"}, "did you mean 'test'"),
        ({"prior": "az-nass"}, "did you mean 'az-nas'"),
        ({"prefilter": "flops"}, "prefilter 'flops' is not known"),
        ({"prefilter": "params:1"}, "more than 0 and less than 1, got '1'"),
        ({"prefilter": "params:many"}, "got 'many'"),
        ({"prefilter": "params:nan"}, "got 'nan'"),
        ({"max_latency": "5"}, "such as 5ms"),
        ({"max_params": 0}, "max_params must be at least 1"),
        ({"device": "gpu"}, "device 'gpu' is not known"),
        ({"ray": "here"}, "ray must be auto, local or HOST:PORT"),
        ({"strategy": "evolution", "perturb": 5}, "perturb must be 0 with strategy 'evolution'"),
        ({"evolve": 5}, "evolve must be 0 with strategy 'perturbation'"),
        ({"strategy": "nsga2"}, "needs objectives, got none"),
        ({"objectives": ("error", "params"), "rank_by": "top5_error"}, "rank_by must be among"),
        ({"objectives": ("error", "params"), "rank_by": "loss"}, "rank_by must be among"),
        ({"latency_format": "onnx"}, "latency_format is for a latency_command, got none"),
        ({"latency_timeout": 5}, "latency_timeout is for a latency_command, got none"),
        ({"full": True, "keep": 10}, "keep is for a race, got 10 and no race"),
        ({"strategy": "gradient", "perturb": 0}, "strategy 'gradient' is for perturb, got 0"),
        ({"objectives": ("error",)}, "at least one of params, macs, memory, flash, latency"),
        ({"candidates": 3}, "candidates"),
    ],
)
def test_search_settings_with_a_fault_are_refused(settings, words):
    with pytest.raises(InvalidValueError) as caught:
        SearchSettings(**settings)
    assert words in str(caught.value)


def test_search_settings_report_all_faults():
    with pytest.raises(InvalidValueError) as caught:
        SearchSettings(
            random=0, prior="naswott", strategy="gradient", objectives=("error", "params")
        )
    assert len(caught.value.faults) == 3


def test_resolved_settings_of_perturbation_have_its_counts():
    settings = SearchSettings(markov=0).resolved("memory-bank")
    assert (settings.random, settings.perturb, settings.markov, settings.evolve) == (500, 100, 0, 0)
    assert settings.identity()["prior"] is None
    assert SearchSettings().resolved("nas-bench-201").prior == "paths+generated-synflow+az-nas"
    assert SearchSettings(prior="none").resolved("nas-bench-201").identity()["prior"] is None


def test_resolved_settings_of_objectives_are_those_of_nsga2():
    settings = SearchSettings(objectives=("params", "error"), evolve=7).resolved("nas-bench-201")
    assert (settings.random, settings.perturb, settings.markov, settings.evolve) == (100, 0, 0, 7)
    assert (settings.strategy, settings.rank_by, settings.full) == ("nsga2", "error", True)
    assert settings.identity()["prior"] is None


def test_identity_leaves_out_what_may_change_and_normalises_the_rest():
    first = SearchSettings(random=5, prefilter="params", max_latency="5ms")
    second = SearchSettings(random=9, batch_size=7, prefilter="params:0.25", max_latency=0.005)
    identities = [each.resolved("memory-bank").identity() for each in (first, second)]
    assert identities[0] == identities[1]
    assert identities[0]["max_latency"] == 0.005
    assert identities[0] != SearchSettings(seed=1).resolved("memory-bank").identity()


def test_importing_the_settings_imports_neither_torch_nor_optuna():
    code = "import sys, smash.searching.settings as s; s.SearchSettings; "
    code += "print(sorted({'torch', 'optuna', 'numpy'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("option", "here", "there"),
    [
        ("latency_table", "table.csv", "/home/me/table.csv"),
        ("latency_command", "python time.py {model}", "/usr/bin/python ../time.py {model}"),
    ],
)
def test_identity_is_of_files_and_not_of_the_folders_that_they_lie_in(option, here, there):
    identities = [
        SearchSettings(max_latency="5ms", **{option: path}).resolved("mobile").identity()
        for path in (here, there)
    ]
    assert identities[0] == identities[1]
    assert "home" not in str(identities)
    other = SearchSettings(max_latency="5ms", **{option: here.replace("t", "s")})
    assert other.resolved("mobile").identity() != identities[0]
