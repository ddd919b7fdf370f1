from __future__ import annotations

import torch

from smash.hypernet.cutting import cut

PLACES = {
    "a": ("wide", (slice(0, 2), slice(1, 3))),
    "b": ("wide", (slice(1, 3), slice(0, 4))),
    "c": ("long", (slice(2, 5),)),
    "d": ("wide", (slice(0, 1), slice(0, 1))),
    "e": ("unused", (slice(0, 1),)),
}


def _tensors() -> dict[str, torch.Tensor]:
    return {
        name: torch.arange(4.0 * rows).view(shape).requires_grad_()
        for name, rows, shape in (("wide", 3, (3, 4)), ("long", 2, (8,)), ("unused", 1, (4,)))
    }


def _loss(parts: dict[str, torch.Tensor]) -> torch.Tensor:
    a, b, c, d = (parts[name] for name in "abcd")
    return (a.exp() * b[:, :2]).sum() + (b.sum() * c * d).sum()


def test_cut_gives_the_values_of_slices_without_copying_them():
    tensors = _tensors()
    parts = cut(tensors, PLACES)
    assert list(parts) == list(PLACES)
    for name, (whole, part) in PLACES.items():
        assert torch.equal(parts[name], tensors[whole][part])
        assert parts[name].data_ptr() == tensors[whole][part].data_ptr()


def test_cut_backward_gives_the_gradients_of_slices():
    cut_tensors, sliced = _tensors(), _tensors()
    _loss(cut(cut_tensors, PLACES)).backward()
    _loss({name: sliced[whole][part] for name, (whole, part) in PLACES.items()}).backward()
    for name in ("wide", "long"):
        assert torch.equal(cut_tensors[name].grad, sliced[name].grad)


def test_cut_backward_without_a_gradient_leaves_a_tensor_without_one():
    tensors = _tensors()
    _loss(cut(tensors, PLACES)).backward()
    assert tensors["unused"].grad is None


def test_cut_without_gradients_gives_plain_views():
    with torch.no_grad():
        assert not any(part.requires_grad for part in cut(_tensors(), PLACES).values())


def test_cut_of_a_fixed_tensor_gives_fixed_parts():
    tensors = _tensors()
    tensors["long"].requires_grad_(False)
    parts = cut(tensors, PLACES)
    assert not parts["c"].requires_grad
    _loss(parts).backward()
    assert tensors["long"].grad is None
    assert tensors["wide"].grad is not None


def test_cut_without_places_gives_nothing():
    assert cut(_tensors(), {}) == {}
