"""Conformance suites for search spaces and search strategies of your own.

With pytest, each check is a test:

    from smash.testing import SPACE_CHECKS

    @pytest.mark.parametrize("check", SPACE_CHECKS, ids=lambda check: check.__name__)
    def test_my_space(check):
        check(MySpace(), Task(channels=3, size=(8, 8), classes=4))

`check_space` runs all of them. A tiny task keeps this within seconds. A broken rule raises an
`AssertionError` that names the rule and the architecture. `check_strategy` checks a strategy.
"""

from __future__ import annotations

import copy
import functools
import json
import multiprocessing
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from smash.errors import InvalidValueError
from smash.hypernet import SmashNetwork
from smash.profiling.cost import measure_cost
from smash.runtime.rng import global_states
from smash.searching.strategies import Strategy
from smash.spaces.base import SearchSpace, corner
from smash.spaces.parameters import (
    NO_CONSTANTS,
    constant_buffers,
    initialise,
    without_values,
)
from smash.spaces.task import MOST_READABLE, Task
from smash.study.candidate import Candidate

Space = SearchSpace[Any]
Check = Callable[[Space, Task], None]

_DRAWS = 8
_RATES = (0.01, 0.05, 0.5, 1.0)


def check_space(space: Space, task: Task) -> None:
    """Runs all checks of a search space.

    Args:
        space: The search space; it must be picklable, for a check in another process.
        task: The task of the children; a tiny one makes the checks fast.

    Raises:
        AssertionError: The space breaks its contract.

    Example:
        >>> from smash import NasBench201Space, Task
        >>> from smash.spaces.nas_bench_201 import NasBench201Options
        >>> space = NasBench201Space(NasBench201Options(channels=2, cells=1))
        >>> check_sharing(space, Task(channels=1, size=(4, 4), classes=2))
    """
    for check in SPACE_CHECKS:
        check(space, task)


def _of_task(check: Callable[..., None]) -> Callable[..., None]:
    """Binds the space of a check to the task, as runs do."""

    @functools.wraps(check)
    def bound(space: Space, task: Task, **options: Any) -> None:
        check(space.bind(task), task, **options)

    return bound


@_of_task
def check_json(space: Space, task: Task) -> None:
    """Architectures are hashable, and survive a round trip through JSON, as do their ids."""
    for architecture in _architectures(space):
        try:
            text = json.dumps(space.to_json(architecture))
        except TypeError as error:
            raise AssertionError(f"to_json must give plain JSON: {error}: {architecture}") from None
        reads = [space.from_json(json.loads(text))]
        if type(space).parse is SearchSpace.parse:
            reads.append(space.parse(text))
        for read in reads:
            _require(read == architecture, "from_json and parse must return", architecture, text)
            _require(
                hash(read) == hash(architecture),
                "equal architectures must have equal hashes:",
                architecture,
            )
            same = space.identify(read) == space.identify(architecture)
            _require(same, "equal architectures must have the same id:", architecture)
    for wrong in ({}, {"wrong": 1}):
        try:
            space.from_json(wrong)
        except InvalidValueError:
            continue
        except Exception as error:
            raise AssertionError(
                f"from_json must raise InvalidValueError for {wrong}, raised {error!r}"
            ) from error
        raise AssertionError(f"from_json must raise InvalidValueError for {wrong}")


@_of_task
def check_identity(space: Space, task: Task) -> None:
    """Checks that different architectures have different ids, the same in each process."""
    drawn = set(_architectures(space))
    here = {space.identify(architecture): architecture for architecture in drawn}
    _require(len(here) == len(drawn), "different architectures must have different ids:", *drawn)
    documents = [space.to_json(architecture) for architecture in here.values()]
    if multiprocessing.parent_process() is not None or getattr(
        multiprocessing.current_process(), "_inheriting", False
    ):
        return  # a new process, or the server of such, imports the script that runs the checks
    # Neither shares memory with this process, and both have another hash seed.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            there = pool.submit(_identities, space, documents).result()
    except BrokenProcessPool:
        raise AssertionError(
            "ids cannot be compared with those of a new process, which did not start: in a "
            'script, call the check under if __name__ == "__main__"'
        ) from None
    _require(there == list(here), "ids must not depend on the process:", there, list(here))


def _identities(space: Space, documents: Sequence[dict[str, Any]]) -> list[str]:
    return [space.identify(space.from_json(document)) for document in documents]


