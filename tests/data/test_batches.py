import torch

from smash.data import Split, batches, epoch_order, training_batch


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
    assert epoch_order(100, 3, 5, torch.device("meta")).device.type == "meta"
    others = [epoch_order(100, 5, 3), epoch_order(100, 3, 6), epoch_order(100, 4, 5)]
    assert not any(torch.equal(order, other) for other in others)


def seen(n: int, views: int) -> Split:
    """Examples whose pixels say which view of which example they are: 10 · example + view."""
    images = 10 * torch.arange(n)[:, None] + torch.arange(views)
    return Split(images.view(n * views, 1, 1), torch.arange(n), views)


def test_subset_and_batches_have_all_views_of_their_examples():
    split = seen(4, 3)
    found = split.subset(torch.tensor([2, 0]))
    assert found.images.flatten().tolist() == [20, 21, 22, 0, 1, 2]
    assert found.labels.tolist() == [2, 0]
    for order in (None, torch.arange(4)):
        parts = list(batches(split, 3, order))
        assert [part.labels.tolist() for part in parts] == [[0, 1, 2], [3]]
        assert torch.equal(torch.cat([part.images for part in parts]), split.images)
        assert {part.views for part in parts} == {3}
    assert split.to("cpu").views == 3


def test_first_views_are_one_of_each_example_without_a_copy():
    split = seen(3, 4)
    assert split.first_views.images.flatten().tolist() == [0, 10, 20]
    assert split.first_views.labels.tolist() == [0, 1, 2]
    assert split.first_views.views == 1
    assert split.first_views.images.data_ptr() == split.images.data_ptr()


def test_training_batch_has_a_random_view_of_each_example():
    split, order = seen(1000, 3), torch.arange(1000).flip(0)
    batch = training_batch(split, order, seed=1, step=2)
    assert batch.views == 1
    assert torch.equal(batch.labels, order)
    example, view = (batch.images.flatten() // 10, batch.images.flatten() % 10)
    assert torch.equal(example, order)
    # Binomial with n = 1000 and p = 1/3: 5 standard deviations are 75.
    assert all(abs(count - 1000 / 3) < 75 for count in torch.bincount(view).tolist())

    torch.rand(3)
    assert torch.equal(batch.images, training_batch(split, order, seed=1, step=2).images)
    for seed, step in ((2, 2), (1, 3)):
        assert not torch.equal(batch.images, training_batch(split, order, seed, step).images)


def test_training_batch_of_one_view_is_its_examples():
    batch = training_batch(numbered(7), torch.tensor([6, 0, 3]), seed=0, step=0)
    assert batch.images.flatten().tolist() == [6, 0, 3]


def test_part_of_a_part_equals_a_copy_and_shares_images():
    images = torch.arange(24).view(12, 1, 2).to(torch.uint8)
    split = Split(images, torch.arange(6), views=2)
    part = split.part(torch.tensor([5, 0, 3, 4])).part(torch.tensor([3, 1, 0]))
    assert part.stored is images
    assert part.labels.tolist() == [4, 0, 5]
    assert torch.equal(part.images, images[[8, 9, 0, 1, 10, 11]])
    assert torch.equal(part.first_views.images, images[[8, 0, 10]])
    assert torch.equal(split.first_views.images, images[::2])
    assert torch.equal(part.subset(torch.tensor([1])).images, images[:2])
    assert torch.equal(part.subset(slice(1, 9)).images, images[[0, 1, 10, 11]])
    one_each = part.subset_of_views(torch.tensor([2, 0]), torch.tensor([1, 0]))
    assert torch.equal(one_each.images, images[[11, 8]])
    assert one_each.labels.tolist() == [5, 4]
    for (taken, labels), number in zip(
        ((b.images, b.labels) for b in batches(part, 2)), ([8, 9, 0, 1], [10, 11]), strict=True
    ):
        assert torch.equal(taken, images[number])
        assert labels.tolist() == ([4, 0] if len(number) == 4 else [5])
