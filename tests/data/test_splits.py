import pytest
import torch

from smash.data import Split
from smash.data.splits import check_classes, cut, cut_fold, cut_folds, cut_last
from smash.errors import DataError


def labelled(counts: list[int]) -> Split:
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    return Split(torch.arange(len(labels))[:, None, None], labels)


def test_cut_takes_the_share_of_each_class_and_every_example_once():
    split = labelled([100, 40, 14, 3])
    rest, part = cut(split, 0.15, seed=1, keep=2)
    assert torch.bincount(part.labels).tolist() == [15, 6, 2, 1]
    assert torch.bincount(rest.labels).tolist() == [85, 34, 12, 2]
    found = torch.cat([rest.images, part.images]).flatten().sort().values
    assert found.tolist() == list(range(157))
    for piece in (rest, part):
        assert torch.equal(split.labels[piece.images.flatten()], piece.labels)


@pytest.mark.parametrize(("fraction", "taken"), [(0.1, 3), (0.01, 1), (0.99, 29)])
def test_cut_last_takes_the_last_examples_in_file_order(fraction, taken):
    images = torch.arange(60).view(60, 1, 1)
    rest, part = cut_last(Split(images, torch.arange(30), views=2), fraction)
    assert rest.labels.tolist() == list(range(30 - taken))
    assert part.labels.tolist() == list(range(30 - taken, 30))
    assert part.images.flatten().tolist() == list(range(60 - 2 * taken, 60))


