from __future__ import annotations

import importlib
import math
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from smash.data.log_mel import sound_inputs
from smash.data.sound_format import SoundFormat
from smash.errors import InvalidValueError
from smash.exporting.signature import Signature
from smash.exporting.source import NetworkSource
from smash.exporting.standalone import find_source, write_code
from smash.exporting.tracing import trace
from smash.spaces import SPACES, MemoryBankSpace, NasBench201Space
from smash.spaces.base import Definition
from smash.spaces.baselines import make_baseline
from smash.spaces.choices import FunctionSpace
from smash.spaces.nas_bench_201 import NasBench201Options
from smash.spaces.plain import plain_families
from smash.spaces.task import Task
from tests.exporting.answers import (
    assert_same,
    expected,
    filled,
    images_for,
    run_code,
    signature_for,
)
from tests.spaces.cases import OPTIONS, SMALL, rng_of, task_of
from tests.spaces.chain import ChainNetwork, ChainSpace


def assert_code_agrees(child, description, task, folder):
    """The file gives the logits of the child, and its weights have the child's names."""
    child, signature = filled(child), signature_for(task)
    source = find_source(child, description, task)
    code, module = run_code(source, child, signature, folder)
    network = module.load()
    for count in (1, 3):
        images = images_for(signature, count)
        with torch.no_grad():
            assert_same(network(images), expected(child, signature, images))
    assert network.network.state_dict().keys() == child.state_dict().keys()
    assert "torch.fx" not in code  # The space has a definition.
    return code


def assert_space_agrees(space, settings, architecture, task, folder):
    description = {
        "architecture": space.to_json(architecture),
        "space": {"name": space.name, "options": settings},
    }
    child = space.build(architecture, task, "cpu")
    return assert_code_agrees(child, description, task, folder)


