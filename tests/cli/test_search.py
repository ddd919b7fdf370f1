"""The last lines of ``smash search``."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from smash.cli.search import _shortfall
from smash.searching.settings import SearchSettings

COUNTS = {"random": 5, "perturb": 0, "markov": 0}


@pytest.mark.parametrize(
    ("found", "changes", "said"),
    [
        (3, {}, ["no more networks are within the limits: 3 candidates of 5 asked for"]),
        (5, {}, []),
        (8, {}, []),  # of an earlier search, which asked for more
        (5, {"markov": 2}, ["no more networks are within the limits: 5 candidates of 7 asked for"]),
        (3, {"minutes": 1}, []),
        (3, {"prefilter": "macs"}, []),
    ],
)
def test_a_search_of_too_small_a_space_says_how_many_it_found(found, changes, said):
    study = SimpleNamespace(shared=False, candidates=lambda: [None] * found)
    run = SimpleNamespace(settings=SimpleNamespace(space=SimpleNamespace(name="mobile")))
    settings = SearchSettings(**COUNTS | changes)
    assert _shortfall(run, study, settings) == said
    study.shared = True  # others may extend it
    assert _shortfall(run, study, settings) == []
