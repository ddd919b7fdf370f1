from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from smash.data import IN_MEMORY
from smash.runtime.executor import SerialExecutor
from smash.training.settings import ChildrenSettings, RetrainSettings
from smash.training.workers import open_trainer, suitable_workers


@pytest.fixture
def threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)


def run_of(*, examples=50_000, nbytes=150 * 2**20, source="cifar10"):
    return SimpleNamespace(
        data=SimpleNamespace(train=range(examples), nbytes=nbytes),
        settings=SimpleNamespace(data=SimpleNamespace(source=source)),
    )


@pytest.mark.parametrize(
    ("run", "settings", "macs", "workers"),
    [
        (run_of(), {"epochs": 4}, 12_000_000, 6),
        (run_of(examples=1000), {"epochs": 60}, 140_000, 6),
        (run_of(examples=1000), {"epochs": 10}, 140_000, 1),  # seconds each: not worth a start
        (run_of(), {"minutes": 2}, 1, 6),
        (run_of(), {"minutes": 0.05}, 12_000_000, 1),
        (run_of(nbytes=3 * 2**30), {"epochs": 4}, 12_000_000, 2),  # half of 16 GiB hold two copies
        (run_of(nbytes=3 * 2**30, source=IN_MEMORY), {"epochs": 4}, 12_000_000, 1),
        (run_of(nbytes=2**40), {"epochs": 4}, 12_000_000, 1),
    ],
)
def test_as_many_workers_as_threads_where_trainings_take_long_and_memory_holds(
    run, settings, macs, workers, threads, monkeypatch
):
    monkeypatch.setattr("smash.training.workers.main_memory", lambda: 16 * 2**30)
    assert suitable_workers(run, ChildrenSettings(**settings, device="cpu"), macs) == workers


def test_workers_are_few_on_a_machine_of_many_cores(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 128)
    monkeypatch.setattr("smash.training.workers.main_memory", lambda: 2**40)
    assert suitable_workers(run_of(), ChildrenSettings(epochs=4, device="cpu"), 12_000_000) == 16


def test_one_worker_is_this_process_whatever_the_length():
    with open_trainer(run_of(), RetrainSettings(workers=1), 12_000_000) as executor:
        assert isinstance(executor, SerialExecutor)
