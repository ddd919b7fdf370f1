from __future__ import annotations

import pytest
import torch
from torch.overrides import TorchFunctionMode

import smash
from smash.errors import InvalidValueError
from smash.io.tensors import load_tensors
from smash.runtime.device import autocast, choose_device, gradient_scaler, machine_name
from smash.training.smash_network import SmashTraining
from tests.conftest import TINY


class Dtypes(TorchFunctionMode):
    """Records the dtypes of convolutions of images.

    The hypernetwork's input is a single image, and its convolutions compute in float32.
    """

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if func is torch.nn.functional.conv2d and len(args[0]) > 1:
            self.seen.add(found.dtype)
        return found


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("auto", torch.float32),  # on a CPU
        ("fp32", torch.float32),
        ("bf16", torch.bfloat16),
        ("fp16", torch.float16),
    ],
)
def test_training_step_computes_in_the_precision_of_its_settings(digits, run, precision, dtype):
    training = run.settings.training.replaced(precision=precision)
    run.settings = run.settings.replaced(training=training)
    network = run.new_network()
    smash_training = SmashTraining(network, digits, training, 0)
    before = [parameter.clone() for parameter in network.parameters()]
    with Dtypes() as dtypes:
        # The first scales of the loss overflow float16.
        for step in range(12 if precision == "fp16" else 1):
            smash_training.step(step)
    assert dtypes.seen == {dtype}
    assert smash_training.scaler.is_enabled() == (precision == "fp16")
    after = list(network.parameters())
    assert all(parameter.dtype == torch.float32 for parameter in after)
    assert all(torch.isfinite(parameter).all() for parameter in after)
    moved = sum(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert moved > 5


def test_training_in_half_precision_learns_and_keeps_its_scale(few_digits, tmp_path):
    whole = smash.train(few_digits, tmp_path / "whole", epochs=3, precision="fp16", **TINY)
    rows = whole.metrics.rows()
    assert rows[-1]["train_loss"] < rows[0]["train_loss"] < 2.4
    _, about = load_tensors(whole.path / "state.safetensors")
    assert about["scaler"]["scale"] > 0  # the scale of the loss is part of the state


def test_gradient_scaler_after_an_overflow_skips_the_step():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaler = gradient_scaler(torch.device("cpu"), "fp16")
    scaler.scale((weight * torch.tensor([1.0, float("inf")])).sum()).backward()
    before = scaler.get_scale()
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(weight, torch.ones(2))
    assert scaler.get_scale() < before


def test_autocast_on_a_cpu_keeps_float32():
    with autocast(torch.device("cpu")):
        found = torch.nn.functional.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3))
    assert found.dtype == torch.float32


@pytest.mark.parametrize("name", ["cpu:abc", "cpu:1", "cpu:", "auto:7", "cpu:٠"])
def test_choose_device_with_a_wrong_index_is_refused(name):
    with pytest.raises(InvalidValueError, match=f"device '{name}' must have an index from 0 to 0"):
        choose_device(name)


@pytest.mark.parametrize("name", ["gpu", "cude"])
def test_choose_device_with_an_unknown_name_is_refused(name):
    with pytest.raises(InvalidValueError, match=f"device '{name}' is not known"):
        choose_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_choose_device_without_a_gpu_is_refused():
    with pytest.raises(InvalidValueError, match="device 'cuda' does not exist here"):
        choose_device("cuda")


def test_machine_name_is_one_line():
    assert machine_name(torch.device("cpu")).strip()
    assert "\n" not in machine_name(torch.device("cpu"))
