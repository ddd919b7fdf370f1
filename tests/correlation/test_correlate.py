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
from smash.correlation.correlate import draw
from smash.errors import InvalidValueError, RunStateError
from smash.io.measurements import MeasurementLog
from smash.io.records import Interval
from smash.run.layout import FOUND, MEASUREMENTS, PICTURE
from smash.run.trust import Trust
from smash.scoring.priors import choose_prior
from smash.scoring.scorer import Scorer
from tests.answers import call
from tests.reporting.html import of_class, parsed, said
from tests.reporting.made import trust
from tests.spaces.nas_bench_201.test_space import benchmark_rows

TINY = {"channels": 2, "cells": 1}


@pytest.fixture(scope="module")
def cells(few_digits, tmp_path_factory):
    """A run of cells, trained for an epoch; tests only add to what it keeps."""
    path = tmp_path_factory.mktemp("cells") / "run"
    space = {"space": "nas-bench-201", "options": TINY, "hypernet": "none"}
    return smash.train(few_digits, path, epochs=1, **space, device="cpu")


@pytest.fixture(scope="module")
def scored(cells, tmp_path_factory):
    """Some architectures with their losses on 60 examples, which the run keeps.

    A command that opens the run anew would load all digits, and calibrate by others of them.
    """
    rng = np.random.default_rng(0)
    drawn = {str(cell): cell for cell in (cells.space.sample(rng) for _ in range(25))}
    cpu = torch.device("cpu")
    scorer = Scorer(cells.network(cpu), cells.data, examples=60, snapshots=cells.snapshots(cpu))
    found = {text: (cell, scorer(cell).loss) for text, cell in drawn.items()}
    table = {text: -loss for text, (_, loss) in found.items()}
    compare(cells, write(tmp_path_factory.mktemp("scored") / "x.csv", table))
    return found


@pytest.fixture(scope="module")
def devices(few_digits, tmp_path_factory):
    """A searched run of small networks for devices."""
    path = tmp_path_factory.mktemp("devices") / "run"
    run = smash.train(few_digits, path, epochs=1, space="mobile", preset="tiny", device="cpu")
    smash.search(run, random=12, perturb=0, markov=0, prior="main-effects", full=True, device="cpu")
    return run


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


