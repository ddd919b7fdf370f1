"""Reference networks: their published sizes, and what they compute."""

from __future__ import annotations

import sys

import pytest
import timm
import torch
import torch.nn.functional as F
from torchvision import models

from smash.errors import InvalidValueError, MissingExtraError
from smash.profiling.cost import cost_of
from smash.spaces import MemoryBankSpace, Task
from smash.spaces.baseline_names import _TORCHVISION, PLAIN_NAMES, full_name
from smash.spaces.baselines import fit_baseline, make_baseline
from smash.spaces.parameters import count_parameters, initialise
from smash.spaces.plain import PLAIN_FAMILIES

CIFAR = Task(channels=3, size=(32, 32), classes=10)
SMALL = Task(channels=1, size=(8, 8), classes=5)
VIT = Task(channels=1, size=(160, 160), classes=5)


@pytest.mark.parametrize(
    ("name", "millions"),
    # Zagoruyko and Komodakis 2016 (arXiv 1605.07146), in millions as printed there.
    [
        *[("wrn-40-1", 0.6), ("wrn-40-2", 2.2), ("wrn-40-4", 8.9)],
        *[("wrn-16-8", 11.0), ("wrn-22-8", 17.2), ("wrn-28-10", 36.5)],
    ],
)
def test_wide_resnet_has_published_parameters(name, millions):
    found = count_parameters(make_baseline(name, CIFAR)) / 1e6
    assert found == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize(
    ("depth", "millions"),
    # He et al. 2016 (arXiv 1512.03385), table 6, in millions as printed there.
    [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)],
)
def test_resnet_has_published_parameters(depth, millions):
    found = count_parameters(make_baseline(f"resnet-{depth}-16", CIFAR)) / 1e6
    assert found == pytest.approx(millions, abs=0.05 if depth == 110 else 0.006)


def test_resnet_agrees_with_hand_written_forward():
    network = make_baseline("resnet-8-3", SMALL, "cpu")
    initialise(network, torch.Generator().manual_seed(0))
    network.eval()
    images = torch.randn(3, 1, 8, 7, generator=torch.Generator().manual_seed(1))
    state = dict(network.state_dict())

    def normed(x, name):
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"{name}.{part}"] for part in names))

    x = F.relu(normed(F.conv2d(images, state["stem.weight"], padding=1), "norm"))
    for number, stride in enumerate((1, 2, 2)):
        unit = f"units.{number}"
        path = F.conv2d(x, state[f"{unit}.conv_1.weight"], stride=stride, padding=1)
        path = F.conv2d(
            F.relu(normed(path, f"{unit}.norm_1")), state[f"{unit}.conv_2.weight"], padding=1
        )
        across = torch.zeros_like(path)
        across[:, : x.shape[1]] = x[:, :, ::stride, ::stride]
        x = F.relu(across + normed(path, f"{unit}.norm_2"))
    assert x.shape == (3, 12, 2, 2)
    expected = F.linear(x.mean((2, 3)), state["classifier.weight"], state["classifier.bias"])
    with torch.no_grad():
        torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize("family", ["resnet", "wrn"])
@pytest.mark.parametrize("params", [1_000, 70_000, 400_000, 9_000_000])
def test_fit_baseline_finds_the_nearest(family, params):
    name = fit_baseline(family, params, CIFAR)
    _, depth, width = name.split("-")
    found = count_parameters(make_baseline(name, CIFAR))
    # None of its neighbours is nearer, in ratio.
    step = 1 if width.isdecimal() else 1 / 16
    for other in (float(width) - step, float(width) + step):
        if other > 0:
            other = int(other) if other.is_integer() else other
            beside = count_parameters(make_baseline(f"{family}-{depth}-{other}", CIFAR))
            assert max(found / params, params / found) <= max(beside / params, params / beside)
    if params > 10_000:
        assert found == pytest.approx(params, rel=0.1 if family == "resnet" else 0.3)


