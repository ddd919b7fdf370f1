import torch

from smash.data import Split, batches, epoch_order


def numbered(n: int) -> Split:
    return Split(torch.arange(n)[:, None, None].float(), torch.arange(n))


def test_batches_cover_the_split_in_order():
    labels = [batch.labels.tolist() for batch in batches(numbered(7), 3)]
    assert labels == [[0, 1, 2], [3, 4, 5], [6]]


def test_batches_follow_an_order_which_may_be_a_part():
    found = list(batches(numbered(7), 2, torch.tensor([6, 0, 3])))
    assert [batch.labels.tolist() for batch in found] == [[6, 0], [3]]
    assert [batch.images.flatten().tolist() for batch in found] == [[6, 0], [3]]


def test_epoch_order_is_a_permutation_of_seed_and_epoch_alone():
    order = epoch_order(100, seed=3, epoch=5)
    torch.rand(3)
    assert torch.equal(order, epoch_order(100, seed=3, epoch=5))
    assert order.sort().values.tolist() == list(range(100))
    others = [epoch_order(100, 5, 3), epoch_order(100, 3, 6), epoch_order(100, 4, 5)]
    assert not any(torch.equal(order, other) for other in others)