@_of_task
def check_randomness(space: Space, task: Task) -> None:
    """Draws depend on the generator only, and leave global random state as it is."""

    def draw() -> list[Any]:
        rng = np.random.default_rng(5)
        sampled = [space.sample(rng, progress) for progress in (0.0, 0.3, 1.0, 1.0)]
        return sampled + [space.mutate(each, rng, 0.2) for each in sampled]

    before = global_states()
    first = draw()
    _require(global_states() == before, "sample and mutate must not use global random state")
    random.random()  # noqa: S311 # changes the global state
    np.random.random()
    torch.rand(1)
    _require(draw() == first, "the same generator must give the same architectures:", *first)
    other = [space.sample(np.random.default_rng(seed)) for seed in range(20)]
    _require(len(set(other)) > 1, "different generators must give different architectures:", *other)


@_of_task
def check_mutation(space: Space, task: Task) -> None:
    """Checks that mutation returns another, valid architecture and keeps its argument."""
    rng = np.random.default_rng(6)
    for rate in _RATES:
        architecture = space.sample(rng)
        for _ in range(_DRAWS):
            before = json.dumps(space.to_json(architecture))
            changed = space.mutate(architecture, rng, rate)
            kept = json.dumps(space.to_json(architecture)) == before
            _require(kept, "mutate must not change its argument:", architecture)
            _require(changed != architecture, f"mutate with rate {rate} must change", architecture)
            read = space.from_json(json.loads(json.dumps(space.to_json(changed))))
            _require(read == changed, "a mutated architecture must be in the space:", changed)
            architecture = changed
    for least in (space.smallest(), space.largest()):
        _require(space.mutate(least, rng) != least, "mutate must change", least)


@_of_task
def check_children(space: Space, task: Task) -> None:
    """Checks that a child has the same shapes on the meta device and computes finite logits."""
    generator = torch.Generator().manual_seed(7)
    images = torch.randn(4, task.channels, *task.size, generator=generator)
    for architecture in _architectures(space, count=3):
        meta, child = space.build(architecture, task), space.build(architecture, task, "cpu")
        _require(
            _shapes(meta) == _shapes(child), "shapes must be the same on each device:", architecture
        )
        without = all(value.is_meta for value in _tensors(meta))
        _require(without, "a child on the meta device must hold no values:", architecture)
        again = {id(value) for value in _tensors(space.build(architecture, task))}
        own = again.isdisjoint(id(value) for value in _tensors(meta))
        _require(own, "children must not share parameter objects:", architecture)
        constant = constant_buffers(child)
        _require(not constant, f"{NO_CONSTANTS}:", *constant)
        initialise(child, generator)
        logits = child(images)
        expected = (len(images), task.classes)
        _require(logits.shape == expected, f"logits must be {expected}:", architecture)
        _require(bool(torch.isfinite(logits).all()), "logits must be finite:", architecture)
        child.eval()
        with torch.no_grad():
            alone = torch.cat([child(image[None]) for image in images])
            close = torch.allclose(alone, child(images), rtol=1e-3, atol=1e-4)
        _require(close, "examples must not influence each other in eval mode:", architecture)


@_of_task
def check_sharing(space: Space, task: Task) -> None:
    """Checks that each parameter of a child fits the shared tensor of `shared_name`."""
    shapes = space.shared_shapes(task)
    for architecture in (*_architectures(space), space.largest(), space.smallest()):
        child = space.build(architecture, task)
        names = dict(child.named_parameters())
        for name, _ in child.named_parameters(remove_duplicate=False):
            _require(name in names, f"parameter {name} must have one name:", architecture)
        for name, parameter in names.items():
            shared = space.shared_name(name)
            _require(shared in shapes, f"shared_shapes has no tensor {shared!r} for {name}")
            try:
                corner(shapes[shared], tuple(parameter.shape))
            except ValueError as error:
                raise AssertionError(f"{name} of {architecture}: {error}") from None


@_of_task
def check_features(space: Space, task: Task) -> None:
    """Features are finite, repeatable numbers, equally many for each architecture."""
    length: int | None = None
    names: list[str] | None = None
    for architecture in _architectures(space):
        features, readable = space.features(architecture), space.readable(architecture)
        _require(features.ndim == 1, "features must have the shape (F,):", architecture)
        _require(features.is_floating_point(), "features must be floats:", architecture)
        _require(bool(torch.isfinite(features).all()), "features must be finite:", architecture)
        fit = all(0 <= value <= MOST_READABLE for value in readable.values())
        _require(fit, f"readable features must be in 0…{MOST_READABLE:,}:", architecture, readable)
        copy = space.from_json(space.to_json(architecture))
        same = torch.equal(space.features(copy), features) and space.readable(copy) == readable
        _require(same, "equal architectures must have equal features:", architecture)
        length, names = length or len(features), names or list(readable)
        _require(
            len(features) == length,
            "all architectures must have equally many features:",
            architecture,
        )
        _require(
            list(readable) == names,
            "all architectures must have the same readable features:",
            architecture,
        )