@pytest.mark.parametrize("params", [2_000, 8_000, 28_762, 60_000])
def test_fit_baseline_small_target_finds_fractional_width(params):
    """WRN-10-1 has 77,000 parameters: beside the digits' winner that is 2.7 times too many."""
    digits = Task(channels=1, size=(8, 8), classes=10)
    found = count_parameters(make_baseline(fit_baseline("wrn", params, digits), digits))
    assert 1 / 1.3 < found / params < 1.3


def test_reference_published_budget_has_parameters_of_wrn_40_4():
    named = MemoryBankSpace().reference()
    assert named is not None
    classifier = 256 * 10 + 10
    assert count_parameters(make_baseline("WRN", CIFAR)) == named[1] + classifier


def test_wide_resnet_agrees_with_hand_written_forward():
    network = make_baseline("wrn-10-2", SMALL, "cpu")
    initialise(network, torch.Generator().manual_seed(0))
    network.eval()
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    state = dict(network.state_dict())

    def normed(x, name):
        names = ("running_mean", "running_var", "weight", "bias")
        return F.relu(F.batch_norm(x, *(state[f"{name}.{part}"] for part in names)))

    x = F.conv2d(images, state["stem.weight"], padding=1)
    for number, stride in enumerate((1, 2, 2)):
        unit = f"units.{number}"
        active = normed(x, f"{unit}.norm_1")
        path = F.conv2d(active, state[f"{unit}.conv_1.weight"], stride=stride, padding=1)
        path = F.conv2d(normed(path, f"{unit}.norm_2"), state[f"{unit}.conv_2.weight"], padding=1)
        x = path + F.conv2d(active, state[f"{unit}.shortcut.weight"], stride=stride)
    assert x.shape == (3, 128, 2, 2)
    x = F.adaptive_avg_pool2d(normed(x, "norm"), 1).flatten(1)
    expected = F.linear(x, state["classifier.weight"], state["classifier.bias"])
    with torch.no_grad():
        torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize(
    ("name", "millions"),
    # He et al. 2016 for CIFAR's stem: kuangliu/pytorch-cifar's counts of these networks.
    [("resnet18", 11.17), ("resnet50", 23.52), ("densenet121", 6.96), ("vgg16_bn", 14.73)],
)
def test_make_baseline_torchvision_has_usual_size_for_cifar(name, millions):
    network = make_baseline(name, CIFAR)
    assert count_parameters(network) / 1e6 == pytest.approx(millions, abs=0.006)


def test_make_baseline_torchvision_has_small_stem_without_pool():
    task = Task(channels=4, size=(32, 32), classes=7)
    ours = make_baseline("resnet18", task, "cpu")
    initialise(ours, torch.Generator().manual_seed(0))
    theirs = models.resnet18(num_classes=7)
    theirs.conv1 = torch.nn.Conv2d(4, 64, 3, padding=1, bias=False)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    theirs.maxpool = torch.nn.Identity()
    with torch.no_grad():
        assert torch.equal(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "vgg11", "vgg16_bn", "wrn-10-1"])
@pytest.mark.parametrize("task", [SMALL, Task(channels=3, size=(96, 80), classes=6)])
def test_make_baseline_small_and_large_images_fit(name, task):
    network = make_baseline(name, task, "cpu")
    initialise(network, torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = network.eval()(torch.zeros(2, task.channels, *task.size))
    assert logits.shape == (2, task.classes)
    assert logits.isfinite().all()
    # What images of 96×96 cost is what images of 32×32 cost.
    large = Task(channels=3, size=(96, 96), classes=6)
    at_32 = Task(channels=3, size=(32, 32), classes=6)
    assert (
        cost_of(make_baseline(name, large), large).macs
        == cost_of(make_baseline(name, at_32), at_32).macs
    )


@pytest.mark.parametrize("size", [(64,), (8, 8, 8)])
def test_make_baseline_signals_and_volumes_need_resnets(size):
    task = Task(channels=2, size=size, classes=3)
    for name in ("wrn-10-1", "wrn-10-0.125", "resnet-8-4"):
        network = make_baseline(name, task, "cpu")
        initialise(network, torch.Generator().manual_seed(0))
        with torch.no_grad():
            assert network.eval()(torch.zeros(2, 2, *size)).shape == (2, 3)
    with pytest.raises(InvalidValueError, match=r"takes images, got data with . spatial axes"):
        make_baseline("resnet18", task)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        *[("ResNet", "resnet18"), ("ResNet-34", "resnet34"), ("DenseNet", "densenet121")],
        *[("VGG", "vgg16_bn"), ("vgg13-bn", "vgg13_bn"), ("WRN-16-2", "wrn-16-2")],
        *[("wrn28-10", "wrn-28-10"), ("wide_resnet50_2", "wide_resnet50_2")],
        *[
            ("ResNet-20-16", "resnet-20-16"),
            ("WRN10-0.50", "wrn-10-0.5"),
            ("wrn-16-2.0", "wrn-16-2"),
        ],
    ],
)
def test_full_name_normalises_spellings(given, name):
    assert full_name(given) == name