def test_cut_keeps_the_views_of_an_example_together():
    whole = labelled([20, 10])
    images = (10 * torch.arange(30)[:, None] + torch.arange(4)).view(120, 1, 1)
    for piece in cut(Split(images, whole.labels, views=4), 0.2, seed=1, keep=1):
        of_example = piece.images.view(-1, 4)
        assert piece.views == 4
        assert torch.equal(of_example % 10, torch.arange(4).expand(len(piece), 4))
        assert torch.equal(of_example // 10, (of_example[:, :1] // 10).expand(-1, 4))
        assert torch.equal(whole.labels[of_example[:, 0] // 10], piece.labels)


def test_cut_fold_takes_every_example_in_one_fold_and_each_class_in_all():
    split = labelled([100, 40, 7])
    cuts = [cut_fold(split, number, 5, seed=1, keep=2) for number in range(1, 6)]
    taken = [part.images.flatten().tolist() for _, part in cuts]
    assert sorted(example for part in taken for example in part) == list(range(147))
    for (rest, part), own in zip(cuts, taken, strict=True):
        counts = torch.bincount(part.labels).tolist()
        assert counts[:2] == [20, 8]
        assert 1 <= counts[2] <= 2
        assert sorted([*rest.images.flatten().tolist(), *own]) == list(range(147))


def test_cut_fold_leaves_groups_whole_and_takes_each_once():
    labels = torch.arange(60) % 3
    split = Split(torch.arange(60)[:, None, None], labels, groups=torch.arange(60) // 6)
    cuts = [cut_fold(split, number, 3, seed=1, keep=2) for number in (1, 2, 3)]
    groups = [set(part.groups.tolist()) for _, part in cuts]
    assert sorted(group for part in groups for group in part) == list(range(10))
    for (rest, _), own in zip(cuts, groups, strict=True):
        assert set(rest.groups.tolist()) == set(range(10)) - own


@pytest.mark.parametrize(
    ("counts", "folds", "group", "fault"),
    [
        ([9, 4], 5, None, "each of 5 folds must have each class .* rarest class has 4: add exam"),
        ([9, 3], 2, None, "leave 2 examples of it, but the rarest class has 3"),
        ([9, 6], 5, 3, "leave 2 groups of it, but the rarest class has 2: add groups of it"),
    ],
)
def test_cut_fold_of_too_rare_a_class_is_refused(counts, folds, group, fault):
    split = labelled(counts)
    if group:
        labels = split.labels.sort().values
        split = Split(split.images, labels, groups=torch.arange(len(labels)) // group)
    with pytest.raises(DataError, match=fault):
        cut_fold(split, 1, folds, seed=1, keep=2)


@pytest.mark.parametrize(("fraction", "share"), [(0.2, 0.2), (0.9, 0.25)])
def test_cut_folds_takes_parts_of_equal_shares_that_share_no_example(fraction, share):
    folds = cut_folds(labelled([100, 40]), fraction, seed=1, count=3)
    taken = [part.images.flatten().tolist() for _, part in folds]
    assert len({example for part in taken for example in part}) == sum(map(len, taken))
    for (rest, part), own in zip(folds, taken, strict=True):
        assert torch.bincount(part.labels).tolist() == [100 * share, 40 * share]
        assert sorted([*rest.images.flatten().tolist(), *own]) == list(range(140))


def test_cut_folds_leaves_groups_whole_and_apart():
    labels = torch.arange(60) % 3
    split = Split(torch.arange(60)[:, None, None], labels, groups=torch.arange(60) // 6)
    folds = cut_folds(split, 0.2, seed=1, count=4)
    groups = [set(part.groups.tolist()) for _, part in folds]
    assert [len(part) for part in groups] == [2, 2, 2, 2]
    assert len(set.union(*groups)) == 8
    for (rest, _), own in zip(folds, groups, strict=True):
        assert set(rest.groups.tolist()) == set(range(10)) - own


@pytest.mark.parametrize(("keep", "taken"), [(1, 2), (2, 1)])
def test_cut_keeps_the_needed_examples_of_each_class(keep, taken):
    _, part = cut(labelled([3, 3]), 0.9, seed=1, keep=keep)
    assert torch.bincount(part.labels).tolist() == [taken, taken]


def test_cut_depends_on_its_seed_alone():
    split = labelled([50, 50])
    first = cut(split, 0.2, seed=1, keep=1)[1].images
    torch.rand(3)
    assert torch.equal(first, cut(split, 0.2, seed=1, keep=1)[1].images)
    assert not torch.equal(first, cut(split, 0.2, seed=2, keep=1)[1].images)


@pytest.mark.parametrize(
    ("names", "counts", "lines"),
    [
        (("a",), {"train": [5]}, ["found 1 ('a')"]),
        ((), {"train": [0]}, ["found 0 (none)"]),
        (
            ("a", "b"),
            {"train": [2, 3]},
            ["'a' must have at least 3 examples, for train, val, test, has 2"],
        ),
        (
            ("a", "b"),
            {"train": [2, 1], "test": [1, 1]},
            ["'b' must have at least 2 examples, for train, val, has 1"],
        ),
        (("a", "b"), {"train": [2, 2], "val": [1, 0]}, ["'b' has no example in the val split"]),
        (
            ("a", "b"),
            {"train": [0, 1], "val": [1, 1], "test": [0, 1]},
            ["'a' has no example in the train split: mend it", "'a' has no"],
        ),
        (tuple("abcdefghijkl"), {"train": [1] * 12}, ["class "] * 10 + ["and 2 more"]),
    ],
)
def test_check_classes_with_too_few_examples_names_them(names, counts, lines):
    labels = {split: labelled(of_split).labels for split, of_split in counts.items()}
    with pytest.raises(DataError) as caught:
        check_classes(names, labels, "mend it")
    assert len(caught.value.faults) == len(lines)
    for line, fault in zip(lines, caught.value.faults, strict=True):
        assert line in fault


@pytest.mark.parametrize(
    "counts", [{"train": [3, 3]}, {"train": [1, 1], "val": [1, 1], "test": [1, 1]}]
)
def test_check_classes_with_the_fewest_examples_passes(counts):
    labels = {split: labelled(of_split).labels for split, of_split in counts.items()}
    check_classes(("a", "b"), labels, "")
