from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from smash.errors import InvalidValueError
from smash.exporting.standalone import write_code
from smash.spaces import MemoryBankSpace, NasBench201Space, Task
from smash.spaces.baselines import make_baseline
from smash.spaces.nas_bench_201 import NasBench201Options
from tests.exporting.answers import (
    assert_same,
    expected,
    filled,
    images_for,
    run_code,
    signature_for,
)
from tests.spaces.cases import OPTIONS, SMALL, rng_of, task_of
from tests.spaces.chain import ChainSpace


def assert_code_agrees(child, task, folder):
    child = filled(child)
    signature = signature_for(task)
    code, network = run_code(child, signature, folder)
    for count in (1, 3):
        images = images_for(signature, count)
        with torch.no_grad():
            assert_same(network(images), expected(child, signature, images))
    assert network.state_dict().keys() == child.state_dict().keys()
    return code


@settings(
    max_examples=8,
    deadline=None,
    phases=(Phase.generate,),  # to shrink an example takes longer than to read it
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=st.sampled_from(SMALL), seed=st.integers(0, 2**16))
def test_memory_banks_of_any_option(tmp_path, name, seed):
    space = MemoryBankSpace(OPTIONS[name])
    task = task_of(space.options)
    code = assert_code_agrees(space.build(space.sample(rng_of(seed)), task, "cpu"), task, tmp_path)
    assert max(map(len, code.splitlines())) <= 100


@pytest.mark.parametrize("name", ["gates", "voxels", "gates-signal"])
def test_memory_banks_of_each_number_of_axes(tmp_path, name):
    space = MemoryBankSpace(OPTIONS[name].replaced(stem_stride=2))
    task = task_of(space.options)
    assert_code_agrees(space.build(space.sample(rng_of(3)), task, "cpu"), task, tmp_path)


@pytest.mark.parametrize("size", [(9,), (7, 9), (6, 6, 6)])
def test_cells(tmp_path, size):
    space = NasBench201Space(NasBench201Options(channels=3, cells=1))
    task = Task(channels=1, size=size, classes=3)
    for seed in range(3):
        child = space.build(space.sample(rng_of(seed)), task, "cpu")
        assert_code_agrees(child, task, tmp_path)


def test_a_space_of_a_users_own(tmp_path):
    task = Task(channels=2, size=(8, 8), classes=3)
    child = ChainSpace().build(ChainSpace().sample(rng_of(1)), task, "cpu")
    code = assert_code_agrees(child, task, tmp_path)
    assert "class ChainNetwork(nn.Module):" in code


@pytest.mark.parametrize("name", ["wrn-10-1", "resnet-8-2", "densenet121"])
def test_reference_networks(tmp_path, name):
    task = Task(channels=1, size=(8, 8), classes=3)
    assert_code_agrees(make_baseline(name, task, "cpu"), task, tmp_path)