def test_full_name_unknown_suggests_a_name():
    with pytest.raises(InvalidValueError, match="did you mean 'resnet18'"):
        make_baseline("resnet19", CIFAR)
    for name in ("wrn-17-2", "wrn-4-2", "wrn-16-0", "wrn-16-0.3", "wrn-16-0.0"):
        with pytest.raises(InvalidValueError, match=r"must be 6n \+ 4"):
            make_baseline(name, CIFAR)
    for name in ("resnet-18-16", "resnet-2-4", "resnet-20-0"):
        with pytest.raises(InvalidValueError, match=r"must be 6n \+ 2"):
            make_baseline(name, CIFAR)


def test_make_baseline_of_timm_is_timms_network_for_the_task():
    task = Task(channels=2, size=(32, 48), classes=7)
    network = make_baseline("timm:test_resnet", task)
    theirs = timm.create_model("test_resnet", in_chans=2, num_classes=7)
    assert count_parameters(network) == count_parameters(theirs)
    built = make_baseline("timm:test_resnet", task, "cpu")
    initialise(built, torch.Generator().manual_seed(0))
    theirs.load_state_dict(built.state_dict())
    images = torch.randn(2, 2, 32, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(built.eval()(images), theirs.eval()(images))


def test_make_baseline_of_timm_has_the_same_values_each_time():
    first, second = (make_baseline("timm:test_vit", VIT, "cpu").state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(value.isfinite().all() for value in first.values())


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("timm:test_resnt", CIFAR, "network of timm 'test_resnt' is not known: did you mean"),
        ("timm:nope", CIFAR, "'nope' is not known: choose one of mobilenetv3_small_050, resnet10t"),
        ("timm:vit_tiny_patch16_224", CIFAR, "does not take 3 channels of 32x32"),
        ("timm:test_resnet", Task(channels=1, size=(64,), classes=2), "takes images, got data"),
    ],
)
def test_make_baseline_of_timm_that_does_not_suit_is_refused_in_one_line(name, task, message):
    with pytest.raises(InvalidValueError, match=message) as caught:
        make_baseline(name, task)
    assert len(str(caught.value).splitlines()) == 1


def test_make_baseline_of_timm_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"smash-nas\[timm\]"):
        make_baseline("timm:test_resnet", CIFAR)


def test_make_baseline_draws_no_random_numbers():
    before = torch.random.get_rng_state()
    make_baseline("timm:test_vit", VIT, "cpu")
    make_baseline("resnet18", CIFAR, "cpu")
    make_baseline("densenet121", CIFAR, "cpu")
    make_baseline("vgg11", CIFAR, "cpu")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_names_of_torchvision_are_those_of_the_package():
    families = ("densenet", "resnet", "resnext", "vgg", "wide_resnet")
    known = [name for name in models.list_models(models) if name.startswith(families)]
    assert sorted(_TORCHVISION) == sorted(known)


def test_names_of_plain_families_are_those_that_can_be_built():
    assert (*PLAIN_FAMILIES,) == PLAIN_NAMES


def test_a_network_that_does_not_take_so_small_an_image_is_refused():
    with pytest.raises(InvalidValueError, match="'densenet121' does not take 1 channels of 6x6"):
        make_baseline("densenet121", Task(channels=1, size=(6, 6), classes=3))
