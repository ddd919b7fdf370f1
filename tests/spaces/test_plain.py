"""Plain networks: the published counts, and the widest member within limits."""

from __future__ import annotations

import pytest
import torch

from smash import Task
from smash.errors import InvalidValueError
from smash.profiling.cost import cost_of
from smash.spaces.baseline_names import full_name
from smash.spaces.baselines import fit_plain_network, make_baseline
from smash.spaces.parameters import count_parameters
from smash.spaces.plain import PLAIN_FAMILIES, plain_families

CIFAR = Task(channels=3, size=(32, 32), classes=10)
SIGNAL = Task(channels=6, size=(128,), classes=6)
VOLUME = Task(channels=1, size=(16, 16, 16), classes=2)


def test_resnet8_has_the_counts_of_mlperf_tiny():
    network = make_baseline("mlperf-resnet-16", CIFAR)
    # Published with biases before BatchNorms (336) and running statistics (480), and without the
    # BatchNorms of the two shortcuts (192).
    assert count_parameters(network) + 336 + 480 - 192 == 78_666
    assert cost_of(network, CIFAR).macs == 12_501_632


@pytest.mark.parametrize("task", [CIFAR, SIGNAL, VOLUME], ids=lambda task: f"{task.dims}d")
def test_each_family_takes_signals_images_and_volumes(task):
    for family in plain_families(task.dims):
        network = make_baseline(f"{family}-4", task, "cpu")
        inputs = torch.zeros(2, task.channels, *task.size)
        assert network(inputs).shape == (2, task.classes)


@pytest.mark.parametrize("family", [name for name in PLAIN_FAMILIES if name != "inception"])
def test_fit_plain_network_is_the_widest_within_the_limit(family):
    name = fit_plain_network(
        family, lambda name: count_parameters(make_baseline(name, CIFAR)) <= 20_000
    )
    width = int(name.rsplit("-", 1)[1])
    assert count_parameters(make_baseline(name, CIFAR)) <= 20_000
    assert count_parameters(make_baseline(f"{family}-{width + 1}", CIFAR)) > 20_000


def test_fit_plain_network_without_a_member_is_none():
    assert fit_plain_network("cnn", lambda name: False) is None


def test_a_width_of_zero_is_refused():
    with pytest.raises(InvalidValueError, match="its width must be at least 1: try cnn-16"):
        full_name("cnn-0")