def test_correlate_of_perfect_ranking_is_one_and_of_reverse_minus_one(cells, scored, tmp_path):
    right = write(tmp_path / "right.csv", {text: -loss for text, (_, loss) in scored.items()})
    wrong = write(tmp_path / "wrong.csv", {text: loss for text, (_, loss) in scored.items()})
    for found, sign in (
        (compare(cells, right), 1),
        (compare(cells, wrong), -1),
        (compare(cells, wrong, lower_is_better=True), 1),
        (compare(cells, right, lower_is_better=True), -1),
    ):
        assert found.n == len(scored)
        for each in (found.kendall_tau, found.spearman):
            ends = sorted((sign, sign * (2 * 0.025 ** (1 / (len(scored) // 2)) - 1)))
            assert (each.value, each.low, each.high) == pytest.approx((sign, *ends))
        losses = sorted(loss for _, loss in scored.values())
        lost = 0 if sign == 1 else losses[-1] - losses[0]
        assert found.regret[1] == pytest.approx(lost)
        assert set(found.regret) == {1, 5, 10}


def test_baselines_rank_the_same_architectures(cells, scored, tmp_path):
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
    assert found.kendall_tau.value == pytest.approx(own)
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


def joined_by_hand(scores, proxy_ranks, top=0.5):
    """Score twice, proxy once, and the log odds of the proxy at the top, unless it is a size."""
    count = len(scores) + 1
    joined = 2 * np.log(stats.rankdata(scores)) + np.log(proxy_ranks)
    return joined - top * np.log(1 - proxy_ranks / count)


def test_prior_is_ranked_alone_and_joined_with_score(cells, scored, tmp_path, capsys):
    rng = np.random.default_rng(3)
    truths = {text: float(rng.normal()) - loss for text, (_, loss) in scored.items()}
    path = write(tmp_path / "x.csv", truths)
    found = compare(cells, path, prior="params")
    params = [
        sum(p.numel() for p in cells.space.build(cell, cells.data.task).parameters())
        for cell, _ in scored.values()
    ]
    losses = [loss for _, loss in scored.values()]
    joined = joined_by_hand(np.negative(losses), stats.rankdata(params), top=0)
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


def test_cells_have_a_default_prior(cells, scored, tmp_path):
    truths = {text: -loss for text, (_, loss) in scored.items()}
    path = write(tmp_path / "x.csv", truths)
    found = compare(cells, path, prior=None)
    prior = "paths+generated-synflow+az-nas"
    assert (found.prior, set(found.together)) == (prior, {prior})
    assert compare(cells, path, prior=prior).model_dump_json() == found.model_dump_json()
    assert compare(cells, path).prior is None
    assert choose_prior(None, "memory-bank") is None


def test_proxies_are_ranked_alone_and_joined_with_score(cells, scored, tmp_path):
    rng = np.random.default_rng(2)
    truths = {text: float(rng.normal()) for text in scored}
    path = write(tmp_path / "x.csv", truths)
    found = compare(cells, path, prior=None, proxies=["naswot", "synflow", "az-nas"], limit=12)
    asked, prior = {"naswot", "synflow", "az-nas"}, {"paths+generated-synflow+az-nas"}
    proxies = {"generated-synflow+az-nas"}  # which paths add nothing to
    assert set(found.baselines) == {"params", "macs", "random"} | asked | proxies
    assert set(found.together) == asked | prior
    # By hand, from the numbers that were kept; the score counts twice.
    rows = [json.loads(line) for line in (cells.path / MEASUREMENTS).read_text().splitlines()]
    kept = {row["id"]: row["values"] for row in rows if row["kind"].startswith("az-nas ")}
    ids = [point.id for point in found.points]
    table = np.array([list(kept[one].values()) for one in ids], dtype=float)  # None becomes NaN
    assert table.shape == (12, 4)
    losses = [point.score for point in found.points]
    real = [point.accuracy for point in found.points]
    logs = np.log(stats.rankdata(np.nan_to_num(table, nan=-1e30), axis=0))
    az_nas = stats.rankdata(logs.sum(1).round(9))
    joined = joined_by_hand(np.negative(losses), az_nas)
    for where, ranking in ((found.baselines, az_nas), (found.together, joined)):
        expected = stats.kendalltau(ranking, real).statistic
        assert where["az-nas"].kendall_tau.value == pytest.approx(expected)


def test_correlate_repeated_measures_nothing_and_gives_the_same(cells, scored, tmp_path):
    path = write(tmp_path / "x.csv", {text: -loss for text, (_, loss) in scored.items()})
    first = compare(cells, path, proxies=["synflow"]).model_dump_json()
    measurements = cells.path / MEASUREMENTS
    kept = measurements.read_bytes()
    assert compare(cells, path, proxies=["synflow"]).model_dump_json() == first
    assert measurements.read_bytes() == kept
    # A kill in the middle of a line: only what is missing is measured again.
    measurements.write_bytes(kept[: len(kept) // 2])
    again = smash.Run.open(cells.path)
    assert compare(again, path, proxies=["synflow"]).model_dump_json() == first


def test_scores_are_kept_with_the_network_they_are_of(cells, scored, tmp_path):
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


def test_command_prints_json_and_table_and_draws_picture(cells, scored, tmp_path, capsys):
    path = write(tmp_path / "x.csv", {text: -loss for text, (_, loss) in scored.items()})
    argv = ["correlate", str(cells.path), "--table", str(path), "--column", "accuracy"]
    argv += ["--examples", "60", "--device", "cpu", "--proxy", "naswot,synflow", "--half", "first"]
    assert call(*argv, "--json") == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert {"n", "kendall_tau", "spearman", "top_tenth_tau", "regret", "baselines"} <= set(document)
    assert set(document["kendall_tau"]) == {"value", "low", "high"}
    assert set(document["regret"]) == {"1", "5", "10"}
    assert set(document["baselines"]["params"]) == {
        "kendall_tau", "spearman", "top_tenth_tau", "equal_size_tau", "ndcg", "top_precision",
        "regret", "tau_difference",
    }  # fmt: skip
    assert document["n"] < len(scored)
    assert "first half" in document["truth"]
    svg = (cells.path / PICTURE).read_text(encoding="utf-8")
    assert svg.count('class="point s0"') == document["n"]
    assert "τ = 1.000" in svg
    assert call(*argv) == 0
    shown = capsys.readouterr().out
    for word in ("SMASH score", "params", "macs", "random", "naswot", "score and synflow", "1.000"):
        assert word in shown
    for found in (document, *document["baselines"].values(), *document["together"].values()):
        tau = found["kendall_tau"]  # nothing of an interval is cut off
        assert f"{tau['low']:.2f}…{tau['high']:.2f}" in shown


def test_latest_result_is_kept_for_the_report(cells, scored, tmp_path):
    table = write(tmp_path / "t.csv", {text: -loss for text, (_, loss) in scored.items()})
    compare(cells, table, lower_is_better=True)
    found = compare(cells, table)
    kept = json.loads((cells.path / FOUND).read_text())
    assert kept == json.loads(json.dumps(found.model_dump(exclude_none=True)))
    read = Trust.of_run(cells.path)
    assert read is not None
    assert read.model_dump_json() == found.model_dump_json()
    page = smash.report(cells).read_text()
    trust = page.split('<section id="trust"')[1].split("</section>")[0]
    assert trust.count('class="point ') == len(scored)
    assert f"SMASH score: {found.kendall_tau.value:.2f} [" in trust


def test_correlation_of_parameters_is_as_published(cells, tmp_path):
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


def test_correlate_with_training_judges_children_on_audit_split(run):
    smash.search(run, random=6, perturb=0, markov=0, device="cpu", rank_by="error")
    found = smash.correlate(run, train=3, epochs=1, proxies=["naswot", "az-nas"], device="cpu")
    assert found.n == 3
    candidates = {one.id: one for one in smash.Study(run.study_path).candidates()}
    for point in found.points:
        child = smash.Child.open(run.path / "children" / f"{point.id}-e1-audit")
        assert point.accuracy == 1 - child.result["audit"].error
        assert point.score == candidates[point.id].error
    again = smash.correlate(run, train=3, epochs=1, proxies=["naswot", "az-nas"], device="cpu")
    assert again.model_dump_json() == found.model_dump_json()
    assert found.truth.endswith("audit split after 1 epoch")
    assert "error on" in found.score
    assert smash.Child.of_run(run) == []  # they were trained on fewer examples than what is shipped


def test_correlate_with_wrong_settings_reports_all_faults(cells, scored, tmp_path):
    with pytest.raises(InvalidValueError) as error:
        smash.correlate(
            cells, train=3, half="first", limit=3, proxies=["naswot2"], init="generated"
        )
    assert len(error.value.faults) == 4
    path = write(tmp_path / "x.csv", {"|none~0|+|none~0|none~1|+|none~0|none~1|none~2|": 1.0})
    with pytest.raises(InvalidValueError, match="at least 3 architectures to rank, got 1"):
        compare(cells, path)
    with pytest.raises(InvalidValueError, match="epochs is for trained candidates"):
        compare(cells, path, epochs=3)
    compare(cells, write(tmp_path / "y.csv", dict.fromkeys(scored, 1.0)))  # so that it is there
    text = (cells.path / MEASUREMENTS).read_bytes()
    try:
        (cells.path / MEASUREMENTS).write_bytes(b"damaged\n" + text)
        with pytest.raises(RunStateError, match=r"trust\.jsonl is damaged in line 1"):
            compare(cells, path)
    finally:
        (cells.path / MEASUREMENTS).write_bytes(text)


def test_picture_tells_missing_scores_and_shortens_long_names():
    tau = Interval(value=0.5, low=0.25, high=0.75)
    long = f"column accuracy of {'a long name ' * 20}"
    points = [("a", 1.0, 0.5), ("b", math.nan, 0.6), ("c", 2.0, 0.7)]
    found = trust(tau, points=points).model_copy(update={"n": 3, "truth": long})
    root = parsed(draw(found).replace(' xmlns="http://www.w3.org/2000/svg"', ""))
    title, line, *_ = (said(each) for each in root.iter("text"))
    assert title == "τ = 0.500 [0.250, 0.750], n = 3 (1 without a score)"
    assert f"against {long}".startswith(line.removesuffix(" …"))
    assert len(of_class(root, "point")) == 2


def test_main_effects_are_those_of_all_candidates_of_the_search(devices):
    found = smash.correlate(devices, train=5, epochs=1, device="cpu")
    places = {each.id: place for place, each in enumerate(smash.Study(devices.study_path).ranked())}
    accuracies = [point.accuracy for point in found.points]
    ranks = [-places[point.id] for point in found.points]
    joined = found.together["main-effects"].kendall_tau.value
    assert joined == pytest.approx(stats.kendalltau(ranks, accuracies)[0])
    assert set(found.baselines) == {"params", "macs", "random"}  # without the score they are none


def test_show_has_no_ranks_by_a_prior_without_proxies(devices, capsys):
    assert call("show", str(devices.path)) == 0
    shown = capsys.readouterr().out
    assert "ranked by score and main-effects" in shown
    assert "prior" not in shown
