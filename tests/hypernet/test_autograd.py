from __future__ import annotations

import pytest
import torch

from smash.hypernet.autograd import over_norm, take


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_parts_are_those_of_plain_indexing_and_so_are_their_gradients():
    places = [
        (0, (slice(0, 3), slice(1, 4))),
        (1, (slice(2, 5),)),
        (0, (slice(1, 4), slice(0, 2))),  # overlaps the first
        (0, (slice(None), slice(None))),
    ]
    found, expected = [], []
    for results, pick in ((found, take), (expected, None)):
        wholes = [draw(4, 5).requires_grad_(), draw(6, seed=1).requires_grad_()]
        parts = pick(wholes, places) if pick else [wholes[i][place] for i, place in places]
        sum((part * draw(*part.shape, seed=i)).sum() for i, part in enumerate(parts)).backward()
        results += [*(part.detach() for part in parts), *(whole.grad for whole in wholes)]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_what_is_not_used_or_not_learned_keeps_no_gradient():
    unused, fixed, used = (draw(3, seed=i).requires_grad_(i != 1) for i in range(3))
    places = [(0, (slice(2),)), (1, (slice(2),)), (2, (slice(2),))]
    of_unused, of_fixed, of_used = take([unused, fixed, used], places)
    assert of_unused.requires_grad
    assert not of_fixed.requires_grad
    (of_used * of_fixed).sum().backward()
    assert unused.grad is None
    assert fixed.grad is None
    assert torch.equal(used.grad, torch.cat([fixed[:2], fixed.new_zeros(1)]))


def test_divides_by_the_norm():
    (found,) = over_norm([torch.tensor([[3.0, 0.0], [0.0, 4.0]])])
    assert found.tolist() == [[pytest.approx(0.6), 0], [0, pytest.approx(0.8)]]


def test_gradients_are_finite_differences():
    a, b = draw(2, 3).requires_grad_(), draw(4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda *tensors: over_norm(tensors), (a, b))
    places = [(0, (slice(0, 1), slice(1, 3))), (1, (slice(1, 4),))]
    assert torch.autograd.gradcheck(lambda *tensors: take(tensors, places), (a, b))


def test_nothing_gives_nothing():
    assert take([draw(2)], []) == ()
    assert over_norm([]) == ()
