from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from smash.config import SpaceSettings
from smash.errors import InvalidValueError
from smash.profiling.cost import measure_cost
from smash.spaces import NasBench201Space, Task, make_space
from smash.spaces.nas_bench_201 import (
    EDGES,
    OPERATIONS,
    CellArchitecture,
    NasBench201Options,
)
from smash.spaces.parameters import count_parameters
from tests.spaces.cases import rng_of

TASK = Task(channels=3, size=(8, 8), classes=10)
TEXT = "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|none~2|"


def space_of(**options) -> NasBench201Space:
    return NasBench201Space(NasBench201Options(**options))


def test_identify_hashes_text_and_structural_options():
    space = space_of()
    cell = space.parse(TEXT)
    assert space.to_json(cell) == {"cell": TEXT}
    # sha256 of {"cell":"|…|","space":"nas-bench-201"}
    assert space.identify(cell) == "52a240500452"
    assert space_of(distinct=True, connected=True).identify(cell) == space.identify(cell)
    others = [{"channels": 8}, {"cells": 1}, {"stem_stride": 2}]
    ids = {space.identify(cell), *(space_of(**other).identify(cell) for other in others)}
    assert len(ids) == 4
    assert space_of(channels=16, cells=5).structure() == {}


def test_parse_reads_json_and_published_text():
    space = space_of()
    assert space.parse(f'{{"cell": "{TEXT}"}}') == space.parse(TEXT)
    for wrong in ({}, {"cell": 3}, {"cell": TEXT, "more": 1}):
        with pytest.raises(InvalidValueError, match="a cell must have the form"):
            space.from_json(wrong)
    with pytest.raises(InvalidValueError, match="must have the form"):
        space.parse("none")


def test_sample_is_uniform_on_every_edge():
    space, rng = space_of(), rng_of(0)
    drawn = [space.sample(rng).operations for _ in range(4000)]
    for edge in range(len(EDGES)):
        for operation in OPERATIONS:
            count = sum(operations[edge] == operation for operations in drawn)
            assert abs(count - 800) < 5 * (4000 * 0.2 * 0.8) ** 0.5, (edge, operation)


def test_sample_distinct_and_connected_options_restrict_draws():
    rng = rng_of(1)
    plain = [space_of().sample(rng) for _ in range(2000)]
    assert any(not cell.connected for cell in plain)
    connected = [space_of(connected=True).sample(rng) for _ in range(500)]
    assert all(cell.connected for cell in connected)
    assert len({cell.canonical for cell in plain}) < len(set(plain))
    space = space_of(distinct=True, connected=True)
    drawn = [space.sample(rng) for _ in range(2000)]
    changed = [space.mutate(cell, rng, rate) for cell in drawn[:200] for rate in (0.05, 0.9)]
    both = {*drawn, *changed}
    assert len({cell.canonical for cell in both}) == len(both)
    assert all(cell.connected for cell in both)
    same = space_of().parse(
        "|skip_connect~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|"
    )
    assert same.canonical == "x"
    assert all(space.mutate(same, rng, 0.01).canonical != "x" for _ in range(200))


def test_mutate_rate_is_the_share_of_changed_edges():
    space, rng = space_of(), rng_of(2)
    cell = space.parse(TEXT)
    changes = np.zeros(len(EDGES))
    for _ in range(2000):
        other = space.mutate(cell, rng, 0.5)
        changes += [a != b for a, b in zip(cell.operations, other.operations, strict=True)]
    # Half, and in one case of 2^6 one of six edges instead of none.
    expected = 2000 * (0.5 + 0.5**6 / 6)
    assert np.abs(changes - expected).max() < 5 * (2000 * 0.25) ** 0.5
    for rate in (0, -1, 1.5):
        with pytest.raises(InvalidValueError, match="rate must be"):
            space.mutate(cell, rng, rate)


def test_features_are_one_hot_operations_and_live_edges():
    space = space_of()
    features = space.features(space.parse(TEXT))
    chosen = features[:30].reshape(6, 5).argmax(1)
    assert [OPERATIONS[index] for index in chosen] == list(space.parse(TEXT).operations)
    assert features[:30].sum() == 6
    # 2 leads nowhere, so nothing that leads to 2 matters.
    assert features[30:].tolist() == [1, 0, 0, 1, 1, 0]


def test_readable_gives_depth_and_counts():
    space = space_of()
    assert space.readable(space.parse(TEXT)) == {
        "depth": 2,
        "none": 2,
        "skip_connect": 1,
        "nor_conv_1x1": 1,
        "nor_conv_3x3": 1,
        "avg_pool_3x3": 1,
    }
    assert space.readable(space.largest())["depth"] == 3
    assert space.readable(space.smallest())["depth"] == 0


def test_smallest_may_be_drawn():
    assert not space_of().smallest().connected
    for options in ({}, {"distinct": True}):
        smallest = space_of(connected=True, **options).smallest()
        assert smallest.canonical == "x"
        costs = [measure_cost(space_of(), each, TASK) for each in (smallest, space_of().smallest())]
        assert costs[0].params == costs[1].params
        assert costs[0].macs == costs[1].macs


