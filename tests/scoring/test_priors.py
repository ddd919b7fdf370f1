from __future__ import annotations

import numpy as np
import pytest

from smash.errors import InvalidValueError
from smash.scoring.priors import Prefilter, check_proxy, choose_prior, joint_score, proxy_score


def test_joint_score_counts_the_score_twice():
    # −Σ weight · log(rank / 3), with ranks of the score 3, 2, 1 and of the proxy 1, 2, 3.
    found = joint_score(np.array([0.1, 0.2, 0.3]), [(1.0,), (2.0,), (3.0,)])
    expected = [-np.log(1 / 3), -3 * np.log(2 / 3), -2 * np.log(1 / 3)]
    assert found == pytest.approx(expected)


def test_proxy_score_of_one_value_is_that_value():
    assert proxy_score("params", [(3.0,), (1.0,)]).tolist() == [3, 1]
    assert proxy_score("naswot", [(3.0,), (-np.inf,)]).tolist() == [3, -np.inf]


def test_proxy_score_of_joined_proxies_joins_their_ranks():
    # log(rank / 2) of both, with ranks 2, 1 and 1, 2: neither is ahead.
    first, second = proxy_score("naswot+params", [(3.0, 10.0), (1.0, 20.0)])
    assert first == second == pytest.approx(np.log(1 / 2))


def test_choose_prior_is_the_setting_or_that_of_the_space():
    assert choose_prior(None, "nas-bench-201") == "generated-synflow"
    assert choose_prior(None, "memory-bank") is None
    assert choose_prior(None, "mobile") == choose_prior(None, "mine.py:network") == "macs"
    assert choose_prior("params", "nas-bench-201") == "params"
    assert choose_prior("none", "nas-bench-201") is None


def test_check_proxy_of_an_unknown_name_raises():
    check_proxy("prior", None)
    check_proxy("prior", "macs")
    check_proxy("prior", "naswot+macs")
    with pytest.raises(InvalidValueError, match="prior 'mac' is not known: did you mean"):
        check_proxy("prior", "naswot+mac")
    with pytest.raises(InvalidValueError, match="prior 'synflo' is not known: did you mean"):
        check_proxy("prior", "synflo")


def test_prefilter_sorts_by_its_proxy_and_keeps_its_share():
    prefilter = Prefilter.parse("params:0.4")
    assert prefilter.sort([(1.0,), (3.0,), (2.0,)]) == [1, 2, 0]
    assert (prefilter.quota(3), prefilter.quota(10), str(prefilter)) == (2, 4, "params:0.4")
    assert Prefilter.parse("macs").share == 0.25


def test_prefilter_with_several_faults_reports_all():
    with pytest.raises(InvalidValueError) as caught:
        Prefilter.parse("flops:2")
    assert len(caught.value.faults) == 2
