from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import smash
from smash.errors import InvalidValueError, RunStateError
from smash.io.measurements import MeasurementLog
from smash.run.layout import FOUND, MEASUREMENTS, PICTURE
from smash.scoring.priors import choose_prior
from smash.scoring.scorer import Scorer
from tests.answers import call
from tests.spaces.nas_bench_201.test_space import benchmark_rows

TINY = {"channels": 2, "cells": 1}


@pytest.fixture(scope="module")
def cells(digits, tmp_path_factory):
    """A run of cells, trained for an epoch; tests only add to what it keeps."""
    path = tmp_path_factory.mktemp("cells") / "run"
    return smash.train(
        digits, path, epochs=1, space="nas-bench-201", options=TINY, hypernet="none", device="cpu"
    )


@pytest.fixture(scope="module")
def scored(cells):
    """Some architectures with their losses on 60 examples."""
    rng = np.random.default_rng(0)
    drawn = {str(cell): cell for cell in (cells.space.sample(rng) for _ in range(25))}
    cpu = torch.device("cpu")
    scorer = Scorer(cells.network(cpu), cells.data, examples=60, snapshots=cells.snapshots(cpu))
    return {text: (cell, scorer(cell).loss) for text, cell in drawn.items()}


def write(path: Path, truths: dict[str, float]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["architecture", "accuracy"])
        writer.writerows(truths.items())
    return path


def compare(run, path, prior="none", **options):
    return smash.correlate(
        run, table=path, column="accuracy", examples=60, device="cpu", prior=prior, **options
    )


def test_a_perfect_ranking_agrees_and_its_reverse_does_not(cells, scored, tmp_path):
    right = write(tmp_path / "right.csv", {text: -loss for text, (_, loss) in scored.items()})
    wrong = write(tmp_path / "wrong.csv", {text: loss for text, (_, loss) in scored.items()})
    for found, sign in (
        (compare(cells, right), 1),
        (compare(cells, wrong), -1),
        (compare(cells, wrong, lower_is_better=True), 1),
        (compare(cells, right, lower_is_better=True), -1),
    ):
        assert found.n == len(scored)
        for each in (found.score.kendall_tau, found.score.spearman):
            assert (each.value, each.low, each.high) == pytest.approx((sign,) * 3)
        losses = sorted(loss for _, loss in scored.values())
        lost = 0 if sign == 1 else losses[-1] - losses[0]
        assert found.score.regret[1] == pytest.approx(lost)
        assert found.score.regret[100] is None


def test_baselines_are_those_of_the_same_architectures(cells, scored, tmp_path):
    rng = np.random.default_rng(1)
    truths = {text: float(rng.normal()) - loss for text, (_, loss) in scored.items()}
    found = compare(cells, write(tmp_path / "x.csv", truths))
    truth = list(truths.values())
    params = [
        sum(p.numel() for p in cells.space.build(cell, cells.data.task).parameters())
        for cell, _ in scored.values()
    ]
    by_hand = stats.kendalltau(params, truth).statistic
    own = stats.kendalltau([-loss for _, loss in scored.values()], truth).statistic
    baseline = found.baselines["params"]
    assert found.score.kendall_tau.value == pytest.approx(own)
    assert baseline.kendall_tau.value == pytest.approx(by_hand)
    assert baseline.spearman.value == pytest.approx(stats.spearmanr(params, truth).statistic)
    assert baseline.tau_difference is not None
    assert baseline.tau_difference.value == pytest.approx(own - by_hand)
    assert baseline.tau_difference.low < own - by_hand < baseline.tau_difference.high
    best = np.argsort(truth)[-math.ceil(len(truth) / 10) :]
    top = stats.kendalltau(np.take(params, best), np.take(truth, best)).statistic
    assert baseline.top_tenth_tau.value == pytest.approx(top)
    random = found.baselines["random"]
    assert random.kendall_tau.value == 0
    assert random.regret[1] == pytest.approx(max(truth) - np.mean(truth))
    assert set(found.baselines) == {"params", "macs", "random"}


