from __future__ import annotations

import numpy as np
import pytest
import torch

import smash
from smash.io.measurements import MeasurementLog
from smash.profiling.cost import measure_cost
from smash.scoring.proxies import Subject, Synflow
from smash.scoring.proxy_names import PROXY_NAMES, SIZE_PROXIES
from smash.scoring.proxy_values import measure_proxy
from smash.scoring.scorer import Scorer

CPU = torch.device("cpu")
TINY = {"channels": 2, "cells": 2}


@pytest.fixture(scope="module")
def cells(digits, tmp_path_factory):
    """A run of cells, trained for an epoch with smaller images and children than are shipped."""
    path = tmp_path_factory.mktemp("measuring") / "run"
    return smash.train(
        digits, path, epochs=1, space="nas-bench-201", options=TINY, proxy_size=4, device="cpu"
    )


@pytest.fixture(scope="module")
def drawn(cells):
    rng = np.random.default_rng(0)
    architectures = [cells.space.sample(rng) for _ in range(5)]
    return [(str(number), each) for number, each in enumerate(architectures)]


def test_generated_synflow_measures_the_weights_that_are_scored(cells, drawn, tmp_path):
    found = measure_proxy(
        cells, "generated-synflow", drawn, MeasurementLog(tmp_path / "trust.jsonl"), CPU
    )
    scorer = Scorer(cells.network(CPU), cells.search_data)
    for (_, architecture), numbers in zip(drawn, found, strict=True):
        child = cells.search_space.build(architecture, cells.search_data.task, "cpu")
        child.load_state_dict(scorer.state(architecture))
        subject = Subject(child=child, stages=[], macs=0)
        images = torch.zeros(1, 1, 4, 4)
        assert numbers == pytest.approx(Synflow()(subject, images, torch.Generator()))


def test_joined_proxies_are_measured_one_after_the_other(cells, drawn, tmp_path):
    log = MeasurementLog(tmp_path / "trust.jsonl")
    naswot, params, both = (
        measure_proxy(cells, name, drawn, log, CPU)
        for name in ("naswot", "params", "naswot+params")
    )
    assert both == [one + other for one, other in zip(naswot, params, strict=True)]


def test_proxy_of_another_network_is_measured_anew(cells, drawn, digits, tmp_path):
    other = smash.train(
        digits, tmp_path / "run", epochs=1, space="nas-bench-201", options=TINY, proxy_size=4,
        seed=1, device="cpu",
    )  # fmt: skip
    measurements = MeasurementLog(tmp_path / "trust.jsonl")
    for name, same in (("synflow", True), ("generated-synflow", False)):
        first, second = (
            measure_proxy(run, name, drawn, measurements, CPU) for run in (cells, other)
        )
        assert (first == second) is same


@pytest.mark.parametrize("name", [name for name in PROXY_NAMES if name not in SIZE_PROXIES])
def test_logged_values_are_not_measured_again(name, cells, drawn, tmp_path):
    path = tmp_path / "trust.jsonl"
    first = measure_proxy(cells, name, drawn, MeasurementLog(path), CPU)
    kept = path.read_bytes()
    given = measure_proxy(cells, name, drawn, MeasurementLog(path), CPU, network=cells.network(CPU))
    assert (given, path.read_bytes()) == (first, kept)


@pytest.mark.parametrize("name", SIZE_PROXIES)
def test_sizes_are_counted_and_not_logged(name, cells, drawn, tmp_path):
    path = tmp_path / "trust.jsonl"
    values = measure_proxy(cells, name, drawn, MeasurementLog(path), CPU)
    costs = [measure_cost(cells.space, architecture, cells.data.task) for _, architecture in drawn]
    assert values == [(getattr(cost, name),) for cost in costs]
    assert not path.exists()