class _Odd(nn.Module):
    """What the networks of this package do not do, and a user's may."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, 4, 1, 1))
        self.register_buffer("places", torch.arange(4.0).view(1, 4, 1, 1))
        self.register_buffer("few", torch.tensor([0.5, 2.0]), persistent=False)
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.parts = nn.ModuleDict({"3x3": nn.Conv2d(4, 4, 3, padding=1), "class": nn.Tanh()})
        self.weights = nn.ParameterList([nn.Parameter(torch.ones(2)) for _ in range(2)])
        self.unused = nn.Linear(3, 3)
        self.twice = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.recurrent = nn.GRU(4, 4, batch_first=True)
        self.norm = nn.LayerNorm(4)
        self.out = nn.Linear(4, 3)

    def forward(self, images):
        x = self.stem(images) * self.scale + self.places
        x += 1 - x * self.few[0] / 2
        y = self.parts["3x3"](F.elu(x, inplace=True)) ** 2
        y[:, 0] = -y[:, 1]
        y, z = self.parts["class"](y).chunk(2, 1)
        y = torch.cat([y, z * self.weights[1].view(1, 2, 1, 1)], 1) - (y - z).sum(1, keepdim=True)
        y = F.interpolate(y, scale_factor=0.5, mode="nearest")
        tokens = y.view(images.shape[0], 4, -1).transpose(1, 2)
        attended, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        states, last = self.recurrent(self.norm(tokens + attended))
        some = torch.zeros(len(images), 4, dtype=torch.float32).add_(last[0])
        some = torch.where(some > 0, some, torch.einsum("ntc,c->nc", states, self.places.view(4)))
        return self.out(self.twice(self.twice(some))).clamp(-9, max=float("inf"))


def test_what_a_users_network_may_do(tmp_path):
    torch.manual_seed(0)
    child = _Odd().eval()
    task = Task(channels=2, size=(6, 6), classes=3)
    signature = signature_for(task)
    code, network = run_code(child, signature, tmp_path)
    for count in (1, 4):  # the number of examples is not one that it was recorded with
        images = images_for(signature, count)
        with torch.no_grad():
            assert_same(network(images), expected(child, signature, images))
    assert "n = len(images)" in code


def test_a_network_that_is_a_chain_of_layers(tmp_path):
    task = Task(channels=1, size=(4, 4), classes=3)
    child = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Sequential(nn.ReLU()), nn.Linear(8, 3))
    code = assert_code_agrees(child, task, tmp_path)
    assert "class Network(nn.Sequential):" in code


def test_modules_that_compute_the_same_share_a_class(tmp_path):
    task = Task(channels=1, size=(8, 8), classes=3)
    code = assert_code_agrees(make_baseline("resnet-14-2", task, "cpu"), task, tmp_path)
    units = re.findall(r"class (Unit\d*)", code)
    assert len(units) == 5  # of six: only the first stage has two alike
    assert "units.0 and 1 alike" in code


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (lambda self, x: self.out(x.flatten(1) * (2 if x.mean().item() > 0 else 1)), "item"),
        (lambda self, x: self.out(x.flatten(1) if x.sum() > 0 else -x.flatten(1)), "__bool__"),
        (lambda self, x: self.out(x.flatten(1) * self.loose), "register it as a buffer"),
        (lambda self, x: self.out(x.flatten(1) * x.shape[0] ** 2), "number of examples"),
    ],
)
def test_what_cannot_be_written_is_refused(forward, words):
    child = nn.Linear(1, 1)
    kind = type("Mine", (nn.Module,), {"forward": forward})
    child = kind()
    child.out, child.loose = nn.Linear(16, 3), torch.ones(16)
    task = Task(channels=1, size=(4, 4), classes=3)
    with pytest.raises(InvalidValueError, match=words):
        write_code(child.eval(), signature_for(task), "", "w.safetensors")


def test_names_from_data_cannot_become_code(tmp_path):
    task = Task(channels=1, size=(4, 4), classes=2)
    hostile = ('"""\nimport os; os.abort()\n"""', "\\\"'); raise SystemExit #")
    signature = signature_for(task)
    signature = type(signature)(**{**vars(signature), "classes": hostile})
    child = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).eval()
    code = write_code(child, signature, '"""\nraise SystemExit\n', "model.safetensors")
    names = {"__file__": "model.py"}
    exec(compile(code, "model.py", "exec"), names)  # noqa: S102
    assert names["CLASSES"] == hostile


def test_code_reads_like_code(tmp_path):
    """The text for one small network, so that a change of it is seen."""
    space = MemoryBankSpace(OPTIONS["one-bottleneck"])
    task = Task(channels=1, size=(8, 8), classes=2)
    child = filled(space.build(space.smallest(), task, "cpu"))
    code, _ = run_code(child, signature_for(task), tmp_path)
    op = code[code.index("class MemoryOp") : code.index("class MemoryBlock")]
    assert np.all([line == line.rstrip() for line in code.splitlines()])
    assert op.strip().splitlines()[-3:] == [
        "    def forward(self, x: Tensor) -> Tensor:",
        "        x = self.project(F.relu(self.norm(x)))",
        "        return self.a1.conv(F.relu(self.project_norm(x)))",
    ]
    network = code[code.index("class MemoryBankNetwork") : code.index("def load")]
    assert network.strip().splitlines()[-6:] == [
        "    def forward(self, images: Tensor) -> Tensor:",
        "        images = (images - self.input_mean) / self.input_std",
        "        x = self.blocks[0](self.stem(images.clone(memory_format=torch.channels_last)))",
        "        x = self.transitions[1](self.blocks[1](self.transitions[0](x)))",
        "        x = F.relu(self.norm(self.blocks[2](x))).flatten(2).mean(2)",
        "        return self.classifier(x)",
    ]