@settings(
    max_examples=8,
    phases=(Phase.generate,),  # Shrinking takes longer than reading an example.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=st.sampled_from(SMALL), seed=st.integers(0, 2**16))
def test_memory_banks_of_any_option_agree(tmp_path, name, seed):
    options = OPTIONS[name]
    space, task = MemoryBankSpace(options), task_of(options)
    given = options.model_dump(exclude={"dims"})
    code = assert_space_agrees(space, given, space.sample(rng_of(seed)), task, tmp_path)
    assert "# From smash.spaces.memory_bank.network." in code
    assert "type: ignore" not in code


@pytest.mark.parametrize("name", ["gates", "voxels", "gates-signal"])
def test_memory_banks_of_each_number_of_axes_agree(tmp_path, name):
    options = OPTIONS[name].replaced(stem_stride=2)
    space, task = MemoryBankSpace(options), task_of(options)
    given = options.model_dump(exclude={"dims"})
    assert_space_agrees(space, given, space.sample(rng_of(3)), task, tmp_path)


@pytest.mark.parametrize("size", [(9,), (7, 9), (6, 6, 6)])
def test_cells_agree(tmp_path, size):
    space = NasBench201Space(NasBench201Options(channels=3, cells=1))
    task = Task(channels=1, size=size, classes=3)
    for seed in range(3):
        given = {"channels": 3, "cells": 1}
        assert_space_agrees(space, given, space.sample(rng_of(seed)), task, tmp_path)


PLAIN = [f"{family}-2" for family in plain_families(2)]


@pytest.mark.parametrize("name", ["wrn-10-1", "resnet-8-2", *PLAIN])
def test_reference_networks_agree(tmp_path, name):
    task = Task(channels=1, size=(8, 8), classes=3)
    assert_code_agrees(make_baseline(name, task, "cpu"), {"baseline": name}, task, tmp_path)


class DefinedChains(ChainSpace):
    """A space of a user, who names the source files of its networks."""

    def definition(self, architecture, task):
        arguments = {"chain": architecture, "task": task}
        return Definition(("smash.spaces.task", "tests.spaces.chain"), ChainNetwork, arguments)


def test_space_of_a_user_agrees(tmp_path, monkeypatch):
    monkeypatch.setitem(SPACES, "chain", lambda settings, dims: DefinedChains())
    space, task = DefinedChains(), Task(channels=2, size=(8, 8), classes=3)
    code = assert_space_agrees(space, {}, space.sample(rng_of(1)), task, tmp_path)
    assert "# From tests.spaces.chain." in code
    assert "class ChainSpace" not in code


def test_network_function_of_a_user_agrees(tmp_path, monkeypatch):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "own_networks.py").write_text(
        "import numpy\nimport smash\nfrom torch import nn\n\n\n"
        "def block(inputs, width):\n"
        "    return nn.Sequential(nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU())\n\n\n"
        "def network(choose, task: smash.Task):\n"
        "    width = choose('width', (4, 8))\n"
        "    depth = choose('depth', (1, 2))\n"
        "    blocks = [block(width if i else task.channels, width) for i in range(depth)]\n"
        "    flat = nn.Flatten(), nn.Linear(width * 64, task.classes)\n"
        "    return nn.Sequential(*blocks, *flat)\n\n\n"
        "if __name__ == '__main__':\n    smash.train('digits', 'runs/x')\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    own_networks = importlib.import_module("own_networks")
    monkeypatch.setitem(sys.modules, "own_networks", own_networks)  # And out again at the end.
    task = Task(channels=2, size=(8, 8), classes=3)
    space = FunctionSpace(own_networks.network, "own").bind(task)
    monkeypatch.setitem(SPACES, "own", lambda settings, dims: space)
    code = assert_space_agrees(space, {}, space.sample(rng_of(1)), task, tmp_path)
    assert "import numpy" not in code
    assert "import smash" not in code


def test_architecture_can_be_edited_in_the_file(tmp_path):
    """The width of a reference network, which is data in the file, decides its layers."""
    task = Task(channels=1, size=(8, 8), classes=3)
    child = filled(make_baseline("resnet-8-2", task, "cpu"))
    source = find_source(child, {"baseline": "resnet-8-2"}, task)
    assert dict(source.arguments) == {"depth": 8, "width": 2, "task": task}
    wider = NetworkSource(source.modules, source.network, {**source.arguments, "width": 5})
    other = make_baseline("resnet-8-5", task, "cpu")
    signature, images = signature_for(task), images_for(signature_for(task))
    _, module = run_code(wider, filled(other), signature, tmp_path)
    with torch.no_grad():
        assert_same(module.load()(images), expected(other, signature, images))


CLASSES = ("💥", "Straße", "日本\u3000語", "\u202etxt", "a\nb", "back\\slash", "caf\udce9", "''\"")


def test_class_names_are_read_back_character_by_character(tmp_path):
    task = Task(channels=1, size=(4, 4), classes=len(CLASSES))
    child = nn.Sequential(nn.Flatten(), nn.Linear(16, len(CLASSES))).eval()
    signature = replace(signature_for(task), classes=CLASSES)
    code, module = run_code(trace(child), child, signature, tmp_path)
    assert module.CLASSES == CLASSES
    assert module.CLASSES[0] == chr(0x1F4A5)
    assert "'💥'" in code  # Readable, and not as an escape.
    assert "\u202e" not in code


@pytest.mark.parametrize(
    "sound",
    [
        SoundFormat(features="log-mel", sample_rate=8000, samples=4000),
        SoundFormat(features="log-mel", sample_rate=16000, samples=3000, window=512, hop=160),
        SoundFormat(features="raw", sample_rate=8000, samples=100),
    ],
    ids=["8 kHz", "16 kHz", "raw"],
)
def test_file_of_a_network_for_recordings_computes_their_features(tmp_path, sound):
    channels, *size = sound.shape
    task = Task(channels=channels, size=tuple(size), classes=2)
    child = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(size), 2)).eval()
    signature = replace(signature_for(task), sound=sound)
    _, module = run_code(trace(child), child, signature, tmp_path)
    waveforms = torch.rand(3, sound.samples) - 0.5
    images = module.sound_inputs(waveforms, module.SoundFormat(**module.INPUT["sound"]))
    assert torch.equal(images, sound_inputs(waveforms, sound))
    with torch.no_grad():
        assert_same(module.load()(images), expected(child, signature, images))
    assert Signature.from_values({**module.INPUT, "classes": module.CLASSES}) == signature
    assert Signature.from_json(signature.to_json()) == signature


def test_names_from_data_cannot_become_code(tmp_path):
    task = Task(channels=1, size=(4, 4), classes=2)
    hostile = ('"""\nimport os; os.abort()\n"""', "\\\"'); raise SystemExit #")
    signature = replace(signature_for(task), classes=hostile)
    source = trace(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)))
    code = write_code(source, signature, '"""\nraise SystemExit\n', '"""\nraise 1\n.safetensors')
    names = {"__file__": "model.py", "__name__": "model"}
    exec(compile(code, "model.py", "exec"), names)  # noqa: S102
    assert names["CLASSES"] == hostile


def test_argument_without_code_is_refused():
    task = Task(channels=1, size=(4, 4), classes=2)
    source = trace(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)))
    wrong = NetworkSource(source.modules, source.network, {"layers": object()})
    with pytest.raises(InvalidValueError, match="must be numbers, strings, tuples and dataclasses"):
        write_code(wrong, signature_for(task), "", "w.safetensors")
