from __future__ import annotations

import numpy as np
import pytest

from smash.errors import InvalidValueError
from smash.scoring.priors import Prefilter, check_proxy, choose_prior, joint_score, proxy_score


@pytest.mark.parametrize(("smoothing", "top"), [("", 0.5), ("main-effects+", 0.5), ("paths+", 0.3)])
def test_joint_score_counts_the_score_twice_and_the_first_proxy_at_the_top(smoothing, top):
    # top · log(1 − r) − Σ weight · log r, with ranks r of 3/4, 2/4 and 1/4 of the score, and
    # 1/4, 2/4 and 3/4 of the first proxy; the second, which is constant, has 2/4.
    scores, values = np.array([0.1, 0.2, 0.3]), [(1.0, 7.0), (2.0, 7.0), (3.0, 7.0)]
    expected = [
        top * np.log(1 - first) - 2 * np.log(score) - np.log(first) - np.log(0.5)
        for score, first in ((0.75, 0.25), (0.5, 0.5), (0.25, 0.75))
    ]
    assert joint_score(f"{smoothing}naswot+macs", scores, values) == pytest.approx(expected)


def test_joint_score_of_good_candidates_is_decided_by_the_first_proxy():
    ranks = np.arange(100.0)
    swapped = ranks.copy()
    swapped[[99, 94]] = swapped[[94, 99]]  # the best by the proxy is the sixth by the score
    values = [(value,) for value in swapped]
    assert joint_score("naswot", -ranks, values).argmin() == 94


def test_joint_score_with_a_size_leaves_the_order_of_the_best_to_both():
    scores, values = np.array([0.1, 0.2, 0.3]), [(1.0,), (2.0,), (3.0,)]
    expected = [-2 * np.log(4 - rank) - np.log(rank) + 3 * np.log(4) for rank in (1, 2, 3)]
    assert joint_score("macs", scores, values) == pytest.approx(expected)


def test_proxy_score_of_several_values_joins_their_ranks():
    values = [(1.0, 5.0, np.nan, 1.0), (2.0, 4.0, 1.0, 1.0)]  # ranks 1 2, 2 1, 1 2 and 1.5 twice
    worse, better = proxy_score("az-nas", values)
    assert worse == pytest.approx(2 * np.log(1 / 3) + np.log(2 / 3) + np.log(1.5 / 3))
    assert better == pytest.approx(np.log(1 / 3) + 2 * np.log(2 / 3) + np.log(1.5 / 3))


def test_proxy_with_several_values_counts_once_in_a_joint_score():
    scores, az_nas = np.array([0.1, 0.2, 0.3]), [(1.0, 3.0, 2.0, 2.0)] * 3
    constant = [(1.0,)] * 3
    assert joint_score("az-nas", scores, az_nas) == pytest.approx(
        joint_score("naswot", scores, constant)
    )


def test_proxy_score_of_one_value_is_that_value():
    assert proxy_score("params", [(3.0,), (1.0,)]).tolist() == [3, 1]
    assert proxy_score("naswot", [(3.0,), (-np.inf,)]).tolist() == [3, -np.inf]


def test_proxy_score_of_joined_proxies_joins_their_ranks():
    # log(rank / 3) of both, with ranks 2, 1 and 1, 2: neither is ahead.
    first, second = proxy_score("naswot+params", [(3.0, 10.0), (1.0, 20.0)])
    assert first == second == pytest.approx(np.log(2 / 9))


def test_choose_prior_is_the_setting_or_that_of_the_space():
    assert choose_prior(None, "nas-bench-201") == "paths+generated-synflow+az-nas"
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
