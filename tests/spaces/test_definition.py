"""The source files of a child network, put one after the other, build it without this package."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from typing import Any

import pytest
import torch

from smash.spaces import MemoryBankSpace, MobileSpace, NasBench201Space, SearchSpace, Task
from smash.spaces.base import Definition
from smash.spaces.baselines import define_baseline, make_baseline
from smash.spaces.mobile import choose_options
from smash.spaces.nas_bench_201 import NasBench201Options
from tests.spaces.cases import OPTIONS, fill, images_of, rng_of, task_of
from tests.spaces.chain import ChainSpace

TASK = Task(channels=2, size=(8, 8), classes=3)
SPACES: dict[str, tuple[SearchSpace[Any], Task]] = {
    "memory-bank": (MemoryBankSpace(OPTIONS["gates-post"]), task_of(OPTIONS["gates-post"])),
    "signal": (MemoryBankSpace(OPTIONS["signal"]), task_of(OPTIONS["signal"])),
    "nas-bench-201": (NasBench201Space(NasBench201Options(channels=4, cells=1)), TASK),
    "mobile": (MobileSpace(choose_options("tiny", {"squeeze": True})).bind(TASK), TASK),
}
BASELINES = ("wrn-10-0.5", "resnet-8-4", "mlperf-resnet-2", "ds-cnn-4")


def definition_of(name: str) -> tuple[Definition, torch.nn.Module, Task]:
    if name in BASELINES:
        definition = define_baseline(name, TASK)
        assert definition is not None
        return definition, make_baseline(name, TASK, "cpu"), TASK
    space, task = SPACES[name]
    architecture = space.sample(rng_of(0))
    definition = space.definition(architecture, task)
    assert definition is not None
    return definition, space.build(architecture, task, "cpu"), task


def run_without_package(definition: Definition) -> dict[str, Any]:
    """Runs the sources in one namespace, without their imports from this package."""
    namespace: dict[str, Any] = {"__name__": "standalone"}
    module = sys.modules["standalone"] = type(sys)("standalone")
    vars(module).update(namespace)
    for name in definition.modules:
        tree = ast.parse(inspect.getsource(importlib.import_module(name)))
        tree.body = [
            node
            for node in tree.body
            if not (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("smash"))
        ]
        exec(compile(tree, name, "exec"), vars(module))  # noqa: S102
    return vars(module)


@pytest.mark.parametrize("name", [*SPACES, *BASELINES])
def test_definition_modules_import_only_torch_and_modules_before_them(name):
    definition, _, _ = definition_of(name)
    assert definition.network.__module__ == definition.modules[-1]
    for index, module in enumerate(definition.modules):
        tree = ast.parse(inspect.getsource(importlib.import_module(module)))
        for node in ast.walk(tree):
            imported = []
            if isinstance(node, ast.ImportFrom):
                imported = [node.module or ""]
            elif isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            for each in imported:
                allowed = each.split(".")[0] in {"torch", *sys.stdlib_module_names}
                assert allowed or each in definition.modules[:index], f"{module} imports {each}"


@pytest.mark.parametrize("name", [*SPACES, *BASELINES])
def test_definition_names_are_defined_once(name):
    definition, _, _ = definition_of(name)
    seen: dict[str, str] = {}
    for module in definition.modules:
        tree = ast.parse(inspect.getsource(importlib.import_module(module)))
        for node in tree.body:
            names = []
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [target.id for target in targets if isinstance(target, ast.Name)]
            for each in names:
                assert seen.setdefault(each, module) == module, f"{each} in two modules"


@pytest.mark.parametrize("name", [*SPACES, *BASELINES])
def test_definition_builds_the_same_network_without_this_package(name, monkeypatch):
    definition, child, task = definition_of(name)
    monkeypatch.setitem(sys.modules, "standalone", None)
    namespace = run_without_package(definition)
    arguments = ", ".join(f"{key}={value!r}" for key, value in definition.arguments.items())
    network = eval(f"{definition.network.__name__}({arguments})", namespace)  # noqa: S307
    fill(child, 0)
    network.load_state_dict(child.state_dict())
    images = images_of(task, 0)
    with torch.no_grad():
        assert torch.equal(network.eval()(images), child.eval()(images))


def test_definition_of_a_space_is_optional():
    space = ChainSpace()
    assert space.definition(space.smallest(), TASK) is None


def test_define_baseline_of_torchvision_gives_none():
    assert define_baseline("resnet18", TASK) is None