def test_a_prior_is_shown_alone_and_joined_with_the_score(cells, scored, tmp_path, capsys):
    rng = np.random.default_rng(3)
    truths = {text: float(rng.normal()) - loss for text, (_, loss) in scored.items()}
    path = write(tmp_path / "x.csv", truths)
    found = compare(cells, path, prior="params")
    params = [
        sum(p.numel() for p in cells.space.build(cell, cells.data.task).parameters())
        for cell, _ in scored.values()
    ]
    losses = [loss for _, loss in scored.values()]
    joined = np.log(stats.rankdata(params)) + 2 * np.log(stats.rankdata(np.negative(losses)))
    truth = list(truths.values())
    tau = found.together["params"].kendall_tau
    assert tau.value == pytest.approx(stats.kendalltau(joined, truth).statistic)
    assert tau.low < tau.value < tau.high
    alone = found.baselines["params"].kendall_tau.value
    assert alone == pytest.approx(stats.kendalltau(params, truth).statistic)
    arguments = ["--table", str(path), "--column", "accuracy", "--examples", "60"]
    assert call("correlate", str(cells.path), *arguments, "--prior", "params", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["prior"] == "params"
    assert told["together"]["params"]["kendall_tau"]["value"] == pytest.approx(tau.value)
    with pytest.raises(InvalidValueError, match="prior 'size' is not known"):
        compare(cells, path, prior="size")


def test_cells_have_a_prior_of_their_own(cells, scored, tmp_path):
    truths = {text: -loss for text, (_, loss) in scored.items()}
    path = write(tmp_path / "x.csv", truths)
    found = compare(cells, path, prior=None)
    assert (found.prior, set(found.together)) == ("generated-synflow", {"generated-synflow"})
    assert compare(cells, path, prior="generated-synflow").as_json() == found.as_json()
    assert compare(cells, path).prior is None
    assert choose_prior(None, "memory-bank") is None


def test_proxies_stand_apart_and_together(cells, scored, tmp_path):
    rng = np.random.default_rng(2)
    truths = {text: float(rng.normal()) for text in scored}
    path = write(tmp_path / "x.csv", truths)
    found = compare(cells, path, prior=None, proxies=["naswot", "synflow", "az-nas"], limit=12)
    asked, prior = {"naswot", "synflow", "az-nas"}, {"generated-synflow"}
    assert set(found.baselines) == {"params", "macs", "random"} | asked | prior
    assert set(found.together) == asked | prior
    # By hand, from the numbers that were kept; the score counts twice.
    rows = [json.loads(line) for line in (cells.path / MEASUREMENTS).read_text().splitlines()]
    kept = {row["id"]: row["values"] for row in rows if row["kind"].startswith("az-nas ")}
    ids = [identity for identity, *_ in found.points]
    table = np.array([list(kept[one].values()) for one in ids], dtype=float)  # None becomes NaN
    assert table.shape == (12, 4)
    losses = [score for _, score, _ in found.points]
    real = [truth for *_, truth in found.points]
    columns = [*np.nan_to_num(table, nan=-1e30).T, [-loss for loss in losses]]
    logs = [np.log(stats.rankdata(column) / 12) for column in columns]
    for where, parts in ((found.baselines, logs[:4]), (found.together, [*logs, logs[-1]])):
        expected = stats.kendalltau(sum(parts), real).statistic
        assert where["az-nas"].kendall_tau.value == pytest.approx(expected)


def test_a_repeated_call_measures_nothing_and_finds_the_same(cells, scored, tmp_path):
    path = write(tmp_path / "x.csv", {text: -loss for text, (_, loss) in scored.items()})
    first = compare(cells, path, proxies=["synflow"]).as_json()
    measurements = cells.path / MEASUREMENTS
    kept = measurements.read_bytes()
    assert compare(cells, path, proxies=["synflow"]).as_json() == first
    assert measurements.read_bytes() == kept
    # A kill in the middle of a line: only what is missing is measured again.
    measurements.write_bytes(kept[: len(kept) // 2])
    again = smash.Run.open(cells.path)
    assert compare(again, path, proxies=["synflow"]).as_json() == first


def test_scores_are_those_of_this_network_alone(cells, scored, tmp_path):
    path = write(tmp_path / "x.csv", {text: -loss for text, (_, loss) in scored.items()})
    compare(cells, path)
    measurements = MeasurementLog(cells.path / MEASUREMENTS)
    kinds = {
        json.loads(line)["kind"]
        for line in (cells.path / MEASUREMENTS).read_text().splitlines()
        if json.loads(line)["kind"].startswith("score ")
    }
    (kind,) = {each for each in kinds if "examples=60 " in each}
    for cell, loss in scored.values():
        kept = measurements.get(kind, cells.space.identify(cell))
        assert kept is not None
        assert kept["loss"] == loss
    assert "network=" in kind


def test_the_document_is_plain_json_and_the_picture_is_there(cells, scored, tmp_path, capsys):
    path = write(tmp_path / "x.csv", {text: -loss for text, (_, loss) in scored.items()})
    argv = ["correlate", str(cells.path), "--table", str(path), "--column", "accuracy"]
    argv += ["--examples", "60", "--device", "cpu", "--proxy", "naswot,synflow", "--half", "first"]
    assert call(*argv, "--json") == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert {"n", "kendall_tau", "spearman", "top_tenth_tau", "regret", "baselines"} <= set(document)
    assert set(document["kendall_tau"]) == {"value", "low", "high"}
    assert set(document["regret"]) == {"1", "10", "100"}
    assert set(document["baselines"]["params"]) == {
        "kendall_tau", "spearman", "top_tenth_tau", "regret", "tau_difference"
    }  # fmt: skip
    assert document["n"] < len(scored)
    assert "first half" in document["truth"]
    svg = (cells.path / PICTURE).read_text(encoding="utf-8")
    assert svg.count("<circle") == document["n"]
    assert "τ = 1.000" in svg
    assert call(*argv) == 0
    shown = capsys.readouterr().out
    for word in ("SMASH score", "params", "macs", "random", "naswot", "score and synflow", "1.000"):
        assert word in shown
    for found in (document, *document["baselines"].values(), *document["together"].values()):
        tau = found["kendall_tau"]  # nothing of an interval is cut off
        assert f"{tau['low']:.2f}…{tau['high']:.2f}" in shown


def test_what_was_found_last_is_kept_for_the_report(cells, scored, tmp_path):
    table = write(tmp_path / "t.csv", {text: -loss for text, (_, loss) in scored.items()})
    compare(cells, table, lower_is_better=True)
    found = compare(cells, table)
    kept = json.loads((cells.path / FOUND).read_text())
    assert kept == {
        **json.loads(json.dumps(found.as_json())),
        "picture": PICTURE,  # without the folder: a run can be moved
        "points": [list(point) for point in found.points],
    }
    page = smash.report(cells).read_text()
    trust = page.split('<section id="trust"')[1].split("</section>")[0]
    assert trust.count('class="point ') == len(scored)
    assert f"SMASH score: {found.score.kendall_tau.value:.2f} [" in trust


def test_parameters_agree_with_real_accuracies_as_published(cells, tmp_path):
    """τ 0.578 over the benchmark; of 50 rows within sampling error, and within the interval."""
    rows = benchmark_rows()
    truths = {row["architecture"]: float(row["cifar10_test_accuracy"]) for row in rows}
    path = write(tmp_path / "x.csv", truths)
    found = smash.correlate(
        cells, table=path, column="accuracy", limit=50, examples=10, prior="none", device="cpu"
    )
    tau = found.baselines["params"].kendall_tau
    assert tau.value == pytest.approx(0.578, abs=0.15)
    assert tau.low < 0.578 < tau.high
    assert tau.high - tau.low < 0.35


def test_a_sample_of_candidates_is_trained_and_compared(run):
    smash.search(run, random=6, perturb=0, markov=0, device="cpu", rank_by="error")
    found = smash.correlate(run, train=3, epochs=1, proxies=["naswot", "az-nas"], device="cpu")
    assert found.n == 3
    candidates = {one.id: one for one in smash.Study(run.study_path).candidates()}
    for identity, score, truth in found.points:
        child = smash.Child.open(run.path / "children" / f"{identity}-e1-audit")
        assert truth == 1 - child.result["audit"].error
        assert score == candidates[identity].error
    again = smash.correlate(run, train=3, epochs=1, proxies=["naswot", "az-nas"], device="cpu")
    assert again.as_json() == found.as_json()
    assert found.truth.endswith("audit split after 1 epoch")
    assert "error on" in found.scored_on


def test_wrong_settings_are_all_told(cells, scored, tmp_path):
    with pytest.raises(InvalidValueError) as error:
        smash.correlate(
            cells, train=3, half="first", limit=3, proxies=["naswot2"], init="generated"
        )
    assert len(error.value.faults) == 4
    path = write(tmp_path / "x.csv", {"|none~0|+|none~0|none~1|+|none~0|none~1|none~2|": 1.0})
    with pytest.raises(InvalidValueError, match="at least 3 architectures to rank, got 1"):
        compare(cells, path)
    with pytest.raises(InvalidValueError, match="epochs is for what is trained"):
        compare(cells, path, epochs=3)
    compare(cells, write(tmp_path / "y.csv", dict.fromkeys(scored, 1.0)))  # so that it is there
    text = (cells.path / MEASUREMENTS).read_bytes()
    try:
        (cells.path / MEASUREMENTS).write_bytes(b"damaged\n" + text)
        with pytest.raises(RunStateError, match=r"trust\.jsonl is damaged in line 1"):
            compare(cells, path)
    finally:
        (cells.path / MEASUREMENTS).write_bytes(text)