def test_shared_shapes_has_a_tensor_per_cell_edge_and_operation():
    space = space_of(channels=4, cells=2)
    shapes = space.shared_shapes(TASK)
    kernels = [
        name for name in shapes if name.startswith("stages.") and name.endswith("conv.weight")
    ]
    assert len(kernels) == 6 * 6 * 2  # cells, edges, operations
    assert shapes["stages.2.1.nor_conv_3x3_0_2.conv.weight"] == (16, 16, 3, 3)
    assert shapes["stages.1.0.nor_conv_1x1_1_3.conv.weight"] == (8, 8, 1, 1)
    assert all(space.shared_name(name) == name for name in shapes)


def test_make_space_reads_settings():
    made = make_space(SpaceSettings(name="nas-bench-201", options={"channels": 8, "cells": 1}), 2)
    assert isinstance(made, NasBench201Space)
    assert (made.options.channels, made.options.cells) == (8, 1)
    with pytest.raises(InvalidValueError, match="has no presets, got preset 'small'"):
        make_space(SpaceSettings(name="nas-bench-201", preset="small"), 2)
    with pytest.raises(InvalidValueError, match="did you mean 'cells'"):
        make_space(SpaceSettings(name="nas-bench-201", options={"cell": 1}), 2)
    with pytest.raises(InvalidValueError, match="did you mean 'nas-bench-201'"):
        make_space(SpaceSettings(name="nasbench201"), 2)


def benchmark_rows() -> list[dict[str, str]]:
    """Real rows of the benchmark; SMASH_SHARED names the folder that has ``data/``."""
    shared = os.environ.get("SMASH_SHARED") or Path(__file__).parents[4] / "shared"
    path = Path(shared) / "data" / "nats_bench_tss_1000.csv"
    if not path.is_file():
        pytest.skip("rows of NATS-Bench are not here: SMASH_SHARED names the folder of data/")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_parse_table_rows_round_trip():
    space = space_of()
    texts = [row["architecture"] for row in benchmark_rows()]
    assert [str(space.parse(text)) for text in texts] == texts


def test_connected_table_rows_at_chance_are_unconnected():
    rows = [(space_of().parse(row["architecture"]), row) for row in benchmark_rows()]
    unconnected = [row for cell, row in rows if not cell.connected]
    others = [row for cell, row in rows if cell.connected]
    assert unconnected
    assert all(float(row["cifar10_test_accuracy"]) == 10.0 for row in unconnected)
    assert all(float(row["cifar10_test_accuracy"]) > 11 for row in others)


def test_measure_cost_table_rows_correlate_as_published():
    """Kendall's τ is 0.578 over all 15,625; 334 of them have it within sampling error."""
    space = space_of(channels=4, cells=1)
    rows = benchmark_rows()[::3]
    params = [count_parameters(space.build(space.parse(r["architecture"]), TASK)) for r in rows]
    accuracy = [float(row["cifar10_test_accuracy"]) for row in rows]
    signs = [np.sign(np.subtract.outer(values, values)) for values in (params, accuracy)]
    agreement = (signs[0] * signs[1]).sum()
    tau = agreement / np.sqrt(np.abs(signs[0]).sum() * np.abs(signs[1]).sum())
    assert tau == pytest.approx(0.578, abs=0.05)


def test_canonical_table_rows_of_one_form_have_similar_accuracy():
    """They differ by the seeds of their trainings only."""
    accuracies: dict[str, list[float]] = {}
    rows = benchmark_rows()
    for row in rows:
        cell = space_of().parse(row["architecture"])
        if cell.connected:
            accuracy = float(row["cifar10_test_accuracy"])
            accuracies.setdefault(cell.canonical, []).append(accuracy)
    together = [np.ptp(values) for values in accuracies.values() if len(values) > 1]
    every = [value for values in accuracies.values() for value in values]
    assert len(together) > 20
    assert np.median(together) < 0.1 * np.std(every)


def test_sample_reaches_all_cells():
    space = space_of(distinct=True)
    cells = {space.sample(rng_of(seed)) for seed in range(300)}
    assert len(cells) > 250
    assert all(isinstance(cell, CellArchitecture) for cell in cells)
    assert torch.stack([space.features(cell) for cell in cells]).shape == (len(cells), 36)


def test_sample_for_training_prefers_convolutions():
    def share(draw):
        rng = np.random.default_rng(4)
        operations = [each for _ in range(1000) for each in draw(rng, 0.5).operations]
        return np.mean(["conv" in each for each in operations])

    # 6,000 draws: a standard deviation of at most 0.0065.
    space = NasBench201Space()
    assert share(space.sample) == pytest.approx(0.4, abs=0.03)
    assert share(space.sample_for_training) == pytest.approx(0.6, abs=0.03)
    uniform = NasBench201Space(NasBench201Options(weighted=False))
    assert share(uniform.sample_for_training) == pytest.approx(0.4, abs=0.03)


def test_proxy_has_one_cell_per_stage():
    space = space_of(cells=3, channels=4, connected=True)
    proxy = space.proxy()
    assert proxy.options == NasBench201Options(cells=1, channels=4, connected=True)
    assert proxy.proxy() is proxy
    cell = proxy.sample(rng_of(0))
    assert space.from_json(proxy.to_json(cell)) == cell