@_of_task
def check_extremes(space: Space, task: Task) -> None:
    """Checks that the extremes are in the space, and nothing is cheaper than the smallest.

    Whether the largest is large enough shows in `check_sharing`.
    """
    least = measure_cost(space, space.smallest(), task)
    for architecture in _architectures(space, count=4 * _DRAWS):
        cost = measure_cost(space, architecture, task)
        smaller = least.params <= cost.params and least.macs <= cost.macs
        _require(smaller, f"the smallest ({least}) must not cost more than", architecture, cost)
    for extreme in (space.smallest(), space.largest()):
        read = space.from_json(space.to_json(extreme))
        _require(read == extreme, "the smallest and the largest must be in the space:", extreme)


@_of_task
def check_definition(space: Space, task: Task) -> None:
    """Checks that the definition that is exported, if there is one, builds the same child."""
    for architecture in _architectures(space, count=3):
        try:
            definition = space.definition(architecture, task)
        except InvalidValueError:  # a function of a script, say, is exported in other formats
            return
        if definition is None:
            return
        with without_values("meta"):
            same = _shapes(definition.build()) == _shapes(space.build(architecture, task))
        _require(same, "definition must build the same child:", architecture)


@_of_task
def check_generated_state(
    space: Space, task: Task, hypernets: Sequence[str] = ("none", "low-rank")
) -> None:
    """Checks that a child with the generated state computes the scored logits exactly."""
    generator = torch.Generator().manual_seed(8)
    batches = torch.randn(2, 6, task.channels, *task.size, generator=generator)
    for hypernet in hypernets:
        network = SmashNetwork(space, task, hypernet)
        with torch.no_grad():  # no value is at its initial 0 or 1
            for parameter in network.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        for architecture in _architectures(space, count=3):
            with torch.no_grad():
                learned = network(architecture, batches[0])  # as a step of training does
            _require(
                bool(torch.isfinite(learned).all()),
                f"{hypernet}: logits must be finite:",
                architecture,
            )
            state, again = (network.state(architecture, batches[0]) for _ in range(2))
            alike = all(torch.equal(state[name], again[name]) for name in state)
            _require(alike, f"{hypernet}: a state must be repeatable:", architecture)
            child = space.build(architecture, task, "cpu")
            child.load_state_dict(state)
            with torch.no_grad():
                scored = network.child(architecture, state)(batches[1])
                same = torch.equal(child.eval()(batches[1]), scored)
            _require(same, f"{hypernet}: the scored and the built child must agree:", architecture)
            _require(
                bool(torch.isfinite(scored).all()),
                f"{hypernet}: logits must be finite:",
                architecture,
            )


SPACE_CHECKS: tuple[Check, ...] = (
    check_json,
    check_identity,
    check_randomness,
    check_mutation,
    check_children,
    check_sharing,
    check_features,
    check_extremes,
    check_definition,
    check_generated_state,
)
"""All checks of a search space; each takes the space and a task."""


def check_strategy(strategy: Strategy[Any], history: Sequence[Candidate]) -> None:
    """Checks that proposals depend on the history and the generator only.

    So a search can be interrupted anywhere.

    Args:
        strategy: The strategy.
        history: Settled candidates that it can propose on; so must be the first half of them.

    Raises:
        AssertionError: The strategy breaks its contract.
    """
    _require(strategy.cohort >= 1, "the cohort must be at least 1, got", strategy.cohort)

    def propose(length: int) -> list[Any]:
        rng = np.random.default_rng(9)
        past = history[:length]
        return [*strategy.propose(past, rng, 1), *strategy.propose(past, rng, _DRAWS)]

    states, before = global_states(), copy.deepcopy(list(history))
    first = propose(len(history))
    _require(global_states() == states, "propose must not use global random state")
    propose(len(history) // 2)  # as another search in the same process does
    np.random.random()
    _require(propose(len(history)) == first, "the same history must give the same:", *first)
    _require(len(first) == 1 + _DRAWS, "propose must give as many as asked for, gave", first)
    _require(list(history) == before, "propose must not change the history")
    _require(len(set(first)) > 1, "a generator that goes on must give others:", *first)


def _architectures(space: Space, count: int = _DRAWS) -> Iterator[Any]:
    """Draws the same architectures each time, from all stages of training."""
    rng = np.random.default_rng(0)
    for index in range(count):
        yield space.sample(rng, progress=min(1.0, 2 * index / max(1, count - 1)))


def _require(condition: bool, rule: str, *seen: Any) -> None:
    if not condition:
        raise AssertionError(" ".join([rule, *(str(each)[:2000] for each in seen)]))


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _shapes(module: nn.Module) -> dict[str, tuple[torch.Size, torch.dtype]]:
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: (value.shape, value.dtype) for name, value in named}
