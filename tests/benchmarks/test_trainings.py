"""On a GPU ``benchmarks.trainings`` replays the same steps as CUDA graphs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from scipy.spatial import distance

import smash
from benchmarks import trainings
from smash.correlation.ground_truth import read_table
from smash.data import Augmentation
from smash.runtime.rng import torch_generator
from smash.spaces.parameters import initialise

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
TINY = {"depth": 1, "bank_width": 4, "max_width": 8, "max_groups": 4}


@pytest.fixture
def data():
    return replace(smash.load_data("digits"), augmentation=Augmentation())


@pytest.fixture
def plan():
    return trainings.Plan(epochs=2, batch_size=400, learning_rate=0.01)  # 0.1 amplifies rounding


def test_step_equals_nesterov_momentum_with_a_cosine(data, plan):
    space = trainings.banks(TINY)
    (architecture,) = trainings.stratified_by_parameters(
        space, data, trainings.random_candidates(space, 3, 0), 1
    )
    feed = trainings.Feed(data, data.train, 1, plan)
    training = trainings.Training(space, architecture, feed)
    while not training.finished:
        training.step()

    model = space.build(architecture, data.task, "cpu")
    initialise(model, torch_generator(1, "initial weights"))
    optimizer = torch.optim.SGD(
        model.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, feed.steps)
    losses = []
    for rows in feed.orders:
        batch = data.train.subset(rows)
        loss = F.cross_entropy(model(data.normalise(batch.images)), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    for ours, theirs in zip(training.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    means = torch.tensor(losses).view(plan.epochs, -1).mean(1)
    torch.testing.assert_close(training.losses, means, rtol=1e-3, atol=1e-4)


def test_feed_epoch_has_each_example_at_most_once(data, plan):
    feed = trainings.Feed(data, data.train, 0, plan)
    for epoch in feed.orders.view(plan.epochs, -1):
        assert len(set(epoch.tolist())) == len(epoch) == feed.per_epoch * plan.batch_size


def test_feed_with_augmentation_shifts_and_flips(data, plan):
    moved = replace(data, augmentation=Augmentation(padding=1, flip=True))
    feed = trainings.Feed(moved, data.train, 0, plan)
    step = torch.tensor([1])
    images, labels = feed.batch(step)
    for place in range(8):
        row = feed.orders[1, place]
        image = F.pad(data.train.images[row], [1] * 4)
        down, right = feed.shifts[:, 1, place]
        cropped = image[:, down : down + 8, right : right + 8]
        if feed.mirrored[1, place]:
            cropped = cropped.flip(2)
        torch.testing.assert_close(images[place], data.normalise(cropped[None])[0])
        assert labels[place] == data.train.labels[row]
    assert 0.3 < feed.mirrored.float().mean() < 0.7
    assert set(feed.shifts.unique().tolist()) == {0, 1, 2}


def test_spread_out_takes_the_candidate_farthest_from_those_before():
    space = trainings.banks(TINY)
    found = trainings.random_candidates(space, 40, 1)

    def values(architecture):
        return list(space.readable(architecture).values())

    measures = [
        column for column in zip(*map(values, found.values()), strict=True) if len(set(column)) > 1
    ]
    assert 2 <= len(measures) < len(values(next(iter(found.values()))))  # one is always the same
    points = stats.zscore(measures, axis=1).T
    taken = [list(found.values()).index(one) for one in trainings.spread_out(space, found, 12)]
    assert taken[0] == np.linalg.norm(points, axis=1).argmin()
    apart = distance.cdist(points, points)
    for count in range(1, len(taken)):
        nearest = apart[:, taken[:count]].min(axis=1)
        assert nearest[taken[count]] == pytest.approx(nearest.max())
    assert len(set(taken)) == 12


@pytest.mark.parametrize(
    ("table", "options", "count"),
    [
        ("banks.csv", {}, 38),
        ("banks-spread.csv", {"max_kernel": 7, "variable_nonlinearity": True}, 60),
    ],
)
def test_table_of_memory_banks_holds_architectures_of_its_space(table, options, count):
    space = trainings.banks(options or trainings.OPTIONS)
    known = read_table(RESULTS / table, "accuracy", space)
    assert len(known) == count
    assert all(0.45 < one.accuracy < 0.6 for one in known)
