from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from smash.errors import InvalidValueError
from smash.exporting.tracing import trace
from smash.spaces.baselines import make_baseline
from smash.spaces.task import Task
from tests.exporting.answers import (
    assert_same,
    expected,
    filled,
    images_for,
    run_code,
    signature_for,
)


class _Various(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, (3, 1), padding="same", bias=False)
        self.parts = nn.ModuleDict({"3x3": nn.Conv2d(4, 4, 3, padding=1, groups=2)})
        self.chain = nn.Sequential(nn.BatchNorm2d(4, eps=1e-3), nn.GELU("tanh"), nn.Dropout(0.2))
        self.norm = nn.LayerNorm(4, elementwise_affine=False)
        self.out = nn.Linear(4, 3)

    def forward(self, images):
        x = self.chain(self.parts["3x3"](F.relu(self.stem(images[:, :2]), inplace=True)))
        tokens = x.flatten(2).transpose(1, 2)
        return self.out(self.norm(tokens).mean(1)) / float("inf") + self.out(x.amax((2, 3)))


@pytest.mark.parametrize(
    "build",
    [
        lambda task: make_baseline("resnet18", task, "cpu"),
        lambda task: make_baseline("densenet121", task, "cpu"),
        lambda task: make_baseline("vgg11_bn", task, "cpu"),
        lambda task: nn.Sequential(nn.Flatten(), nn.Linear(128, 8), nn.ReLU(), nn.Linear(8, 3)),
        lambda task: _Various(),
    ],
)
def test_traced_network_gives_the_logits_of_the_child(tmp_path, build):
    task = Task(channels=2, size=(8, 8), classes=3)
    child, signature = filled(build(task)), signature_for(task)
    code, module = run_code(trace(child), child, signature, tmp_path)
    network = module.load()
    assert network.network.state_dict().keys() == child.state_dict().keys()
    for count in (1, 3):
        images = images_for(signature, count)
        with torch.no_grad():
            assert_same(network(images), expected(child, signature, images))
    assert "class Network(nn.Module):" in code


def test_traced_layers_are_written_without_defaults():
    layers = trace(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8))).arguments
    assert repr(layers) == (
        "{'layers': {'0': nn.Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1)), "
        "'1': nn.BatchNorm2d(8)}}"
    )


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (lambda self, x: x if x.sum() > 0 else -x, "control flow"),
        (lambda self, x: x + torch.arange(4), "a tensor that is not in a layer of torch"),
    ],
)
def test_network_that_cannot_be_traced_is_refused(forward, words):
    child = type("Mine", (nn.Module,), {"forward": forward})()
    with pytest.raises(
        InvalidValueError, match=rf"^Mine has no .*torch\.fx cannot trace it .*{words}.*: export it"
    ):
        trace(child)
