from __future__ import annotations

import json
import math

import pytest
import torch

from smash.study.candidate import from_attributes, to_attributes
from tests.study.candidates import make_candidate


def test_state_goes_from_proposed_over_running_to_settled():
    candidate = make_candidate(score=None)
    assert candidate.state == "proposed"
    with pytest.raises(ValueError, match="candidate a has no score yet: it is proposed"):
        _ = candidate.error
    candidate.trace[100] = 0.5
    assert candidate.state == "running"
    candidate.score = make_candidate().score
    assert candidate.state == "settled"
    assert candidate.error == 0.1


def test_comparable_value_of_a_partial_score_is_infinite():
    assert make_candidate(loss=0.5).comparable_value == 0.5
    assert make_candidate(loss=0.5, partial=True).comparable_value == math.inf


def test_comparable_value_with_a_prior_is_the_joint_score():
    assert make_candidate(loss=0.5, key=-3.0).comparable_value == -3.0
    assert make_candidate(loss=0.5, key=-3.0, partial=True).comparable_value == math.inf


def test_candidate_is_read_as_it_was_written():
    candidate = make_candidate(
        proxy=(-math.inf, 2.0), latency=0.01, trace={4: 0.75, 8: 0.5}, partial=True,
        ensemble_error=0.25, values=torch.ones(8), predicted=torch.ones(8, 2),
    )  # fmt: skip
    attributes = to_attributes(candidate, {"layers": [1, 2]})
    assert attributes["proxy"] == [None, 2.0]  # JSON has no infinity
    assert not attributes.keys() & {"trace", "values", "predicted"}
    read = from_attributes(
        attributes, candidate.trace, lambda text: tuple(json.loads(text)["layers"])
    )
    candidate.architecture = (1, 2)
    assert read == candidate
    assert read.values is None


@pytest.mark.parametrize("name", ["id", "architecture", "loss", "params"])
def test_candidate_without_an_attribute_is_refused(name):
    attributes = to_attributes(make_candidate(), {})
    del attributes[name]
    with pytest.raises((KeyError, ValueError), match=name):
        from_attributes(attributes, {}, json.loads)


def test_candidate_reads_its_architecture_once_when_it_is_used():
    texts = []
    attributes = to_attributes(make_candidate(), {"layers": [1]})
    candidate = from_attributes(attributes, {}, lambda text: texts.append(text) or (1,))
    assert texts == []
    assert candidate.architecture == candidate.architecture == (1,)
    assert texts == ['{"layers":[1]}']
