from __future__ import annotations

from itertools import product

from smash.study.ranking import rank
from tests.study.candidates import make_candidate


def test_rank_puts_partial_scores_last_and_of_them_the_longest_seen_first():
    candidates = [
        make_candidate("early", 0.1, partial=True, examples=100),
        make_candidate("second", 0.5, examples=400),
        make_candidate("late", 0.9, partial=True, examples=200),
        make_candidate("first", 0.4, examples=400),
    ]
    ranking = rank(candidates)
    assert [each.candidate.id for each in ranking] == ["first", "second", "late", "early"]
    assert [each.score_rank for each in ranking] == [0, 1, 2, 3]
    assert {each.proxy_rank for each in ranking} == {None}


def test_rank_with_a_prior_orders_by_score_and_proxy_together():
    candidates = [
        make_candidate(name, loss, proxy=(params,))
        for name, loss, params in (("a", 0.1, 1.0), ("b", 0.2, 3.0), ("c", 0.3, 2.0))
    ]
    # 2 · log(rank of score) + log(rank of proxy), the best having rank 3: 9·1, 4·3, 1·2.
    ranking = rank(candidates, prior="params")
    assert [each.candidate.id for each in ranking] == ["b", "a", "c"]
    assert [each.proxy_rank for each in ranking] == [0, 2, 1]


def test_rank_with_main_effects_draws_full_scores_towards_what_their_choices_do():
    names, costs = ("kernel", "depth", "width"), {"a": 0.2, "b": 0.1, "c": 0.0}
    scores = {each: 0.3 + sum(map(costs.get, each)) for each in product("abc", repeat=3)}
    scores["a", "a", "a"] = 0.29  # by luck of the combination: all of its options are the worst
    full = [
        make_candidate(
            "".join(each), loss, architecture=dict(zip(names, each, strict=True)), examples=400
        )
        for each, loss in scores.items()
    ]
    best = dict.fromkeys(names, "c")
    dropped = make_candidate("x", 0.0, architecture=best, partial=True, examples=100)
    plain, smooth = rank([*full, dropped]), rank([*full, dropped], prior="main-effects")
    assert [each.candidate.id for each in plain][:2] == ["aaa", "ccc"]
    assert smooth[0].candidate.id == "ccc"
    assert [each.score_rank for each in smooth] == list(range(28))
    assert smooth[-1].candidate is dropped


def test_rank_of_nothing_is_empty():
    assert rank([], prior="params") == []
